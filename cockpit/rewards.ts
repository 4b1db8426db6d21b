/**
 * `npm run baker -- rewards`, and the end of `switchover`: level by level what the chain includes of the delegate, and
 * one sentence that says whether rewards go on. It only reads. Exit codes: 0 what was seen is included, 1 the last
 * attestation is missing, no level was seen, or the chain was not seen to go on, 2 usage, 3 the cluster was not reached
 * or refused.
 */
import { InvalidArgumentError, type Command } from "commander";
import { chainSlotsSchema, type ChainSlots, type LevelSlots } from "../contract/chain-slots";
import { missedSlotsOf, type ToldSlot } from "../diagnosis/missed-slots";
import { ClusterError, type Cluster } from "./cluster";
import { jsonCommand, plainNumber, type Common } from "./options";
import { renderMissedSlots } from "./render";
import type { Session } from "./session";
import { hanging } from "./text";
import { askSidecars } from "./tog";
import { readView, type ViewOptions } from "./view";

export const usualLevels = 5;
const mostLevels = 600;
/** @throws InvalidArgumentError */
export function plainLevels(text: string): number {
  const count = plainNumber(`a number of levels is written in digits, from 1 to ${mostLevels}`, /^\d+$/)(text);
  if (count >= 1 && count <= mostLevels) return count;
  throw new InvalidArgumentError(`a number of levels is from 1 to ${mostLevels}; got "${text}"`);
}

export interface Rewards {
  /** The first level that was looked at; null where the watch was interrupted before it was known. */
  from: number | null;
  levels: LevelSlots[];
  /** The last missed slots among them, with whose they were, as the members saw them. */
  missedSlots: ToldSlot[];
  /** Why it ended before all levels were seen; null where they were. */
  ended: "interrupted" | string | null;
}

/** Of the node with the highest head. @throws Error where no node tells it */
async function readSlots(cluster: Cluster, baker: string, from?: number): Promise<ChainSlots> {
  const words = ["slots", ...(from === undefined ? [] : [String(from)])];
  const nobody = `no node of ${baker} tells what became of its slots`;
  const answers = await askSidecars(cluster, baker, words, (json) => chainSlotsSchema.parse(json), nobody);
  return answers.map(({ told }) => told).reduce((newest, one) => (one.head > newest.head ? one : newest));
}

const attestationTexts = {
  included: "attestation included",
  missed: "attestation MISSED",
  none: "no attestation right",
};
const blockTexts = { baked: ", block baked", missed: ", block MISSED", none: "", unknown: ", block not known" };
const levelText = ({ level, attestation, block }: LevelSlots): string =>
  `level ${level}: ${attestationTexts[attestation]}${blockTexts[block]}`;

/** What `asked` gives, or undefined as soon as somebody interrupts: the question may stay open for a minute. */
function unlessInterrupted<T>(interrupted: AbortSignal, asked: Promise<T>): Promise<T | undefined> {
  let stop: () => void = () => undefined;
  const stopped = new Promise<undefined>((done) => (stop = () => done(undefined)));
  interrupted.addEventListener("abort", stop, { once: true });
  if (interrupted.aborted) stop();
  return Promise.race([asked, stopped]).finally(() => interrupted.removeEventListener("abort", stop));
}

/** Without a new level for so many blocks the chain or its nodes stand still. */
const patienceBlocks = 10;

/**
 * Follows the chain for so many levels, from `from` or else from the block before its head on. @throws Error where no
 * node tells anything at the beginning; ClusterError where the cluster refuses, or is not reached in the end
 */
export async function watchRewards(
  cluster: Cluster,
  baker: string,
  options: ViewOptions & {
    levels: number;
    from?: number | undefined;
    interrupted: AbortSignal;
    progress(line: string): void;
  },
): Promise<Rewards> {
  const { levels: wanted, interrupted, progress, now, sleep } = options;
  const first = await unlessInterrupted(interrupted, readSlots(cluster, baker));
  if (!first) return { from: options.from ?? null, levels: [], ended: "interrupted", missedSlots: [] };
  const { head, blockSeconds } = first;
  const from = options.from ?? head - 1;
  const levels: LevelSlots[] = [];
  progress(`watching levels ${from} to ${from + wanted - 1}; Ctrl-C ends the watch and changes nothing`);
  let newMs = now();
  let problem: unknown;
  const patienceMs = Math.max(60_000, patienceBlocks * blockSeconds * 1000);
  while (levels.length < wanted && !interrupted.aborted && now() - newMs < patienceMs) {
    await unlessInterrupted(interrupted, sleep(1000 * blockSeconds));
    if (interrupted.aborted) break;
    try {
      const told = await unlessInterrupted(interrupted, readSlots(cluster, baker, from + levels.length));
      if (!told) break;
      problem = undefined;
      for (const one of told.levels.slice(0, wanted - levels.length)) {
        levels.push(one);
        newMs = now();
        progress(levelText(one));
      }
    } catch (error) {
      if (error instanceof ClusterError && error.kind === "forbidden") throw error;
      // A pod may start anew, and the API may be away for a moment.
      problem = error;
    }
  }
  if (levels.length < wanted && interrupted.aborted) return { from, levels, ended: "interrupted", missedSlots: [] };
  if (levels.length < wanted && problem instanceof ClusterError) throw problem;
  const why = problem === undefined ? "" : ` (${problem instanceof Error ? problem.message : String(problem)})`;
  const ended = levels.length >= wanted ? null : `no new level within ${Math.round(patienceMs / 1000)} s${why}`;
  const told = await unlessInterrupted(interrupted, toldOf(cluster, baker, levels, options));
  return { from, levels, ended, missedSlots: told ?? [] };
}

