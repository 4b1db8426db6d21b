/**
 * `npm run verify:terraform [-- EXAMPLE...]`: Terraform itself judges the examples, both stacks, both modes: validate, plan, apply, and a second plan
 * that must be empty.
 * - Real providers from a filesystem mirror (TOG_PROVIDER_MIRROR, a TF_CLI_CONFIG_FILE of yours with provider_installation, or what `npm run test:assets` made): validate of everything, and plan of `platform`
 *   and of `baker` on an existing cluster. Nothing is applied with them: that would need an account.
 * - Stand-in providers, where ../shared/tools/terraform-offline or .cache/terraform-offline has them: all four steps.
 * - Otherwise the registry, as with a mirror.
 * Exit code 1 where a step fails, 2 where terraform or every kind of providers is missing.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { automaticFiles, type Handed } from "../constructs/configuration/tfvars";
import { neededSecrets } from "../constructs/configuration/variables";
import { type Configuration } from "../constructs/configuration/schema";
import { synthesize } from "../main";
import { defaultCache, terraformConfig } from "./test-assets";

const root = resolve(__dirname, "..");
const cache = join(root, ".cache");
const standInMark = "TEZOS_ON_GKE_STAND_IN_PROVIDERS";

interface Step {
  name: string;
  args: string[];
}

/** Dummies for every secret that the configuration needs, as TF_VAR_secrets takes them. */
export function dummySecrets(configuration: Configuration): string {
  const secrets: Record<string, unknown> = {};
  for (const { path } of neededSecrets(configuration)) {
    let at = secrets;
    for (const key of path.slice(0, -1)) at = (at[key] ??= {}) as Record<string, unknown>;
    at[path.at(-1) as string] = "a-dummy-for-verification";
  }
  return JSON.stringify(secrets);
}

