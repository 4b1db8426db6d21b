/**
 * One bounded HTTP exchange, and one bounded stream of JSON objects: what the clients of the runtime have in common.
 */
import type { ClientRequest, IncomingHttpHeaders } from "node:http";
import { StringDecoder } from "node:string_decoder";
import { TLSSocket } from "node:tls";
import type { Clock } from "./clock";

export type ExchangeFailure = "timeout" | "network" | "malformed" | "aborted";
/**
 * `sentAtMs` is Clock.now() right before the request was started; `sent`: a connection stood, the request may have
 * arrived; `code`: Node's own, where it gave one.
 */
export type Exchange =
  | { answered: true; status: number; headers: IncomingHttpHeaders; body: string; sentAtMs: number }
  | {
      answered: false;
      kind: ExchangeFailure;
      message: string;
      code?: string;
      sent: boolean;
      reused: boolean;
      sentAtMs: number;
    };

/**
 * Sends `body` through the request that `open` makes and reads the whole answer. Never throws.
 * The deadline is hard and counts from the start, connecting included; at its end the connection is destroyed.
 */
export function exchange(
  open: () => ClientRequest,
  options: {
    clock: Clock;
    timeoutMs: number;
    maxBytes: number;
    body?: string | Buffer;
    signals?: readonly (AbortSignal | undefined)[];
  },
): Promise<Exchange> {
  const { clock, timeoutMs, maxBytes } = options;
  const signals = options.signals ?? [];
  return new Promise((resolve) => {
    const sentAtMs = clock.now();
    let sent = false;
    let done = false;
    let request: ClientRequest | undefined;
    const finish = (result: Exchange): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      for (const signal of signals) signal?.removeEventListener("abort", onAbort);
      if (!result.answered) request?.destroy();
      resolve(result);
    };
    const fail = (kind: ExchangeFailure, message: string, code?: string): void => {
      const reused = request?.reusedSocket ?? false;
      finish({ answered: false, kind, message, sent, reused, sentAtMs, ...(code === undefined ? {} : { code }) });
    };
    const onAbort = (): void => fail("aborted", "aborted by the caller");
    const timer = setTimeout(() => fail("timeout", `no answer within ${timeoutMs} ms`), timeoutMs);
    if (signals.some((signal) => signal?.aborted)) return onAbort();
    for (const signal of signals) signal?.addEventListener("abort", onAbort);
    try {
      request = open();
    } catch (error) {
      return fail("network", error instanceof Error ? error.message : String(error));
    }
    request.on("socket", (socket) => {
      if (!socket.connecting) sent = true;
      else socket.once(socket instanceof TLSSocket ? "secureConnect" : "connect", () => (sent = true));
    });
    request.on("error", (error: NodeJS.ErrnoException) => fail("network", error.message, error.code));
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBytes) fail("malformed", `an answer of more than ${maxBytes} bytes`);
        else chunks.push(chunk);
      });
      response.on("error", (error) => fail("network", error.message));
      response.on("close", () => fail("network", "the connection ended inside the answer"));
      response.on("end", () => {
        if (!response.complete) return fail("network", "the connection ended inside the answer");
        // After a pause of the process the answer may be processed before the timer.
        if (clock.now() - sentAtMs > timeoutMs) return fail("timeout", `the answer came after ${timeoutMs} ms`);
        const body = Buffer.concat(chunks).toString("utf8");
        finish({ answered: true, status: response.statusCode ?? 0, headers: response.headers, body, sentAtMs });
      });
    });
    request.end(options.body);
  });
}

/**
 * Splits a stream of JSON objects, with or without white space between them. @throws Error for anything else, or an
 * object of more than `maxLength`
 */
