/**
 * Follows a document of another container of the pod (document-stream.ts): by its stream, and by polling where that has
 * ended or something is urgent.
 */
import { Agent, get } from "node:http";
import { sleep, type Clock } from "./clock";
import { exchange, followObjects } from "./http-client";
import { longestPause } from "./document-stream";
import type { Wake } from "./wake";

const maxBytes = 256 * 1024;

/**
 * Until `signal` aborts. `onDocument` gets the parsed document (the same object where the line before had the same
 * text), or undefined where the container did not answer with JSON in time. `atMs` is a Clock.now() at which the
 * document was true, and never decreases: a line that waited (a paused process, a full socket) is as old as it says.
 */
export async function followDocument(options: {
  clock: Clock;
  host: string;
  port: number;
  path: string;
  timeoutMs: number;
  /** The stream repeats the document this often, besides each change; undefined: no stream, poll only. */
  streamMs?: number;
  /** Pause between two polls, looked at before each; undefined: no poll while the stream lives. */
  pollMs: () => number | undefined;
  /** Ends a pause early. */
  wake: Wake;
  onDocument: (document: unknown, atMs: number) => void;
  signal: AbortSignal;
}): Promise<void> {
  const { clock, host, port, path, timeoutMs, streamMs, signal } = options;
  let newestMs = -Infinity;
  const tell = (document: unknown, atMs: number): void => {
    if (atMs < newestMs) return;
    newestMs = atMs;
    options.onDocument(document, atMs);
  };
  let last: { text: string; document: unknown } | undefined;
  const onLine = (line: string): string | undefined => {
    const [, atNs, text] = /^\{"atNs":"(\d+)","document":(.*)\}$/s.exec(line) ?? [];
    if (atNs === undefined || text === undefined) return "no line of a document";
    if (text !== last?.text) last = { text, document: JSON.parse(text) as unknown };
    tell(last?.document, Math.min(clock.now(), Number(BigInt(atNs) / 1000n) / 1000));
    return undefined;
  };
  const stream = async (everyMs: number): Promise<void> => {
    while (!signal.aborted) {
      await followObjects(() => get({ host, port, path: `${path}?watch=${everyMs}`, agent: false }), {
        ...{ idleMs: longestPause * everyMs + timeoutMs, headersMs: timeoutMs, maxLength: maxBytes, signal },
        onObject: onLine,
      });
      if (!signal.aborted) await poll();
      await sleep(everyMs / 2, signal);
    }
  };
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const poll = async (): Promise<void> => {
    const answer = await exchange(() => get({ host, port, path, agent }), {
      clock,
      timeoutMs,
      maxBytes,
      signals: [signal],
    });
    if (signal.aborted) return;
    let document: unknown;
    try {
      document = answer.answered && answer.status === 200 ? JSON.parse(answer.body) : undefined;
    } catch {
      // No JSON is no document.
    }
    tell(document, answer.sentAtMs);
  };
  const streaming = streamMs === undefined ? undefined : stream(streamMs);
  try {
    while (!signal.aborted) {
      if (options.pollMs() !== undefined) await poll();
      await options.wake.wait(Math.max(5, options.pollMs() ?? 60_000), signal);
    }
    await streaming;
  } finally {
    agent.destroy();
  }
}
