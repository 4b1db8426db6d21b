/**
 * The gate's rules S1-S7 (docs/protocol.md), pure. Everything that is signed was decided here; nothing here reads a
 * clock or the network.
 *
 * A level orders requests of one kind together with the round: (level, round), compared lexicographically.
 */
import { markKinds, noMarks, readWatermark, type Mark, type MarkKind, type Watermark } from "../../contract/watermark";

/** One mastership of this pod. */
export interface Tenure {
  epoch: number;
  /** holderIdentity of this pod. */
  holder: string;
}

/** What a watermark object says. */
export type Observed =
  | { state: "missing" }
  | {
      state: "refused";
      reason: "watermark-unreadable" | "watermark-other-baker" | "watermark-other-chain";
      detail: string;
    }
  /** Created, never written. */
  | { state: "empty"; uid: string }
  | { state: "record"; uid: string; record: Watermark };

/** The highest that this gate saw of a watermark, from its own durable file. */
export interface Remembered {
  uid: string;
  /**
   * True once this gate has written the watermark itself or has seen it advance by a holder's write. A watermark that
   * was merely found may have been put back before this gate saw it.
   */
  proven: boolean;
  epoch: number;
  holder: string;
  floor: number;
  marks: Watermark["marks"];
  /**
   * A mark that may have been forwarded, though nobody knows whether the API ever had it. A watermark below it is lost,
   * and nothing is signed at its level then; but it is not put back, because whoever held the key meanwhile may have
   * signed something else there.
   */
  unconfirmed: { kind: MarkKind; mark: Mark } | null;
}
/** Every mark that may have been forwarded. */
const marksOf = ({ marks, unconfirmed }: Remembered): Watermark["marks"] =>
  unconfirmed === null ? marks : higherMarks({ ...noMarks, [unconfirmed.kind]: unconfirmed.mark }, marks);
/** `undefined`: never saw it; `unreadable`: it did, but the file is broken (S5: lost, not empty). */
export type Memory = Remembered | "unreadable" | undefined;

export interface Request {
  kind: MarkKind;
  level: number;
  round: number;
  digest: string;
}

/** Distance above a head that is still plausible (S6) and by which a lost watermark starts above a synced head (S5). */
export const headMargin = 5;

export function observe(
  object: { metadata: { uid?: string; labels?: Record<string, string> }; data?: Record<string, string> } | undefined,
  expected: { baker: string; chain: string; dataKey: string },
): Observed {
  if (!object) return { state: "missing" };
  const uid = object.metadata.uid ?? "";
  const label = object.metadata.labels?.baker;
  if (label !== undefined && label !== expected.baker)
    return { state: "refused", reason: "watermark-other-baker", detail: `its label says ${label}` };
  const reading = readWatermark(object.data?.[expected.dataKey]);
  if (reading.state === "empty") return { state: "empty", uid };
  if (reading.state === "unreadable")
    return { state: "refused", reason: "watermark-unreadable", detail: reading.problem };
  const { record } = reading;
  if (record.baker !== expected.baker)
    return { state: "refused", reason: "watermark-other-baker", detail: `it belongs to ${record.baker}` };
  if (record.chain !== expected.chain)
    return { state: "refused", reason: "watermark-other-chain", detail: `it is for ${record.chain}` };
  return { state: "record", uid, record };
}

export const compareMarks = (a: { level: number; round: number }, b: { level: number; round: number }): number =>
  a.level - b.level || a.round - b.round;

/** Highest level and highest round of any kind; -1 where nothing is recorded. The two need not belong to one mark. */
export function highest(marks: Watermark["marks"]): { level: number; round: number } {
  let level = -1;
  let round = -1;
  for (const kind of markKinds) {
    const mark = marks[kind];
    if (!mark) continue;
    level = Math.max(level, mark.level);
    round = Math.max(round, mark.round);
  }
  return { level, round };
}

/** Per kind the higher mark; where both name one (level, round), `first`. */
export function higherMarks(first: Watermark["marks"], second: Watermark["marks"]): Watermark["marks"] {
  const higher = (a: Mark | null, b: Mark | null): Mark | null =>
    a === null ? b : b === null || compareMarks(a, b) >= 0 ? a : b;
  return {
    block: higher(first.block, second.block),
    preattestation: higher(first.preattestation, second.preattestation),
    attestation: higher(first.attestation, second.attestation),
  };
}

/** True where a record contradicts what this gate remembers: rewound, or replaced by another with the same place. */
export function below(
  record: Pick<Watermark, "epoch" | "floor" | "marks">,
  memory: Pick<Remembered, "epoch" | "floor" | "marks">,
): boolean {
  if (record.epoch < memory.epoch || record.floor < memory.floor) return true;
  return markKinds.some((kind) => {
    const remembered = memory.marks[kind];
    const recorded = record.marks[kind];
    if (!remembered) return false;
    if (!recorded) return true;
    const order = compareMarks(recorded, remembered);
    return order < 0 || (order === 0 && recorded.digest !== remembered.digest);
  });
}

