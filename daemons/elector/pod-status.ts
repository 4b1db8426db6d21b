/** Follows `GET /status` of one container of the own pod. */
import { Agent, request } from "node:http";
import type { z } from "zod";
import type { Clock } from "../runtime/clock";
import { exchange } from "../runtime/http-client";
import type { Wake } from "./wake";

const maxBytes = 256 * 1024;

function parse<S extends z.ZodType>(schema: S, body: string): z.infer<S> | null {
  try {
    const parsed = schema.safeParse(JSON.parse(body));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** Until `signal` aborts. `onStatus` gets null where the container does not answer in time or is not understood; `wake` ends a pause early. */
export async function followStatus<S extends z.ZodType>(options: {
  clock: Clock;
  host: string;
  port: number;
  schema: S;
  timeoutMs: number;
  /** Looked at before each pause. */
  intervalMs: () => number;
  onStatus: (status: z.infer<S> | null, askedAtMs: number) => void;
  wake: Wake;
  signal: AbortSignal;
}): Promise<void> {
  const { clock, host, port, timeoutMs, signal } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    while (!signal.aborted) {
      const answer = await exchange(() => request({ host, port, path: "/status", agent }), {
        clock,
        timeoutMs,
        maxBytes,
        signals: [signal],
      });
      if (signal.aborted) return;
      options.onStatus(answer.answered && answer.status === 200 ? parse(options.schema, answer.body) : null, answer.sentAtMs);
      await options.wake.wait(Math.max(5, options.intervalMs()), signal);
    }
  } finally {
    agent.destroy();
  }
}
