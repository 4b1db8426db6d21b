/** The members' heads, from the pod's elector. */
import * as z from "zod/mini";
import { electorPaths } from "../../contract/leadership";
import { memberRecordSchema, type MemberRecord } from "../../contract/status";
import { exchange } from "./http-client";

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
