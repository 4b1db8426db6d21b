/**
 * Judges what was signed. Input: every signature request that reached any signer, and every write of a watermark that
 * the API committed, in one order. Knows nothing of the gate's code: it derives the rules S1-S3, S5 and S7 again from
 * the two logs.
 */
import { z } from "zod";
import { markKinds, watermarkSchema, type Mark, type MarkKind, type Watermark } from "../../contract/watermark";
import { mostDalBits } from "../../tezos/protocols";
import { parseSigningRequest } from "../../tezos/signing-request";

/** A signature request that reached a signer, whether or not an answer left it. */
export const signerEntrySchema = z.object({
  /** Place in the common order of both logs; the same clock or counter for all. */
  at: z.number(),
  signer: z.string(),
  /** tz1..tz4 */
  address: z.string(),
  /** Lowercase hex of the bytes, watermark byte included. */
  bytes: z.string(),
  /** The signature that the signer made, or null where it made none. It counts even if the answer was lost. */
  signature: z.string().nullable(),
});
export type SignerEntry = z.infer<typeof signerEntrySchema>;

/** A committed change of a watermark object. */
export const commitEntrySchema = z.object({
  at: z.number(),
  address: z.string(),
  uid: z.string(),
  /**
   * `gate`: judged. `other`: an operator, Terraform or a fault put it there (created, rewound, replaced, deleted); not
   * judged, but it changes what is stored.
   */
  by: z.enum(["gate", "other"]),
  /** Null: created empty, or deleted. */
  record: z.nullable(watermarkSchema),
});
export type CommitEntry = z.infer<typeof commitEntrySchema>;

export const violationCodes = [
  "not-understood",
  "two-digests",
  "two-signatures-of-a-block",
  "forward-before-commit",
  "mark-not-monotone",
  "epoch-not-monotone",
  "floor-not-monotone",
  "below-highest-epoch",
  "two-holders-of-an-epoch",
  "mark-at-or-below-floor",
  "tenure-without-raise",
  "opened-at-signed-level",
] as const;
export type ViolationCode = (typeof violationCodes)[number];
export interface Violation {
  code: ViolationCode;
  address: string;
  at: number;
  text: string;
}

export interface CheckOptions {
  /** Same unit as `at`: when rounds at the floor of a halted chain may open. Default: never. */
  floorPassAfter?: number;
}

const order = (a: { level: number; round: number }, b: { level: number; round: number }) =>
  a.level - b.level || a.round - b.round;
const place = (mark: { level: number; round: number }) => `(${mark.level}, ${mark.round})`;
const marksOf = (record: Watermark): [MarkKind, Mark][] =>
  markKinds.flatMap((kind) => {
    const mark = record.marks[kind];
    return mark ? [[kind, mark] as [MarkKind, Mark]] : [];
  });
const nameOf = (kind: MarkKind, mark: Pick<Mark, "level" | "round" | "digest">) =>
  `${kind} ${mark.level} ${mark.round} ${mark.digest}`;
const same = (a: Mark | null, b: Mark | null) => JSON.stringify(a) === JSON.stringify(b);

/** Every violation in the logs, in their order. Both logs must be complete. */
export function check(
  signed: readonly SignerEntry[],
  commits: readonly CommitEntry[],
  options: CheckOptions = {},
): Violation[] {
  const violations: Violation[] = [];
  const addresses = new Set([...signed.map((entry) => entry.address), ...commits.map((entry) => entry.address)]);
  for (const address of addresses)
    violations.push(
      ...checkKey(
        address,
        signed.filter((entry) => entry.address === address),
        commits.filter((entry) => entry.address === address),
        options,
      ),
    );
  return violations.sort((a, b) => a.at - b.at);
}

