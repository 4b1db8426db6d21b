/** The delegate's baking rights, and the levels that it missed, from the pod's own node. */
import { createOctezRpc, type RpcOutcome } from "../runtime/octez-rpc";
import type { Clock } from "../runtime/clock";
import { missedLevels } from "../runtime/missed-levels";
import type { Rights } from "./elector";

/** Rounds beyond the second are so rare that no handover waits for them. */
const maxRound = 1;

/** @param url http://ADDRESS:PORT of the node's RPC */
export function createRights(options: {
  url: string;
  clock: Clock;
  delegate: string;
  timeoutMs: number;
}): Rights & { close(): void } {
  const rpc = createOctezRpc(options);
  const { delegate, timeoutMs } = options;
  const must = <T>(outcome: RpcOutcome<T>): T => {
    if (!outcome.ok) throw new Error(`${outcome.kind}: ${outcome.message}`);
    return outcome.value;
  };
  return {
    bakingLevels: async (levels, signal) =>
      must(await rpc.bakingRights({ levels, delegates: [delegate], maxRound, timeoutMs, signal }))
        .filter((right) => right.delegate === delegate && levels.includes(right.level))
        .map((right) => right.level),
    blockSeconds: async (signal) => must(await rpc.constants({ timeoutMs, signal })).minimalBlockDelaySeconds,
    missedLevels: (from, to, signal) => missedLevels(rpc, { delegate, from, to, timeoutMs, signal }),
    close: () => rpc.close(),
  };
}
