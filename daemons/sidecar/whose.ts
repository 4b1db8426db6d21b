/** Whether a slot that is missing on the chain was missed by us or by whoever made the next block. Pure. */
import type { whoseSlots } from "../../contract/status";
import { type AskedSignature } from "../../contract/status";

export interface Verdict {
  whose: (typeof whoseSlots)[number];
  /** A sentence's end, for people. */
  why: string;
}

/** Of what is missing. Times are milliseconds since 1970, by the wall clock of this pod. */
export interface Slot {
  kind: "attestation" | "block";
  level: number;
  /** Of the block that is attested, or of the block that is missing; null where this pod does not know it. */
  round: number | null;
  /** When the next round began, whose block has to include it or stands in its place. */
  deadlineMs: number;
  /** When this node had the block that it is about or builds on; null where it did not see it come. */
  arrivedMs: number | null;
  /** The delegate's consensus key that was active then; undefined where this pod does not know it. */
  key?: string | undefined;
}
export interface Witness {
  /** What the gate was asked for lately; undefined where there is no gate, or none that answers. */
  asked: readonly (Omit<AskedSignature, "atMs"> & { atMs: number })[] | undefined;
  /** Since when the gate remembers. */
  sinceMs: number;
  /** This pod was master all the time since the head before. */
  master: boolean;
  nowMs: number;
}

const seconds = (ms: number): string => `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
const verdict = (whose: Verdict["whose"], why: string): Verdict => ({ whose, why });

/** What is signed must still be injected and reach the next producer: a signature that is younger proves nothing. */
const spreadMs = 1000;

function ofRequest(slot: Slot, { result, atMs }: AskedSignature, nowMs: number): Verdict {
  if (result === "under-way")
    return verdict(
      "ours",
      `it was asked for, and not signed ${seconds(nowMs - slot.deadlineMs)} after the next round began`,
    );
  if (result !== "signed") return verdict("ours", `it was not signed: ${result}`);
  const lateMs = atMs - slot.deadlineMs;
  if (lateMs > -spreadMs && lateMs <= 0)
    return verdict("unknown", `it was signed ${seconds(-lateMs)} before the next block: too close to tell`);
  if (lateMs <= 0)
    return verdict(
      "producer",
      `it was signed ${seconds(-lateMs)} before the next round began: its producer or the network left it out`,
    );
  return verdict("ours", `it was signed ${seconds(lateMs)} after the next round began`);
}

export function whoseSlot(slot: Slot, witness: Witness): Verdict {
  const lateMs = (slot.arrivedMs ?? -Infinity) - slot.deadlineMs;
  // Nobody can attest in time what comes too late.
  if (lateMs > 0)
    return verdict(
      "unknown",
      `its block reached this node ${seconds(lateMs)} after the next round began: the producer, the network or this node's peers`,
    );
  const { asked, sinceMs, master, nowMs } = witness;
  if (!asked) return verdict("unknown", "no signing gate says what was signed");
  const requests = asked.filter(
    ({ kind, level, key }) => kind === slot.kind && level === slot.level && key === (slot.key ?? key),
  );
  const ofRound = requests.filter(({ round }) => slot.round === null || round === slot.round);
  // Of several tries with one key, the one that was signed counts; of several keys, the one that was refused: where the
  // active key is not known, the signature of a companion key must not hide it.
  const ofKeys = [...new Set(ofRound.map(({ key }) => key))].flatMap((key) => {
    const tries = ofRound.filter((request) => request.key === key);
    const best = tries.find(({ result }) => result === "signed") ?? tries.at(-1);
    return best ? { verdict: ofRequest(slot, best, nowMs) } : [];
  });
  const [worst] = mostLikely(ofKeys, 1);
  if (worst) return worst.verdict;
  const other = requests.find(({ result }) => result === "signed");
  if (other)
    return verdict("unknown", `it was signed for round ${other.round}, and the chain went on with round ${slot.round}`);
  if (!master) return verdict("unknown", "this pod was not master all the time");
  if (sinceMs > Math.min(slot.arrivedMs ?? slot.deadlineMs, slot.deadlineMs))
    return verdict("unknown", "the signing gate has started anew meanwhile");
  return verdict(
    "ours",
    `octez-baker had not asked for it ${seconds(nowMs - slot.deadlineMs)} after the next round began`,
  );
}

const order = { ours: 0, unknown: 1, producer: 2 } as const;
/** Where the chain says only how many of some levels were missed: those that are most surely ours. */
export const mostLikely = <T extends { verdict: Verdict }>(slots: readonly T[], count: number): T[] =>
  [...slots].sort((a, b) => order[a.verdict.whose] - order[b.verdict.whose]).slice(0, count);
