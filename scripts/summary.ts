/**
 * `npm run summary [-- --json] [--var KEY=VALUE] [--var-file FILE]`: synthesizes the configuration at hand (the
 * shadownet example where there is none) into cdktf.out and says what it would be: mode, zones, resources, pods with
 * their containers, cost.
 */
import "../configuration/node";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ConfigurationError } from "../configuration/errors";
import { type Resolved } from "../configuration/load";
import type { Configuration } from "../configuration/schema";
import { type Handed } from "../configuration/tfvars";
import { synthesize } from "../main";
import { handedOf, parseRequest } from "./cdktf";
import { names, podOf, workloads, type Block, type Stack, type Stacks, type Workload } from "./blocks";
import { costOf, pricesAsOf, type CostItem } from "./cost";

export interface Summary {
  /** Name of the example, null where the configuration is the operator's own. */
  example: string | null;
  mode: "active-standby" | "solo";
  network: string;
  cluster: { existing: string } | { project: string; region: string };
  zones: string[];
  namespace: string;
  /** Key -> file or option that gave it. */
  sources: Record<string, string>;
  /** Stack -> resource type -> how many. */
  stacks: Record<string, Record<string, number>>;
  pods: {
    baker: string;
    workload: string;
    replicas: number;
    initContainers: string[];
    containers: string[];
    signs: string;
  }[];
  /** USD a month; null on a cluster that is not ours. */
  cost: { asOf: string; items: CostItem[]; low: number; high: number; notEstimated: string[] } | null;
  warnings: string[];
}

/** @param stacks parsed cdk.tf.json by stack name */
export function summarize({ configuration, sources, warnings }: Resolved, stacks: Stacks): Summary {
  const existing = configuration.cluster?.existing;
  return {
    example: configuration.example ?? null,
    mode: configuration.experimental_active_standby_mode ? "active-standby" : "solo",
    network: configuration.network,
    cluster: existing
      ? { existing: existing.context }
      : { project: configuration.project ?? "", region: configuration.region },
    zones: [...configuration.zones],
    namespace: configuration.namespace,
    sources: { ...sources },
    stacks: Object.fromEntries(
      Object.entries(stacks).map(([name, { resource = {} }]) => [
        name,
        Object.fromEntries(Object.entries(resource).map(([type, all]) => [type, Object.keys(all).length])),
      ]),
    ),
    pods: workloads(stacks.baker, "kubernetes_stateful_set_v1").map((workload) => podSummary(workload, configuration)),
    cost: existing ? null : { asOf: pricesAsOf, ...costOf(stacks) },
    warnings: [...warnings],
  };
}

function podSummary(workload: Workload, { bakers }: Configuration): Summary["pods"][number] {
  const { metadata, spec } = workload;
  const baker = String((metadata.labels as Block | undefined)?.baker);
  const settings = bakers[baker];
  const signers = Object.entries(settings?.signers ?? {}).map(([name, { url }]) => (url ? `${name} (${url})` : name));
  return {
    baker,
    workload: String(metadata.name),
    replicas: Number(spec.replicas),
    initContainers: names(podOf(workload).init_container),
    containers: names(podOf(workload).container),
    signs: settings?.hot_test_key
      ? "hot test key in the cluster"
      : settings?.cloud_key
        ? "Cloud KMS through Signatory"
        : `remote signer${signers.length === 1 ? "" : "s"} ${signers.join(", ")}`,
  };
}

/** The summary for a person. */
export function summaryText(summary: Summary): string {
  const { mode, cluster, zones, pods, stacks, cost } = summary;
  const count = (stack: string): number => Object.values(stacks[stack] ?? {}).reduce((sum, n) => sum + n, 0);
  const types = (stack: string): string =>
    Object.entries(stacks[stack] ?? {})
      .sort(([a, m], [b, n]) => n - m || a.localeCompare(b))
      .map(
        ([type, n]) =>
          `${n} ${type
            .replace(/^(google|kubernetes)_/, "")
            .replace(/_v1$/, "")
            .replaceAll("_", " ")}`,
      )
      .join(", ");
  const where =
    "existing" in cluster
      ? `the cluster of the context ${cluster.existing}`
      : `a new cluster in ${cluster.region}, project ${cluster.project}`;
  const lines = [
    ...(summary.example === null
      ? []
      : [
          `There is no terraform.tfvars here: this is the example "${summary.example}". cp examples/${summary.example}/terraform.tfvars . and change it.`,
          "",
        ]),
    mode === "active-standby"
      ? `active-standby: each baker has ${pods[0]?.replicas ?? zones.length} baking nodes in ${zones.length} zones, of which exactly one bakes`
      : "solo: each baker has one baking node on a disk that lies in two zones (experimental_active_standby_mode = false)",
    `  on ${summary.network}, in ${where}${zones.length > 0 ? `, zones ${zones.join(" and ")}` : ""}, namespace ${summary.namespace}`,
    "",
    ...pods.flatMap((pod) => [
      `baker ${pod.baker}: ${pod.replicas} x pod ${pod.workload}, signs with ${pod.signs}`,
      `  first ${pod.initContainers.join(", ")}`,
      `  then  ${pod.containers.join(", ")}`,
    ]),
    "",
    ...Object.keys(stacks).map((stack) => `stack ${stack}: ${count(stack)} resources: ${types(stack)}`),
    "",
    ...(cost
      ? [
          `about ${cost.low}${cost.high === cost.low ? "" : ` to ${cost.high}`} USD a month (list prices of us-central1, ${cost.asOf})`,
          ...cost.items.map(
            ({ item, low, high }) => `  ${(low === high ? String(low) : `${low}-${high}`).padStart(8)}  ${item}`,
          ),
          `  not in it: ${cost.notEstimated.join("; ")}`,
        ]
      : ["cost: your cluster's own"]),
    ...(summary.warnings.length > 0 ? ["", ...summary.warnings.map((warning) => `warning: ${warning}`)] : []),
    "",
    "next: npm run diff, npm run deploy (with a terraform.tfvars); npm run manifests; README.md",
  ];
  return `${lines.join("\n")}\n`;
}

/** Synthesizes the folder into its cdktf.out (or `outdir`) and summarizes it. */
export async function summaryOf(
  folder: string,
  handed: Handed,
  outdir = join(folder, "cdktf.out"),
  secretsNeeded = false,
): Promise<Summary> {
  const resolved = await synthesize({ folder, outdir, handed, secretsNeeded });
  const stacks = resolved.configuration.cluster ? ["baker"] : ["platform", "baker"];
  const read = (stack: string): Stack =>
    JSON.parse(readFileSync(join(outdir, "stacks", stack, "cdk.tf.json"), "utf8")) as Stack;
  return summarize(resolved, Object.fromEntries(stacks.map((stack) => [stack, read(stack)])));
}

async function main(argv: string[]): Promise<void> {
  const handed = handedOf(parseRequest(["synth", ...argv.filter((word) => word !== "--json")]), process.env);
  const summary = await summaryOf(process.cwd(), handed, undefined, true);
  process.stdout.write(argv.includes("--json") ? `${JSON.stringify(summary, null, 2)}\n` : summaryText(summary));
}

if (require.main === module)
  main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error instanceof ConfigurationError || error instanceof Error ? error.message : error);
    process.exitCode = 1;
  });