export function objectSplitter(maxLength: number): { push(text: string): string[]; readonly empty: boolean } {
  let rest = "";
  let scanned = 0;
  let depth = 0;
  let inText = false;
  let escaped = false;
  return {
    push(text) {
      rest += text;
      const objects: string[] = [];
      let start = 0;
      for (; scanned < rest.length; scanned++) {
        const c = rest.charCodeAt(scanned);
        if (inText) {
          if (escaped) escaped = false;
          else if (c === 0x5c) escaped = true;
          else if (c === 0x22) inText = false;
        } else if (c === 0x7b) {
          if (depth++ === 0) start = scanned;
        } else if (depth === 0) {
          if (c !== 0x0a && c !== 0x0d && c !== 0x20 && c !== 0x09)
            throw new Error(`not a stream of JSON objects: ${rest.slice(scanned, 40)}`);
          start = scanned + 1;
        } else if (c === 0x22) inText = true;
        else if (c === 0x7d && --depth === 0) {
          objects.push(rest.slice(start, scanned + 1));
          start = scanned + 1;
        }
      }
      rest = rest.slice(start);
      scanned = rest.length;
      if (rest.length > maxLength) throw new Error(`an object of more than ${maxLength} characters`);
      return objects;
    },
    get empty() {
      return depth === 0;
    },
  };
}

/**
 * clean: the server ended the stream; silent: `idleMs` passed; refused: another status than 200, or the consumer's
 * verdict; cut: the connection broke.
 */
export type StreamEnd =
  | { end: "clean" | "silent" | "cut" | "malformed" | "aborted"; message: string }
  | { end: "refused"; message: string; status: number; headers: IncomingHttpHeaders };

/**
 * Follows a stream of JSON objects until it ends. `onObject` gets each object's text and ends the stream by returning a
 * message ("malformed"). Silence of `idleMs` ends it too; the headers must come within `headersMs`. Never throws;
 * destroys the connection.
 */
export function followObjects(
  open: () => ClientRequest,
  options: {
    idleMs: number;
    headersMs: number;
    maxLength: number;
    signal: AbortSignal;
    onObject: (text: string) => string | undefined;
  },
): Promise<StreamEnd> {
  const { idleMs, signal } = options;
  return new Promise((resolve) => {
    let done = false;
    let request: ClientRequest | undefined;
    let timer: NodeJS.Timeout | undefined;
    const finish = (end: StreamEnd): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      request?.destroy();
      resolve(end);
    };
    const onAbort = (): void => finish({ end: "aborted", message: "aborted by the caller" });
    const arm = (ms: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => finish({ end: "silent", message: `silent for ${ms} ms` }), ms);
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort);
    arm(Math.min(idleMs, options.headersMs));
    try {
      request = open();
    } catch (error) {
      return finish({ end: "cut", message: error instanceof Error ? error.message : String(error) });
    }
    request.on("socket", (socket) => socket.setKeepAlive(true, 5000));
    request.on("error", (error) => finish({ end: "cut", message: error.message }));
    request.on("response", (response) => {
      arm(idleMs);
      const status = response.statusCode ?? 0;
      if (status !== 200)
        return finish({ end: "refused", message: `HTTP ${status}`, status, headers: response.headers });
      const decoder = new StringDecoder("utf8");
      const splitter = objectSplitter(options.maxLength);
      response.on("data", (chunk: Buffer) => {
        if (done) return;
        arm(idleMs);
        try {
          for (const text of splitter.push(decoder.write(chunk))) {
            const objection = options.onObject(text);
            if (objection !== undefined) return finish({ end: "malformed", message: objection });
            if (signal.aborted) return onAbort();
          }
        } catch (error) {
          finish({ end: "malformed", message: error instanceof Error ? error.message : String(error) });
        }
      });
      response.on("error", (error) => finish({ end: "cut", message: error.message }));
      response.on("end", () =>
        finish({ end: response.complete && splitter.empty ? "clean" : "cut", message: "the stream ended" }),
      );
      response.on("close", () => finish({ end: "cut", message: "the stream ended" }));
    });
    request.end();
  });
}
