/** `tog sidecar keys`: the delegate's keys, as this pod's node tells them, as one JSON object on stdout. */
import type { ChainKeys } from "../../contract/chain-keys";
import { loadConfig, type DaemonConfig } from "../runtime/config";
import type { OctezRpc, RpcOutcome } from "../runtime/octez-rpc";
import { printFromNode, timeoutMs } from "./print-from-node";

/** @throws Error with what was asked and what came instead */
export async function chainKeys(rpc: OctezRpc, delegate: string, chainId: string): Promise<ChainKeys> {
  const must = async <T>(what: string, outcome: Promise<RpcOutcome<T>>): Promise<T> => {
    const answer = await outcome;
    if (!answer.ok) throw new Error(`the node does not tell ${what}: ${answer.message}`);
    return answer.value;
  };
  const told = await must("its chain", rpc.chainId({ timeoutMs }));
  if (told !== chainId) throw new Error(`the node follows ${told}, not the configured chain ${chainId}`);
  // One block for all answers: a cycle may end between two of them.
  const { hash: block, level } = await must("its head", rpc.header({ timeoutMs }));
  const current = await must("the cycle", rpc.currentLevel({ timeoutMs, block }));
  const { blocksPerCycle, minimalBlockDelaySeconds } = await must("the constants", rpc.constants({ timeoutMs }));
  const consensus = await must(`the consensus keys of ${delegate}`, rpc.consensusKeys({ timeoutMs, delegate, block }));
  const companion = await must(`the companion keys of ${delegate}`, rpc.companionKeys({ timeoutMs, delegate, block }));
  return {
    ...{ delegate, level, cycle: current.cycle, cyclePosition: current.cyclePosition, blocksPerCycle },
    ...{ blockSeconds: minimalBlockDelaySeconds, consensus, companion },
  };
}

export const printChainKeys = (config: DaemonConfig = loadConfig("sidecar")): Promise<void> =>
  printFromNode(config, (rpc) => chainKeys(rpc, config.file.delegate, config.file.network.chainId));
