/** Watermarks that are taken away: deleted, or brought back to an old content by a backup. */
import type { Watermark } from "../../../contract/watermark";
import { below, type Remembered } from "../../../daemons/signing-gate/decide";
import { parseRecord, type SimulatedApi } from "./api";
import { SimulatedDisk } from "./disk";
import type { HostileElector } from "./elector";
import type { Pods } from "./pods";
import { reaches, type Promises } from "./promises";
import type { Scene } from "./scene";

/** What may be taken away. */
interface Licence {
  /** May this content be lost? */
  mayLose(address: string, record: Watermark): boolean;
  /** Is this content older than what is known, so that its return is noticed? */
  isOld(address: string, record: Watermark, present: Watermark | null): boolean;
  lost(address: string, record: Watermark): void;
}

/** What every pod's disk says already may be taken away. */
export const knownEverywhere = (pods: Pods): Licence => {
  const disksSay = (address: string, test: (entry: Remembered) => boolean) =>
    pods.running.every(({ disk }) => disk instanceof SimulatedDisk && disk.says(address, test));
  return {
    mayLose: (address, record) => disksSay(address, (entry) => !below(entry, record)),
    isOld: (address, record) => disksSay(address, (entry) => below(record, entry)),
    lost: () => undefined,
  };
};

/** What one pod's disk must know by the words of the protocol may be taken away; then only such a pod leads. */
export const promisedSomewhere = (pods: Pods, promises: Promises, elector: HostileElector): Licence => ({
  mayLose: (address, record) => pods.running.some(({ disk }) => promises.mayTake(disk, address, record)),
  isOld: (_address, record, present) => present !== null && !reaches(record, present),
  lost: (address, record) => {
    promises.take(address, record);
    elector.shutIgnorant(record.epoch);
  },
});

export class Taking {
  constructor(
    private readonly scene: Scene,
    private readonly api: SimulatedApi,
    private readonly licence: Licence,
  ) {}

  /** Until an operator creates it again, empty. */
  delete(name: string): void {
    const { world } = this.scene;
    const stored = this.api.get(name);
    if (!stored || !this.mayLose(name, stored.text)) return;
    this.api.remove(name);
    this.lose(name, stored.text);
    world.after(world.between(100, 5000), () => {
      if (!this.api.get(name)) this.api.put(name, this.api.newUid(), "");
    });
  }

  /** A backup brings an old content back, in the same object or in a new one. */
  rewind(name: string, choose: (candidates: readonly string[]) => string): void {
    const { world, sabotage } = this.scene;
    const stored = this.api.get(name);
    const careless = sabotage === "no-memory";
    if (!stored || (!careless && !this.mayLose(name, stored.text))) return;
    const candidates = this.api
      .history(name)
      .filter((text) => careless || this.isOld(name, text, parseRecord(stored.text)));
    if (candidates.length === 0) return;
    const uid = world.chance(0.5) ? stored.uid : this.api.newUid();
    this.api.put(name, uid, choose(candidates));
    this.lose(name, stored.text);
  }

  private mayLose(name: string, text: string): boolean {
    const record = parseRecord(text);
    return record === null || this.licence.mayLose(this.api.address(name), record);
  }
  private isOld(name: string, text: string, present: Watermark | null): boolean {
    const record = parseRecord(text);
    return record !== null && this.licence.isOld(this.api.address(name), record, present);
  }
  private lose(name: string, text: string): void {
    const record = parseRecord(text);
    if (record) this.licence.lost(this.api.address(name), record);
  }
}
