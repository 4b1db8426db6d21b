/**
 * An adversary as strong as the words of docs/protocol.md allow. It strikes at the moments that matter: when a gate has
 * just forwarded a request, its process or machine ends, the watermark goes back, and the restarted gate is asked to
 * sign something else at the same place. It sets disks back and empties them while their watermarks are whole.
 *
 * What it may not do is what the protocol does not promise to bear: take away a watermark that no disk has to know, and
 * let a pod lead that need not know what was taken away, or whose epoch is older than that.
 */
import { watermarkName } from "../../../contract/names";
import type { SignAttempt } from "../../../daemons/signing-gate/gate";
import { parseSigningRequest } from "../../../tezos/signing-request";
import type { SimulatedApi } from "./api";
import { BlockDisk, type Snapshot } from "./block-disk";
import { requestBytes, type HostileClient } from "./client";
import type { HostileElector } from "./elector";
import type { GateProcess } from "./gate-process";
import type { Pods } from "./pods";
import type { Knowledge, Promises } from "./promises";
import type { Scene } from "./scene";
import type { Taking } from "./taking";

interface Backup extends Snapshot {
  knowledge: Knowledge;
}

export class StrongAdversary {
  private readonly backups = new Map<BlockDisk, Backup[]>();

  constructor(
    private readonly scene: Scene,
    private readonly api: SimulatedApi,
    private readonly pods: Pods,
    private readonly promises: Promises,
    private readonly elector: HostileElector,
    private readonly client: HostileClient,
    private readonly taking: Taking,
  ) {
    if (scene.features.backups) scene.world.after(2000, () => this.backUp());
  }

  /** A gate has forwarded a request. */
  onForward(process: GateProcess, { address, bytes }: SignAttempt): void {
    const record = process.answered.get(address);
    if (record) this.promises.learn(process.disk, address, record);
    const { world, features, faults } = this.scene;
    if (!faults || !features.ambushes) return;
    // Where this is the first mark of its level, nothing but the memory of it keeps the level shut.
    const marks = Object.values(record?.marks ?? {}).map((mark) => mark?.level ?? -1);
    const first = marks.filter((level) => level === Math.max(...marks)).length === 1;
    if (!world.chance(first ? 0.7 : 0.03)) return;
    world.after(world.between(0, 3), () => this.ambush(process, address, bytes));
  }

  private ambush(process: GateProcess, address: string, bytes: Uint8Array): void {
    const { world, features, faults } = this.scene;
    if (!faults || !process.alive) return;
    const take = () => {
      const name = watermarkName(address);
      if (features.rewinds && world.chance(0.8)) this.taking.rewind(name, (texts) => texts.at(-1) ?? "");
      else if (features.deletes) this.taking.delete(name);
    };
    const tempt = () => this.tempt(process.identity, address, bytes);
    if (world.chance(0.9)) void this.pods.crash(process, take).then(tempt);
    else {
      take();
      tempt();
    }
  }

  /** The pod leads again, and is asked for the same block again and for others at its place. */
  private tempt(identity: string, address: string, bytes: Uint8Array): void {
    const { world } = this.scene;
    const parsed = parseSigningRequest(bytes);
    const process = this.pods.running.find((other) => other.identity === identity);
    if (!parsed.ok || !process) return;
    process.resume();
    this.elector.lead(process, ++this.api.highestEpoch, 20_000);
    const { kind, level, round } = parsed.request;
    for (let i = 0; i < 4; i++) {
      const again = world.chance(0.3) ? bytes : requestBytes(kind, level, round, world.pick([1, 2, 3]));
      world.after(world.between(1, 4000), () => this.client.ask(process, address, again));
    }
  }

  /** A backup of a disk is made, or a pod comes back on an old or an empty disk, to a watermark that is whole. */
  private backUp(): void {
    const { world, faults } = this.scene;
    if (!faults) return;
    world.after(world.between(1000, 10_000), () => this.backUp());
    const process = world.pick(this.pods.running);
    const { disk } = process;
    if (!(disk instanceof BlockDisk)) return;
    const kept = this.backups.get(disk) ?? [];
    if (world.chance(0.6)) {
      this.backups.set(disk, [...kept, { ...disk.snapshot(), knowledge: this.promises.snapshot(disk) }]);
      return;
    }
    if (this.promises.anythingTaken || !process.alive) return;
    const empty: Backup = { content: undefined, knowledge: new Map() };
    const backup = kept.length > 0 && world.chance(0.7) ? world.pick(kept) : empty;
    void this.pods.crash(process, () => {
      disk.restore(backup);
      this.promises.restore(disk, backup.knowledge);
    });
  }
}
