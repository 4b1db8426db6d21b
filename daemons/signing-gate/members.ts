/** The members' heads, from the pod's elector. */
import * as z from "zod/mini";
import { electorPaths } from "../../contract/leadership";
import { memberRecordSchema, type MemberRecord } from "../../contract/status";
import { getJson } from "../runtime/http-get";

/** The members as the elector last saw them, or undefined where it does not answer. */
export async function fetchMembers(
  base: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<MemberRecord[] | undefined> {
  try {
    return z
      .array(memberRecordSchema)
      .parse(await getJson(`${base}${electorPaths.members}`, { timeoutMs, signal, limit: 262_144 }));
  } catch {
    return undefined;
  }
}
