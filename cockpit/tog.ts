/** Our own program in a baker's pods: what the pod's containers can do, and the operator's machine cannot. */
import { togProgram } from "../contract/images";
import { labels } from "../contract/names";
import type { PodView } from "../diagnosis/objects";
import type { Cluster } from "./cluster";

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
