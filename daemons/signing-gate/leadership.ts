/**
 * What this pod may do now, as its elector says: level-triggered, worthless without a deadline that lies ahead on
 * CLOCK_MONOTONIC.
 */
import type { Leadership as LeadershipRecord } from "../../contract/leadership";
import type { Tenure } from "./decide";

export class LeadershipView {
  private record: LeadershipRecord | undefined;
  private readonly listeners = new Set<() => void>();

  /** @param nowNs CLOCK_MONOTONIC, shared with the elector */
  constructor(
    private readonly identity: string,
    private readonly nowNs: () => bigint,
  ) {}

  update(record: LeadershipRecord): void {
    this.record = record;
    for (const listener of [...this.listeners]) listener();
  }

  /** The tenure in which this pod may sign at this very moment. */
  tenure(): Tenure | undefined {
    const record = this.record;
    if (!record || record.gate !== "open" || record.self !== this.identity || record.holderIdentity !== this.identity)
      return undefined;
    return this.nowNs() < BigInt(record.validUntilNs) ? { epoch: record.epoch, holder: this.identity } : undefined;
  }

  /** Stable code of what stands against signing now. */
  reason(): string {
    const record = this.record;
    if (!record) return "no-leadership";
    if (record.self !== this.identity) return "leadership-of-another-pod";
    if (record.holderIdentity !== this.identity) return "not-master";
    if (record.gate !== "open") return `gate-shut-${record.state}`;
    return this.nowNs() < BigInt(record.validUntilNs) ? "master" : "leadership-expired";
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
