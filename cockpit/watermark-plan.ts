/** What the operator's commands say and do about watermarks, without a cluster: other command lines may use it. */
import { markKinds, readWatermark, type Watermark } from "../contract/watermark";

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

/** A floor so far above the head stops the key for a minute: more than that must be meant. */
export const farLevels = 10;
/** Of mainnet and the test networks: only for how long something takes, in words. */
const blockSeconds = 6;

export type RaisePlan =
  | { action: "write"; record: Watermark; text: string }
  | { action: "nothing"; text: string }
  | { action: "refuse"; text: string };
export interface RaiseOptions {
  /** Level of the head now; undefined where nobody tells it. */
  head: number | undefined;
  /** A floor more than `farLevels` above the head is meant. */
  far: boolean;
}

const duration = (levels: number): string => {
  const seconds = levels * blockSeconds;
  return seconds < 120 ? `${seconds} seconds` : `${Math.round(seconds / 60)} minutes`;
};
const plural = (levels: number): string => `${levels} level${levels === 1 ? "" : "s"}`;

/** What a floor means for who bakes: since when nothing is signed, and for how long from now on. */
function consequence(record: Watermark, floor: number, head: number | undefined): string {
  const until = `signed again from level ${floor + 1} on`;
  if (head === undefined) return `The key is ${until}.`;
  if (floor <= head) return `The head is level ${head}, so nothing that is still to be signed is refused.`;
  const since =
    record.floor > head
      ? `Nothing has been signed since the floor of ${record.floor} was set; the head is level ${head}.`
      : `Nothing is signed from level ${head + 1} on, beginning now; the head is level ${head}.`;
  const levels = floor - head;
  return `${since} The key is ${until}: ${plural(levels)} without a signature, about ${duration(levels)} at ${blockSeconds} s a block.`;
}

/** Why this key has no record that could be raised. */
function unraisable(object: WatermarkObject | undefined, name: string): string | undefined {
  if (!object)
    return `${name} does not exist: create it with \`npm run deploy -- --only baker\`; the gate then starts above the head by itself`;
  const read = readWatermark(object.text);
  if (read.state === "empty")
    return `${name} was never written: the gate starts above a synced head by itself, there is nothing to raise`;
  if (read.state === "unreadable")
    return `${name} cannot be read (${read.problem}): empty it as the runbook says; the gate then starts above a synced head by itself`;
  return object.baker !== "" && object.baker !== read.record.baker
    ? `${name} is labelled ${object.baker} but its record belongs to ${read.record.baker}`
    : undefined;
}

/** What raising the floor of `object` to `level` means. Pure. */
export function planRaise(
  object: WatermarkObject | undefined,
  name: string,
  level: number,
  { head, far }: RaiseOptions,
): RaisePlan {
  const refuse = (text: string): RaisePlan => ({ action: "refuse", text });
  if (!Number.isInteger(level) || level < 0 || level > 0x7fffffff)
    return refuse(`a level is a whole number from 0 to 2147483647, got ${level}`);
  const why = unraisable(object, name);
  const read = readWatermark(object?.text);
  if (why !== undefined || read.state !== "record") return refuse(why ?? `${name} has no record`);
  const { record } = read;
  // A floor that is the level of a mark is what a tenure begins with: the rule for halted chains may open it. So it
  // lies strictly above every mark.
  const marked = markKinds.some((kind) => record.marks[kind]?.level === level);
  const floor = marked ? level + 1 : level;
  if (floor <= record.floor)
    return { action: "nothing", text: `the floor of ${name} is ${record.floor} already; it is never lowered` };
  if (head === undefined && !far)
    return refuse(
      "no member tells the level of the head, so nobody can say for how long nothing would be signed: give the head's level with --head (a block explorer shows it), or --far",
    );
  if (head !== undefined && level > head + farLevels && !far)
    return refuse(
      `level ${level} is ${plural(level - head)} above the head (${head}); a floor at most ${farLevels} above it is enough for whatever is being signed now. ${consequence(record, floor, head)} Add --far if that is meant.`,
    );
  return {
    action: "write",
    record: { ...record, floor },
    text:
      `floor of ${name}: ${record.floor} -> ${floor}. ${consequence(record, floor, head)}` +
      (marked ? ` Level ${level} has a mark, and on a halted chain a floor at a mark opens for later rounds.` : ""),
  };
}

export interface WatermarkCluster {
  list(baker: string | undefined): Promise<WatermarkObject[]>;
  get(name: string): Promise<WatermarkObject | undefined>;
  /** Conditional on uid and resourceVersion. "conflict" where the object has changed. */
  replace(object: WatermarkObject, text: string): Promise<"done" | "conflict">;
}

/** Two lines for each watermark, for people. `addresses`: by name, where they are known. */
export function renderWatermarks(
  objects: readonly WatermarkObject[],
  addresses: ReadonlyMap<string, string> = new Map(),
): string {
  return objects
    .map(({ name, baker, text }) => {
      const title = [name, addresses.get(name)].filter((part) => part !== undefined).join("\n  ");
      const read = readWatermark(text);
      if (read.state === "empty") return `${title}\n  of ${baker}: never written`;
      if (read.state === "unreadable") return `${title}\n  of ${baker}: UNREADABLE: ${read.problem}`;
      const { epoch, holder, floor, marks, unfenced } = read.record;
      const placed = markKinds.map(
        (kind) => `${kind} ${marks[kind] ? `${marks[kind].level}/${marks[kind].round}` : "-"}`,
      );
      return [
        title,
        `  of ${read.record.baker}: epoch ${epoch}, holder ${holder || "nobody"}, floor ${floor}${unfenced ? ", unfenced" : ""}`,
        `  ${placed.join(", ")}`,
      ].join("\n");
    })
    .join("\n\n");
}

/** Reads, plans, and with `yes` writes; reads and plans again where somebody was faster. */
export async function raise(
  cluster: WatermarkCluster,
  name: string,
  level: number,
  options: RaiseOptions & { yes: boolean },
): Promise<{ exitCode: 0 | 1; text: string }> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const object = await cluster.get(name);
    const plan = planRaise(object, name, level, options);
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
