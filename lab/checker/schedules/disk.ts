/** The disk of a pod, as far as the gate's memory uses it: it outlives processes, and in part the machine. */
import { noMarks, type Mark, type MarkKind } from "../../../contract/watermark";
import type { Remembered } from "../../../daemons/signing-gate/decide";
import type { MemoryFile } from "../../../daemons/signing-gate/memory";
import type { GateProcess } from "./gate-process";
import type { Scene } from "./scene";

/** The gate's file, read without the gate's code. */
interface DiskContent {
  boot: string;
  keys: Record<string, Remembered | "lost">;
  announced: Record<string, { number: number; cell: number; kind: MarkKind; mark: Mark }>;
}

/** What lies under the processes of one pod. */
export interface PodDisk {
  /** Starts of the machine. */
  boots: number;
  /** The gate's file as one process sees it. */
  fileOf(process: GateProcess): MemoryFile;
  /** The process that wrote to it has been killed, perhaps by the end of the machine. */
  crash(): void;
}

export class SimulatedDisk implements PodDisk {
  private content: string | undefined;
  /** Numbers noted since the content's file was begun: they outlive a process, not the machine. */
  private cells: number[] = [];
  boots = 0;
  /** The process that runs now has begun its own file. */
  private begun = false;
  /** What a process is writing at this moment: when it is killed the kernel may have all of it, or not. */
  private writing: string | undefined;

  constructor(private readonly scene: Scene) {}

  private land(content: string): void {
    if (!this.begun) this.cells = [];
    this.begun = true;
    this.content = content;
  }

  fileOf(process: GateProcess): MemoryFile {
    const { world, features, sabotage, keys } = this.scene;
    return {
      read: () => {
        this.begun = false;
        if (sabotage === "no-memory" || this.content === undefined) return Promise.resolve(undefined);
        return Promise.resolve({ text: this.content, cells: keys.map((_, cell) => this.cells[cell] ?? 0) });
      },
      write: (content) =>
        new Promise((resolve, reject) => {
          const fails = this.scene.faults && features.badDisk && world.chance(0.05);
          if (!fails) this.writing = content;
          world.after(world.between(0.1, 5), () => {
            if (!process.alive) return;
            this.writing = undefined;
            if (fails) this.begun = false;
            else this.land(content);
            process.deliver(fails ? () => reject(new Error("no space left")) : resolve);
          });
        }),
      note: (cell, number) => {
        if (!this.begun) throw new Error("no file");
        this.cells[cell] = number;
      },
    };
  }

  crash(): void {
    const { world, features } = this.scene;
    // What it was writing may have come to the kernel before it died.
    if (this.writing !== undefined && world.chance(0.5)) this.land(this.writing);
    this.writing = undefined;
    if (world.chance(0.3)) {
      // The machine, not the process alone: notes are lost from some moment on, all of them in the worst case.
      this.boots++;
      this.cells = this.cells.map((number) => Math.floor(number * (world.chance(0.5) ? 0 : world.random())));
    }
    if (features.badDisk && world.chance(0.3)) this.content = '{"version":2,';
  }

  /**
   * Would a gate that begins on this disk now know that this watermark is below what it remembers, or above? A broken
   * disk makes its pod start anew, which is as good.
   */
  says(address: string, test: (entry: Remembered) => boolean): boolean {
    if (this.content === undefined) return false;
    let entry: Remembered | "lost" | undefined;
    try {
      entry = this.remembered(JSON.parse(this.content) as DiskContent, address);
    } catch {
      return true;
    }
    return entry === "lost" || (entry !== undefined && test(entry));
  }

  /** The marks that a gate which begins on this disk now would remember. */
  private remembered({ boot, keys, announced }: DiskContent, address: string): Remembered | "lost" | undefined {
    const entry = keys[address];
    if (entry === undefined || entry === "lost") return entry;
    const marks = { ...noMarks, ...entry.marks };
    if (entry.unconfirmed) marks[entry.unconfirmed.kind] = entry.unconfirmed.mark;
    const more = announced[address];
    if (more && (boot !== String(this.boots) || (this.cells[more.cell] ?? 0) >= more.number))
      marks[more.kind] = more.mark;
    return { ...entry, marks };
  }
}