/** True where a tenure has written `record` after what is remembered: its epoch or a mark has gone up, nothing down. */
export function advanced(record: Watermark, memory: Pick<Remembered, "epoch" | "floor" | "marks">): boolean {
  if (isUnwritten(record) || below(record, memory)) return false;
  const higher = ({ marks }: Pick<Watermark, "marks">, kind: MarkKind) => {
    const remembered = memory.marks[kind];
    const mark = marks[kind];
    return mark !== null && (remembered === null || compareMarks(mark, remembered) > 0);
  };
  return record.epoch > memory.epoch || markKinds.some((kind) => higher(record, kind));
}

/** True where a record has this mark or one above it. */
export const covers = (record: Pick<Watermark, "marks">, { kind, mark }: { kind: MarkKind; mark: Mark }): boolean =>
  !below({ epoch: 0, floor: 0, marks: record.marks }, { epoch: 0, floor: 0, marks: { ...noMarks, [kind]: mark } });

export type LostReason =
  | "memory-unreadable"
  | "first-installation"
  | "rewound"
  | "other-uid"
  | "unfenced"
  /** Nothing proves that the record is not an old one: a new disk beside a watermark that may have been restored. */
  | "unproven";

/** No tenure has written a record of epoch 0, so nothing can have been signed behind it. */
export const isUnwritten = (record: Pick<Watermark, "epoch">): boolean => record.epoch === 0;

/** Why a watermark is lost (S5), or undefined. */
export function lostReason(
  observed: Extract<Observed, { state: "empty" | "record" }>,
  memory: Memory,
): LostReason | undefined {
  if (memory === "unreadable") return "memory-unreadable";
  if (memory && memory.uid !== observed.uid) return "other-uid";
  if (observed.state === "empty") return memory ? "rewound" : "first-installation";
  if (memory && below(observed.record, { ...memory, marks: marksOf(memory) })) return "rewound";
  if (observed.record.unfenced) return "unfenced";
  return memory?.proven || isUnwritten(observed.record) ? undefined : "unproven";
}

export type TenureLost = "higher-epoch" | "other-holder";
const over = (at: { epoch: number; holder: string }, tenure: Tenure): TenureLost | undefined =>
  at.epoch > tenure.epoch
    ? "higher-epoch"
    : at.epoch === tenure.epoch && at.holder !== tenure.holder
      ? "other-holder"
      : undefined;

export type RaiseDecision =
  /** This tenure has raised here already: its floor stands. */
  | { action: "open"; reason: "raised-already" }
  | { action: "write"; record: Watermark; reason: "raise" | LostReason }
  /** The record was rewound below an epoch that we saw: put the higher one back, then this tenure is over. */
  | { action: "restore"; record: Watermark; reason: LostReason; lost: TenureLost }
  | { action: "wait"; reason: "watermark-missing" | "no-synced-head"; lost: LostReason | "missing" }
  | { action: "refuse"; reason: string; detail: string }
  | { action: "over"; reason: TenureLost };

/**
 * S2, S3, S5: the first act of a tenure, for one key.
 * @param syncedHead highest level of a head that is surely at the chain's tip, or null: see `isSynced`
 */
export function decideRaise(input: {
  observed: Observed;
  memory: Memory;
  tenure: Tenure;
  syncedHead: number | null;
  baker: string;
  chain: string;
}): RaiseDecision {
  const { observed, memory, tenure } = input;
  if (observed.state === "refused") return { action: "refuse", reason: observed.reason, detail: observed.detail };
  if (observed.state === "missing") return { action: "wait", reason: "watermark-missing", lost: "missing" };
  if (observed.state === "record") {
    const ended = over(observed.record, tenure);
    if (ended) return { action: "over", reason: ended };
  }
  const record = observed.state === "record" ? observed.record : { epoch: 0, holder: "", floor: -1, marks: noMarks };
  const lost = lostReason(observed, memory);
  const next = (epoch: number, holder: string, floor: number, marks: Watermark["marks"]): Watermark => ({
    version: 1,
    baker: input.baker,
    chain: input.chain,
    epoch,
    holder,
    floor,
    marks,
    unfenced: false,
  });
  if (lost === undefined) {
    if (record.epoch === tenure.epoch) return { action: "open", reason: "raised-already" };
    const floor = Math.max(record.floor, highest(record.marks).level);
    return { action: "write", record: next(tenure.epoch, tenure.holder, floor, record.marks), reason: "raise" };
  }
  if (input.syncedHead === null) return { action: "wait", reason: "no-synced-head", lost };
  const remembered = memory === undefined || memory === "unreadable" ? undefined : memory;
  const marks = remembered ? higherMarks(remembered.marks, record.marks) : record.marks;
  // Strictly above every mark: what was signed at a lost level is unknown, so the halted-chain rule must not open it
  // (see `passesFloor`).
  const level = Math.max(highest(marks).level, remembered?.unconfirmed?.mark.level ?? -1);
  const floor = Math.max(record.floor, remembered?.floor ?? -1, level + 1, input.syncedHead + headMargin);
  const ended = remembered && over(remembered, tenure);
  if (remembered && ended)
    return {
      action: "restore",
      record: next(remembered.epoch, remembered.holder, floor, marks),
      reason: lost,
      lost: ended,
    };
  return { action: "write", record: next(tenure.epoch, tenure.holder, floor, marks), reason: lost };
}

