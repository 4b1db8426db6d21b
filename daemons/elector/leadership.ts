/** The record that the other containers of the pod obey, and its readers. */
import type { Leadership } from "../../contract/leadership";
import type { Timings } from "../../contract/timings";
import type { ElectorState } from "./decide";
import { podOf } from "./lease";

/** This process has a tenure, and its phase is one in which a tenure counts. */
const holds = (state: ElectorState): boolean =>
  state.tenure !== null && (state.phase === "active" || state.phase === "handing-over");

/** The record for the present state; pure. @param reason of the last decision */
export function leadershipOf(state: ElectorState, reason: string, timings: Timings): Leadership {
  const { lease, tenure, handover, phase } = state;
  const held = holds(state);
  const waiting = handover?.step === "waiting";
  const renewedNs = BigInt(Math.floor((tenure?.renewedAtMs ?? 0) * 1e6));
  const validUntilNs = renewedNs + BigInt(Math.floor(timings.renewDeadlineSeconds * 1e9));
  return {
    holder: held ? state.pod : podOf(lease?.holder ?? ""),
    holderIdentity: held ? state.self : (lease?.holder ?? ""),
    self: state.self,
    leaseUid: tenure?.leaseUid ?? lease?.uid ?? "",
    epoch: tenure?.epoch ?? lease?.epoch ?? 0,
    state: phase,
    reason,
    validUntilNs: held ? validUntilNs.toString() : "0",
    gate: held && (phase === "active" || waiting) ? "open" : "shut",
    daemons: held && (phase === "active" || waiting || handover?.step === "draining") ? "run" : "stop",
    nonces: handover?.step === "pushing" || handover?.step === "releasing" ? "final" : "follow",
  };
}

/**
 * False while a process that has just started may be the holder without knowing it: its silence leaves the deadline
 * that its predecessor told standing.
 */
export function knowsItsRole(state: ElectorState): boolean {
  const { lease, leaseMissing, phase, self } = state;
  return holds(state) || phase === "lost" || leaseMissing || (lease !== null && lease.holder !== self);
}

/** Tells each new record to its readers, as one JSON text without newline. */
export class LeadershipReaders {
  /** The newest record, or null before the first. */
  record: Leadership | null = null;
  private line = "";
  private readonly listeners = new Set<(line: string) => void>();

  publish(record: Leadership): void {
    const line = JSON.stringify(record);
    if (line === this.line) return;
    this.record = record;
    this.line = line;
    for (const listener of [...this.listeners]) listener(line);
  }

  /** Calls `listener` with each new record, and at once with the present one. @returns ends it */
  subscribe(listener: (line: string) => void): () => void {
    this.listeners.add(listener);
    if (this.line !== "") listener(this.line);
    return () => this.listeners.delete(listener);
  }
}
