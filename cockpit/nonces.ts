/**
 * `npm run baker -- nonces export [--out FILE]` and `... import FILE`: the seed nonces of a baker out of its pods and
 * into them, whatever the topology. For the change of the flag in both directions, and as a disaster copy. The pods do
 * the work (`tog nonce-importer export|import` under the baker's own lock); this merges. Exit codes: 0 done, 1 a pod
 * failed, 2 usage, 3 the cluster was not reached. The file holds unrevealed nonces: mode 0600, delete it afterwards.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import { containers } from "../contract/containers";
import { writeDurably } from "../daemons/runtime/durable";
import type { PodView } from "../diagnosis/objects";
import { checkBundle, mergeSets, nonceImport, type NonceBundle } from "../tezos/nonces";
import { ClusterError, type Cluster } from "./cluster";
import { bakerCommand, type Common, commandGroup } from "./options";
import { bakerName, type Session } from "./session";
import { bakingPodsOf, runTog } from "./tog";

const importer = (cluster: Cluster, pod: PodView, verb: "export" | "import", input?: string): Promise<string> =>
  runTog(cluster, { pod, container: containers.baker }, ["nonce-importer", verb], input);

/** The baking pods of the one baker, of either topology. */
async function bakingPods(cluster: Cluster, common: Common): Promise<{ baker: string; pods: PodView[] }> {
  const baker = await bakerName(cluster, common);
  const pods = await bakingPodsOf(cluster, baker);
  if (pods.length === 0)
    throw new ClusterError(
      "other",
      `namespace ${cluster.namespace} has no baking pod of ${baker}: check --namespace and --context`,
    );
  return { baker, pods };
}

/**
 * Runs `work` in each pod. @returns the results, and the exit code: 1 where a pod does not run or failed, which is
 * reported
 */
async function inEachPod<T>(
  io: Session,
  pods: readonly PodView[],
  work: (pod: PodView) => Promise<T>,
): Promise<{ results: T[]; code: 0 | 1 }> {
  const results: T[] = [];
  for (const pod of pods) {
    try {
      if (!pod.containers.some(({ name, running }) => name === containers.baker && running))
        throw new Error(`its container ${containers.baker} does not run (yet)`);
      results.push(await work(pod));
    } catch (error) {
      io.err(`${pod.metadata.name}: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
  return { results, code: results.length === pods.length ? 0 : 1 };
}

async function exportNonces(io: Session, common: Common & { out?: string }): Promise<number> {
  if (common.out !== undefined && existsSync(common.out))
    throw new Error(`${common.out} is there already: give another --out, or move it away`);
  const cluster = await io.connect(common);
  const { baker, pods } = await bakingPods(cluster, common);
  const { results, code } = await inEachPod(io, pods, async (pod) =>
    checkBundle(await importer(cluster, pod, "export"), { baker }),
  );
  const [first] = results;
  if (!first)
    throw new Error(`nothing exported: none of ${pods.map(({ metadata }) => metadata.name).join(", ")} answered`);
  if (results.some(({ chain }) => chain !== first.chain)) throw new Error("the pods are on different chains");
  const merged: NonceBundle = results.reduce((all, one) => ({ ...all, ...mergeSets(all, one) }));
  const text = JSON.stringify(merged) + "\n";
  if (common.out === undefined) io.out(text);
  else await writeDurably(common.out, text, { mode: 0o600 });
  io.err(
    `exported ${merged.stateful.length} nonces and ${merged.legacy.length} legacy pairs of ${baker} from ${results.length} of ${pods.length} pods\n`,
  );
  return code;
}

/**
 * Merges the nonces of a text (see `nonceImport`) into every pod of the baker. @returns 1 where one of them did not
 * take them, which is reported
 */
export async function importIntoPods(io: Session, cluster: Cluster, baker: string, text: string): Promise<0 | 1> {
  const { pods } = await bakingPods(cluster, { baker });
  const { code } = await inEachPod(io, pods, async (pod) => io.out(await importer(cluster, pod, "import", text)));
  return code;
}

async function importNonces(io: Session, file: string, common: Common): Promise<number> {
  const text = readFileSync(file === "-" ? 0 : file, "utf8");
  const cluster = await io.connect(common);
  const { baker } = await bakingPods(cluster, common);
  // Each pod checks again, the chain included.
  nonceImport(text, { baker });
  return importIntoPods(io, cluster, baker, text);
}

export function addNonces(program: Command, session: Session): void {
  const nonces = commandGroup(program, "nonces", "the seed nonces of a baker, out of its pods and into them");
  bakerCommand(nonces, "export", "merge the nonces of all pods of a baker into one file")
    .option("--out <file>", "where to write it (default: stdout)")
    .action(async (options: Common & { out?: string }) => {
      session.exitCode = await exportNonces(session, options);
    });
  bakerCommand(nonces, "import", "merge a file into every pod of a baker, beside running bakers")
    .argument("<file>", "an export, or a nonce file of octez-baker; - is stdin")
    .action(async (file: string, options: Common) => {
      session.exitCode = await importNonces(session, file, options);
    });
}
