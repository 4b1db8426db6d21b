/** The pods: each has a disk, on which one process of the gate runs after another. */
import { podName } from "../../../contract/names";
import { SimulatedDisk } from "./disk";
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
    for (const identity of identities) this.running.push(await this.start(identity, new SimulatedDisk(this.scene)));
  }

  private async start(identity: string, disk: SimulatedDisk): Promise<GateProcess> {
    const process = new GateProcess(this.scene, identity, disk);
    this.processes.push(process);
    await process.start(this.surroundings);
    return process;
  }

  /** The process of a pod ends, perhaps with its machine, and a new one starts on its disk. */
  async crash(at: number): Promise<void> {
    const process = this.running[at];
    if (!process) return;
    process.alive = false;
    this.scene.counts.crashes++;
    process.disk.crash();
    this.running[at] = await this.start(process.identity, process.disk);
  }
}
