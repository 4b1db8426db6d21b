/**
 * The Kubernetes objects that a diagnosis reads, as plain objects, and their translation from what an API server
 * answers. Times may be texts, as in JSON, or dates, as a client library makes them.
 */
export interface ObjectMetadata {
  name: string;
  uid: string;
  resourceVersion: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}
export interface LeaseView {
  metadata: ObjectMetadata;
  holderIdentity: string;
  leaseDurationSeconds: number;
  leaseTransitions: number;
  /** Milliseconds since 1970 by the writer's clock, or undefined where it was never renewed. */
  renewTimeMs: number | undefined;
}
export interface ConfigMapView {
  metadata: ObjectMetadata;
  data: Record<string, string>;
}
export interface PodView {
  metadata: ObjectMetadata;
  phase: string;
  node: string;
  deleting: boolean;
  containers: {
    name: string;
    ready: boolean;
    running: boolean;
    restarts: number;
    waiting: string;
    /** How it ended last: `exit 137 (Error)`, and when, milliseconds since 1970; undefined where it never did. */
    ended: { how: string; atMs: number } | undefined;
  }[];
  /** The init container that runs or waits now, with why it waits; "" where none does. */
  init: string;
}

type Time = string | Date;
interface Metadata extends Partial<ObjectMetadata> {
  deletionTimestamp?: Time;
}
interface Ended {
  exitCode: number;
  reason?: string;
  finishedAt?: Time;
}
interface ContainerStatus {
  name: string;
  ready: boolean;
  restartCount: number;
  state?: { running?: object; waiting?: { reason?: string }; terminated?: Ended };
  lastState?: { terminated?: Ended };
}

const metadata = (meta: Metadata | undefined): ObjectMetadata => ({
  name: meta?.name ?? "",
  uid: meta?.uid ?? "",
  resourceVersion: meta?.resourceVersion ?? "",
  labels: meta?.labels ?? {},
  annotations: meta?.annotations ?? {},
});

export const leaseView = (lease: {
  metadata?: Metadata;
  spec?: {
    holderIdentity?: string | null;
    leaseDurationSeconds?: number;
    leaseTransitions?: number;
    renewTime?: Time;
  };
}): LeaseView => ({
  metadata: metadata(lease.metadata),
  holderIdentity: lease.spec?.holderIdentity ?? "",
  leaseDurationSeconds: lease.spec?.leaseDurationSeconds ?? 0,
  leaseTransitions: lease.spec?.leaseTransitions ?? 0,
  renewTimeMs: lease.spec?.renewTime ? new Date(lease.spec.renewTime).getTime() : undefined,
});

export const configMapView = (map: { metadata?: Metadata; data?: Record<string, string> }): ConfigMapView => ({
  metadata: metadata(map.metadata),
  data: map.data ?? {},
});

/** Kubernetes tells times in whole seconds, and an unknown end without one. */
const endOf = (end: Ended | undefined): { how: string; atMs: number } | undefined => {
  const atMs = end?.finishedAt ? new Date(end.finishedAt).getTime() : NaN;
  return end && !Number.isNaN(atMs)
    ? { how: `exit ${end.exitCode}${end.reason ? ` (${end.reason})` : ""}`, atMs }
    : undefined;
};

const currentInit = (statuses: readonly ContainerStatus[]): string => {
  const current = statuses.find(({ state }) => !state?.terminated || state.terminated.exitCode !== 0);
  if (!current) return "";
  const { waiting, terminated } = current.state ?? {};
  const why = waiting?.reason ?? (terminated ? `exit ${terminated.exitCode}` : "");
  return `${current.name}${why && why !== "PodInitializing" ? ` (${why})` : ""}`;
};

export const podView = (pod: {
  metadata?: Metadata;
  spec?: { nodeName?: string };
  status?: { phase?: string; containerStatuses?: ContainerStatus[]; initContainerStatuses?: ContainerStatus[] };
}): PodView => ({
  metadata: metadata(pod.metadata),
  phase: pod.status?.phase ?? "Unknown",
  node: pod.spec?.nodeName ?? "",
  deleting: pod.metadata?.deletionTimestamp !== undefined,
  containers: (pod.status?.containerStatuses ?? []).map((status) => ({
    name: status.name,
    ready: status.ready,
    running: status.state?.running !== undefined,
    restarts: status.restartCount,
    waiting: status.state?.waiting?.reason ?? "",
    ended: endOf(status.state?.terminated ?? status.lastState?.terminated),
  })),
  init: currentInit(pod.status?.initContainerStatuses ?? []),
});
