/** The simulated chains of a laboratory: one for each baker, so that every one has a delegate with rights. */
import { ushuaia } from "../tezos/protocols";
import { Chain } from "./chain/chain";
import type { DelegateKeys } from "./chain/keys";
import type { Endpoint } from "./cluster/link";
import { keyOf } from "./doubles/signing-keys";
import type { LabOptions } from "./lab";
import type { Synthesis } from "./synth";

/** The delegate's own key, as the chain knows it from the begin. */
function ownKey(delegate: string, secrets: Readonly<Record<string, string>>): DelegateKeys {
  const { publicKey } = keyOf((secrets[delegate] ?? "").replace("unencrypted:", ""));
  return { consensus: [{ cycle: 0, address: delegate, publicKey }], companion: [] };
}

export const simulatedChains = (options: LabOptions, { bakers, chainId }: Synthesis): Map<string, Chain> =>
  new Map(
    bakers.map(({ name, delegate, keys }) => [
      name,
      new Chain({
        ...{ seed: `${options.seed}-${name}`, chainId, protocol: ushuaia.hash },
        ...{ blockMs: options.blockMs, delegate, consensusKey: delegate, keys: ownKey(delegate, keys) },
        ...{ blockShare: options.blockShare ?? 0.25, attestationShare: 1 },
        ...{ blocksPerCycle: options.blocksPerCycle ?? 32, blocksPerCommitment: options.blocksPerCommitment ?? 4 },
        revelationBlocks: Math.floor(((options.blocksPerCycle ?? 32) * 3) / 4),
        ...{ startLevel: 3_200_001, virtualPeers: 12 },
      }),
    ]),
  );

/** Begins the chains and serves each to its nodes. @returns where, by baker; `closers` get their ends */
export async function serveChains(
  chains: ReadonlyMap<string, Chain>,
  host: string,
  closers: (() => void)[],
): Promise<Map<string, Endpoint>> {
  const endpoints = new Map<string, Endpoint>();
  for (const [name, chain] of chains) {
    chain.start();
    const served = await chain.serve(host);
    closers.push(() => served.close());
    endpoints.set(name, { host: served.host, port: served.port });
  }
  return endpoints;
}
