/** Follows `/status` of one container of the own pod: by its stream for as long as nothing is urgent, by polling otherwise and where the stream is silent. */
import { Agent, request } from "node:http";
import type * as z from "zod/mini";
import type { Clock } from "../runtime/clock";
import { followDocument } from "../runtime/follow-document";
import { exchange } from "../runtime/http-client";
import type { Wake } from "./wake";

const maxBytes = 256 * 1024;

/**
 * Until `signal` aborts. `onStatus` gets null where the container does not answer in time or is not understood; `wake` ends a pause early.
 * `askedAtMs` never decreases: the status was true then or later.
 */
export async function followStatus<S extends z.ZodMiniType>(options: {
  clock: Clock;
  host: string;
  port: number;
  schema: S;
  timeoutMs: number;
  /** Looked at before each pause. */
  intervalMs: () => number;
  /** How often the stream repeats itself; undefined: no stream. */
  streamMs?: number;
  onStatus: (status: z.infer<S> | null, askedAtMs: number) => void;
  wake: Wake;
  signal: AbortSignal;
}): Promise<void> {
  const { clock, host, port, timeoutMs, streamMs, signal } = options;
  let newestMs = -Infinity;
  let heardMs = -Infinity;
  const tell = (document: unknown, askedAtMs: number): void => {
    if (askedAtMs < newestMs) return;
    newestMs = askedAtMs;
    options.onStatus(options.schema.safeParse(document).data ?? null, askedAtMs);
  };
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const poll = async (): Promise<void> => {
    const answer = await exchange(() => request({ host, port, path: "/status", agent }), { clock, timeoutMs, maxBytes, signals: [signal] });
    if (signal.aborted) return;
    let document: unknown;
    try {
      document = answer.answered && answer.status === 200 ? JSON.parse(answer.body) : undefined;
    } catch {
      // No JSON is no status.
    }
    tell(document, answer.sentAtMs);
  };
  const stream =
    streamMs === undefined
      ? undefined
      : followDocument({
          ...{ clock, host, port, path: "/status", everyMs: streamMs, timeoutMs, signal },
          onDocument: (document, atMs) => {
            heardMs = atMs;
            tell(document, atMs);
          },
        });
  try {
    while (!signal.aborted) {
      const intervalMs = Math.max(5, options.intervalMs());
      if (clock.now() - heardMs >= 1.5 * intervalMs) await poll();
      await options.wake.wait(Math.max(5, options.intervalMs()), signal);
    }
    await stream;
  } finally {
    agent.destroy();
  }
}
