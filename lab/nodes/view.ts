/** A pod as the API server tells it. */
export interface PodView {
  name: string;
  uid: string;
  namespace: string;
  node: string;
  address: string;
  ready: boolean;
  deleting: boolean;
  phase: string;
  labels: Record<string, string>;
  containers: { name: string; id: string; ready: boolean; restarts: number; waiting: string }[];
}
export interface PodObject {
  metadata: {
    name: string;
    uid: string;
    namespace: string;
    labels?: Record<string, string>;
    deletionTimestamp?: string;
  };
  spec: { nodeName?: string };
  status: {
    phase?: string;
    podIP?: string;
    conditions?: { type: string; status: string }[];
    containerStatuses?: {
      name: string;
      containerID?: string;
      ready: boolean;
      restartCount: number;
      state?: { waiting?: { reason?: string } };
    }[];
  };
}

export const viewOf = ({ metadata, spec, status }: PodObject): PodView => ({
  ...{ name: metadata.name, uid: metadata.uid, namespace: metadata.namespace, labels: metadata.labels ?? {} },
  ...{ node: spec.nodeName ?? "", address: status.podIP ?? "", phase: status.phase ?? "" },
  ready: status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false,
  deleting: metadata.deletionTimestamp !== undefined,
  containers: (status.containerStatuses ?? []).map((container) => ({
    ...{ name: container.name, ready: container.ready, restarts: container.restartCount },
    id: container.containerID?.replace("containerd://", "") ?? "",
    waiting: container.state?.waiting?.reason ?? "",
  })),
});
