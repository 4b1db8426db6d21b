/** Reads JSON from the containers of the own pod: keep-alive, hard deadline, bounded body. */
import { Agent, request } from "node:http";
import type { z } from "zod";
import type { Clock } from "../runtime/clock";
import type { Wake } from "./wake";

const maxBodyBytes = 1024 * 1024;

/** @returns the parsed answer, or null where there is none within `timeoutMs` or it is not understood */
export function readJson<S extends z.ZodType>(options: {
  agent: Agent;
  host: string;
  port: number;
  path: string;
  schema: S;
  timeoutMs: number;
  signal: AbortSignal;
}): Promise<z.infer<S> | null> {
  return new Promise((resolve) => {
    const finish = (value: z.infer<S> | null) => {
      clearTimeout(timer);
      resolve(value);
    };
    const call = request(
      { host: options.host, port: options.port, path: options.path, agent: options.agent, signal: options.signal },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxBodyBytes) call.destroy();
          else chunks.push(chunk);
        });
        response.on("error", () => finish(null));
        response.on("end", () => {
          try {
            const parsed = options.schema.safeParse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
            finish(response.statusCode === 200 && parsed.success ? parsed.data : null);
          } catch {
            finish(null);
          }
        });
      },
    );
    const timer = setTimeout(() => call.destroy(new Error("timeout")), options.timeoutMs);
    call.on("error", () => finish(null));
    call.on("close", () => finish(null));
    call.end();
  });
}

/** Follows `GET /status` of one container until `signal` aborts; `wake` ends a pause early. */
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
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    while (!options.signal.aborted) {
      const askedAtMs = options.clock.now();
      const status = await readJson({ ...options, path: "/status", agent });
      if (options.signal.aborted) return;
      options.onStatus(status, askedAtMs);
      await options.wake.wait(Math.max(5, options.intervalMs()), options.signal);
    }
  } finally {
    agent.destroy();
  }
}
