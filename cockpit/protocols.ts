/** The protocols of the chain, as a pod of the baker tells them (`tog sidecar protocols`). */
import { containers } from "../contract/containers";
import { protocolsStatusSchema } from "../contract/status";
import type { ToldProtocols } from "../diagnosis/rules/protocols";
import { ClusterError, type Cluster } from "./cluster";
import { bakingPodsOf, runTog } from "./tog";

/** @throws Error where no pod tells them */
export async function readProtocols(cluster: Cluster, baker: string): Promise<ToldProtocols[]> {
  const problems: string[] = [];
  const told: ToldProtocols[] = [];
  for (const pod of await bakingPodsOf(cluster, baker)) {
    const { name } = pod.metadata;
    try {
      const out = await runTog(cluster, { pod, container: containers.sidecar }, ["sidecar", "protocols"]);
      told.push({ pod: name, ...protocolsStatusSchema.parse(JSON.parse(out)) });
    } catch (error) {
      if (error instanceof ClusterError && error.kind !== "other") throw error;
      problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (told.length === 0)
    throw new Error(`no pod of ${baker} tells the chain's protocols: ${problems.join("; ") || "no pod"}`);
  return told;
}
