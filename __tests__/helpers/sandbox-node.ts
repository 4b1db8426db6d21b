/**
 * Stands in for the octez-node around the pods of a sandbox: the double, with a simulated chain in the same process at
 * the address where its peers look for it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { exampleHotKeys } from "../../lab/example";
import { sandboxChainId } from "../../lab/octez/parameters";
import { simulatedChains } from "../../lab/simulated-chains";
import { lab, splitAddress } from "../../lab/doubles/common";

async function main(argv: string[]): Promise<void> {
  if (argv[0] === "run") {
    const folder = argv[argv.indexOf("--data-dir") + 1] ?? "";
    const { p2p } = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as { p2p: { "listen-addr": string } };
    const { host, port } = splitAddress(p2p["listen-addr"]);
    const [[name, keys] = ["alice", {}]] = Object.entries(await exampleHotKeys());
    const bakers = [{ name, keys, delegate: Object.keys(keys)[0] ?? "" }];
    const synthesis = { bakers, chainId: sandboxChainId, zones: [], stack: undefined as never };
    const options = { blockMs: 1000, tog: "", seed: "sandbox" };
    for (const chain of simulatedChains(options, synthesis).values()) {
      chain.start();
      await chain.serve(host, port);
    }
    Object.assign(lab, { chain: `${host}:${port}`, startMs: 0 });
  }
  const double = await import("../../lab/doubles/octez-node");
  await double.main(argv);
}
void main(process.argv.slice(2));
