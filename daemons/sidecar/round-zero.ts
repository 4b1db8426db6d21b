/** The delegate's blocks of round 0: those that are on the chain, and those in whose place another round's block is. */
import type { OctezRpc, RpcOptions } from "../runtime/octez-rpc";

export type RoundZero = "baked" | "missed" | "unknown";

/**
 * By level, for those of `levels` at which the delegate had the right. unknown: the node does not tell the round of the
 * block. Undefined where it does not tell the rights.
 */
export async function roundZeroBlocks(
  rpc: Pick<OctezRpc, "bakingRights" | "header">,
  asked: RpcOptions & {
    delegate: string;
    levels: readonly number[];
    /** A block whose round is known already. */
    head?: { level: number; round: number | null };
  },
): Promise<Map<number, RoundZero> | undefined> {
  const { delegate, levels, head, ...wanted } = asked;
  const rights = await rpc.bakingRights({ ...wanted, levels, delegates: [delegate], maxRound: 0 });
  if (!rights.ok) return undefined;
  const ours = rights.value.filter(({ level, round }) => round === 0 && levels.includes(level));
  const blocks = ours.map(async ({ level }): Promise<[number, RoundZero]> => {
    const header = level === head?.level ? undefined : await rpc.header({ ...wanted, block: String(level) });
    const round = header === undefined ? head?.round : header.ok ? header.value.round : null;
    return [level, round === null || round === undefined ? "unknown" : round > 0 ? "missed" : "baked"];
  });
  return new Map(await Promise.all(blocks));
}
