/** Whether a pod of this topology may start its containers. Pure. */

export interface GuardFacts {
  topology: "solo" | "active-standby";
  /**
   * Pods of the other topology: phase as the API says, "gone" where it has none of the name, null where it did not
   * answer.
   */
  pods: readonly { name: string; phase: string | null }[];
  /** The leader lease; null where the API did not answer. */
  lease: { exists: false } | { exists: true; holder: string; durationMs: number; changedAtMs: number } | null;
  leaseMs: number;
}

/**
 * @param now milliseconds of CLOCK_MONOTONIC @returns ok once the other topology is gone; else a stable reason and its
 * detail
 */
export function decide(facts: GuardFacts, now: number): { ok: boolean; reason: string; detail: string } {
  const no = (reason: string, detail: string) => ({ ok: false, reason, detail });
  for (const { name, phase } of facts.pods) {
    if (phase === null) return no("pods-unknown", name);
    // An empty phase is a pod all the same. A finished one runs nothing and is kept only as a record.
    if (phase !== "gone" && phase !== "Succeeded" && phase !== "Failed")
      return no("other-topology-exists", `${name}: ${phase || "no phase"}`);
  }
  // Electors take turns by this lease themselves; a solo pod knows no lease and must see that it has run out.
  if (facts.topology === "solo") {
    if (facts.lease === null) return no("lease-unknown", "");
    if (facts.lease.exists && facts.lease.holder !== "") {
      const left = facts.lease.changedAtMs + Math.max(facts.leaseMs, facts.lease.durationMs) - now;
      if (left > 0) return no("lease-held", `${facts.lease.holder}, ${Math.ceil(left / 1000)} s left`);
    }
  }
  return { ok: true, reason: "other-topology-gone", detail: "" };
}
