/** What the operator's commands say and do about watermarks, without a cluster: other command lines may use it. */
import { watermarkName } from "../contract/names";
import { markKinds, readWatermark, type Watermark } from "../contract/watermark";
import { table } from "./render";

/** A watermark as the cluster has it. */
export interface WatermarkObject {
  name: string;
  uid: string;
  resourceVersion: string;
  /** Label `baker`, "" where it has none. */
  baker: string;
  /** The text of the record, or undefined where it was never written. */
  text: string | undefined;
}
/** Highest level of the floor and of every mark. */
export const highestLevel = (record: Watermark): number =>
  Math.max(record.floor, ...markKinds.map((kind) => record.marks[kind]?.level ?? -1));

/** A slip of the keyboard must not stop a key for months: this is about a week of blocks. */
export const farLevels = 100_000;

export type RaisePlan =
  | { action: "write"; record: Watermark; text: string }
  | { action: "nothing"; text: string }
  | { action: "refuse"; text: string };

/**
 * What raising the floor of `object` to `level` means. Pure. `far`: more than `farLevels` above everything recorded is
 * meant.
 */
export function planRaise(object: WatermarkObject | undefined, name: string, level: number, far = false): RaisePlan {
  const refuse = (text: string): RaisePlan => ({ action: "refuse", text });
  if (!Number.isInteger(level) || level < 0 || level > 0x7fffffff)
    return refuse(`a level is a whole number from 0 to 2147483647, got ${level}`);
  if (!object)
    return refuse(
      `${name} does not exist: create it with \`npm run deploy -- --only baker\`; the gate then starts above the head by itself`,
    );
  const read = readWatermark(object.text);
  if (read.state === "empty")
    return refuse(
      `${name} was never written: the gate starts above a synced head by itself, there is nothing to raise`,
    );
  if (read.state === "unreadable")
    return refuse(
      `${name} cannot be read (${read.problem}): empty it as the runbook says; the gate then starts above a synced head by itself`,
    );
  const { record } = read;
  if (object.baker !== "" && object.baker !== record.baker)
    return refuse(`${name} is labelled ${object.baker} but its record belongs to ${record.baker}`);
  // A floor that is the level of a mark is what a tenure begins with: the rule for halted chains may open it. So it
  // lies strictly above every mark.
  const marked = markKinds.some((kind) => record.marks[kind]?.level === level);
  const floor = marked ? level + 1 : level;
  if (floor <= record.floor)
    return { action: "nothing", text: `the floor of ${name} is ${record.floor} already; it is never lowered` };
  const top = highestLevel(record);
  if (level > top + farLevels && !far)
    return refuse(
      `level ${level} is more than ${farLevels} above everything recorded (${top}) and would stop the key until the chain gets there; --far if you mean it`,
    );
  return {
    action: "write",
    record: { ...record, floor },
    text:
      `floor of ${name}: ${record.floor} -> ${floor}; the key signs again from level ${floor + 1} on` +
      (marked ? ` (level ${level} has a mark, and on a halted chain a floor at a mark opens for later rounds)` : ""),
  };
}

export interface WatermarkCluster {
  list(baker: string | undefined): Promise<WatermarkObject[]>;
  get(name: string): Promise<WatermarkObject | undefined>;
  /** Conditional on uid and resourceVersion. "conflict" where the object has changed. */
  replace(object: WatermarkObject, text: string): Promise<"done" | "conflict">;
}

/** Shape: one line per watermark, for people. */
export function renderWatermarks(objects: readonly WatermarkObject[]): string {
  const rows = objects.map((object) => {
    const read = readWatermark(object.text);
    if (read.state !== "record")
      return [
        object.name,
        object.baker,
        read.state === "empty" ? "never written" : `UNREADABLE ${read.problem}`,
        "",
        "",
        "",
        "",
        "",
      ];
    const { record } = read;
    const marks = markKinds.map((kind) => {
      const mark = record.marks[kind];
      return mark ? `${mark.level}/${mark.round}` : "-";
    });
    return [
      object.name,
      record.baker,
      record.holder || "-",
      String(record.epoch),
      String(record.floor),
      ...marks,
      ...(record.unfenced ? ["unfenced"] : []),
    ];
  });
  return table(["WATERMARK", "BAKER", "HOLDER", "EPOCH", "FLOOR", "BLOCK", "PREATTESTATION", "ATTESTATION"], rows);
}

/** Reads, plans, and with `yes` writes; reads and plans again where somebody was faster. */
export async function raise(
  cluster: WatermarkCluster,
  key: string,
  level: number,
  options: { yes: boolean; far: boolean },
): Promise<{ exitCode: 0 | 1; text: string }> {
  const name = watermarkName(key);
  for (let attempt = 0; attempt < 5; attempt++) {
    const object = await cluster.get(name);
    const plan = planRaise(object, name, level, options.far);
    if (plan.action !== "write" || !object) return { exitCode: plan.action === "refuse" ? 1 : 0, text: plan.text };
    if (!options.yes) return { exitCode: 0, text: `${plan.text}\nNothing was changed. Add --yes to do it.` };
    if ((await cluster.replace(object, JSON.stringify(plan.record))) === "done")
      return { exitCode: 0, text: plan.text };
  }
  return {
    exitCode: 1,
    text: `${name} changed five times while it was being raised: the master is writing it; try again`,
  };
}
