/** One bounded exchange with a signer that speaks Octez' protocol over TCP (tezos/signer-messages.ts). */
import { connect, type LookupFunction, type Socket } from "node:net";
import { prefixSize } from "../../tezos/signer-messages";
import type { Clock } from "./clock";
import type { ExchangeFailure } from "./http-client";

/**
 * `sent`: a connection stood, the request may have arrived. `closed`: the signer ended the connection in order (FIN)
 * where its answer to `frame` was to begin.
 */
export type TcpAnswer =
  | { answered: true; payload: Buffer }
  | { answered: false; kind: ExchangeFailure; message: string; code?: string; sent: boolean; closed: boolean };

interface AskOptions {
  clock: Clock;
  timeoutMs: number;
  /** A request whose answer is awaited before `frame` is sent on the same connection. @default none */
  before?: Buffer;
  /** @default 16 KiB */
  maxBytes?: number;
  signal?: AbortSignal;
  /** @default Node's own look-up of names */
  lookup?: LookupFunction;
}

/** Undefined before its end; what is wrong with it. */
function messageIn(received: Buffer, maxBytes: number): Buffer | string | undefined {
  if (received.length < prefixSize) return undefined;
  const size = received.readUInt16BE();
  const rest = received.length - prefixSize;
  if (size > maxBytes) return `an answer of ${size} bytes, more than ${maxBytes}`;
  if (rest < size) return undefined;
  return rest > size ? `an answer of ${size} bytes with ${rest - size} more behind it` : received.subarray(prefixSize);
}

/**
 * Sends `frame` over a connection of its own and reads the one message that comes back: so an answer is never taken for
 * that of another request. Never throws. The deadline is hard and counts from the start, connecting included.
 */
export function askTcpSigner(
  { host, port }: { host: string; port: number },
  frame: Buffer,
  options: AskOptions,
): Promise<TcpAnswer> {
  const { clock, timeoutMs, maxBytes = 16_384, signal, lookup } = options;
  return new Promise((resolve) => {
    const startedMs = clock.now();
    let sent = false;
    let done = false;
    let ended = false;
    let { before } = options;
    let received = Buffer.alloc(0);
    let socket: Socket | undefined;
    const finish = (answer: TcpAnswer): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket?.destroy();
      resolve(answer);
    };
    const fail = (kind: ExchangeFailure, message: string, code?: string): void => {
      const closed = ended && kind === "network" && code === undefined && !before && received.length === 0;
      finish({ answered: false, kind, message, sent, closed, ...(code === undefined ? {} : { code }) });
    };
    const onAbort = (): void => fail("aborted", "aborted by the caller");
    const timer = setTimeout(() => fail("timeout", `no answer within ${timeoutMs} ms`), timeoutMs);
    if (signal?.aborted) return onAbort();
    signal?.addEventListener("abort", onAbort);
    const read = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      const message = messageIn(received, maxBytes);
      if (message === undefined) return;
      if (typeof message === "string") return fail("malformed", message);
      // After a pause of the process the answer may be processed before the timer.
      if (clock.now() - startedMs > timeoutMs) return fail("timeout", `the answer came after ${timeoutMs} ms`);
      if (!before) return finish({ answered: true, payload: message });
      before = undefined;
      received = Buffer.alloc(0);
      socket?.write(frame);
    };
    try {
      socket = connect({ host, port, noDelay: true, ...(lookup ? { lookup } : {}) });
    } catch (error) {
      return fail("network", error instanceof Error ? error.message : String(error));
    }
    socket.on("connect", () => {
      sent = true;
      socket?.write(before ?? frame);
    });
    socket.on("data", read);
    socket.on("end", () => (ended = true));
    socket.on("error", (error: NodeJS.ErrnoException) => fail("network", error.message, error.code));
    socket.on("close", () =>
      fail(
        "network",
        received.length === 0
          ? "the connection was closed without an answer"
          : "the connection ended inside the answer",
      ),
    );
  });
}
