/** The pods: each has a disk, on which one process of the gate runs after another. */
import { podName } from "../../../contract/names";
import { BlockDisk } from "./block-disk";
import { SimulatedDisk, type PodDisk } from "./disk";
import { GateProcess, type Surroundings } from "./gate-process";
import { baker, type Scene } from "./scene";

export class Pods {
  /** The process of each pod. */
  readonly running: GateProcess[] = [];

  constructor(
    private readonly scene: Scene,
    /** All that ever ran, the oldest first. */
    private readonly processes: GateProcess[],
    private readonly surroundings: Surroundings,
  ) {}

  /** The two pods of the baker, and perhaps a force-deleted one that still runs beside its successor. */
  async startAll(): Promise<void> {
    const first = podName(baker, "active-standby", 0);
    const second = podName(baker, "active-standby", 1);
    const identities = [`${first}_u1`, `${second}_u1`, ...(this.scene.features.twin ? [`${first}_u2`] : [])];
    for (const identity of identities)
      this.running.push(
        await this.start(identity, this.scene.strong ? new BlockDisk(this.scene) : new SimulatedDisk(this.scene)),
      );
  }

  private async start(identity: string, disk: PodDisk): Promise<GateProcess> {
    const process = new GateProcess(this.scene, identity, disk);
    this.processes.push(process);
    await process.start(this.surroundings);
    return process;
  }

  /**
   * The process of a pod ends, perhaps with its machine, and a new one starts on its disk.
   * @param meanwhile what happens to the disk while nothing runs on it
   */
  async crash(process: GateProcess, meanwhile: () => void = () => undefined): Promise<void> {
    process.alive = false;
    this.scene.counts.crashes++;
    process.disk.crash();
    meanwhile();
    const next = await this.start(process.identity, process.disk);
    this.running[this.running.indexOf(process)] = next;
  }
}
