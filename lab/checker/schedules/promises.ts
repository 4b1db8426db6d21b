/**
 * What the protocol promises that each pod's disk knows, kept without the gate's code: the watermark under which a
 * request was forwarded, and what the pod saw before a flush that succeeded. Only such knowledge tells a good watermark
 * from a lost one (S5). So an adversary may take a watermark away while at least one disk knows it, and until a gate
 * has raised above it again only pods whose disks know it may lead.
 */
import type { Mark, Watermark } from "../../../contract/watermark";
import { markKinds, noMarks } from "../../../contract/watermark";
import type { PodDisk } from "./disk";

/** The highest of several records, part by part. */
export type Known = Pick<Watermark, "epoch" | "floor" | "marks">;
/** "lost": the gate knows that it knows nothing, and starts above everything. */
export type Knowledge = ReadonlyMap<string, Known | "lost">;

const nothing: Known = { epoch: -1, floor: -1, marks: noMarks };
const order = (a: Mark, b: Mark): number => a.level - b.level || a.round - b.round;

function merge(a: Known, b: Known): Known {
  const marks = { ...a.marks };
  for (const kind of markKinds) {
    const [mine, other] = [a.marks[kind], b.marks[kind]];
    if (other && (!mine || order(other, mine) > 0)) marks[kind] = other;
  }
  return { epoch: Math.max(a.epoch, b.epoch), floor: Math.max(a.floor, b.floor), marks };
}
/** Everything in `b` is in `a`. */
export const reaches = (a: Known, b: Known): boolean =>
  a.epoch >= b.epoch &&
  a.floor >= b.floor &&
  markKinds.every((kind) => {
    const [mine, other] = [a.marks[kind], b.marks[kind]];
    if (!other) return true;
    if (!mine) return false;
    return order(mine, other) > 0 || (order(mine, other) === 0 && mine.digest === other.digest);
  });

export class Promises {
  private readonly disks = new Map<PodDisk, Map<string, Known | "lost">>();
  /** What was taken away of each key and is not yet in its watermark, nor below its floor, again. */
  private readonly taken = new Map<string, Known>();

  private of(disk: PodDisk): Map<string, Known | "lost"> {
    let known = this.disks.get(disk);
    if (!known) this.disks.set(disk, (known = new Map()));
    return known;
  }

  learn(disk: PodDisk, address: string, record: Known): void {
    const known = this.of(disk).get(address);
    if (known !== "lost") this.of(disk).set(address, merge(known ?? nothing, record));
  }
  /** The gate's file on this disk could not be read. */
  loseAll(disk: PodDisk, addresses: readonly string[]): void {
    for (const address of addresses) this.of(disk).set(address, "lost");
  }
  /** The gate of this disk writes: a key that was lost has been raised, or is about to be. */
  writes(disk: PodDisk, address: string): void {
    if (this.of(disk).get(address) === "lost") this.of(disk).set(address, nothing);
  }
  snapshot(disk: PodDisk): Knowledge {
    return new Map(this.of(disk));
  }
  restore(disk: PodDisk, knowledge: Knowledge): void {
    this.disks.set(disk, new Map(knowledge));
  }

  private knows(disk: PodDisk, address: string, record: Known): boolean {
    const known = this.of(disk).get(address);
    return known === "lost" || (known !== undefined && reaches(known, record));
  }
  /** Would this disk know all that is missing then? */
  mayTake(disk: PodDisk, address: string, record: Known): boolean {
    return this.knows(disk, address, record) && this.mayLead(disk);
  }

  take(address: string, record: Known): void {
    this.taken.set(address, merge(this.taken.get(address) ?? nothing, record));
  }
  /** A gate wrote `record`. */
  stored(address: string, record: Known): void {
    const taken = this.taken.get(address);
    if (!taken || record.epoch < taken.epoch || record.floor < taken.floor) return;
    const above = markKinds.every((kind) => {
      const mark = taken.marks[kind];
      const now = record.marks[kind];
      return !mark || mark.level <= record.floor || (now && order(now, mark) >= 0);
    });
    if (above) this.taken.delete(address);
  }
  get anythingTaken(): boolean {
    return this.taken.size > 0;
  }
  /** Does the disk know all that was taken away? */
  mayLead(disk: PodDisk): boolean {
    return [...this.taken].every(([address, record]) => this.knows(disk, address, record));
  }
}
