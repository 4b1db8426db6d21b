/** The elector's word, as far as the exposer needs it: whether the nonces are final. */
import { get } from "node:http";
import { leadershipSchema, type Leadership } from "../../contract/leadership";
import { sleep } from "../runtime/clock";
import { readLines } from "../runtime/nonce-wire";

/** Follows `GET /leadership?watch=true` until the signal aborts; `undefined` whenever the stream is not there. */
export async function followLeadership(
  options: { url: string; silenceMs: number; signal: AbortSignal },
  onRecord: (record: Leadership | undefined) => void,
): Promise<void> {
  while (!options.signal.aborted) {
    await new Promise<void>((resolve) => {
      const request = get(options.url, { signal: options.signal, agent: false, timeout: options.silenceMs }, (response) => {
        if (response.statusCode !== 200) {
          response.destroy();
          return resolve();
        }
        readLines(
          response,
          65_536,
          (text) => {
            if (text.trim() === "") return;
            try {
              onRecord(leadershipSchema.parse(JSON.parse(text)));
            } catch {
              response.destroy();
            }
          },
          () => response.destroy(),
        );
        response.on("error", () => undefined);
        response.on("close", resolve);
      });
      request.on("timeout", () => request.destroy());
      request.on("error", () => resolve());
      request.on("close", () => resolve());
    });
    onRecord(undefined);
    await sleep(200, options.signal);
  }
}