function checkKey(
  address: string,
  signed: readonly SignerEntry[],
  commits: readonly CommitEntry[],
  options: CheckOptions,
): Violation[] {
  const history = new KeyHistory(address, options);
  const events = [
    ...signed.map((entry) => ({ at: entry.at, see: () => history.sign(entry) })),
    ...commits.map((commit) => ({ at: commit.at, see: () => history.commit(commit) })),
  ].sort((a, b) => a.at - b.at);
  for (const { see } of events) see();
  return history.violations;
}

/** A stored record, and the raise of its tenure. */
interface Stored {
  record: Watermark | null;
  uid: string;
  raise: { at: number; aboveRound: number } | undefined;
}

/** All that happened with one key so far: deletion and rollback of the object forget nothing here. */
class KeyHistory {
  readonly violations: Violation[] = [];
  private readonly digests = new Map<string, string>();
  private readonly blockSignatures = new Map<string, string>();
  private signedLevel = -1;
  private readonly committed = new Set<string>();
  /** Marks that anybody ever stored: what a raise may put back. */
  private readonly everStored = new Set<string>();
  private readonly holders = new Map<number, string>();
  private readonly highest = { marks: {} as Partial<Record<MarkKind, Mark>>, epoch: -1, floor: -1 };
  private stored: Stored = { record: null, uid: "", raise: undefined };
  /** What an outsider took something away from, until a gate has raised or an outsider has put back all of it. */
  private lost: Stored | undefined;

  constructor(
    private readonly address: string,
    private readonly options: CheckOptions,
  ) {}

  /** A request that reached a signer. */
  sign({ at, signer, bytes, signature }: SignerEntry): void {
    // By the widest bound that a gate can have: what a node told it is not known here.
    const parsed = parseSigningRequest(Buffer.from(bytes, "hex"), mostDalBits);
    if (!parsed.ok)
      return this.report("not-understood", at, `${signer} was asked to sign what is refused as ${parsed.reason}`);
    const { kind, level, round, digest, chainId } = parsed.request;
    const slot = `${chainId} ${kind} ${place({ level, round })}`;
    const other = this.digests.get(slot);
    if (other !== undefined && other !== digest)
      this.report("two-digests", at, `${slot}: ${other.slice(0, 8)} and ${digest.slice(0, 8)}`);
    this.digests.set(slot, other ?? digest);
    if (!this.committed.has(nameOf(kind, { level, round, digest })))
      this.report("forward-before-commit", at, `${slot} was never committed`);
    this.signedLevel = Math.max(this.signedLevel, level);
    if (kind !== "block" || signature === null) return;
    const first = this.blockSignatures.get(digest);
    if (first !== undefined && first !== signature)
      this.report("two-signatures-of-a-block", at, `${slot} has two signatures`);
    this.blockSignatures.set(digest, first ?? signature);
  }

  /** A state of the watermark that the API stored. */
  commit(commit: CommitEntry): void {
    const { at, record } = commit;
    const marks = record ? marksOf(record) : [];
    const restored = new Set(marks.flatMap(([kind, mark]) => (this.everStored.has(nameOf(kind, mark)) ? [kind] : [])));
    for (const [kind, mark] of marks) this.everStored.add(nameOf(kind, mark));
    if (commit.by === "other" || record === null) return this.outsider(commit);
    this.followsFormer(at, record);
    const before = this.stored.record;
    if (before === null || record.epoch !== before.epoch || record.holder !== before.holder || this.lost)
      this.raise(at, record, restored);
    else this.mark(at, record, before, restored);
    for (const kind of markKinds)
      if (before?.marks[kind] && !record.marks[kind])
        this.report("mark-not-monotone", at, `the mark of ${kind} was removed`);
    const { highest } = this;
    for (const [kind, mark] of marks) {
      this.committed.add(nameOf(kind, mark));
      const top = highest.marks[kind];
      if (!top || order(mark, top) > 0) highest.marks[kind] = mark;
    }
    highest.epoch = Math.max(highest.epoch, record.epoch);
    highest.floor = Math.max(highest.floor, record.floor);
    this.stored = { ...this.stored, record, uid: commit.uid };
  }

