/** What the answers of the pod's DAL node mean. Pure: no clock, no network. */
import type { DalStatus } from "../../contract/status";
import type { Answer } from "./assess";

export interface DalAnswers {
  /** Its own word of its health; asked at each poll. */
  health: Answer<{ status: string; checks: readonly { name: string; status: string }[] }> | undefined;
  /** Of the questions since that answer; "" where the last one was answered. */
  problem: string;
  peers: number | undefined;
  /** The last final level that it has processed. */
  processedLevel: number | undefined;
}
export interface DalRules {
  /** How long it may owe the answer about its health: a restart takes some seconds, and a busy node answers late. */
  silenceMs: number;
  /** How far it may be behind the last final level. */
  mostLevelsBehind: number;
}
export const noDalAnswers: DalAnswers = {
  ...{ health: undefined, problem: "not asked yet", peers: undefined, processedLevel: undefined },
};

/** Of a head the level before the last one is final. */
export const levelsBehind = (head: number | undefined, processed: number | undefined): number | null =>
  head === undefined || processed === undefined ? null : Math.max(0, head - 2 - processed);

/** `reason` is "" where the DAL node is well, else `code: explanation`. @param head level of the pod's own node */
export function assessDal(
  answers: DalAnswers,
  head: number | undefined,
  { silenceMs, mostLevelsBehind }: DalRules,
  nowMs: number,
): Pick<DalStatus, "well" | "reason" | "health" | "peers" | "levelsBehind"> {
  const { health, problem, peers } = answers;
  const silentMs = health ? nowMs - health.sentAtMs : Infinity;
  const answering = silentMs <= silenceMs;
  const behind = levelsBehind(head, answers.processedLevel);
  const known = {
    health: answering ? (health?.value.status ?? null) : null,
    ...{ peers: answering ? (peers ?? null) : null, levelsBehind: answering ? behind : null },
  };
  const no = (code: string, text: string) => ({ well: false, reason: `${code}: ${text}`, ...known });
  if (!health || !answering) {
    const since = Number.isFinite(silentMs) ? ` for ${(silentMs / 1000).toFixed(0)} s` : "";
    return no("dal-silent", `it has not answered${since}: ${problem || "no answer"}`);
  }
  if (health.value.status === "down") {
    const down = health.value.checks.filter(({ status }) => status === "down" || status === "ko");
    return no("dal-down", `it says that it is down (${down.map(({ name }) => name).join(", ") || "no reason"})`);
  }
  if (behind !== null && behind > mostLevelsBehind)
    return no("dal-behind", `it is ${behind} levels behind, at most ${mostLevelsBehind} are well`);
  return { well: true, reason: "", ...known };
}

/** The chain's account of the DAL in the running cycle, as of a block. */
export interface DalAccount {
  level: number;
  attestedSlots: number;
  attestableSlots: number;
  sufficient: boolean;
}
/** What was attested and missed between two accounts. A smaller number is a new cycle: what it counts is new. */
export function dalBetween(before: DalAccount | undefined, after: DalAccount): { attested: number; missed: number } {
  if (!before || after.level <= before.level) return { attested: 0, missed: 0 };
  const old = after.attestableSlots >= before.attestableSlots ? before : { attestedSlots: 0, attestableSlots: 0 };
  const attested = Math.max(0, after.attestedSlots - old.attestedSlots);
  return { attested, missed: Math.max(0, after.attestableSlots - old.attestableSlots - attested) };
}