/** Whose the missing ones were, where there are any and the members tell it. */
async function toldOf(cluster: Cluster, baker: string, levels: readonly LevelSlots[], options: ViewOptions) {
  const missing = levels.filter(({ attestation, block }) => attestation === "missed" || block === "missed");
  if (missing.length === 0) return [];
  const view = await readView(cluster, baker, options).catch(() => undefined);
  return view ? missedSlotsOf(view).filter((slot) => missing.some(({ level }) => level === slot.level)) : [];
}

const levelsText = (levels: readonly LevelSlots[]): string =>
  `level${levels.length === 1 ? "" : "s"} ${levels.map(({ level }) => level).join(", ")}`;
const ofText = (all: readonly unknown[], lost: readonly unknown[], thing: string): string =>
  `${all.length - lost.length} of ${all.length} ${thing}${all.length === 1 ? "" : "s"}`;
const look = "`npm run baker -- status` says who signs, and `doctor` checks every hop to the signer.";

/** @returns whether rewards go on as far as it was seen, and the sentence that says so */
export function rewardsSentence({ levels, ended }: Rewards, since: string): { well: boolean; sentence: string } {
  const rights = levels.filter(({ attestation }) => attestation !== "none");
  const missed = rights.filter(({ attestation }) => attestation === "missed");
  const blocks = levels.filter(({ block }) => block === "baked" || block === "missed");
  const lost = blocks.filter(({ block }) => block === "missed");
  const dark = levels.filter(({ block }) => block === "unknown").length;
  const unknown = dark === 0 ? "" : `, ${dark} block${dark === 1 ? "" : "s"} not known`;
  const seen = [
    `${ofText(rights, missed, "attestation")} included`,
    ...(blocks.length > 0 ? [`${ofText(blocks, lost, "block")} baked`] : []),
  ]
    .join(" and ")
    .concat(unknown);
  const gaps = [
    ...(missed.length > 0 ? [`attestations of ${levelsText(missed)}`] : []),
    ...(lost.length > 0 ? [`blocks of ${levelsText(lost)}`] : []),
  ].join(" and ");
  const stands = ended !== null && ended !== "interrupted";
  const end = stands ? ` Then there was ${ended}. ${look}` : ended === null ? "" : " The watch was interrupted.";
  const say = (text: string, well = !stands) => ({ well, sentence: `${text}.${end}` });
  if (levels.length === 0) return say(`Whether rewards go on is not known: no level was seen ${since}`, false);
  const looked = `in ${levels.length} level${levels.length === 1 ? "" : "s"} ${since}`;
  if (rights.length + blocks.length + dark === 0)
    return say(`Nothing can be said yet: no right to attest or to bake ${looked}`);
  if (rights.length + blocks.length === 0)
    return say(`Nothing can be said yet: no right to attest ${looked}${unknown}`);
  if (rights.at(-1)?.attestation === "missed")
    return say(
      `Rewards do not go on: ${seen} ${since}; missing: ${gaps}.${stands ? "" : ` ${look.slice(0, -1)}`}`,
      false,
    );
  return say(
    gaps === "" ? `Rewards go on: ${seen} ${since}` : `Rewards go on, with gaps: ${seen} ${since}; missing: ${gaps}`,
  );
}

/** For people: the sentence, and of what is missing whose it was. */
export function renderRewards(rewards: Rewards, since: string): string {
  const { sentence } = rewardsSentence(rewards, since);
  return [
    hanging("", sentence),
    ...(rewards.missedSlots.length > 0 ? [renderMissedSlots(rewards.missedSlots)] : []),
  ].join("\n");
}

export function addRewards(program: Command, session: Session): void {
  jsonCommand(program, "rewards", "watches the next levels on the chain: were our attestations and blocks included?")
    .option("--levels <number>", "how many levels", plainLevels, usualLevels)
    .action(async (options: Common & { levels: number }) => {
      const { cluster, baker } = await session.connected(options);
      const rewards = await session.interruptible((interrupted) =>
        watchRewards(cluster, baker, {
          ...{ ...session.time, levels: options.levels, interrupted },
          progress: (line) => session.err(`${line}\n`),
        }),
      );
      const since = rewards.from === null ? "since the watch began" : `since level ${rewards.from}`;
      const { well, sentence } = rewardsSentence(rewards, since);
      session.print(options.json, { ...rewards, sentence }, () => renderRewards(rewards, since));
      session.exitCode = well ? 0 : 1;
    });
}
