/**
 * Who may propose when, and how long a round takes: pure, from a seed, so that the chain and every node agree without
 * talking.
 */
import { hash32 } from "./encode";
import type { DelegateKeys } from "./keys";

/** What a chain is made of; a node gets it from its first peer. */
export interface ChainParameters {
  seed: string;
  chainId: string;
  protocol: string;
  /** Duration of round 0 in milliseconds; round r takes blockMs x (1 + r / 2). */
  blockMs: number;
  delegate: string;
  /** At the begin. */
  consensusKey: string;
  /** What the delegate has registered since. @default its consensus key for ever, whose signatures are not checked */
  keys?: DelegateKeys;
  /** Share of the blocks (0..1) that our delegate proposes, and of the levels that it attests. */
  blockShare: number;
  attestationShare: number;
  blocksPerCycle: number;
  blocksPerCommitment: number;
  /** What the chain votes on. @default nothing: it is in a proposal period */
  amendment?: { hash: string; period: "exploration" | "cooldown" | "promotion" | "adoption" };
  /** Revelations are taken in the first so many blocks of the next cycle. */
  revelationBlocks: number;
}

const chance = (...parts: (string | number)[]): number => hash32(parts.join("|")).readUInt32BE() / 2 ** 32;

/** "ours" or the name of another baker. */
export function proposer(chain: Pick<ChainParameters, "seed" | "blockShare">, level: number, round: number): string {
  const value = chance(chain.seed, "block", level, round);
  return value < chain.blockShare ? "ours" : `baker-${Math.floor(value * 1e6) % 8}`;
}
export const attests = (chain: Pick<ChainParameters, "seed" | "attestationShare">, level: number): boolean =>
  chance(chain.seed, "attestation", level) < chain.attestationShare;
/** Our delegate's slot: the same at every level is simpler to read in a log. */
export const ourSlot = 5;

export const roundMs = (blockMs: number, round: number): number => blockMs * (1 + round / 2);
/** From the end of a block's own round to the begin of `round` of the next level. */
export const roundOffsetMs = (blockMs: number, round: number): number => blockMs * (round + (round * (round - 1)) / 4);
/** When `round` of the next level begins, for a block that was proposed at `atMs` in `blockRound`. */
export const roundStartMs = (blockMs: number, block: { atMs: number; round: number }, round: number): number =>
  block.atMs + roundMs(blockMs, block.round) + roundOffsetMs(blockMs, round);
/** The round of the next level at `nowMs`; -1 while the block's own round lasts. */
export function roundAt(blockMs: number, block: { atMs: number; round: number }, nowMs: number): number {
  let round = -1;
  while (roundStartMs(blockMs, block, round + 1) <= nowMs) round++;
  return round;
}

/** Cycles begin at multiples of blocksPerCycle, plus one as on Tezos. */
export const cycleOf = (
  chain: Pick<ChainParameters, "blocksPerCycle">,
  level: number,
): { cycle: number; position: number } => ({
  cycle: Math.floor((level - 1) / chain.blocksPerCycle),
  position: (level - 1) % chain.blocksPerCycle,
});
export const expectsCommitment = (
  chain: Pick<ChainParameters, "blocksPerCycle" | "blocksPerCommitment">,
  level: number,
): boolean => cycleOf(chain, level).position % chain.blocksPerCommitment === chain.blocksPerCommitment - 1;
/** Whether a commitment of `cycle` may be revealed in a block of `level`. */
export function revealable(
  chain: Pick<ChainParameters, "blocksPerCycle" | "revelationBlocks">,
  commitmentLevel: number,
  level: number,
): boolean {
  const { cycle, position } = cycleOf(chain, level);
  return cycle === cycleOf(chain, commitmentLevel).cycle + 1 && position < chain.revelationBlocks;
}
