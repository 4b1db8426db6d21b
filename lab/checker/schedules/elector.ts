/**
 * An elector that elects whom it likes. Without takings-away it hands out any epoch, twice and backwards; with them it
 * keeps to the epochs of a lease that was not rolled back.
 */
import type { SimulatedApi } from "./api";
import type { GateProcess } from "./gate-process";
import type { Pods } from "./pods";
import type { Promises } from "./promises";
import type { Scene } from "./scene";

export class HostileElector {
  /** The one that was elected last in an orderly way. */
  master: GateProcess | undefined;
  private readonly epochs = new Map<GateProcess, number>();

  constructor(
    private readonly scene: Scene,
    private readonly api: SimulatedApi,
    private readonly pods: Pods,
    private readonly promises: Promises,
  ) {
    scene.world.after(10, () => this.elect());
  }

  /** Tells a process that it leads, unless its disk does not know what was taken away. */
  lead(process: GateProcess, epoch: number, validMs: number, gate: "open" | "shut" = "open"): void {
    process.deliver(() => {
      if (gate === "open" && !this.promises.mayLead(process.disk)) return;
      this.scene.counts.tenures++;
      this.tell(process, epoch, validMs, gate);
    });
  }
  private tell(process: GateProcess, epoch: number, validMs: number, gate: "open" | "shut"): void {
    this.epochs.set(process, epoch);
    process.leadership.update({
      holder: "",
      holderIdentity: process.identity,
      self: process.identity,
      leaseUid: "lease",
      epoch,
      state: gate === "open" ? "active" : "handing-over",
      reason: "",
      validUntilNs: String(BigInt(Math.round((this.scene.world.now + validMs) * 1e6))),
      gate,
      daemons: "run",
      nonces: "follow",
    });
  }
  /**
   * Whoever does not know what was taken away has lost the lease before, and so has one of an earlier epoch: what a
   * disk has lost does not tell its gate that a later one was there.
   */
  shutIgnorant(epoch: number): void {
    for (const process of this.pods.running)
      if (!this.promises.mayLead(process.disk) || (this.epochs.get(process) ?? 0) < epoch)
        this.tell(process, 0, 0, "shut");
  }

  /** Those that may lead now. */
  candidates(): readonly GateProcess[] {
    const knowing = this.pods.running.filter(({ disk }) => this.promises.mayLead(disk));
    return knowing.length > 0 ? knowing : this.pods.running;
  }
  private elect(): void {
    const { world, features, faults } = this.scene;
    if (!faults) return;
    const process = world.pick(this.candidates());
    if (features.hostileElector && world.chance(0.4)) this.electWildly(process);
    else {
      const epoch = ++this.api.highestEpoch;
      if (!features.hostileElector)
        for (const other of this.pods.running) if (other !== process) this.lead(other, 0, 0, "shut");
      this.lead(process, epoch, features.calm ? 60_000 : world.between(3000, 20_000));
      this.master = process;
    }
    world.after(features.calm ? world.between(8000, 60_000) : world.between(300, 12_000), () => this.elect());
  }

  private electWildly(process: GateProcess): void {
    const { world, features, takesAway } = this.scene;
    const wild = !takesAway ? [-1, 0, 0, 1, 2] : features.badDisk ? [1, 2] : [1, 1, 2];
    const epoch = Math.max(0, this.api.highestEpoch + world.pick(wild));
    const validMs = world.between(100, 20_000);
    this.lead(process, epoch, validMs, world.chance(0.1) ? "shut" : "open");
    // Two masters of one epoch. One whose memory is broken cannot know the other once the watermark is gone.
    if (!(takesAway && (features.badDisk || features.backups)) && world.chance(0.4))
      this.lead(world.pick(this.pods.running), epoch, validMs);
    if (takesAway) this.api.highestEpoch = Math.max(this.api.highestEpoch, epoch);
  }
}
