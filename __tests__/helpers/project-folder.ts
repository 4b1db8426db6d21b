/** An operator's folder of its own, with a cdktf.json that runs this program, and the real commands in it. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const root = resolve(__dirname, "../..");
const tsx = pathToFileURL(require.resolve("tsx")).href;
const cdktfProgram = join(dirname(require.resolve("cdktf-cli/package.json")), "bundle/bin/cdktf");

export interface Outcome {
  code: number | null;
  /** stdout and stderr together, without colours and without Terraform's frames and line breaks. */
  output: string;
}

export interface ProjectFolder {
  path: string;
  /** The bare cdktf command. */
  cdktf(args: readonly string[], environment?: Record<string, string>): Promise<Outcome>;
  /** What `npm run synth|diff|deploy|destroy -- ...` runs. */
  wrapper(args: readonly string[], environment?: Record<string, string>): Promise<Outcome>;
  write(file: string, content: string): void;
  /** The parsed cdk.tf.json of a stack. */
  stack(name: "platform" | "baker"): { resource: Record<string, Record<string, unknown> | undefined> };
  remove(): void;
}

/**
 * @param prefix words before each command, for instance the stand-in providers' program
 * @param program of cdktf.json, from the root of the repository
 */
export function projectFolder(
  files: Record<string, string>,
  context: Record<string, unknown> = {},
  prefix: readonly string[] = [],
  program = "main.ts",
): ProjectFolder {
  const path = mkdtempSync(join(tmpdir(), "tog-project-"));
  const write = (file: string, content: string): void => writeFileSync(join(path, file), content);
  const app = `node --import ${tsx} ${join(root, program)}`;
  write(
    "cdktf.json",
    JSON.stringify({ language: "typescript", app, projectId: "test", sendCrashReports: "false", context }),
  );
  for (const [file, content] of Object.entries(files)) write(file, content);
  const run = (words: readonly string[], environment: Record<string, string> = {}): Promise<Outcome> => {
    const [command, ...args] = [...prefix, process.execPath, ...words] as [string, ...string[]];
    const child = spawn(command, args, {
      cwd: path,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, CHECKPOINT_DISABLE: "1", CI: "1", TF_CLI_CONFIG_FILE: "/dev/null", ...environment },
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (data: Buffer) => (output += data.toString()));
    return new Promise((done, fail) => {
      child.once("error", fail);
      child.once("close", (code) => {
        const plain = output.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "").replace(/[│╷╵]/g, "");
        done({ code, output: plain.replace(/\s+/g, " ") });
      });
    });
  };
  return {
    path,
    write,
    cdktf: (args, environment) => run([cdktfProgram, ...args], environment),
    wrapper: (args, environment) => run(["--import", tsx, join(root, "scripts/cdktf.ts"), ...args], environment),
    stack: (name) =>
      JSON.parse(readFileSync(join(path, "cdktf.out/stacks", name, "cdk.tf.json"), "utf8")) as ReturnType<
        ProjectFolder["stack"]
      >,
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** A small complete terraform.tfvars. */
export const smallTfvars = `project = "my-tezos-project"
network = "shadownet"
bakers  = { alice = { delegate = "tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5", hot_test_key = true } }
`;
/** Its secrets, for TF_VAR_secrets. */
export const smallSecrets = JSON.stringify({
  hot_keys: { alice: { tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5: "unencrypted:dummy" } },
});

/** Names of the stateful sets of a synthesized baker stack. */
export const statefulSets = (folder: ProjectFolder): string[] =>
  Object.keys(folder.stack("baker").resource.kubernetes_stateful_set_v1 ?? {});
