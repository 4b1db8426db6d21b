/**
 * The gate's own durable memory of the highest marks that it saw, per key: what tells a rewound or replaced watermark
 * from a good one (S5). Nothing is forwarded before its mark is on the disk (slot-file.ts). A file that cannot be read
 * makes every key lost, never empty, until that key has been raised again; only then is its entry replaced.
 *
 * A mark is *announced* while the API is asked for it, so that the disk is ready when the API is, and *confirmed* in a
 * cell of the file when the API has acknowledged it, before it is forwarded. A cell outlives the process but not the
 * machine, nor does a copy of the disk have it. So a process of the same pod, on the same start of the machine, that
 * finds an announced mark without its cell knows that nothing was forwarded for it, and forgets it; anywhere else the
 * mark is remembered as unconfirmed.
 */
import * as z from "zod/mini";
import {
  markKinds,
  markSchema,
  noMarks,
  watermarkSchema,
  type Mark,
  type MarkKind,
  type Watermark,
} from "../../contract/watermark";
import { advanced, below, covers, isUnwritten, higherMarks, type Memory, type Remembered } from "./decide";

const placeSchema = { kind: z.enum(markKinds), mark: markSchema };
const rememberedSchema = z.strictObject({
  uid: z.string(),
  /** Files of older versions do not say it. */
  proven: z._default(z.boolean(), false),
  epoch: watermarkSchema.shape.epoch,
  holder: z.string(),
  floor: watermarkSchema.shape.floor,
  marks: watermarkSchema.shape.marks,
  unconfirmed: z.nullable(z.strictObject(placeSchema)),
});
const announcedSchema = z.strictObject({
  number: z.int().check(z.positive()),
  cell: z.int().check(z.nonnegative()),
  ...placeSchema,
});
const fileSchema = z.strictObject({
  version: z.literal(2),
  chain: z.string(),
  /** The pod, and the start of the machine, in which this was written; null where it is not known. */
  boot: z.nullable(z.string()),
  /** "lost": the file was unreadable once and the key has not been raised since. */
  keys: z.record(z.string(), z.union([rememberedSchema, z.literal("lost")])),
  announced: z.record(z.string(), announcedSchema),
});
/** Resolves after `ms`, or at once when aborted; never rejects. */
type Sleep = (ms: number, signal?: AbortSignal) => Promise<void>;
type Announced = z.infer<typeof announcedSchema>;

export interface MemoryFile {
  /**
   * The text last written and the number last noted in each cell, or undefined where there is no file. A cell that
   * cannot be read is NaN.
   * @throws where the text cannot be read
   */
  read(): Promise<{ text: string; cells: readonly number[] } | undefined>;
  /** Durable replacement. */
  write(text: string): Promise<void>;
  /**
   * At once and without the disk: a later process reads it, unless the machine ends. Only after a `write`. @throws
   * where it cannot be noted
   */
  note(cell: number, number: number): void;
}

/** A mark that the API is being asked for. Exactly one of the two is called. */
export interface Announcement {
  /**
   * The API acknowledged `record`: resolves when this gate will remember it whatever ends. @throws where the disk
   * refuses
   */
  confirm(uid: string, record: Watermark): Promise<void>;
  /** It did not, or nobody knows. */
  withdraw(): void;
}

/** What is remembered of a key with `record`. The same object where it says nothing new. */
function merged(
  known: Remembered | undefined,
  record: Watermark,
  now: Pick<Remembered, "uid" | "proven" | "unconfirmed">,
): Remembered {
  const { uid, proven, unconfirmed } = now;
  const same = known?.unconfirmed === unconfirmed && known.uid === uid && known.proven === proven;
  if (known && same && !below(known, record)) return known;
  const newer = !known || record.epoch >= known.epoch;
  return {
    ...now,
    epoch: newer ? record.epoch : known.epoch,
    holder: newer ? record.holder : known.holder,
    floor: Math.max(record.floor, known?.floor ?? -1),
    marks: known ? higherMarks(known.marks, record.marks) : record.marks,
  };
}

/**
 * After a read. The uid stays the one that this gate knows, so that a replaced object is lost for it until it has
 * raised there itself.
 */
export function afterRead(known: Remembered | undefined, uid: string, record: Watermark): Remembered {
  const before = known?.unconfirmed ?? null;
  const proven = known?.proven ?? false;
  return merged(known, record, {
    uid: known?.uid ?? uid,
    proven: proven || isUnwritten(record) || (known !== undefined && known.uid === uid && advanced(record, known)),
    unconfirmed: before && covers(record, before) ? null : before,
  });
}

/** After a write of this gate: what it wrote there itself is above all that it remembers. */
export const afterWrite = (known: Remembered | undefined, uid: string, record: Watermark): Remembered =>
  merged(known, record, { uid, proven: true, unconfirmed: null });

/**
 * What a new process makes of a mark that it finds announced.
 * @param noted the number in its cell; NaN where that cannot be read
 * @param cellsHold same pod and same start of the machine, so that a cell without the number was never written
 */
export function recovered(
  entry: Remembered,
  { number, kind, mark }: Pick<Announced, "number" | "kind" | "mark">,
  noted: number,
  cellsHold: boolean,
): Remembered {
  if (noted >= number) return { ...entry, marks: higherMarks({ ...noMarks, [kind]: mark }, entry.marks) };
  return cellsHold && !Number.isNaN(noted) ? entry : { ...entry, unconfirmed: { kind, mark } };
}

