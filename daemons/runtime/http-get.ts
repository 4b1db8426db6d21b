/**
 * GET of a small JSON document inside the pod or the cluster: one deadline for everything, bounded size, no redirects.
 */
import { Agent, get } from "node:http";
import { systemClock as clock } from "./clock";
import { exchange } from "./http-client";

/** The daemons of a pod ask each other twice a second: a new connection each time would be most of the cost. */
const agent = new Agent({ keepAlive: true, maxFreeSockets: 1, timeout: 10_000 });

/**
 * @param url http://HOST:PORT/PATH
 * @throws Error for anything but a 200 with JSON within `timeoutMs` and `limit` bytes (default 1 MiB)
 */
export async function getJson(
  url: string,
  options: { timeoutMs: number; signal?: AbortSignal; limit?: number },
): Promise<unknown> {
  const once = (timeoutMs: number) =>
    exchange(() => get(url, { agent }), {
      clock,
      timeoutMs,
      maxBytes: options.limit ?? 1 << 20,
      signals: [options.signal],
    });
  let result = await once(options.timeoutMs);
  // The other side has restarted, or closed an idle connection.
  const left = options.timeoutMs - (clock.now() - result.sentAtMs);
  if (!result.answered && result.kind === "network" && result.reused && left > 0) result = await once(left);
  if (!result.answered) throw new Error(result.message);
  if (result.status !== 200) throw new Error(`HTTP ${result.status}`);
  try {
    return JSON.parse(result.body) as unknown;
  } catch {
    throw new Error("no JSON");
  }
}
