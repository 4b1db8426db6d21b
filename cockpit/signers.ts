/** How the signers of a baker answer each of its pods (`tog sidecar signers`). */
import { containers } from "../contract/containers";
import { signerReportsSchema, type SignerReport } from "../contract/signer-report";
import type { SignersOfPods } from "../diagnosis/signers";
import { ClusterError, type Cluster } from "./cluster";
import { bakingPodsOf, runTog } from "./tog";

/** @throws Error where no pod could ask */
export async function readSigners(cluster: Cluster, baker: string): Promise<SignersOfPods> {
  const problems: string[] = [];
  const told = new Map<string, readonly SignerReport[]>();
  for (const pod of await bakingPodsOf(cluster, baker)) {
    try {
      const out = await runTog(cluster, { pod, container: containers.sidecar }, ["sidecar", "signers"]);
      told.set(pod.metadata.name, signerReportsSchema.parse(JSON.parse(out)));
    } catch (error) {
      if (error instanceof ClusterError && error.kind !== "other") throw error;
      problems.push(`${pod.metadata.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (told.size === 0) throw new Error(`no pod of ${baker} could ask its signers: ${problems.join("; ") || "no pod"}`);
  return told;
}
