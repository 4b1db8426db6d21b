/** Reads of the pod's elector: the leadership stream, resumed for ever, and the members' heads. */
import * as http from "node:http";
import { StringDecoder } from "node:string_decoder";
import * as z from "zod/mini";
import { electorPaths, leadershipSchema, type Leadership } from "../../contract/leadership";
import { memberRecordSchema, type MemberRecord } from "../../contract/status";
import { backoffMs, sleep } from "../runtime/clock";
import { exchange } from "./http-client";

const maxLineBytes = 16_384;

/** One JSON line per record until the stream ends; every record is checked. Resolves when it ended, with whether a record came. */
function follow(url: URL, idleMs: number, onRecord: (record: Leadership) => void, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    let heard = false;
    let buffered = "";
    const decoder = new StringDecoder("utf8");
    const request = http.get(url, { agent: false, headers: { accept: "application/json" }, timeout: idleMs }, (response) => {
      if (response.statusCode !== 200) return void request.destroy();
      response.on("data", (chunk: Buffer) => {
        buffered += decoder.write(chunk);
        for (let at = buffered.indexOf("\n"); at >= 0; at = buffered.indexOf("\n")) {
          const record = parse(buffered.slice(0, at));
          buffered = buffered.slice(at + 1);
          if (record) {
            heard = true;
            onRecord(record);
          }
        }
        if (buffered.length > maxLineBytes) request.destroy();
      });
      response.on("error", () => undefined);
    });
    const abort = () => request.destroy();
    const close = () => {
      signal.removeEventListener("abort", abort);
      resolve(heard);
    };
    request.on("timeout", () => request.destroy());
    request.on("error", () => undefined);
    request.on("close", close);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort);
  });
}

function parse(line: string): Leadership | undefined {
  try {
    const parsed = leadershipSchema.safeParse(JSON.parse(line));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** Follows `GET /leadership?watch=true` until `signal` aborts. A dropped stream changes nothing: the last record stands until its deadline. */
export async function followLeadership(
  base: string,
  options: { idleMs: number; onRecord: (record: Leadership) => void; signal: AbortSignal },
): Promise<void> {
  const url = new URL(`${electorPaths.leadership}?watch=true`, base);
  for (let failures = 0; !options.signal.aborted;) {
    const heard = await follow(url, options.idleMs, options.onRecord, options.signal);
    failures = heard ? 0 : failures + 1;
    await sleep(heard ? 20 : backoffMs(failures, 50, 500), options.signal);
  }
}

/** The members as the elector last saw them, or undefined where it does not answer. */
export async function fetchMembers(base: string, timeoutMs: number, signal?: AbortSignal): Promise<MemberRecord[] | undefined> {
  const answer = await exchange(new URL(electorPaths.members, base), { method: "GET", timeoutMs, agent: false, maxBytes: 262_144, signal });
  if (!answer.ok || answer.status !== 200) return undefined;
  try {
    return z.array(memberRecordSchema).parse(JSON.parse(answer.body));
  } catch {
    return undefined;
  }
}
