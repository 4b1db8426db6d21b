/** The moment for whatever stops octez-baker and can wait: a planned handover, a restart in place. Pure. */
export interface Head {
  level: number;
  ageSeconds: number;
}
/** When octez-baker may be stopped in order: nothing of ours is due, and nothing signed is still unseen. */
export interface QuietFacts {
  /** False for a master that is behind or not eligible: its rights above its head pass whether it waits or not. */
  canBake: boolean;
  nodeReady: boolean;
  /** The sidecar stopped answering when this handover was about to begin, or later: what it would say is not known. */
  fellSilent: boolean;
  /** Until the wait ends anyway, in seconds. */
  leftSeconds: number;
  /** Level and age of the node's head; null where it is not known. */
  head: Head | null;
  /** The head as it was when the wait began. */
  headAtFirst: Head | null;
  /** Levels above the head at which the delegate may bake; null where the node did not say. */
  rights: readonly number[] | null;
  /** Per key of the gate: highest recorded level, and the last attestation. */
  keys: readonly { highestLevel: number | null; lastAttestation: { level: number } | null }[];
  /** Requests that the gate has not answered yet: a recorded mark is no signature. */
  inFlight: number;
  /** Minimal time between blocks in seconds, or null. */
  blockSeconds: number | null;
  noncesMissing: number;
}

/**
 * Whether a block at `level`, and our attestation of it, come before the wait ends. One that does not is the
 * successor's: to wait for a part of it would end the wait at any moment, perhaps between a block and its attestation.
 */
function comesInTime(level: number, head: Head, facts: QuietFacts): boolean {
  const blockSeconds = facts.blockSeconds ?? 6;
  const blockIn = Math.max(0, (level - head.level) * blockSeconds - head.ageSeconds);
  return blockIn + blockSeconds / 2 <= facts.leftSeconds;
}

/**
 * octez-baker votes for no block that it finds at its start, so the next one must run before the next block comes. A
 * wait that began too late for that goes on to the next block, whose attestation is the earliest moment of all. A head
 * of three blocks' time says that no block comes soon.
 */
function nextBlockIsNear(head: Head, facts: QuietFacts): boolean {
  const blockSeconds = facts.blockSeconds ?? 6;
  const { headAtFirst } = facts;
  const begunLate = headAtFirst?.level === head.level && headAtFirst.ageSeconds > 0.4 * blockSeconds;
  return begunLate && head.ageSeconds < 3 * blockSeconds && comesInTime(head.level + 1, head, facts);
}

/** @returns ok, and a stable reason */
export function quietMoment(facts: QuietFacts): { ok: boolean; reason: string } {
  const { head } = facts;
  if (facts.canBake && facts.fellSilent) return { ok: false, reason: "sidecar-fell-silent" };
  if (!facts.nodeReady || !head) return { ok: true, reason: "node-not-ready" };
  if (facts.noncesMissing > 0) return { ok: false, reason: "nonces-missing" };
  if (!facts.canBake) return { ok: true, reason: "cannot-bake" };
  if (facts.inFlight > 0) return { ok: false, reason: "signature-under-way" };
  if (facts.rights === null) return { ok: false, reason: "rights-unknown" };
  const soon = [head.level + 1, head.level + 2];
  if (facts.rights.some((level) => soon.includes(level) && comesInTime(level, head, facts)))
    return { ok: false, reason: "baking-right" };
  if (facts.keys.some((key) => (key.highestLevel ?? -1) > head.level))
    return { ok: false, reason: "signed-block-unseen" };
  const attested = facts.keys.some((key) => (key.lastAttestation?.level ?? -1) >= head.level);
  // Without a slot at this level no attestation ever comes: half a block later it would have been there.
  if (!attested && head.ageSeconds < (facts.blockSeconds ?? 6) / 2) return { ok: false, reason: "attestation-not-out" };
  if (nextBlockIsNear(head, facts)) return { ok: false, reason: "next-block-near" };
  return { ok: true, reason: attested ? "attested" : "no-attestation-at-this-level" };
}
