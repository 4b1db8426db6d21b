/** Our own program in a baker's pods: what the pod's containers can do, and the operator's machine cannot. */
import { containers } from "../contract/containers";
import { togProgram } from "../contract/images";
import { labels } from "../contract/names";
import type { PodView } from "../diagnosis/objects";
import { ClusterError, type Cluster } from "./cluster";

/** The baking pods of a baker, of either topology. */
export const bakingPodsOf = (cluster: Cluster, baker: string): Promise<PodView[]> =>
  cluster.pods(`${labels.component}=baking-pod,${labels.baker}=${baker}`);

/** Runs `tog WORDS` in a container. @returns stdout. @throws Error with the last lines of stderr */
export async function runTog(
  cluster: Cluster,
  place: { pod: PodView; container: string },
  words: readonly string[],
  input = "",
): Promise<string> {
  const { pod, container } = place;
  const { code, out, err } = await cluster.exec(pod.metadata.name, container, [togProgram, ...words], input);
  if (code !== 0)
    throw new Error(err.trim().slice(-1000) || (code === null ? "it did not end" : `it ended with ${code}`));
  return out;
}

/**
 * Runs `tog sidecar WORDS` in all baking pods at once; each prints one JSON text.
 * @param read @throws Error for what is none
 * @param nobody the beginning of the error where no pod told it
 * @throws Error with what each pod said instead where none told it; ClusterError where the cluster is not reached
 */
export async function askSidecars<T>(
  cluster: Cluster,
  baker: string,
  words: readonly string[],
  read: (json: unknown) => T,
  nobody: string,
): Promise<{ pod: string; told: T }[]> {
  const ask = async (pod: PodView): Promise<{ pod: string; told: T } | { pod: string; problem: string }> => {
    const { name } = pod.metadata;
    try {
      const out = await runTog(cluster, { pod, container: containers.sidecar }, ["sidecar", ...words]);
      return { pod: name, told: read(JSON.parse(out)) };
    } catch (error) {
      if (error instanceof ClusterError && error.kind !== "other") throw error;
      return { pod: name, problem: error instanceof Error ? error.message : String(error) };
    }
  };
  const all = await Promise.all((await bakingPodsOf(cluster, baker)).map(ask));
  const answers = all.flatMap((one) => ("told" in one ? [one] : []));
  if (answers.length > 0) return answers;
  const problems = all.flatMap((one) => ("problem" in one ? [one] : []));
  throw new Error(`${nobody}: ${problemsText(problems)}`);
}

/** What a sidecar says that does not know the word yet. */
const older = /^sidecar takes no argument/m;
function problemsText(problems: readonly { pod: string; problem: string }[]): string {
  if (problems.length > 0 && problems.every(({ problem }) => older.test(problem)))
    return "the pods are of an older version";
  return (
    problems
      .map(({ pod, problem }) => `${pod}: ${older.test(problem) ? "the pod is of an older version" : problem}`)
      .join("; ") || "no pod"
  );
}
