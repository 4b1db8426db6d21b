/** One bounded exchange with a signer that speaks Octez' protocol over TCP (tezos/signer-messages.ts). */
import { connect, type LookupFunction, type Socket } from "node:net";
import { prefixSize } from "../../tezos/signer-messages";
import type { Clock } from "./clock";
import type { ExchangeFailure } from "./http-client";

/** `sent`: a connection stood, the request may have arrived. `silent`: not one byte came back. */
export type TcpAnswer =
  | { answered: true; payload: Buffer }
  | { answered: false; kind: ExchangeFailure; message: string; code?: string; sent: boolean; silent: boolean };

/**
 * Sends `frame` over a connection of its own and reads the one message that comes back: so an answer is never taken for
 * that of another request. Never throws. The deadline is hard and counts from the start, connecting included.
 */
export function askTcpSigner(
  { host, port }: { host: string; port: number },
  frame: Buffer,
  options: {
    clock: Clock;
    timeoutMs: number;
    /** @default 16 KiB */
    maxBytes?: number;
    signal?: AbortSignal;
    /** @default Node's own look-up of names */
    lookup?: LookupFunction;
  },
): Promise<TcpAnswer> {
  const { clock, timeoutMs, maxBytes = 16_384, signal, lookup } = options;
  return new Promise((resolve) => {
    const startedMs = clock.now();
    let sent = false;
    let done = false;
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
      const silent = received.length === 0;
      finish({ answered: false, kind, message, sent, silent, ...(code === undefined ? {} : { code }) });
    };
    const onAbort = (): void => fail("aborted", "aborted by the caller");
    const timer = setTimeout(() => fail("timeout", `no answer within ${timeoutMs} ms`), timeoutMs);
    if (signal?.aborted) return onAbort();
    signal?.addEventListener("abort", onAbort);
    const read = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      if (received.length < prefixSize) return;
      const size = received.readUInt16BE();
      const rest = received.length - prefixSize;
      if (size > maxBytes) return fail("malformed", `an answer of ${size} bytes, more than ${maxBytes}`);
      if (rest < size) return;
      if (rest > size) return fail("malformed", `an answer of ${size} bytes with ${rest - size} more behind it`);
      // After a pause of the process the answer may be processed before the timer.
      if (clock.now() - startedMs > timeoutMs) return fail("timeout", `the answer came after ${timeoutMs} ms`);
      finish({ answered: true, payload: received.subarray(prefixSize) });
    };
    try {
      socket = connect({ host, port, noDelay: true, ...(lookup ? { lookup } : {}) });
    } catch (error) {
      return fail("network", error instanceof Error ? error.message : String(error));
    }
    socket.on("connect", () => {
      sent = true;
      socket?.write(frame);
    });
    socket.on("data", read);
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
