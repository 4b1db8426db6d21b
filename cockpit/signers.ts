/** How the signers of a baker answer each of its pods (`tog sidecar signers`). */
import { signerReportsSchema } from "../contract/signer-report";
import type { SignersOfPods } from "../diagnosis/signers";
import type { Cluster } from "./cluster";
import { askSidecars } from "./tog";

/** @throws Error where no pod could ask */
export async function readSigners(cluster: Cluster, baker: string): Promise<SignersOfPods> {
  const nobody = `no pod of ${baker} could ask its signers`;
  const answers = await askSidecars(cluster, baker, ["signers"], (json) => signerReportsSchema.parse(json), nobody);
  return new Map(answers.map(({ pod, told }) => [pod, told]));
}
