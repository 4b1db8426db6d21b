/**
 * The gate's own durable memory of the highest marks that it saw, per key: what tells a rewound or replaced watermark from a good one (S5).
 * Nothing is forwarded before its mark is on the disk (slot-file.ts). A file that cannot be read makes every key lost, never empty, until that
 * key has been raised again; only then is its entry replaced.
 */
import * as z from "zod/mini";
import { watermarkSchema, type Watermark } from "../../contract/watermark";
import { below, higherMarks, type Memory, type Remembered } from "./decide";

const rememberedSchema = z.strictObject({
  uid: z.string(),
  epoch: watermarkSchema.shape.epoch,
  holder: z.string(),
  floor: watermarkSchema.shape.floor,
  marks: watermarkSchema.shape.marks,
});
const fileSchema = z.strictObject({
  version: z.literal(1),
  chain: z.string(),
  /** "lost": the file was unreadable once and the key has not been raised since. */
  keys: z.record(z.string(), z.union([rememberedSchema, z.literal("lost")])),
});

export interface MemoryFile {
  /** The content, or undefined where there is no file. @throws where it cannot be read */
  read(): Promise<string | undefined>;
  /** Durable replacement. */
  write(content: string): Promise<void>;
}

export class MarksMemory {
  private readonly keys = new Map<string, Remembered | "lost">();
  private dirty = false;
  private writing: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  private constructor(
    private readonly file: MemoryFile,
    private readonly chain: string,
  ) {}

  /** `problem` says why every key is lost; undefined where the file was good or absent. */
  static async load(
    file: MemoryFile,
    chain: string,
    addresses: readonly string[],
  ): Promise<{ memory: MarksMemory; problem: string | undefined }> {
    const memory = new MarksMemory(file, chain);
    let problem: string | undefined;
    try {
      const text = await file.read();
      if (text !== undefined) {
        const { data: parsed, error } = fileSchema.safeParse(JSON.parse(text));
        if (error) throw new Error(`another shape at ${error.issues[0]?.path.join(".") ?? ""}`);
        if (parsed.chain !== chain) throw new Error(`it is for ${parsed.chain}`);
        for (const [address, entry] of Object.entries(parsed.keys)) memory.keys.set(address, entry);
      }
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
      memory.keys.clear();
      for (const address of addresses) memory.keys.set(address, "lost");
    }
    return { memory, problem };
  }

  get(address: string): Memory {
    const entry = this.keys.get(address);
    return entry === "lost" ? "unreadable" : entry;
  }

  /**
   * What a read showed. Only raises; `flush` makes it durable later. The uid stays the one that this gate knows, so that a
   * replaced object is lost for it until it has raised there itself.
   */
  note(address: string, uid: string, record: Watermark): void {
    const known = this.keys.get(address);
    if (known !== "lost") this.merge(address, known, known?.uid ?? uid, record);
  }

  /** Resolves when what `record` says of the key is on the disk. Replaces an object that was lost. @throws where the disk refuses */
  async commit(address: string, uid: string, record: Watermark): Promise<void> {
    const known = this.keys.get(address);
    this.merge(address, known === "lost" ? undefined : known, uid, record);
    await this.flush();
  }

  private merge(address: string, known: Remembered | undefined, uid: string, record: Watermark): void {
    if (known && known.uid === uid && !below(known, record)) return;
    const newer = !known || record.epoch >= known.epoch;
    this.keys.set(address, {
      uid,
      epoch: newer ? record.epoch : known.epoch,
      holder: newer ? record.holder : known.holder,
      floor: Math.max(record.floor, known?.floor ?? -1),
      marks: known ? higherMarks(known.marks, record.marks) : record.marks,
    });
    this.dirty = true;
  }

  /** Group commit: all that was merged before the call is on the disk when it resolves; at most one write at a time. */
  flush(): Promise<void> {
    if (!this.writing) return this.start();
    return (this.next ??= this.writing
      .catch(() => undefined)
      .then(() => {
        this.next = undefined;
        // A write that began meanwhile holds all that was merged before this call.
        return this.writing ?? this.start();
      }));
  }

  private start(): Promise<void> {
    if (!this.dirty) return Promise.resolve();
    this.dirty = false;
    const content = JSON.stringify({ version: 1, chain: this.chain, keys: Object.fromEntries(this.keys) });
    this.writing = this.file.write(content).then(
      () => {
        this.writing = undefined;
      },
      (error: unknown) => {
        this.writing = undefined;
        this.dirty = true;
        throw error;
      },
    );
    return this.writing;
  }
}
