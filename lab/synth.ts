/** Runs the program itself (main.ts) on a folder of tfvars and hands back what it would deploy. */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Timings } from "../contract/timings";
import { cacheFolder, cached, sourceHash } from "./bundle";
import { exampleFolder, exampleHotKeys } from "./example";
import { readStack, type StackObjects } from "./cluster/stack";
import { testKey, type SigningKey } from "./doubles/signing-keys";
import { makeKey } from "./keys";
import { snakeCase } from "./scale";

const root = resolve(__dirname, "..");

export interface BakerDescription {
  name: string;
  delegate: string;
  /** Address -> unencrypted:edsk..., for whoever plays the signer at home. */
  keys: Record<string, string>;
  /** Of a rotation: in `keys` as well. */
  next?: { consensus: SigningKey; companion?: SigningKey };
}
/** Curve of the next consensus key; a tz4 one has a companion key. */
export type Rotation = "tz1" | "tz2" | "tz3" | "tz4";
/**
 * `hot`: in the cluster, as the example has it. `tunnels`: two signers at home, each behind a tunnel per zone. `urls`:
 * two signers elsewhere, by URL, the first one by its address and the second one by its name.
 */
export const signerWays = ["hot", "tunnels", "urls"] as const;
export type SignerWays = (typeof signerWays)[number];
/** Which keys the configuration names. */
export type NamedKeys = readonly ("present" | "next")[];
export interface Synthesis {
  stack: StackObjects;
  bakers: BakerDescription[];
  zones: string[];
  chainId: string;
}
export interface SynthesisOptions {
  /** experimental_active_standby_mode */
  flag: boolean;
  timings: Timings;
  headMaxAgeSeconds: number;
  signers: SignerWays;
  /** @default 1: the example's own baker */
  bakers?: number;
  /** The first baker gets a next key. @default none */
  rotation?: Rotation;
  /** @default both */
  keys?: NamedKeys;
}

const exampleBaker = async (): Promise<BakerDescription> => {
  const [name, keys] = Object.entries(await exampleHotKeys())[0] ?? ["alice", {}];
  return { name, delegate: Object.keys(keys)[0] ?? "", keys };
};
/** The same baker with its next keys, which its signers hold already. */
function rotating(baker: BakerDescription, rotation: Rotation): BakerDescription {
  const consensus = testKey(rotation, `${baker.name} next`);
  const companion = rotation === "tz4" ? { companion: testKey("tz4", `${baker.name} companion`) } : {};
  const all = [consensus, ...(companion.companion ? [companion.companion] : [])];
  const secrets = Object.fromEntries(all.map(({ address, secret }) => [address, `unencrypted:${secret}`]));
  return { ...baker, keys: { ...baker.keys, ...secrets }, next: { consensus, ...companion } };
}
/** The lists of a configuration that names these keys. */
function keyLists({ delegate, next }: BakerDescription, named: NamedKeys): Record<string, string[]> {
  if (!next || !named.includes("next")) return {};
  const { consensus, companion } = next;
  return {
    consensus_keys: [...(named.includes("present") ? [delegate] : []), consensus.address],
    companion_keys: companion ? [companion.address] : [],
  };
}

/** Any Ed25519 key: nobody connects to the laboratory's tunnels by SSH. */
const sshKey = (port: number): string =>
  `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxhYm9yYXRvcnlsYWJvcmF0b3J5bGFib3Jh${String(port).padStart(8, "0")} laboratory`;

function run(folder: string, outdir: string): Promise<void> {
  return new Promise((done, reject) => {
    const child = spawn(process.execPath, ["--import", "tsx", join(root, "main.ts")], {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, CDKTF_OUTDIR: outdir, CHECKPOINT_DISABLE: "1" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
    child.on("error", reject);
    child.on("exit", (code) =>
      code === 0
        ? done()
        : reject(new Error(`main.ts ended with ${code} for the laboratory's configuration:\n${errors}`)),
    );
  });
}

/** The shadownet example with these changes; kept in the cache until a source changes. */
export async function synthesize(options: SynthesisOptions): Promise<Synthesis> {
  const first = await exampleBaker();
  const rotation = options.rotation;
  const bakers = [
    rotation === undefined ? first : rotating(first, rotation),
    ...Array.from({ length: (options.bakers ?? 1) - 1 }, (_, i) => makeKey(`baker${i + 2}`)),
  ];
  // octez-signer's signatures of P-256 differ each time.
  const deterministic = rotation !== "tz3";
  const signer = (port: number) => ({ ssh_public_key: sshKey(port), port, deterministic });
  const ways: Record<SignerWays, (baker: number) => Record<string, unknown>> = {
    hot: () => ({ hot_test_key: true }),
    tunnels: (baker) => ({ signers: { home1: signer(8443 + 20 * baker), home2: signer(8453 + 20 * baker) } }),
    urls: () => ({
      signers: {
        home1: { url: "http://10.8.0.5:6732", deterministic },
        home2: { url: "http://signer.example.net:6732", ranges: ["10.9.0.0/24"], deterministic },
      },
    }),
  };
  const settings = bakers.map((baker, i) => [
    baker.name,
    {
      delegate: baker.delegate,
      ...keyLists(baker, options.keys ?? ["present", "next"]),
      ...ways[options.signers](i),
    },
  ]);
  const changes = {
    experimental_active_standby_mode: options.flag,
    ...(options.bakers !== undefined || options.signers !== "hot" || rotation !== undefined
      ? { bakers: Object.fromEntries(settings) as unknown }
      : {}),
    head_max_age_seconds: options.headMaxAgeSeconds,
    timings: Object.fromEntries(Object.entries(options.timings).map(([name, value]) => [snakeCase(name), value])),
    monitoring: { enabled: false },
    ...(options.signers === "tunnels" ? { signer_link: { source_ranges: ["203.0.113.0/24"] } } : {}),
  };
  const text = JSON.stringify(changes);
  const tfvars = readFileSync(join(exampleFolder, "terraform.tfvars"), "utf8");
  const hash = sourceHash(["constructs", "contract"], readFileSync(join(root, "main.ts"), "utf8"), text, tfvars);
  const file = await cached(`stack-${hash}.json`, async (temporary) => {
    const folder = join(cacheFolder, `synth-${process.pid}-${hash}`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    cpSync(join(exampleFolder, "terraform.tfvars"), join(folder, "terraform.tfvars"));
    writeFileSync(join(folder, "laboratory.auto.tfvars.json"), text);
    try {
      await run(folder, join(folder, "out"));
      renameSync(join(folder, "out/stacks/baker/cdk.tf.json"), temporary);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
  const secrets = { hot_keys: Object.fromEntries(bakers.map(({ name, keys }) => [name, keys])) };
  const stack = readStack(file, secrets);
  const config = stack.configMaps.map((map) => map.data["baker.json"]).find((json) => json !== undefined);
  const { network } = JSON.parse(config ?? "{}") as { network: { chainId: string } };
  const zones = /^\s*zones\s*=\s*\[([^\]]*)\]/m.exec(tfvars)?.[1]?.match(/[a-z0-9-]+/g) ?? ["zone-a", "zone-b"];
  return { stack, bakers, zones, chainId: network.chainId };
}