  private report(code: ViolationCode, at: number, text: string): void {
    this.violations.push({ code, address: this.address, at, text });
  }

  /**
   * Whatever an outsider did that takes something away: the next tenure must not open at a level that was signed.
   */
  private outsider({ record, uid }: CommitEntry): void {
    const whole = this.lost ?? this.stored;
    const before = whole.record;
    const lowered =
      record === null ||
      record.unfenced ||
      uid !== whole.uid ||
      (before !== null &&
        (record.epoch < before.epoch ||
          record.floor < before.floor ||
          marksOf(before).some(([kind, mark]) => !same(record.marks[kind], mark))));
    this.lost = lowered ? whole : undefined;
    this.stored = { record, uid, raise: lowered ? undefined : whole.raise };
  }

  /** Epochs have one holder; they and floors never decrease. */
  private followsFormer(at: number, { epoch, holder, floor }: Watermark): void {
    const known = this.holders.get(epoch);
    if (known !== undefined && known !== holder)
      this.report("two-holders-of-an-epoch", at, `epoch ${epoch} is held by ${known} and ${holder}`);
    this.holders.set(epoch, known ?? holder);
    const before = this.stored.record;
    const { highest } = this;
    if (before !== null && epoch < before.epoch)
      this.report("epoch-not-monotone", at, `epoch ${before.epoch}, then ${epoch}`);
    if (epoch < highest.epoch) this.report("below-highest-epoch", at, `epoch ${epoch} after ${highest.epoch}`);
    if (floor < highest.floor) this.report("floor-not-monotone", at, `floor ${floor} after ${highest.floor}`);
  }

  /** The first record of a tenure, or after something was lost. */
  private raise(at: number, record: Watermark, restored: ReadonlySet<MarkKind>): void {
    const { epoch, floor } = record;
    const marks = marksOf(record);
    const before = this.stored.record;
    if (!marks.every(([kind, mark]) => same(mark, before?.marks[kind] ?? null) || restored.has(kind)))
      this.report("tenure-without-raise", at, `epoch ${epoch} begins with a mark instead of a raise`);
    const recorded = Math.max(-1, ...marks.map(([, mark]) => mark.level));
    if (floor < recorded)
      this.report("mark-at-or-below-floor", at, `the raise sets floor ${floor} below the recorded level ${recorded}`);
    if (floor < this.signedLevel)
      this.report("opened-at-signed-level", at, `floor ${floor}, but level ${this.signedLevel} was signed`);
    this.stored.raise = { at, aboveRound: Math.max(-1, ...marks.map(([, mark]) => mark.round)) };
    this.lost = undefined;
  }

  /** A further record of a tenure. */
  private mark(at: number, record: Watermark, stored: Watermark, restored: ReadonlySet<MarkKind>): void {
    const { floorPassAfter = Infinity } = this.options;
    const { raise } = this.stored;
    for (const [kind, mark] of marksOf(record)) {
      const before = stored.marks[kind];
      if (same(mark, before ?? null)) continue;
      // A gate that hears late of what was taken away puts it back: raised, and below the floor, so that nothing new
      // is signed with it.
      if ((!before || order(mark, before) > 0) && mark.level < record.floor && restored.has(kind)) continue;
      const top = this.highest.marks[kind];
      if (top && order(mark, top) <= 0)
        this.report("mark-not-monotone", at, `${kind} ${place(mark)} after ${place(top)}`);
      const passes =
        raise !== undefined &&
        mark.level === record.floor &&
        mark.round > raise.aboveRound &&
        at - raise.at >= floorPassAfter;
      if (mark.level <= record.floor && !passes)
        this.report("mark-at-or-below-floor", at, `${kind} ${place(mark)} at or below the floor ${record.floor}`);
    }
  }
}
