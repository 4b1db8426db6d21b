/**
 * `npm run verify:terraform [-- EXAMPLE...]`: Terraform itself judges the examples, both stacks, both modes: validate,
 * plan, apply, and a second plan that must be empty. A warning that is not listed here fails a step like an error.
 * - Real providers from a mirror (tools/test-assets/providers.ts) or the registry: validate and plan of everything,
 *   without an account: the calls by which the stack `baker` finds its cluster are answered on this machine. Nothing is
 *   applied with them here; `npm run test:cluster` does.
 * - Stand-in providers, where ../shared/tools/terraform-offline or .cache/terraform-offline has them: all four steps.
 * Exit code 1 where a step fails, 2 where terraform or every kind of providers is missing.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { resolveConfiguration } from "../configuration/load";
import { automaticFiles } from "../configuration/tfvars";
import { neededSecrets } from "../configuration/secrets";
import { fields, opensshText } from "./openssh-key";
import { type Configuration } from "../configuration/schema";
import { synthesize } from "../main";
import { terraformBinary, terraformProgram } from "../configuration/terraform-version";
import { startGoogleStandIn } from "./test-assets/google-stand-in";
import { providerNames, realProviders, type RealProviders } from "./test-assets/providers";

const root = resolve(__dirname, "..");
const cache = join(root, ".cache");
const standInMark = "TEZOS_ON_GKE_STAND_IN_PROVIDERS";
const standInRegistry = "TEZOS_ON_GKE_STAND_IN_REGISTRY";
/** Where each program looks for a provider that is named without a host, as cdktf's are. */
const registryOf = { Terraform: "registry.terraform.io", OpenTofu: "registry.opentofu.org" };

/** Warnings of the providers that we live with, and why. */
export const knownWarnings: readonly (readonly [title: RegExp, reason: string])[] = [
  [
    /^Incomplete lock file information for providers$/,
    "a mirror has the providers of one platform only; nobody keeps this lock file",
  ],
];

export interface StepResult {
  example: string;
  mode: "solo" | "active-standby";
  stack: string;
  step: string;
  state: "ok" | "failed" | "skipped";
  seconds: number;
  /** Titles of Terraform's warnings, known or not. */
  warnings: string[];
  /** Terraform's output where it failed, the reason where it was skipped. */
  text: string;
}
/** Real providers as far as they are there, or stand-ins for everything. */
export type Providers = ({ kind: "real" } & RealProviders) | { kind: "stand-in"; environment: Record<string, string> };

/** What runs: terraform, or another program of its kind, such as OpenTofu. */
const binary = terraformBinary();

const secretMark = "a-dummy-of-a-secret";

/** In OpenSSH's form, with the public half that the configuration has and no private half. */
function dummyHostKey(publicKey: string | undefined): string {
  const [, base64] = publicKey?.split(" ") ?? [];
  return opensshText(base64 ? Buffer.from(base64, "base64") : fields("ssh-ed25519", Buffer.alloc(32)), secretMark);
}

/** Dummies for every secret that the configuration needs, as TF_VAR_secrets takes them. */
export function dummySecrets(configuration: Configuration): string {
  const secrets: Record<string, unknown> = {};
  for (const { path } of neededSecrets(configuration)) {
    let at = secrets;
    for (const key of path.slice(0, -1)) at = (at[key] ??= {}) as Record<string, unknown>;
    at[path.at(-1) as string] = `${path.length > 1 ? "unencrypted:" : ""}${secretMark}.${path.join(".")}`;
  }
  if (secrets.signer_link_host_key !== undefined)
    secrets.signer_link_host_key = dummyHostKey(configuration.signer_link.host_public_key);
  return JSON.stringify(secrets);
}

/** Runs terraform in a folder. */
function terraform(
  folder: string,
  args: readonly string[],
  environment: Record<string, string>,
): Promise<{ ok: boolean; output: string }> {
  const env = { ...process.env, CHECKPOINT_DISABLE: "1", TF_IN_AUTOMATION: "1", ...environment };
  const child = spawn(binary, args, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"], timeout: 10 * 60_000 });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (output += data.toString()));
  return new Promise((done) => {
    child.once("error", (error) => done({ ok: false, output: error.message }));
    child.once("close", (code) => done({ ok: code === 0, output }));
  });
}

/** A kubeconfig that names a context and reaches nothing: enough for a plan of objects that do not exist. */
function kubeconfig(folder: string, context: string): string {
  const file = join(folder, "kubeconfig");
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "nowhere", cluster: { server: "https://127.0.0.1:1" } }],
      users: [{ name: "nobody", user: { token: "none" } }],
      contexts: [{ name: context, context: { cluster: "nowhere", user: "nobody" } }],
    }),
  );
  return file;
}

/** The providers that a synthesized stack asks for. */
const required = (file: string): string[] =>
  Object.keys(
    (JSON.parse(readFileSync(file, "utf8")) as { terraform: { required_providers: object } }).terraform
      .required_providers,
  );

