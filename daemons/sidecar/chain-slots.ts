/**
 * `tog sidecar slots [LEVEL]`: what became of the delegate's slots from this level on, as this pod's node tells it, as
 * one JSON object on stdout. Without a level only where the chain is.
 */
import type { ChainSlots } from "../../contract/chain-slots";
import { loadConfig, type DaemonConfig } from "../runtime/config";
import { missedLevels } from "../runtime/missed-levels";
import type { OctezRpc, RpcOutcome } from "../runtime/octez-rpc";
import { printFromNode, timeoutMs } from "./print-from-node";
import { roundZeroBlocks } from "./round-zero";

/** Of one answer; whoever wants more asks again. */
const mostLevels = 100;

type Rpc = Pick<OctezRpc, "header" | "constants" | "participation" | "attestationRights" | "bakingRights">;

/**
 * Two blocks below the head nothing changes any more: the block after a level, which includes its attestations, has a
 * successor itself. @throws Error with what was asked and what came instead
 */
export async function chainSlots(
  rpc: Rpc,
  { delegate, chainId, from }: { delegate: string; chainId: string; from?: number },
): Promise<ChainSlots> {
  const must = async <T>(what: string, outcome: Promise<RpcOutcome<T>>): Promise<T> => {
    const answer = await outcome;
    if (!answer.ok) throw new Error(`the node does not tell ${what}: ${answer.message}`);
    return answer.value;
  };
  const head = await must("its head", rpc.header({ timeoutMs }));
  if (head.chainId !== chainId)
    throw new Error(`the node follows ${head.chainId}, not the configured chain ${chainId}`);
  const { minimalBlockDelaySeconds } = await must("the constants", rpc.constants({ timeoutMs }));
  const told = { delegate, head: head.level, blockSeconds: minimalBlockDelaySeconds };
  if (from === undefined || from > head.level - 2) return { ...told, levels: [] };
  const to = Math.min(head.level - 2, from + mostLevels - 1);
  const levels = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  const [rights, missed, blocks] = await Promise.all([
    must("the rights to attest", rpc.attestationRights({ timeoutMs, levels, delegate })),
    missedLevels(rpc, { timeoutMs, delegate, from, to }),
    roundZeroBlocks(rpc, { timeoutMs, delegate, levels }),
  ]);
  if (!blocks) throw new Error("the node does not tell the rights to bake");
  return {
    ...told,
    levels: levels.map((level) => ({
      level,
      attestation: missed.includes(level) ? "missed" : rights.includes(level) ? "included" : "none",
      block: blocks.get(level) ?? "none",
    })),
  };
}

/** @param text the level; anything but digits is refused */
export async function printChainSlots(
  text: string | undefined,
  config: DaemonConfig = loadConfig("sidecar"),
): Promise<void> {
  if (text !== undefined && !/^\d+$/.test(text)) {
    console.error(`sidecar slots takes a level in digits, for instance 3200011; got "${text}"`);
    process.exitCode = 1;
    return;
  }
  const { delegate, network } = config.file;
  const from = text === undefined ? {} : { from: Number(text) };
  await printFromNode(config, (rpc) => chainSlots(rpc, { delegate, chainId: network.chainId, ...from }));
}
