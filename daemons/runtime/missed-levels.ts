/** Missed levels by the chain's own account of a delegate (`participation`): rights against what the blocks include. */
import type { OctezRpc, RpcOptions } from "./octez-rpc";

/** The chain's account as of a block, and the level of that block. It covers the attestations of the level before. */
export interface Account {
  level: number;
  missedLevels: number;
}

/** Levels missed between two accounts. A smaller number is a new cycle: what it counts is new. */
export function missedBetween(before: Account | undefined, after: Account): number {
  if (!before || after.level <= before.level) return 0;
  return after.missedLevels >= before.missedLevels ? after.missedLevels - before.missedLevels : after.missedLevels;
}

/** About an hour of levels; for longer a receipt has no number. */
export const countedLevels = 600;

/**
 * The levels missed from `from` to `to`, both included, on the chain of the node's head, which has block `to + 1`.
 * Block by block, so that the end of a cycle hides nothing. @throws Error where the node does not answer, or for more
 * than `countedLevels`
 */
export async function missedLevels(
  rpc: Pick<OctezRpc, "participation">,
  { delegate, from, to, ...options }: RpcOptions & { delegate: string; from: number; to: number },
): Promise<number[]> {
  if (to - from >= countedLevels) throw new Error(`levels ${from} to ${to} are more than ${countedLevels}`);
  const missed: number[] = [];
  let before: Account | undefined;
  for (let level = from; level <= to + 1; level++) {
    const answer = await rpc.participation({ ...options, delegate, block: String(level) });
    if (!answer.ok) throw new Error(`${answer.kind}: ${answer.message}`);
    const account = { level, missedLevels: answer.value.missedLevels };
    if (missedBetween(before, account) > 0) missed.push(level - 1);
    before = account;
  }
  return missed;
}
