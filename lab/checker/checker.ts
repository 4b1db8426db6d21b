/**
 * Judges what was signed. Input: every signature request that reached any signer, and every write of a watermark that
 * the API committed, in one order. Knows nothing of the gate's code: it derives the rules S1-S3, S5 and S7 again from
 * the two logs.
 */
import { z } from "zod";
import { markKinds, watermarkSchema, type Mark, type MarkKind, type Watermark } from "../../contract/watermark";
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
  const violations: Violation[] = [];
  const report = (code: ViolationCode, at: number, text: string) => violations.push({ code, address, at, text });
  const events = [
    ...signed.map((entry) => ({ at: entry.at, entry, commit: undefined })),
    ...commits.map((commit) => ({ at: commit.at, entry: undefined, commit })),
  ].sort((a, b) => a.at - b.at);

  // Everything below is over the whole history of the key: deletion and rollback of the object forget nothing here.
  const digests = new Map<string, string>();
  const blockSignatures = new Map<string, string>();
  const committed = new Set<string>();
  /** Marks that anybody ever stored: what a raise may put back. */
  const everStored = new Set<string>();
  const nameOf = (kind: MarkKind, mark: Mark) => `${kind} ${mark.level} ${mark.round} ${mark.digest}`;
  const holders = new Map<number, string>();
  const best: Partial<Record<MarkKind, Mark>> = {};
  let bestEpoch = -1;
  let bestFloor = -1;
  let signedLevel = -1;
  let stored: Watermark | null = null;
  let storedUid = "";
  /** The raise of the present tenure. */
  let raise: { at: number; epoch: number; aboveRound: number } | undefined;
  /** What an outsider took something away from, until a gate has raised or an outsider has put back all of it. */
  let lost: { record: Watermark | null; uid: string; raise: typeof raise } | undefined;

  for (const { at, entry, commit } of events) {
    if (entry) {
      const parsed = parseSigningRequest(Buffer.from(entry.bytes, "hex"));
      if (!parsed.ok) {
        report("not-understood", at, `${entry.signer} was asked to sign what is refused as ${parsed.reason}`);
        continue;
      }
      const { kind, level, round, digest, chainId } = parsed.request;
      const slot = `${chainId} ${kind} ${place({ level, round })}`;
      const other = digests.get(slot);
      if (other !== undefined && other !== digest)
        report("two-digests", at, `${slot}: ${other.slice(0, 8)} and ${digest.slice(0, 8)}`);
      digests.set(slot, other ?? digest);
      if (!committed.has(`${kind} ${level} ${round} ${digest}`))
        report("forward-before-commit", at, `${slot} was never committed`);
      signedLevel = Math.max(signedLevel, level);
      if (kind === "block" && entry.signature !== null) {
        const first = blockSignatures.get(digest);
        if (first !== undefined && first !== entry.signature)
          report("two-signatures-of-a-block", at, `${slot} has two signatures`);
        blockSignatures.set(digest, first ?? entry.signature);
      }
    }
    if (!commit) continue;
    const record = commit.record;
    const restored = new Set(
      record ? marksOf(record).flatMap(([kind, mark]) => (everStored.has(nameOf(kind, mark)) ? [kind] : [])) : [],
    );
    const restores =
      record === null ||
      marksOf(record).every(([kind, mark]) => same(mark, stored?.marks[kind] ?? null) || restored.has(kind));
    if (record) for (const [kind, mark] of marksOf(record)) everStored.add(nameOf(kind, mark));
    if (commit.by === "other" || record === null) {
      // Whatever an outsider did that takes something away: the next tenure must not open at a level that was signed.
      const whole = lost ?? { record: stored, uid: storedUid, raise };
      const before = whole.record;
      const lowered =
        record === null ||
        record.unfenced ||
        commit.uid !== whole.uid ||
        (before !== null &&
          (record.epoch < before.epoch ||
            record.floor < before.floor ||
            marksOf(before).some(([kind, mark]) => !same(record.marks[kind], mark))));
      raise = lowered ? undefined : whole.raise;
      lost = lowered ? whole : undefined;
      stored = record;
      storedUid = commit.uid;
      continue;
    }
    const known = holders.get(record.epoch);
    if (known !== undefined && known !== record.holder)
      report("two-holders-of-an-epoch", at, `epoch ${record.epoch} is held by ${known} and ${record.holder}`);
    holders.set(record.epoch, known ?? record.holder);
    if (stored !== null && record.epoch < stored.epoch)
      report("epoch-not-monotone", at, `epoch ${stored.epoch}, then ${record.epoch}`);
    if (record.epoch < bestEpoch) report("below-highest-epoch", at, `epoch ${record.epoch} after ${bestEpoch}`);
    if (record.floor < bestFloor) report("floor-not-monotone", at, `floor ${record.floor} after ${bestFloor}`);

    const changed = marksOf(record).filter(([kind, mark]) => !same(mark, stored?.marks[kind] ?? null));
    const newTenure = stored === null || record.epoch !== stored.epoch || record.holder !== stored.holder;
    if (newTenure || lost) {
      if (!restores) report("tenure-without-raise", at, `epoch ${record.epoch} begins with a mark instead of a raise`);
      const recorded = Math.max(-1, ...marksOf(record).map(([, mark]) => mark.level));
      if (record.floor < recorded)
        report(
          "mark-at-or-below-floor",
          at,
          `the raise sets floor ${record.floor} below the recorded level ${recorded}`,
        );
      if (record.floor < signedLevel)
        report("opened-at-signed-level", at, `floor ${record.floor}, but level ${signedLevel} was signed`);
      raise = { at, epoch: record.epoch, aboveRound: Math.max(-1, ...marksOf(record).map(([, mark]) => mark.round)) };
      lost = undefined;
    } else
      for (const [kind, mark] of changed) {
        const before = stored?.marks[kind];
        // A gate that hears late of what was taken away puts it back: raised, and below the floor, so that nothing new
        // is signed with it.
        if ((!before || order(mark, before) > 0) && mark.level < record.floor && restored.has(kind)) continue;
        const top = best[kind];
        if (top && order(mark, top) <= 0) report("mark-not-monotone", at, `${kind} ${place(mark)} after ${place(top)}`);
        const passes =
          options.floorPassAfter !== undefined &&
          raise !== undefined &&
          mark.level === record.floor &&
          mark.round > raise.aboveRound &&
          at - raise.at >= options.floorPassAfter;
        if (mark.level <= record.floor && !passes)
          report("mark-at-or-below-floor", at, `${kind} ${place(mark)} at or below the floor ${record.floor}`);
      }
    for (const kind of markKinds)
      if (stored?.marks[kind] && !record.marks[kind])
        report("mark-not-monotone", at, `the mark of ${kind} was removed`);
    for (const [kind, mark] of marksOf(record)) {
      committed.add(nameOf(kind, mark));
      const top = best[kind];
      if (!top || order(mark, top) > 0) best[kind] = mark;
    }
    bestEpoch = Math.max(bestEpoch, record.epoch);
    bestFloor = Math.max(bestFloor, record.floor);
    stored = record;
    storedUid = commit.uid;
  }
  return violations;
}
