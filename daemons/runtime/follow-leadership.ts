/**
 * Follows `GET /leadership?watch=true` of the pod's elector. A dropped stream changes nothing: the last record stands
 * until its deadline.
 */
import { get } from "node:http";
import { electorPaths, leadershipSchema, type Leadership } from "../../contract/leadership";
import { ports } from "../../contract/ports";
import type { Timings } from "../../contract/timings";
import { backoffMs, sleep } from "./clock";
import { followObjects } from "./http-client";

const maxLength = 16_384;

/** Until `signal` aborts. Every record is checked; one that is none ends the stream, and it is opened anew. */
export async function followLeadership(options: {
  /** Of the pod. */
  host: string;
  timings: Pick<Timings, "requestTimeoutMs" | "renewDeadlineSeconds">;
  onRecord: (record: Leadership) => void;
  onDrop?: (reason: string) => void;
  signal: AbortSignal;
}): Promise<void> {
  const { host, timings, signal } = options;
  for (let failures = 0; !signal.aborted;) {
    let heard = false;
    const ended = await followObjects(
      () => get({ host, port: ports.elector, path: `${electorPaths.leadership}?watch=true`, agent: false }),
      {
        headersMs: timings.requestTimeoutMs,
        // A holder's record changes with each renewal; a standby's may stay as it is for long, and is then asked for
        // again.
        idleMs: 2000 * timings.renewDeadlineSeconds,
        maxLength,
        signal,
        onObject: (text) => {
          const parsed = leadershipSchema.safeParse(JSON.parse(text));
          if (!parsed.success) return "not a leadership record";
          heard = true;
          options.onRecord(parsed.data);
          return undefined;
        },
      },
    );
    if (signal.aborted) return;
    if (!heard || ended.end !== "silent") options.onDrop?.(ended.message);
    failures = heard ? 0 : failures + 1;
    await sleep(heard ? 20 : backoffMs(failures, 50, 500), signal);
  }
}
