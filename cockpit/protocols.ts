/** The protocols of the chain, as a pod of the baker tells them (`tog sidecar protocols`). */
import { protocolsStatusSchema } from "../contract/status";
import type { ToldProtocols } from "../diagnosis/rules/protocols";
import type { Cluster } from "./cluster";
import { askSidecars } from "./tog";

/** @throws Error where no pod tells them */
export async function readProtocols(cluster: Cluster, baker: string): Promise<ToldProtocols[]> {
  const nobody = `no pod of ${baker} tells the chain's protocols`;
  const answers = await askSidecars(cluster, baker, ["protocols"], (json) => protocolsStatusSchema.parse(json), nobody);
  return answers.map(({ pod, told }) => ({ pod, ...told }));
}
