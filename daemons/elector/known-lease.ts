/** What this process knows of the leader lease, from reads, its own writes and the watch. */
import type { Clock } from "../runtime/clock";
import type { Lease } from "../runtime/kube";
import type { Log } from "../runtime/log";
import type { LeaseView } from "./decide";
import { viewLease } from "./lease";

export class KnownLease {
  /** As the API returned it last. */
  object: Lease | null = null;
  view: LeaseView | null = null;
  /** The API said that there is no lease. */
  missing = false;
  /** What is known may be outdated: read before anything else. */
  stale = true;
  /** renewTime and epoch of the last acquisitions that were sent: the answer to one of them may be lost. */
  private attempts: string[] = [];

  constructor(private readonly o: { identity: string; clock: Clock; log: Log }) {}

  /** Changes with each write of anybody. */
  get version(): string {
    const { uid, resourceVersion } = this.object?.metadata ?? {};
    return `${uid}/${resourceVersion}`;
  }

  /** Whether an event of the watch tells something newer. Where that cannot be said, the lease is to be read. */
  isNewer(lease: Lease): boolean {
    const [a, b] = [lease.metadata.resourceVersion ?? "", this.object?.metadata.resourceVersion ?? ""];
    if (!this.object || lease.metadata.uid !== this.object.metadata.uid || !/^\d+$/.test(a) || !/^\d+$/.test(b)) {
      if (this.object && a !== b) this.stale = true;
      return !this.object;
    }
    return BigInt(a) > BigInt(b);
  }

  attempted(epoch: number, time: string): void {
    this.attempts = [`${epoch}@${time}`, ...this.attempts].slice(0, 10);
  }

  /** @param written `lease` is the answer to a write of this process */
  see(lease: Lease, written: boolean): void {
    const before = this.object && this.view ? { object: this.object, view: this.view } : null;
    const mine = written || this.attempts.includes(`${lease.spec.leaseTransitions}@${lease.spec.renewTime}`);
    const view = viewLease(lease, this.o.clock.now(), this.o.identity, before, mine);
    this.object = lease;
    this.view = view;
    this.missing = false;
    if (before && before.view.holder !== view.holder && view.holder !== this.o.identity)
      this.o.log.info("holder", view.holder === "" ? "released" : "changed", {
        holder: view.holder,
        epoch: view.epoch,
      });
  }
}