export class MarksMemory {
  private readonly keys = new Map<string, Remembered | "lost">();
  private readonly announced = new Map<string, Announced>();
  private readonly cells = new Map<string, number>();
  private announcements = 0;
  private dirty = false;
  /** Why the disk cannot be written to now, or undefined. */
  private trouble: string | undefined;
  private writing: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  private constructor(
    private readonly file: MemoryFile,
    private readonly chain: string,
    private readonly boot: string | null,
  ) {}

  /**
   * `problem` says why every key is lost; undefined where the file was good or absent.
   * @param boot names this pod on this start of the machine, null where nobody knows
   */
  static async load(
    file: MemoryFile,
    chain: string,
    addresses: readonly string[],
    boot: string | null,
  ): Promise<{ memory: MarksMemory; problem: string | undefined }> {
    const memory = new MarksMemory(file, chain, boot);
    let problem: string | undefined;
    try {
      const found = await file.read();
      if (found !== undefined) memory.take(found.text, found.cells);
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
      memory.keys.clear();
      for (const address of addresses) memory.keys.set(address, "lost");
    }
    return { memory, problem };
  }

  private take(text: string, cells: readonly number[]): void {
    const { data: parsed, error } = fileSchema.safeParse(JSON.parse(text));
    if (error) throw new Error(`another shape at ${error.issues[0]?.path.join(".") ?? ""}`);
    if (parsed.chain !== this.chain) throw new Error(`it is for ${parsed.chain}`);
    for (const [address, entry] of Object.entries(parsed.keys)) this.keys.set(address, entry);
    const cellsHold = this.boot !== null && parsed.boot === this.boot;
    for (const [address, announced] of Object.entries(parsed.announced)) {
      const entry = this.keys.get(address);
      if (!entry || entry === "lost") throw new Error(`a mark of ${address} without its key`);
      // Written again as what it is.
      this.dirty = true;
      this.keys.set(address, recovered(entry, announced, cells[announced.cell] ?? NaN, cellsHold));
    }
  }

  get(address: string): Memory {
    const entry = this.keys.get(address);
    return entry === "lost" ? "unreadable" : entry;
  }

  /** What a read showed. Only raises; `flush` makes it durable later. */
  note(address: string, uid: string, record: Watermark): void {
    const known = this.keys.get(address);
    if (known === "lost") return;
    this.keep(address, afterRead(known, uid, record));
  }

  /**
   * Resolves when what `record` says of the key is on the disk. Replaces an object that was lost. @throws where the
   * disk refuses
   */
  async commit(address: string, uid: string, record: Watermark): Promise<void> {
    this.settle(address, uid, record);
    await this.flush();
  }

  /** Before the API is asked for a mark of a key that has been committed in this object; one at a time for each key. */
  announce(address: string, kind: MarkKind, mark: Mark): Announcement {
    const known = this.keys.get(address);
    if (!known || known === "lost" || this.announced.has(address))
      throw new Error(`no mark of ${address} can be announced now`);
    const cell = this.cells.get(address) ?? this.cells.size;
    this.cells.set(address, cell);
    const entry = { number: ++this.announcements, cell, kind, mark };
    this.announced.set(address, entry);
    this.dirty = true;
    const durable = this.flush();
    // Whoever withdraws does not care; who confirms hears of it there.
    durable.catch(() => undefined);
    const over = () => {
      this.announced.delete(address);
      this.dirty = true;
    };
    return {
      confirm: async (uid, record) => {
        over();
        this.settle(address, uid, record);
        await durable;
        this.file.note(cell, entry.number);
      },
      withdraw: over,
    };
  }

  private settle(address: string, uid: string, record: Watermark): void {
    const known = this.keys.get(address);
    this.keep(address, afterWrite(known === "lost" ? undefined : known, uid, record));
  }

  private keep(address: string, entry: Remembered): void {
    if (entry === this.keys.get(address)) return;
    this.keys.set(address, entry);
    this.dirty = true;
  }

  /** Why this gate cannot remember anything now, or undefined. */
  get problem(): string | undefined {
    return this.trouble;
  }

  /**
   * `work` of this memory, but no longer than `timeoutMs`: a disk may never answer. @throws where the disk refuses, or
   * has not answered by then
   */
  async within(work: Promise<void>, timeoutMs: number, sleep: Sleep): Promise<void> {
    const over = new AbortController();
    let done = false;
    const settled = work.finally(() => {
      done = true;
      over.abort();
    });
    const timeout = sleep(timeoutMs, over.signal).then(async () => {
      // After a pause of the whole process a timer comes before an answer of the disk that is there already.
      if (!done) await new Promise((resolve) => setImmediate(resolve));
      if (done) return;
      this.trouble = `the disk has not answered within ${Math.round(timeoutMs)} ms`;
      throw new Error(this.trouble);
    });
    settled.catch(() => undefined);
    timeout.catch(() => undefined);
    await Promise.race([settled, timeout]);
    await settled;
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
    const content = JSON.stringify({
      version: 2,
      chain: this.chain,
      boot: this.boot,
      keys: Object.fromEntries(this.keys),
      announced: Object.fromEntries(this.announced),
    });
    this.writing = this.file.write(content).then(
      () => {
        this.writing = undefined;
        this.trouble = undefined;
      },
      (error: unknown) => {
        this.writing = undefined;
        this.trouble = String(error);
        this.dirty = true;
        throw error;
      },
    );
    return this.writing;
  }
}
