/** Names of the Google Cloud resources that the stack `baker` finds again, by the configured prefix. */
import { createHash } from "node:crypto";
import type { Configuration } from "../../configuration/schema";

export const clusterName = ({ name }: Configuration): string => name;
export const signerLinkAddressName = ({ name }: Configuration): string => `${name}-signer-link`;
/** Account id of the service account of a baker's cloud signer: Google allows 30 characters. */
export const cloudSignerAccountId = ({ name }: Configuration, baker: string): string =>
  `${name}-${createHash("sha256").update(baker).digest("hex").slice(0, 8)}`;
export const accountEmail = (accountId: string, project: string): string =>
  `${accountId}@${project}.iam.gserviceaccount.com`;
/** Label of the nodes of the baker pool. */
export const poolLabel = { "tezos-on-gke/pool": "baker" };
/** Command that gives kubectl access to the cluster. */
export const credentialsCommand = (configuration: Configuration): string => {
  const dns = configuration.control_plane.endpoint === "dns" ? " --dns-endpoint" : "";
  return `gcloud container clusters get-credentials ${clusterName(configuration)} --project ${configuration.project ?? ""} --location ${configuration.region}${dns}`;
};