export interface HeadView {
  level: number;
  /** Age of the head's own timestamp, now. */
  ageSeconds: number;
}

/**
 * S6: one absurd level must not brick a key. Above a fresh head by at most 5; a head that is older than `freshSeconds`
 * counts as if blocks had gone on at their fastest pace (a tenth of `freshSeconds` each), so that an outage of our view
 * of the chain stops no baker.
 */
export function plausible(level: number, head: HeadView, freshSeconds: number): boolean {
  const behind = head.ageSeconds <= freshSeconds ? 0 : Math.ceil(head.ageSeconds / (freshSeconds / 10));
  return level <= head.level + headMargin + behind;
}

/**
 * S5: a head so young that nothing can have been signed more than 5 levels above it: at most 4 blocks' time (4/10 of
 * `freshSeconds`, 24 s), and a baker signs one level above the tip. A timestamp from the future proves nothing beyond
 * small differences of clocks.
 */
export const isSynced = (head: HeadView, freshSeconds: number): boolean =>
  head.ageSeconds <= freshSeconds * 0.4 && head.ageSeconds >= -freshSeconds / 10;

/**
 * The halted chain: after `floorPassSeconds` without a head above the floor, rounds above every round recorded when
 * this gate opened the key.
 */
export interface FloorPass {
  /** True once the time has passed and the node is still being heard with no head above the floor. */
  open: boolean;
  /** Highest round of any kind in the record at that time. */
  aboveRound: number;
}
function passesFloor(request: Request, record: Watermark, pass: FloorPass): boolean {
  // Only where the floor is the level of a recorded mark: then all that was signed there is in the record.
  return (
    pass.open &&
    request.level === record.floor &&
    request.round > pass.aboveRound &&
    highest(record.marks).level === record.floor
  );
}

export type SignDecision =
  | { action: "mark"; record: Watermark; reason: "above" | "floor-pass" }
  /** Identical to the recorded mark. */
  | { action: "repeat"; reason: "identical" }
  | { action: "refuse"; reason: string; detail: string }
  /** The watermark is not as this tenure left it: raise again before anything else. */
  | { action: "raise"; reason: string }
  | { action: "over"; reason: TenureLost };

/** S1-S3 for one request of an opened key, against an object that the API returned. */
export function decideSign(input: {
  request: Request;
  observed: Observed;
  memory: Memory;
  tenure: Tenure;
  pass: FloorPass;
}): SignDecision {
  const { request, observed, tenure } = input;
  if (observed.state === "refused") return { action: "refuse", reason: observed.reason, detail: observed.detail };
  if (observed.state === "missing") return { action: "raise", reason: "watermark-missing" };
  if (observed.state === "record") {
    const ended = over(observed.record, tenure);
    if (ended) return { action: "over", reason: ended };
  }
  const lost = lostReason(observed, input.memory);
  if (lost !== undefined || observed.state === "empty")
    return { action: "raise", reason: lost ?? "first-installation" };
  const { record } = observed;
  if (record.epoch !== tenure.epoch) return { action: "raise", reason: "older-epoch" };

  const mark = record.marks[request.kind];
  const at = `(${request.level}, ${request.round})`;
  if (mark) {
    const order = compareMarks(request, mark);
    if (order === 0 && mark.digest === request.digest) return { action: "repeat", reason: "identical" };
    if (order === 0)
      return { action: "refuse", reason: "conflict", detail: `another ${request.kind} is marked at ${at}` };
    if (order < 0)
      return {
        action: "refuse",
        reason: "below-mark",
        detail: `${at} is below the marked (${mark.level}, ${mark.round})`,
      };
  }
  const passes = request.level <= record.floor && passesFloor(request, record, input.pass);
  if (request.level <= record.floor && !passes)
    return {
      action: "refuse",
      reason: "at-or-below-floor",
      detail: `level ${request.level} is not above the floor ${record.floor}`,
    };
  const { level, round, digest } = request;
  return {
    action: "mark",
    record: { ...record, marks: { ...record.marks, [request.kind]: { level, round, digest } } },
    reason: passes ? "floor-pass" : "above",
  };
}

export type RepeatDecision =
  | { action: "forward"; reason: "vote" | "deterministic" | "never-forwarded" }
  | { action: "answer"; reason: "remembered" }
  | { action: "refuse"; reason: "block-repeated" };

/**
 * S7: a request identical to its mark. `neverForwarded`: this process knows that its own write made the mark and that
 * it sent nothing yet.
 */
export function decideRepeat(input: {
  kind: MarkKind;
  deterministic: boolean;
  remembered: boolean;
  neverForwarded: boolean;
}): RepeatDecision {
  if (input.kind !== "block") return { action: "forward", reason: "vote" };
  if (input.remembered) return { action: "answer", reason: "remembered" };
  if (input.neverForwarded) return { action: "forward", reason: "never-forwarded" };
  return input.deterministic
    ? { action: "forward", reason: "deterministic" }
    : { action: "refuse", reason: "block-repeated" };
}
