/** Names of Kubernetes objects, labels and annotations. Base58 is no DNS label: key hashes are written in hex. */
import { keyHashHex } from "../tezos/addresses";

export type Topology = "solo" | "active-standby";

/** Also the `name` of a baker in the configuration; 2 to 30 characters. */
export const bakerNamePattern = /^[a-z][a-z0-9-]{0,28}[a-z0-9]$/;

export const labels = {
  baker: "baker",
  topology: "topology",
  /** What the object or pod is: `baking-pod`, `signer-link`, `hot-signer`, ... */
  component: "app.kubernetes.io/component",
  partOf: "app.kubernetes.io/part-of",
  managedBy: "app.kubernetes.io/managed-by",
  name: "app.kubernetes.io/name",
  /** Set by Kubernetes on nodes, and on pods where PodTopologyLabels admission is on. */
  zone: "topology.kubernetes.io/zone",
} as const;
export const partOf = "tezos-on-gke";

export const annotations = {
  /** On the leader lease: an operator's wish, the pod name of a member. The PUT that honours it clears it. */
  preferredHolder: "tezos-on-gke/preferred-holder",
  /** On the leader lease: an operator's pause of automatic handovers (handover-pause.ts), JSON. */
  handoverPause: "tezos-on-gke/handover-pause",
  /** On the leader lease: the last receipts, JSON array, newest first, at most 50 (see receipt.ts). */
  receipts: "tezos-on-gke/receipts",
  /** On the leader lease: the last transition, one JSON receipt. */
  lastTransition: "tezos-on-gke/last-transition",
  /** On the leader lease after a release: the identity of the successor that may acquire at once. */
  successor: "tezos-on-gke/successor",
  /** On a member lease: the member record (status.ts), JSON. */
  member: "tezos-on-gke/member",
} as const;

/** Where our own Prometheus stack is installed. */
export const monitoringNamespace = "monitoring";
/** The receiver of the configuration that we give an Alertmanager, by which ours is told from somebody else's. */
export const peopleReceiver = "people";
/** Where GKE runs Google's managed Prometheus; which of them depends on GKE's version. */
export const googleMonitoringNamespaces = ["gmp-system", "gke-gmp-system"] as const;

/** The key of a watermark ConfigMap's data that holds the record (watermark.ts), JSON. */
export const watermarkDataKey = "watermark";
/** Beside the record: the last run of a supervisor that signed without the gate. */
export const soloRunDataKey = "run-without-gate";

export const statefulSetName = (baker: string, topology: Topology): string =>
  `${baker}-${topology === "solo" ? "solo" : "as"}`;
export const podName = (baker: string, topology: Topology, ordinal: number): string =>
  `${statefulSetName(baker, topology)}-${ordinal}`;
export const headlessServiceName = (baker: string, topology: Topology): string => statefulSetName(baker, topology);
export const leaderLeaseName = (baker: string): string => `${baker}.leader`;
export const memberLeaseName = (baker: string, ordinal: number): string => `${baker}.member-${ordinal}`;
/** @param address tz1..tz4 of the key that signs */
export const watermarkNamePattern = /^wm-[0-9a-f]{40}$/;
export const watermarkName = (address: string): string => `wm-${keyHashHex(address)}`;
/** holderIdentity: a successor of the same name with another uid is another holder. */
export const holderIdentity = (pod: string, uid: string): string => `${pod}_${uid}`;
/** Pod name of a holderIdentity; "" where there is none. */
export const holderPod = (identity: string): string => identity.split("_")[0] ?? "";
/** The ordinal of a StatefulSet's pod, for instance 1 for `alice-as-1`. @throws Error where the name has none */
export function podOrdinal(pod: string): number {
  const ordinal = /-(\d+)$/.exec(pod)?.[1];
  if (ordinal === undefined)
    throw new Error(`a pod of a StatefulSet ends in its ordinal, like alice-as-0; got "${pod}"`);
  return Number(ordinal);
}
/** The service of one signer: `zone` undefined = whichever tunnel answers. */
export const signerServiceName = (baker: string, signer: string, zone?: string): string =>
  zone === undefined ? `${baker}-signer-${signer}` : `${baker}-signer-${signer}-${zone}`;
