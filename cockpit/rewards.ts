/**
 * `npm run baker -- rewards`, and the end of `switchover`: level by level what the chain includes of the delegate, and
 * one sentence that says whether rewards go on. It only reads. Exit codes: 0 what was seen is included, 1 the last
 * attestation is missing or the chain was not seen to go on, 2 usage, 3 the cluster was not reached.
 */
import { InvalidArgumentError, type Command } from "commander";
import { chainSlotsSchema, type ChainSlots, type LevelSlots } from "../contract/chain-slots";
import { missedSlotsOf, type ToldSlot } from "../diagnosis/missed-slots";
import type { Cluster } from "./cluster";
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
  /** The first level that was looked at. */
  from: number;
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

/** Without a new level for so many blocks the chain or its nodes stand still. */
const patienceBlocks = 10;

/**
 * Follows the chain for so many levels, from `from` or else from the block before its head on. @throws Error where no
 * node tells anything at the beginning
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
  const { head, blockSeconds } = await readSlots(cluster, baker);
  const from = options.from ?? head - 1;
  const levels: LevelSlots[] = [];
  progress(`watching levels ${from} to ${from + wanted - 1}; Ctrl-C ends the watch and changes nothing`);
  let [newMs, problem] = [now(), ""];
  const patienceMs = Math.max(60_000, patienceBlocks * blockSeconds * 1000);
  while (levels.length < wanted && !interrupted.aborted && now() - newMs < patienceMs) {
    for (let waited = 0; waited < blockSeconds && !interrupted.aborted; waited++) await sleep(1000);
    if (interrupted.aborted) break;
    try {
      const told = await readSlots(cluster, baker, from + levels.length);
      problem = "";
      for (const one of told.levels.slice(0, wanted - levels.length)) {
        levels.push(one);
        newMs = now();
        progress(levelText(one));
      }
    } catch (error) {
      // A pod may start anew, and the API may be away for a moment.
      problem = error instanceof Error ? error.message : String(error);
    }
  }
  const stands = `no new level within ${Math.round(patienceMs / 1000)} s${problem === "" ? "" : ` (${problem})`}`;
  const ended = levels.length >= wanted ? null : interrupted.aborted ? "interrupted" : stands;
  return { from, levels, ended, missedSlots: await toldOf(cluster, baker, levels, options) };
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
  const seen = [
    `${ofText(rights, missed, "attestation")} included`,
    ...(blocks.length > 0 ? [`${ofText(blocks, lost, "block")} baked`] : []),
  ].join(" and ");
  const gaps = [
    ...(missed.length > 0 ? [`attestations of ${levelsText(missed)}`] : []),
    ...(lost.length > 0 ? [`blocks of ${levelsText(lost)}`] : []),
  ].join(" and ");
  const stands = ended !== null && ended !== "interrupted";
  const end = stands ? ` Then there was ${ended}. ${look}` : ended === null ? "" : " The watch was interrupted.";
  const say = (text: string, well = !stands) => ({ well, sentence: `${text}.${end}` });
  if (levels.length === 0) return say(`Whether rewards go on is not known: no level was seen ${since}`);
  if (rights.length + blocks.length === 0)
    return say(`Nothing can be said yet: no right to attest or to bake in ${levels.length} levels ${since}`);
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
      const since = `since level ${rewards.from}`;
      const { well, sentence } = rewardsSentence(rewards, since);
      session.print(options.json, { ...rewards, sentence }, () => renderRewards(rewards, since));
      session.exitCode = well ? 0 : 1;
    });
}
