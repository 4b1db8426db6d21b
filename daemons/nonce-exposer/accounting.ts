/**
 * Which commitments are safe: each block header with a seed nonce hash that the gate let through must be in our file
 * and on another member. Pure.
 */

/** What the gate reports. */
export interface Commitment {
  hash: string;
  address: string;
  level: number;
  round: number;
}
/**
 * What the chain says of a level: committed with this hash, revealed with a nonce of this hash, or nothing (yet, or any
 * more).
 */
export type ChainAnswer = { kind: "committed" | "revealed"; hash: string } | { kind: "none" };

export interface Tracked extends Commitment {
  sinceMs: number;
  local: boolean;
  replicated: boolean;
  revealed: boolean;
  /** The chain has another block there, or none with a commitment: nothing to reveal. */
  abandoned: boolean;
  /**
   * Its level was long past when we first heard of it (the gate's list survives restarts): missing only once the chain
   * says that it is to be revealed.
   */
  old: boolean;
  alerted: boolean;
}
export interface Facts {
  commitments: readonly Commitment[];
  /** Hashes in our file; true where the file says revealed. */
  local: ReadonlyMap<string, boolean>;
  /** Whether another member has acknowledged a content with this hash. */
  acknowledged: (hash: string) => boolean;
  /** By level; absent = not asked. */
  chain: ReadonlyMap<number, ChainAnswer>;
  headLevel: number | undefined;
  nowMs: number;
  ackMs: number;
}
export interface Counts {
  committed: number;
  local: number;
  replicated: number;
  revealed: number;
  missing: number;
}

const settledAfterLevels = 5;
const maxTracked = 1000;

/** @returns the new list and the commitments to alert about now, each once */
export function decide(
  tracked: readonly Tracked[],
  facts: Facts,
): { tracked: Tracked[]; alerts: Tracked[]; counts: Counts } {
  const settled = (level: number): boolean =>
    facts.headLevel !== undefined && facts.headLevel >= level + settledAfterLevels;
  const known = new Set(tracked.map((entry) => entry.hash));
  const fresh = facts.commitments
    .filter(({ hash }, index, all) => !known.has(hash) && all.findIndex((other) => other.hash === hash) === index)
    .map((entry) => ({
      ...entry,
      sinceMs: facts.nowMs,
      local: false,
      replicated: false,
      revealed: false,
      abandoned: false,
      alerted: false,
      old: settled(entry.level),
    }));
  const alerts: Tracked[] = [];
  const next = [...tracked, ...fresh].slice(-maxTracked).map((entry) => {
    const answer = facts.chain.get(entry.level);
    const updated: Tracked = {
      ...entry,
      local: entry.local || facts.local.has(entry.hash),
      replicated: entry.replicated || facts.acknowledged(entry.hash),
      revealed:
        entry.revealed ||
        facts.local.get(entry.hash) === true ||
        (answer?.kind === "revealed" && answer.hash === entry.hash),
      old: entry.old && !(answer?.kind === "committed" && answer.hash === entry.hash),
      abandoned:
        settled(entry.level) && answer !== undefined
          ? answer.kind === "none" || answer.hash !== entry.hash
          : entry.abandoned,
    };
    if (isMissing(updated) && !updated.alerted && facts.nowMs - updated.sinceMs > facts.ackMs) {
      updated.alerted = true;
      alerts.push(updated);
    }
    return updated;
  });
  const count = (test: (entry: Tracked) => boolean): number => next.filter(test).length;
  return {
    tracked: next,
    alerts,
    counts: {
      committed: next.length,
      local: count((entry) => entry.local),
      replicated: count((entry) => entry.replicated),
      revealed: count((entry) => entry.revealed),
      missing: count(isMissing),
    },
  };
}

export const isMissing = (entry: Tracked): boolean =>
  !entry.old && !entry.revealed && !entry.abandoned && !(entry.local && entry.replicated);
/** Worth asking the chain about: what is missing, and what is not yet known to be revealed. */
export const isOpen = (entry: Tracked): boolean => !entry.revealed && !entry.abandoned;