/**
 * Terraform merges *_override files: the state stays in `work` whatever the configuration says; real providers reach
 * nothing outside.
 * @param wanted providers of the stack
 * @param google what answers in Google's place; undefined with stand-ins
 * @param context of the cluster that exists already
 */
function writeOverride(
  stack: string,
  work: string,
  wanted: readonly string[],
  google: object | undefined,
  context: string | undefined,
): void {
  const own = context === undefined ? undefined : { config_path: kubeconfig(work, context) };
  const provider = google && {
    ...(own && { kubernetes: [own] }),
    ...(own && wanted.includes("helm") && { helm: [{ kubernetes: own }] }),
    ...(wanted.includes("google") && { google: [google] }),
  };
  const backend = { local: { path: join(stack, `${basename(work)}.tfstate`) } };
  writeFileSync(
    join(stack, "verify_override.tf.json"),
    JSON.stringify({ terraform: { backend }, ...(provider && { provider }) }),
  );
}

function stepsOf(kind: Providers["kind"], variables: readonly string[]): [name: string, args: string[]][] {
  const plan = ["plan", "-input=false", "-no-color", "-lock=false", ...variables];
  const planned: [string, string[]][] = [
    ["init", ["init", "-input=false", "-no-color"]],
    ["validate", ["validate", "-no-color"]],
    ["plan", [...plan, "-out=plan"]],
  ];
  if (kind === "real") return planned;
  return [
    ...planned,
    ["apply", ["apply", "-input=false", "-no-color", "plan"]],
    ["second plan is empty", [...plan, "-detailed-exitcode"]],
  ];
}

/** Everything that Terraform and synth have left in a folder, and what they have said: no secret is in it. */
async function keepsNoSecret(stack: string, environment: Record<string, string>, said: string): Promise<string> {
  const files = readdirSync(stack).filter((name) => /\.(json|tfstate|backup)$/.test(name));
  const plan = await terraform(stack, ["show", "-json", "plan"], environment);
  if (!plan.ok) return `terraform show failed: ${plan.output}`;
  const texts = [...files.map((name) => [name, readFileSync(join(stack, name), "utf8")]), ["plan", plan.output]];
  const leaks = [...texts, ["output", said]].flatMap(([name, text]) =>
    text?.includes(secretMark) || text?.includes("OPENSSH PRIVATE KEY") ? [name] : [],
  );
  return leaks.length === 0 ? "" : `a secret is in: ${leaks.join(", ")}`;
}

/** Synthesizes a folder in one mode and runs the steps on each of its stacks. */
export async function verify(
  example: string,
  activeStandby: boolean,
  providers: Providers,
  tell: (result: StepResult) => void = () => undefined,
): Promise<StepResult[]> {
  const mode = activeStandby ? "active-standby" : "solo";
  const folder = join(root, "examples", example);
  const work = join(cache, "verify-terraform", `${providers.kind}-${example}-${mode}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const options = [{ var: `experimental_active_standby_mode=${activeStandby}` }];
  const { configuration } = await resolveConfiguration({ folder, handed: { environment: {}, options } });
  const secrets = dummySecrets(configuration);
  await synthesize({ folder, outdir: join(work, "out"), handed: { environment: { secrets }, options } });
  const existing = configuration.cluster?.existing;
  const variables = [
    ...automaticFiles(folder).map((file) => `-var-file=${file}`),
    `-var=experimental_active_standby_mode=${activeStandby}`,
  ];
  const environment = { ...providers.environment, TF_VAR_secrets: secrets };
  const real = providers.kind === "real" ? { ...providers, google: await startGoogleStandIn() } : undefined;
  const results: StepResult[] = [];
  const add = (result: Omit<StepResult, "example" | "mode">): void => {
    results.push({ example, mode, ...result });
    tell({ example, mode, ...result });
  };
  for (const stack of existing ? ["baker"] : ["platform", "baker"]) {
    const at = join(work, "out/stacks", stack);
    const wanted = required(join(at, "cdk.tf.json"));
    const missing = real ? wanted.filter((name) => !real.has.some((one) => one === name)) : [];
    if (missing.length > 0) {
      const text = `the real provider ${missing.join(", ")} is not there`;
      add({ stack, step: "validate and plan", state: "skipped", seconds: 0, warnings: [], text });
      continue;
    }
    writeOverride(at, work, wanted, real?.google.endpoints, existing?.context);
    let said = "";
    let good = true;
    for (const [step, args] of stepsOf(providers.kind, variables)) {
      const start = performance.now();
      const { ok, output } = await terraform(at, args, environment);
      said += output;
      const warnings = [...output.matchAll(/Warning: (.*)/g)].map(([, title]) => title ?? "");
      good = ok && warnings.every((title) => knownWarnings.some(([known]) => known.test(title)));
      const seconds = Math.round((performance.now() - start) / 100) / 10;
      add({ stack, step, state: good ? "ok" : "failed", seconds, warnings, text: good ? "" : output });
      if (!good) break;
    }
    if (!good) continue;
    const text = await keepsNoSecret(at, environment, said);
    add({ stack, step: "no secret is kept", state: text === "" ? "ok" : "failed", seconds: 0, warnings: [], text });
  }
  await real?.google.stop();
  return results;
}

/** Every example in both modes. Gives the number of failures. */
async function verifyAll(examples: readonly string[], providers: Providers): Promise<number> {
  let failures = 0;
  for (const example of examples)
    for (const activeStandby of [false, true])
      await verify(example, activeStandby, providers, ({ mode, stack, step, state, seconds, warnings, text }) => {
        const known = warnings.map((title) => `, known warning: ${title}`).join("");
        const end = state === "skipped" ? text : `${seconds.toFixed(1)} s${known}`;
        console.log(`${state.padEnd(7)} ${example} ${mode} ${stack}: ${step} (${end})`);
        if (state === "failed") {
          console.log(text);
          failures++;
        }
      });
  return failures;
}

/**
 * The stand-ins are older than write-only attributes: the schema marks them, and no plan and no state keeps them. They
 * know Terraform's registry only.
 */
const standInChanges: Readonly<Record<string, readonly (readonly [before: string, after: string])[]>> = {
  "stub.mjs": [
    [
      "required, optional: !required, computed: !required && !!out",
      "required, optional: !required, write_only: /_wo$/.test(n), computed: !required && !!out && !/_wo$/.test(n)",
    ],
    ["`registry.terraform.io/", `\`\${process.env.${standInRegistry} ?? "registry.terraform.io"}/`],
    ["    if (!a.computed) continue;", "    if (a.write_only) val[a.name] = null;\n    if (!a.computed) continue;"],
  ],
  "p6.proto": [["bool sensitive = 7; }", "bool sensitive = 7; bool write_only = 11; }"]],
};

