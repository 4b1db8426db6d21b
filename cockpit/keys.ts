/**
 * `npm run baker -- keys`: the delegate's keys on the chain, active and pending, beside those that the baker was given,
 * and what is missing. The chain's part comes from the nodes of the baking pods (`tog sidecar keys`). Exit codes: 0
 * nothing is missing, 1 something is or no node answers, 2 usage, 3 the cluster was not reached.
 */
import type { Command } from "commander";
import { chainKeysSchema, type ChainKeys } from "../contract/chain-keys";
import { inPlace } from "../diagnosis/finding";
import { keysView, type KeyView } from "../diagnosis/keys";
import type { Cluster } from "./cluster";
import { jsonCommand, type Common } from "./options";
import { renderFinding } from "./render";
import type { Session } from "./session";
import { hanging } from "./text";
import { askSidecars } from "./tog";
import { readView } from "./view";

/** Of the node with the highest head. @throws Error where no node tells them */
export async function readChainKeys(cluster: Cluster, baker: string): Promise<ChainKeys> {
  const nobody = `no node of ${baker} tells the keys of its delegate`;
  const answers = await askSidecars(cluster, baker, ["keys"], (json) => chainKeysSchema.parse(json), nobody);
  return answers.map(({ told }) => told).reduce((newest, one) => (one.level > newest.level ? one : newest));
}

function renderKey({ address, alias, chain, watermark, signers }: KeyView): string {
  return [
    `${address}  ${alias ?? "(not given to the baker)"}`,
    hanging("  chain      ", chain.join("; ") || "neither active nor pending"),
    ...(alias === null ? [] : [hanging("  watermark  ", watermark)]),
    ...(signers === null ? [] : [`  signers    ${signers === 0 ? "none has it" : `${signers} with this key`}`]),
  ].join("\n");
}

async function keys(session: Session, common: Common): Promise<void> {
  const { cluster, baker } = await session.connected(common);
  const chain = await readChainKeys(cluster, baker);
  const found = keysView(chain, await readView(cluster, baker, session.time));
  const findings = found.findings.map((one) => ({ ...one, remedy: inPlace(one.remedy, cluster) }));
  session.print(common.json, { baker, chain, keys: found.keys, findings }, () =>
    [
      hanging(
        "",
        `${baker}: delegate ${chain.delegate}, level ${chain.level}, cycle ${chain.cycle}, block ${chain.cyclePosition + 1} of ${chain.blocksPerCycle}`,
      ),
      ...found.keys.map(renderKey),
      findings.map(renderFinding).join("\n") || "nothing is missing",
    ].join("\n\n"),
  );
  session.exitCode = findings.some(({ severity }) => severity !== "note") ? 1 : 0;
}

export function addKeys(program: Command, session: Session): void {
  jsonCommand(
    program,
    "keys",
    "the delegate's keys on the chain beside those of the baker, and what is missing",
  ).action((common: Common) => keys(session, common));
}
