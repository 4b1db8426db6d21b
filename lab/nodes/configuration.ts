/** What an operator would write for the cluster of nodes, and what `npm run manifests` makes of it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { KubernetesObject } from "../../manifests/kubernetes-objects";
import { manifestsOf } from "../../scripts/manifests";
import { storageClass } from "./disks";

export const namespace = "bakery";
export const baker = "alice";
export const zones = ["zone-a", "zone-b"] as const;
export const signer = "home1";
/** Where the signer's home is: the machine on which the nodes run. */
export const homeRange = "10.250.0.0/24";

export interface Wanted {
  flag: boolean;
  delegate: string;
  sshPublicKey: string;
  snapshot: { url: string; blockHash: string };
  images: Readonly<Record<string, string>>;
}
/** @param folder is made @throws ConfigurationError where the configuration's rules have changed */
export function manifestsFor(folder: string, wanted: Wanted): Promise<KubernetesObject[]> {
  const { flag, delegate, sshPublicKey, snapshot, images } = wanted;
  const configuration = {
    cluster: { existing: { context: "test", storage_class: storageClass } },
    ...{ zones, network: "shadownet", namespace, experimental_active_standby_mode: flag },
    bakers: {
      [baker]: {
        delegate,
        signers: { [signer]: { ssh_public_key: sshPublicKey, port: 8443, deterministic: true } },
        dal: { enabled: false },
      },
    },
    signer_link: { source_ranges: [homeRange] },
    ...{ disk: { size_gib: 20 }, monitoring: { enabled: false } },
    snapshot: { url: snapshot.url, block_hash: snapshot.blockHash },
    images,
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "terraform.tfvars.json"), JSON.stringify(configuration));
  return manifestsOf(folder, { environment: {}, options: [] }, () => undefined);
}