/** Runs terraform in a folder; the output is shown only where it failed. */
function terraform(folder: string, args: readonly string[], environment: Record<string, string>): { ok: boolean; output: string } {
  const { status, stdout, stderr, error } = spawnSync("terraform", [...args], {
    cwd: folder,
    encoding: "utf8",
    timeout: 10 * 60_000,
    maxBuffer: 64 * 2 ** 20,
    env: { ...process.env, CHECKPOINT_DISABLE: "1", TF_IN_AUTOMATION: "1", ...environment },
  });
  return { ok: status === 0, output: `${stdout}${stderr}${error ? error.message : ""}` };
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

/** Synthesizes one example in one mode and runs the steps on each of its stacks. Gives the number of failures. */
async function verify(example: string, activeStandby: boolean, standIn: boolean, environment: Record<string, string>): Promise<number> {
  const mode = activeStandby ? "active-standby" : "solo";
  const folder = join(root, "examples", example);
  const work = join(cache, "verify-terraform", `${standIn ? "stand-in" : "real"}-${example}-${mode}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const handed: Handed = { environment: {}, options: [{ var: `experimental_active_standby_mode=${activeStandby}` }] };
  const { configuration } = await synthesize({ folder, outdir: join(work, "out"), handed });
  const existing = configuration.cluster?.existing;
  const variables = [
    ...automaticFiles(folder).map((file) => `-var-file=${file}`),
    `-var=experimental_active_standby_mode=${activeStandby}`,
  ];
  const secrets = { TF_VAR_secrets: dummySecrets(configuration) };
  let failures = 0;
  for (const stack of existing ? ["baker"] : ["platform", "baker"]) {
    const at = join(work, "out/stacks", stack);
    // Terraform merges *_override files: the state stays here whatever the configuration says; real providers get a harmless kubeconfig.
    writeFileSync(
      join(at, "verify_override.tf.json"),
      JSON.stringify({
        terraform: { backend: { local: { path: join(work, `${stack}.tfstate`) } } },
        ...(existing && !standIn ? { provider: { kubernetes: [{ config_path: kubeconfig(work, existing.context) }] } } : {}),
      }),
    );
    const plan = ["plan", "-input=false", "-no-color", "-lock=false", ...variables];
    const canPlan = standIn || stack === "platform" || existing !== undefined;
    const steps: Step[] = [
      { name: "init", args: ["init", "-input=false", "-no-color"] },
      { name: "validate", args: ["validate", "-no-color"] },
      ...(canPlan ? [{ name: "plan", args: [...plan, "-out=plan"] }] : []),
      ...(standIn
        ? [
            { name: "apply", args: ["apply", "-input=false", "-no-color", "plan"] },
            { name: "second plan is empty", args: [...plan, "-detailed-exitcode"] },
          ]
        : []),
    ];
    for (const { name, args } of steps) {
      const start = performance.now();
      const { ok, output } = terraform(at, args, { ...environment, ...secrets });
      console.log(
        `${ok ? "ok    " : "FAILED"} ${example} ${mode} ${stack}: ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`,
      );
      if (ok) continue;
      console.log(output);
      failures++;
      break;
    }
    if (!canPlan) console.log(`       ${example} ${mode} ${stack}: no plan with real providers: it reads the cluster from Google`);
  }
  return failures;
}

async function verifyAll(examples: readonly string[], standIn: boolean, environment: Record<string, string>): Promise<number> {
  let failures = 0;
  for (const example of examples)
    for (const activeStandby of [false, true]) failures += await verify(example, activeStandby, standIn, environment);
  return failures;
}

/** Where the stand-ins are, copied so that they find their packages in our node_modules; undefined where there are none. */
export function standInProgram(): string | undefined {
  const copy = join(cache, "terraform-offline");
  const source = resolve(root, "../shared/tools/terraform-offline");
  if (existsSync(join(source, "stub.mjs"))) {
    mkdirSync(copy, { recursive: true });
    for (const file of ["stub.mjs", "p6.proto"]) copyFileSync(join(source, file), join(copy, file));
  }
  const program = join(copy, "stub.mjs");
  return existsSync(program) ? program : undefined;
}

/** Environment for real providers: a given mirror or CLI configuration, or the cache of test-assets; undefined where there is none. */
function mirrorEnvironment(): Record<string, string> | undefined {
  const mirror = process.env.TOG_PROVIDER_MIRROR;
  const google = { GOOGLE_OAUTH_ACCESS_TOKEN: "a-dummy-for-verification" };
  if (mirror === undefined) {
    const own = process.env.TF_CLI_CONFIG_FILE;
    if (own && existsSync(own) && statSync(own).isFile() && readFileSync(own, "utf8").includes("provider_installation")) return google;
    const cached = terraformConfig(defaultCache());
    return existsSync(cached) ? { ...google, TF_CLI_CONFIG_FILE: cached } : undefined;
  }
  mkdirSync(cache, { recursive: true });
  const file = join(cache, "mirror.tfrc");
  writeFileSync(file, `provider_installation {\n  filesystem_mirror {\n    path = ${JSON.stringify(resolve(mirror))}\n  }\n}\n`);
  return { ...google, TF_CLI_CONFIG_FILE: file };
}

async function main(argv: string[]): Promise<number> {
  const all = readdirSync(join(root, "examples")).sort();
  const unknown = argv.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Error(`the examples are ${all.join(", ")}; got ${unknown.join(", ")}`);
  const examples = argv.length > 0 ? argv : all;
  if (spawnSync("terraform", ["version"], { env: { ...process.env, CHECKPOINT_DISABLE: "1" } }).error) {
    console.error("verify:terraform: no terraform on PATH; install it (https://developer.hashicorp.com/terraform/install) and try again");
    return 2;
  }
  if (process.env[standInMark]) return (await verifyAll(examples, true, { TF_CLI_CONFIG_FILE: "/dev/null" })) > 0 ? 1 : 0;

  const program = standInProgram();
  const real =
    mirrorEnvironment() ??
    (program === undefined && (await registryAnswers()) ? { GOOGLE_OAUTH_ACCESS_TOKEN: "a-dummy-for-verification" } : undefined);
  if (!real && program === undefined) {
    console.error(
      "verify:terraform: no providers: give a filesystem mirror with TOG_PROVIDER_MIRROR, or let this machine reach registry.terraform.io",
    );
    return 2;
  }
  console.log(`providers: ${[real && "real", program && "stand-in"].filter(Boolean).join(", then ")}`);
  const failures = real ? await verifyAll(examples, false, real) : 0;
  if (program === undefined) return failures > 0 ? 1 : 0;
  const { status } = spawnSync(
    process.execPath,
    [program, join(root, "node_modules"), process.execPath, "--import", "tsx", __filename, ...examples],
    { cwd: root, stdio: "inherit", env: { ...process.env, [standInMark]: "1" } },
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