/**
 * Where the stand-ins are, copied so that they find their packages in our node_modules; undefined where there are none.
 */
export function standInProgram(): string | undefined {
  const copy = join(cache, "terraform-offline");
  const source = resolve(root, "../shared/tools/terraform-offline");
  if (existsSync(join(source, "stub.mjs"))) {
    mkdirSync(copy, { recursive: true });
    for (const [file, changes] of Object.entries(standInChanges)) {
      const text = changes.reduce(
        (before, [a, b]) => {
          if (!before.includes(a)) throw new Error(`the stand-in providers have changed: ${file} has no "${a}"`);
          return before.replace(a, b);
        },
        readFileSync(join(source, file), "utf8"),
      );
      writeFileSync(join(copy, file), text);
    }
  }
  const program = join(copy, "stub.mjs");
  return existsSync(program) ? program : undefined;
}

async function main(argv: string[]): Promise<number> {
  const all = readdirSync(join(root, "examples")).sort();
  const unknown = argv.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Error(`the examples are ${all.join(", ")}; got ${unknown.join(", ")}`);
  const examples = argv.length > 0 ? argv : all;
  const judge = terraformProgram(binary);
  if (!judge) {
    console.error(
      `verify:terraform: ${binary} cannot be run; install it (https://developer.hashicorp.com/terraform/install, or https://opentofu.org/docs/intro/install with TERRAFORM_BINARY_NAME=tofu) and try again`,
    );
    return 2;
  }
  if (process.env[standInMark])
    return (await verifyAll(examples, { kind: "stand-in", environment: { TF_CLI_CONFIG_FILE: "/dev/null" } })) > 0
      ? 1
      : 0;

  const program = standInProgram();
  const registry = { environment: { GOOGLE_OAUTH_ACCESS_TOKEN: "a-dummy-for-verification" }, has: providerNames };
  const real = realProviders() ?? (program === undefined && (await registryAnswers()) ? registry : undefined);
  if (!real && program === undefined) {
    console.error(
      "verify:terraform: no providers: give a filesystem mirror with TOG_PROVIDER_MIRROR, or let this machine reach registry.terraform.io",
    );
    return 2;
  }
  console.log(
    `${judge.name} ${judge.version}, providers: ${[real && "real", program && "stand-in"].filter(Boolean).join(", then ")}`,
  );
  const failures = real ? await verifyAll(examples, { kind: "real", ...real }) : 0;
  if (program === undefined) return failures > 0 ? 1 : 0;
  const { status } = spawnSync(
    process.execPath,
    [program, join(root, "node_modules"), process.execPath, "--import", "tsx", __filename, ...examples],
    {
      cwd: root,
      stdio: "inherit",
      env: { ...process.env, [standInMark]: "1", [standInRegistry]: registryOf[judge.name] },
    },
  );
  return failures > 0 ? 1 : (status ?? 1);
}

const registryAnswers = (): Promise<boolean> =>
  fetch("https://registry.terraform.io/.well-known/terraform.json", { signal: AbortSignal.timeout(5000) }).then(
    (answer) => answer.ok,
    () => false,
  );

if (require.main === module)
  main(process.argv.slice(2)).then(
    (code) => void (process.exitCode = code),
    (error: unknown) => {
      console.error(error instanceof Error ? error.message : error);
      process.exitCode = 1;
    },
  );
