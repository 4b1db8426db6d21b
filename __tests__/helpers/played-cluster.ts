/**
 * What a cluster has before anything of ours: nodes in zones (kwok plays them), volumes made beforehand and their
 * StorageClass.
 */
import type { Answer, ControlPlane } from "../../tools/test-assets/control-plane";

export const zones = ["zone-a", "zone-b"] as const;
export const storageClassName = "local";
export const nodeOf = (zone: string): string => `node-${zone}`;

export async function until(what: string, check: () => Promise<boolean>, ms = 90_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 250));
  }
}
/** "200", or the status with its reason and message. */
export const outcome = ({ status, body }: Answer): string => {
  const { reason, message } = body as { reason?: string; message?: string };
  return status < 300 ? String(status) : `${status} ${reason}: ${message}`;
};

export interface Pods {
  items: {
    metadata: { name: string; uid: string };
    spec: { nodeName?: string };
    status: { phase?: string; conditions?: { type: string; status: string }[] };
  }[];
}

/** One node in each zone with room for the bakers, and three volumes on each. */
export async function furnish(plane: ControlPlane): Promise<void> {
  const create = async (path: string, body: unknown): Promise<void> => {
    const answer = await plane.call("POST", path, body);
    if (answer.status !== 201) throw new Error(`${path}: ${outcome(answer)}`);
  };
  for (const zone of zones) {
    const node = nodeOf(zone);
    const labels = { "topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": node };
    const capacity = { cpu: "16", memory: "128Gi", pods: "50" };
    await create("/api/v1/nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: node, labels, annotations: { "kwok.x-k8s.io/node": "fake" } },
      status: { capacity, allocatable: capacity },
    });
    const terms = [{ matchExpressions: [{ key: "topology.kubernetes.io/zone", operator: "In", values: [zone] }] }];
    for (const n of [1, 2, 3])
      await create("/api/v1/persistentvolumes", {
        apiVersion: "v1",
        kind: "PersistentVolume",
        metadata: { name: `${node}-${n}` },
        spec: {
          capacity: { storage: "100Gi" },
          accessModes: ["ReadWriteOnce"],
          storageClassName,
          local: { path: "/nowhere" },
          nodeAffinity: { required: { nodeSelectorTerms: terms } },
        },
      });
  }
  await create("/apis/storage.k8s.io/v1/storageclasses", {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name: storageClassName },
    provisioner: "kubernetes.io/no-provisioner",
    volumeBindingMode: "WaitForFirstConsumer",
  });
}

/**
 * Everything that the API holds, as `kind namespace/name`, but what lives by itself: events, leases of nodes,
 * endpoints.
 */
export async function inventory(plane: ControlPlane): Promise<string[]> {
  const passing = new Set(["Event", "Endpoints", "EndpointSlice", "Lease", "ComponentStatus", "ControllerRevision"]);
  const read = async <T>(path: string): Promise<T> => {
    const answer = await plane.call("GET", path);
    if (answer.status !== 200) throw new Error(`${path}: ${outcome(answer)}`);
    return answer.body as T;
  };
  const groups = await read<{ groups: { preferredVersion: { groupVersion: string } }[] }>("/apis");
  const versions = [
    "/api/v1",
    ...groups.groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`),
  ];
  const found: string[] = [];
  for (const version of versions) {
    const { resources } = await read<{ resources: { name: string; kind: string; verbs: string[] }[] }>(version);
    for (const { name, kind, verbs } of resources) {
      if (!verbs.includes("list") || name.includes("/") || passing.has(kind)) continue;
      const { items } = await read<{ items: { metadata: { name: string; namespace?: string } }[] }>(
        `${version}/${name}`,
      );
      for (const { metadata } of items) found.push(`${kind} ${metadata.namespace ?? ""}/${metadata.name}`);
    }
  }
  return [...new Set(found)].sort();
}
