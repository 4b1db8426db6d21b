/** Follows a document of another container of the pod: the client's side of `GET PATH?watch=MS` (http-server.ts). */
import { get } from "node:http";
import { sleep, type Clock } from "./clock";
import { followObjects } from "./http-client";

/**
 * Until `signal` aborts; comes back after an end or silence. `atMs` is Clock.now() at which the document was true, never later than now: a line that waited
 * (a paused process, a full socket) is old. A quiet stream proves nothing: callers poll too, or bound the age.
 */
export async function followDocument(options: {
  clock: Clock;
  host: string;
  port: number;
  path: string;
  /** The document comes at least this often. */
  everyMs: number;
  timeoutMs: number;
  onDocument: (document: unknown, atMs: number) => void;
  signal: AbortSignal;
}): Promise<void> {
  const { clock, host, port, path, everyMs, timeoutMs, signal } = options;
  while (!signal.aborted) {
    await followObjects(() => get({ host, port, path: `${path}?watch=${everyMs}`, agent: false }), {
      idleMs: 2 * everyMs + timeoutMs,
      headersMs: timeoutMs,
      maxLength: 256 * 1024,
      signal,
      onObject: (text) => {
        const line = JSON.parse(text) as { atNs?: unknown; document?: unknown };
        if (typeof line.atNs !== "string" || !/^\d+$/.test(line.atNs)) return "no line of a document";
        options.onDocument(line.document, Math.min(clock.now(), Number(BigInt(line.atNs) / 1000n) / 1000));
        return undefined;
      },
    });
    await sleep(everyMs, signal);
  }
}
