/** Follows `GET /leadership?watch=true` of the pod's elector. A dropped stream changes nothing: the last deadline stands. */
import { get } from "node:http";
import { electorPaths, leadershipSchema, type Leadership } from "../../contract/leadership";
import { sleep } from "../runtime/clock";

const maxLineBytes = 64 * 1024;

function followOnce(
  host: string,
  port: number,
  timeoutMs: number,
  onRecord: (record: Leadership) => void,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve) => {
    const request = get({ host, port, path: `${electorPaths.leadership}?watch=true`, agent: false, signal }, (response) => {
      clearTimeout(timer);
      if (response.statusCode !== 200) {
        response.destroy();
        return resolve(`HTTP ${response.statusCode ?? 0}`);
      }
      let rest = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        if (rest.length > maxLineBytes) response.destroy(new Error("line too long"));
        for (const line of lines) {
          try {
            const parsed = leadershipSchema.safeParse(JSON.parse(line));
            if (parsed.success) onRecord(parsed.data);
            else response.destroy(new Error("not a leadership record"));
          } catch {
            response.destroy(new Error("not JSON"));
          }
        }
      });
      response.on("error", (error) => resolve(error.message));
      response.on("close", () => resolve("closed"));
    });
    // Only until the headers: a silent stream is normal, its last deadline runs out by itself.
    const timer = setTimeout(() => request.destroy(new Error("no answer")), timeoutMs);
    request.on("error", (error) => {
      clearTimeout(timer);
      resolve(error.message);
    });
  });
}

/** Until `signal` aborts. */
export async function followLeadership(options: {
  host: string;
  port: number;
  timeoutMs: number;
  retryMs: number;
  onRecord: (record: Leadership) => void;
  onDrop: (reason: string) => void;
  signal: AbortSignal;
}): Promise<void> {
  while (!options.signal.aborted) {
    const reason = await followOnce(options.host, options.port, options.timeoutMs, options.onRecord, options.signal);
    if (options.signal.aborted) return;
    options.onDrop(reason);
    await sleep(options.retryMs, options.signal);
  }
}
