/** What goes wrong now and then: crashes, pauses, partitions, watermarks deleted and rewound. */
import { watermarkName } from "../../../contract/names";
import { parseRecord, type SimulatedApi } from "./api";
import type { SimulatedChain } from "./chain";
import type { GateProcess } from "./gate-process";
import type { Pods } from "./pods";
import type { Scene } from "./scene";
import type { Taking } from "./taking";

const troubles = ["crash", "stop", "api", "head", "delete", "rewind", "operator"] as const;

export class Troubles {
  constructor(
    private readonly scene: Scene,
    private readonly api: SimulatedApi,
    private readonly chain: SimulatedChain,
    private readonly pods: Pods,
    private readonly taking: Taking,
  ) {
    scene.world.after(1500, () => this.strike());
  }

  private strike(): void {
    const { world, keys, faults } = this.scene;
    if (!faults) return;
    world.after(world.between(500, 8000), () => this.strike());
    const at = Math.floor(world.random() * this.pods.running.length);
    const process = this.pods.running[at];
    const name = watermarkName(world.pick(keys).address);
    if (!process) return;
    const strikes: Record<(typeof troubles)[number], () => void> = {
      crash: () => this.crash(process, name),
      stop: () => this.stop(process),
      api: () => this.cutApi(process),
      head: () => this.freezeHead(process),
      delete: () => this.delete(name),
      rewind: () => this.rewind(name, (candidates) => world.pick(candidates)),
      operator: () => this.raiseFloor(name),
    };
    strikes[world.pick(troubles)]();
  }

  private crash(process: GateProcess, name: string): void {
    const { world, features } = this.scene;
    if (!features.crashes || !process.alive) return;
    void this.pods.crash(process);
    // What ended the process may have cost the API its last write, too.
    if (world.chance(0.3)) this.rewind(name, (candidates) => candidates.at(-1) ?? "");
  }
  private stop(process: GateProcess): void {
    const { world, features, counts } = this.scene;
    if (!features.stops || process.stopped) return;
    counts.stops++;
    process.stop();
    world.after(world.between(50, 15_000), () => process.resume());
  }
  private cutApi(process: GateProcess): void {
    const { world, features } = this.scene;
    if (!features.lossyApi) return;
    process.apiDown = true;
    world.after(world.between(100, 8000), () => (process.apiDown = false));
  }
  private freezeHead(process: GateProcess): void {
    const { world, features } = this.scene;
    if (!features.frozenHeads) return;
    process.frozenHead = { level: this.chain.tip, sinceMs: this.chain.tipSinceMs };
    world.after(world.between(5000, 60_000), () => (process.frozenHead = undefined));
  }
  private delete(name: string): void {
    if (this.scene.features.deletes) this.taking.delete(name);
  }
  private rewind(name: string, choose: (candidates: readonly string[]) => string): void {
    if (this.scene.features.rewinds) this.taking.rewind(name, choose);
  }
  private raiseFloor(name: string): void {
    const stored = this.api.get(name);
    const record = parseRecord(stored?.text ?? "");
    if (!this.scene.features.operator || !stored || !record) return;
    const floor = Math.max(record.floor, this.chain.tip + 3);
    this.api.put(name, stored.uid, JSON.stringify({ ...record, floor }));
  }
}
