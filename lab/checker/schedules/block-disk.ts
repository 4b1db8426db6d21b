/**
 * A disk as a hostile kernel and machine allow it, under the gate's real slot file. What a process wrote outlives the
 * process at once. When the machine ends, every sector that was not synced may be on the disk or not, each for itself
 * and in any order. A sync may fail; then the sectors in question may never reach the disk, although later syncs report
 * success. The whole disk may be set back to an earlier state, emptied, or filled with nonsense.
 */
import type { MemoryFile } from "../../../daemons/signing-gate/memory";
import { slotFile, type SlotDisk } from "../../../daemons/signing-gate/slot-file";
import type { PodDisk } from "./disk";
import type { Scene } from "./scene";

const sectorBytes = 512;
const slotBytes = 4096;

/** The process whose file it is: nothing reaches it once it has ended, and nothing while it is stopped. */
export interface DiskUser {
  readonly alive: boolean;
  deliver(run: () => void): void;
}
/** What may go wrong with the disk at this moment, and what a test breaks on purpose. */
export type DiskScene = Pick<Scene, "world" | "faults"> & {
  readonly features: { readonly slowDisk: boolean; readonly badDisk: boolean };
  readonly sabotage: string | undefined;
};

/** One file: what processes see, and what is on the disk. */
class Inode {
  readonly pages: Buffer;
  /** Sectors of `pages` that are newer than on the disk. */
  readonly dirty = new Set<number>();
  /** Sectors that the disk refused once. */
  private readonly stuck = new Set<number>();

  constructor(readonly durable: Buffer) {
    this.pages = Buffer.from(durable);
  }
  write(bytes: Buffer, position: number): void {
    bytes.copy(this.pages, position);
    const last = Math.floor((position + bytes.length - 1) / sectorBytes);
    for (let sector = Math.floor(position / sectorBytes); sector <= last; sector++) this.dirty.add(sector);
  }
  /** @param content of the page when the write of this sector began */
  settle(sector: number, content: Buffer): void {
    if (!this.stuck.has(sector)) content.copy(this.durable, sector * sectorBytes);
  }
  refuse(sectors: readonly number[]): void {
    for (const sector of sectors) this.stuck.add(sector);
  }
  page(sector: number): Buffer {
    return Buffer.from(this.pages.subarray(sector * sectorBytes, (sector + 1) * sectorBytes));
  }
}

/** What a backup of the disk holds. */
export interface Snapshot {
  content: Buffer | undefined;
}

export class BlockDisk implements PodDisk {
  boots = 0;
  private inode: Inode | undefined;
  /** A file that replaces the present one at this moment. */
  private replacing: Buffer | undefined;
  private readonly open = new Map<number, Inode>();
  private descriptors = 0;

  constructor(private readonly scene: DiskScene) {}

  fileOf(process: DiskUser): MemoryFile {
    return slotFile("marks", slotBytes, this.of(process));
  }

  /** Calls the disk after a while, unless the process ends before. */
  private later<T>(process: DiskUser, work: () => T): Promise<T> {
    const { world, features } = this.scene;
    return new Promise((resolve, reject) => {
      world.after(world.between(0.1, features.slowDisk ? 100 : 5), () => {
        if (!process.alive) return;
        try {
          const value = work();
          process.deliver(() => resolve(value));
        } catch (error) {
          process.deliver(() => reject(error as Error));
        }
      });
    });
  }
  private fails(): boolean {
    return this.scene.faults && this.scene.features.badDisk && this.scene.world.chance(0.1);
  }

  private of(process: DiskUser): SlotDisk {
    const file = (fd: number): Inode => {
      const inode = this.open.get(fd);
      if (!inode) throw new Error(`EBADF: ${fd}`);
      return inode;
    };
    return {
      read: () =>
        this.inode
          ? Promise.resolve(Buffer.from(this.inode.pages))
          : Promise.reject(Object.assign(new Error("ENOENT"), { code: "ENOENT" })),
      replace: (_path, content) => {
        this.replacing = content;
        return this.later(process, () => {
          this.replacing = undefined;
          if (this.fails()) throw new Error("ENOSPC");
          this.inode = new Inode(Buffer.from(content));
        });
      },
      open: () => {
        if (!this.inode) throw new Error("ENOENT");
        this.open.set(++this.descriptors, this.inode);
        return this.descriptors;
      },
      write: (fd, bytes, offset, position) => {
        file(fd).write(bytes.subarray(offset), position);
        return bytes.length - offset;
      },
      sync: (fd) => {
        const inode = file(fd);
        if (this.scene.sabotage === "no-sync") return Promise.resolve();
        const sectors = [...inode.dirty].map((sector) => [sector, inode.page(sector)] as const);
        return this.later(process, () => {
          if (this.fails()) {
            inode.refuse(sectors.map(([sector]) => sector));
            throw new Error("EIO");
          }
          for (const [sector, content] of sectors) {
            inode.settle(sector, content);
            if (inode.page(sector).equals(content)) inode.dirty.delete(sector);
          }
        });
      },
      close: (fd) => void this.open.delete(fd),
    };
  }

  /** The process that wrote to it ends. */
  endProcess(): void {
    // The rename may have happened before the process died.
    if (this.replacing && this.scene.world.chance(0.5)) this.inode = new Inode(Buffer.from(this.replacing));
    this.replacing = undefined;
    this.open.clear();
  }
  crash(): void {
    const { world, features } = this.scene;
    this.endProcess();
    if (world.chance(0.6)) this.endMachine();
    if (features.badDisk && world.chance(0.3)) this.inode = new Inode(Buffer.from('{"version":2,'));
  }
  endMachine(): void {
    const { world, sabotage } = this.scene;
    this.boots++;
    if (!this.inode) return;
    const kept = world.pick([0, 0, 0.5, 1]);
    for (const sector of this.inode.dirty) if (world.chance(kept)) this.inode.settle(sector, this.inode.page(sector));
    this.inode = sabotage === "no-memory" ? undefined : new Inode(this.inode.durable);
  }

  snapshot(): Snapshot {
    return { content: this.inode && Buffer.from(this.inode.durable) };
  }
  /** While no process runs on it: an earlier state, on another machine. */
  restore({ content }: Snapshot): void {
    this.boots++;
    this.inode = content && new Inode(Buffer.from(content));
  }
}
