/**
 * `npm run kind [-- --dry-run | --delete]`: the baker of the shadownet example, active-standby, in a cluster on this
 * machine. It makes a kind cluster whose two workers are labelled as zones, builds the images, loads them into the
 * nodes and applies the objects of the stack `baker`.
 *
 * Needs docker (running), kind and kubectl. Nobody has run it yet: it was written on a machine without Docker, where
 * only its plan was checked.
 */
import "../configuration/node";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { defaultOctezVersion, octezImage } from "../contract/images";
import { exampleHotKeys, type HotKeys } from "../lab/example";
import { toYaml } from "../manifests/kubernetes-objects";
import { manifestsOf } from "./manifests";
import { buildSteps, imageNames, reference, stageContext } from "./publish-images";

const cluster = "tezos";
const context = `kind-${cluster}`;
const zones = ["zone-a", "zone-b"] as const;
const registry = "localhost/tezos-on-gke";

/** kind's own configuration: a control plane and one worker for each zone. */
export const clusterConfiguration = {
  kind: "Cluster",
  apiVersion: "kind.x-k8s.io/v1alpha4",
  nodes: [
    { role: "control-plane" },
    ...zones.map((zone) => ({ role: "worker", labels: { "topology.kubernetes.io/zone": zone } })),
  ],
};

/** The configuration of the cluster, as a tfvars file. */
export const configurationOf = (keys: HotKeys, tag: string): object => ({
  cluster: { existing: { context, storage_class: "standard" } },
  zones,
  network: "shadownet",
  namespace: "bakery",
  experimental_active_standby_mode: true,
  bakers: Object.fromEntries(
    Object.entries(keys).map(([name, addresses]) => [
      name,
      { delegate: Object.keys(addresses)[0], hot_test_key: true, dal: { enabled: false } },
    ]),
  ),
  disk: { size_gib: 50 },
  monitoring: { enabled: false },
  images: Object.fromEntries(imageNames.map((name) => [name, reference({ registry, tag }, name)])),
});

/** The objects as YAML, with the example's keys and a drawn secret in the place of the placeholders. */
export async function objectsOf(keys: HotKeys, tag: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "tezos-kind-"));
  try {
    writeFileSync(join(folder, "terraform.tfvars.json"), JSON.stringify(configurationOf(keys, tag)));
    const yaml = toYaml(await manifestsOf(folder, { environment: {}, options: [] }, () => undefined));
    return yaml
      .replace(/<secrets\.hot_keys\.([^.>]+)\.([^.>]+)>/g, (_, name: string, address: string) => {
        const key = keys[name]?.[address];
        if (key === undefined) throw new Error(`the example has no hot key ${address} of ${name}`);
        return key;
      })
      .replaceAll("<a random value, 64 hex digits>", randomBytes(32).toString("hex"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Step {
  command: readonly string[];
  /** Given on standard input. */
  input?: string;
}
/** What is run, in its order. `images` is the folder made by stageContext. */
export function plan(objects: string, images: string, tag: string): Step[] {
  const built = { registry, tag };
  const options = { ...built, builder: "docker" as const, octez: octezImage(defaultOctezVersion), images: imageNames };
  return [
    {
      command: ["kind", "create", "cluster", "--name", cluster, "--config", "-"],
      input: JSON.stringify(clusterConfiguration),
    },
    ...buildSteps({ ...options, context: images, push: false }),
    {
      command: [
        ...["kind", "load", "docker-image", "--name", cluster],
        ...imageNames.map((name) => reference(built, name)),
      ],
    },
    { command: ["kubectl", "--context", context, "apply", "-f", "-"], input: objects },
  ];
}

function run({ command: [program = "", ...args], input }: Step): void {
  console.error(`$ ${[program, ...args].join(" ")}`);
  const { status, error } = spawnSync(program, args, { input, stdio: ["pipe", "inherit", "inherit"] });
  if (error ?? status !== 0) throw error ?? new Error(`${program} ${args[0] ?? ""} ended with ${status}`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { "dry-run": { type: "boolean" }, delete: { type: "boolean" } } });
  const missing = [
    ["docker", "info"],
    ["kind", "version"],
    ["kubectl", "version", "--client"],
  ].filter(([program = "", ...args]) => spawnSync(program, args, { stdio: "ignore" }).status !== 0);
  if (missing.length > 0 && !values["dry-run"])
    throw new Error(
      `npm run kind needs docker (running), kind and kubectl; these do not work here: ${missing.map(([name]) => name).join(", ")}`,
    );
  if (values.delete) return run({ command: ["kind", "delete", "cluster", "--name", cluster] });
  const images = mkdtempSync(join(tmpdir(), "tezos-kind-images-"));
  try {
    const tag = (await stageContext(images)).slice(0, 12);
    const steps = plan(await objectsOf(await exampleHotKeys(), tag), images, tag);
    if (values["dry-run"]) for (const { command } of steps) console.log(command.join(" "));
    else {
      steps.forEach(run);
      console.log(`Try: kubectl --context ${context} --namespace bakery get pods --watch`);
    }
  } finally {
    rmSync(images, { recursive: true, force: true });
  }
}

if (require.main === module)
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  });
