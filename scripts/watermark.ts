/**
 * `npm run watermark -- show | raise --key ADDRESS --level LEVEL [--yes]`: the operator's way out of a lost watermark (docs/runbooks/watermark-lost.md).
 * Raises only upwards, by a conditional write, and only with --yes. Exit codes as `npm run baker`.
 */
import { Command } from "commander";
import { keyHashHex } from "../contract/addresses";
import { labels, watermarkDataKey, watermarkName } from "../contract/names";
import { ClusterError } from "./cockpit/cluster";
import { connectCluster } from "./cockpit/connect";
import { planRaise } from "./cockpit/watermark";

interface Common {
  context?: string;
  kubeconfig?: string;
  namespace: string;
}

const program = new Command("watermark")
  .description("Shows and raises the watermarks of the signing keys.")
  .showHelpAfterError()
  .exitOverride();
const command = (name: string, text: string): Command =>
  program
    .command(name)
    .description(text)
    .option("--context <name>", "context of the kubeconfig")
    .option("--kubeconfig <file>", "kubeconfig (default: KUBECONFIG or ~/.kube/config)")
    .option("--namespace <name>", "namespace of the bakers", "tezos");
const watermarks = async (common: Common) => {
  const cluster = connectCluster(common);
  return { cluster, maps: (await cluster.configMaps(labels.baker)).filter((map) => /^wm-[0-9a-f]{40}$/.test(map.metadata.name)) };
};

command("show", "every watermark of the namespace").action(async (common: Common) => {
  const { maps } = await watermarks(common);
  for (const map of maps)
    console.log(`${map.metadata.name}  baker ${map.metadata.labels[labels.baker] ?? "?"}\n  ${map.data[watermarkDataKey] ?? "(empty)"}`);
  if (maps.length === 0)
    throw new Error(`namespace ${common.namespace} has no watermark: check --namespace, or \`npm run deploy -- --only baker\``);
});

command("raise", "nothing at or below LEVEL is signed with this key any more (prints the plan; --yes does it)")
  .requiredOption("--key <address>", "address of the key, tz1 to tz4")
  .requiredOption("--level <level>", "the highest level that may have been signed anywhere", Number)
  .option("--yes", "do it")
  .action(async (common: Common & { key: string; level: number; yes?: boolean }) => {
    keyHashHex(common.key);
    const name = watermarkName(common.key);
    const { cluster, maps } = await watermarks(common);
    const map = maps.find((candidate) => candidate.metadata.name === name);
    if (!map) throw new Error(`namespace ${common.namespace} has no ${name} (key ${common.key}): check --key and --namespace`);
    const { before, after } = planRaise(map, common.level);
    console.log(`${name}: floor ${before.floor} -> ${after.floor}; marks, epoch ${before.epoch} and holder stay`);
    if (!common.yes) return console.log("\nNothing was changed. Add --yes to do it.");
    await cluster.writeConfigMap(map, { ...map.data, [watermarkDataKey]: JSON.stringify(after) });
    console.log("Raised.");
  });

program.parseAsync(process.argv).catch((error: unknown) => {
  const code = (error as { code?: string }).code ?? "";
  if (code.startsWith("commander.")) {
    process.exitCode = code === "commander.helpDisplayed" ? 0 : 2;
    return;
  }
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof ClusterError ? 3 : 2;
});
