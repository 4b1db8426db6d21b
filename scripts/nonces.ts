/**
 * `npm run nonces -- export [--out FILE]` and `... import FILE`: the seed nonces of a baker out of its pods and into them, whatever the topology. For the change of
 * the flag in both directions, and as a disaster copy. The pods do the work (`tog nonce-importer export|import` under the baker's own lock); this merges.
 * Exit codes: 0 done, 1 a pod failed, 2 usage, 3 the cluster was not reached. The file holds unrevealed nonces: mode 0600, delete it afterwards.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { containers, labels } from "../contract/names";
import { writeDurably } from "../daemons/runtime/durable";
import { checkBundle, mergeSets, type NonceBundle } from "../tezos/nonces";

interface Common {
  baker?: string;
  context?: string;
  kubeconfig?: string;
  namespace: string;
}
class Failure extends Error {
  constructor(
    readonly exitCode: 1 | 2 | 3,
    message: string,
  ) {
    super(message);
  }
}
const tog = "/usr/local/bin/tog";
const timeoutMs = 60_000;

/** Injected by tests. */
export interface Io {
  /** Runs kubectl; `code` null where it could not be started or took longer than a minute. */
  kubectl(args: readonly string[], input: string): Promise<{ code: number | null; out: string; err: string }>;
  out(text: string): void;
  err(text: string): void;
}

export const realIo: Io = {
  kubectl: (args, input) =>
    new Promise((resolve) => {
      const child = spawn("kubectl", args, { stdio: ["pipe", "pipe", "pipe"], timeout: timeoutMs });
      let out = "";
      let err = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
      child.stderr.setEncoding("utf8").on("data", (text: string) => (err = (err + text).slice(-1000)));
      child.stdin.on("error", () => undefined);
      child.on("error", (error) => resolve({ code: null, out, err: `kubectl must be on the PATH: ${error.message}` }));
      child.on("close", (code) => resolve({ code, out, err }));
      child.stdin.end(input);
    }),
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};

/** @returns stdout. @throws Failure with the last lines of stderr */
async function kubectl(io: Io, common: Common, args: readonly string[], exitCode: 1 | 3, input = ""): Promise<string> {
  const context = common.context === undefined ? [] : ["--context", common.context];
  const kubeconfig = common.kubeconfig === undefined ? [] : ["--kubeconfig", common.kubeconfig];
  const { code, out, err } = await io.kubectl([...context, ...kubeconfig, "--namespace", common.namespace, ...args], input);
  if (code !== 0) throw new Failure(exitCode, err.trim() || `kubectl ended with ${code ?? "a signal"}`);
  return out;
}

interface BakingPod {
  name: string;
  baker: string;
  running: boolean;
}
/** The baking pods of the one baker, of either topology. */
async function bakingPods(io: Io, common: Common): Promise<{ baker: string; pods: BakingPod[] }> {
  const selector = `${labels.component}=baking-pod${common.baker === undefined ? "" : `,${labels.baker}=${common.baker}`}`;
  interface PodList {
    items: {
      metadata: { name: string; labels: Record<string, string> };
      status: { containerStatuses?: { name: string; state?: { running?: object } }[] };
    }[];
  }
  const { items } = JSON.parse(await kubectl(io, common, ["get", "pods", "--selector", selector, "--output", "json"], 3)) as PodList;
  const pods = items.map(({ metadata, status }) => ({
    name: metadata.name,
    baker: metadata.labels[labels.baker] ?? "",
    running: status.containerStatuses?.some(({ name, state }) => name === containers.baker && state?.running !== undefined) ?? false,
  }));
  const bakers = [...new Set(pods.map(({ baker }) => baker))].sort();
  const [baker] = bakers;
  if (bakers.length > 1) throw new Failure(2, `--baker names one of ${bakers.join(", ")}: there are ${bakers.length}`);
  if (baker === undefined)
    throw new Failure(
      3,
      `namespace ${common.namespace} has no baking pod${common.baker ? ` of ${common.baker}` : ""}: check --namespace and --context`,
    );
  return { baker, pods };
}

/** Runs `work` in each pod. @returns the results, and the exit code: 1 where a pod does not run or failed, which is reported */
async function inEachPod<T>(
  io: Io,
  pods: readonly BakingPod[],
  work: (pod: BakingPod) => Promise<T>,
): Promise<{ results: T[]; code: 0 | 1 }> {
  const results: T[] = [];
  for (const pod of pods) {
    try {
      if (!pod.running) throw new Failure(1, `its container ${containers.baker} does not run (yet)`);
      results.push(await work(pod));
    } catch (error) {
      io.err(`${pod.name}: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
  return { results, code: results.length === pods.length ? 0 : 1 };
}

async function exportNonces(io: Io, common: Common & { out?: string }): Promise<number> {
  const { baker, pods } = await bakingPods(io, common);
  const { results, code } = await inEachPod(io, pods, async (pod) =>
    checkBundle(await kubectl(io, common, ["exec", pod.name, "--container", containers.baker, "--", tog, "nonce-importer", "export"], 1), {
      baker,
    }),
  );
  const [first] = results;
  if (!first) throw new Failure(1, `nothing exported: none of ${pods.map(({ name }) => name).join(", ")} answered`);
  if (results.some(({ chain }) => chain !== first.chain)) throw new Failure(1, "the pods are on different chains");
  const merged: NonceBundle = results.reduce((all, one) => ({ ...all, ...mergeSets(all, one) }));
  const text = JSON.stringify(merged) + "\n";
  if (common.out === undefined) io.out(text);
  else await writeDurably(common.out, text, { mode: 0o600 });
  io.err(
    `exported ${merged.stateful.length} nonces and ${merged.legacy.length} legacy pairs of ${baker} from ${results.length} of ${pods.length} pods\n`,
  );
  return code;
}

async function importNonces(io: Io, file: string, common: Common): Promise<number> {
  const text = readFileSync(file === "-" ? 0 : file, "utf8");
  const { baker, pods } = await bakingPods(io, common);
  const bundle = checkBundle(text, { baker });
  const { code } = await inEachPod(io, pods, async (pod) => {
    const args = ["exec", "--stdin", pod.name, "--container", containers.baker, "--", tog, "nonce-importer", "import"];
    io.out(await kubectl(io, common, args, 1, JSON.stringify(bundle)));
  });
  return code;
}

/** @param argv the words after the script's name @returns the exit code */
export async function nonces(argv: readonly string[], io: Io = realIo): Promise<number> {
  let code = 0;
  const program = new Command("nonces")
    .description("The seed nonces of a baker, out of its pods and into them.")
    .showHelpAfterError()
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: io.err });
  const command = (name: string, text: string): Command =>
    program
      .command(name)
      .description(text)
      .option("--baker <name>", "the baker (default: the only one of the namespace)")
      .option("--context <name>", "context of the kubeconfig")
      .option("--kubeconfig <file>", "kubeconfig (default: KUBECONFIG or ~/.kube/config)")
      .option("--namespace <name>", "namespace of the bakers", "tezos");
  command("export", "merge the nonces of all pods of a baker into one file")
    .option("--out <file>", "where to write it (default: stdout)")
    .action(async (options: Common & { out?: string }) => {
      code = await exportNonces(io, options);
    });
  command("import", "merge a file into every pod of a baker, beside running bakers")
    .argument("<file>", "an export; - is stdin")
    .action(async (file: string, options: Common) => {
      code = await importNonces(io, file, options);
    });
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    io.err(`${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof Failure ? error.exitCode : 1;
  }
}

if (require.main === module) void nonces(process.argv.slice(2)).then((code) => (process.exitCode = code));
