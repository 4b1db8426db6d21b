/** The operator's way to the cluster: kubeconfig and exec plugins through @kubernetes/client-node. */
import {
  ApiException,
  AuthorizationV1Api,
  CoordinationV1Api,
  CoreV1Api,
  KubeConfig,
  type V1ConfigMap,
  type V1Lease,
  type V1Pod,
} from "@kubernetes/client-node";
import { ClusterError, type Cluster, type ConfigMapView, type LeaseView, type ObjectMetadata, type PodView } from "./cluster";

const metadata = (
  meta:
    | { name?: string; uid?: string; resourceVersion?: string; labels?: Record<string, string>; annotations?: Record<string, string> }
    | undefined,
): ObjectMetadata => ({
  name: meta?.name ?? "",
  uid: meta?.uid ?? "",
  resourceVersion: meta?.resourceVersion ?? "",
  labels: meta?.labels ?? {},
  annotations: meta?.annotations ?? {},
});
const leaseView = (lease: V1Lease): LeaseView => ({
  metadata: metadata(lease.metadata),
  holderIdentity: lease.spec?.holderIdentity ?? "",
  leaseDurationSeconds: lease.spec?.leaseDurationSeconds ?? 0,
  leaseTransitions: lease.spec?.leaseTransitions ?? 0,
  renewTimeMs: lease.spec?.renewTime ? new Date(lease.spec.renewTime).getTime() : undefined,
});
const configMapView = (map: V1ConfigMap): ConfigMapView => ({ metadata: metadata(map.metadata), data: map.data ?? {} });
const podView = (pod: V1Pod): PodView => ({
  metadata: metadata(pod.metadata),
  phase: pod.status?.phase ?? "Unknown",
  node: pod.spec?.nodeName ?? "",
  deleting: pod.metadata?.deletionTimestamp !== undefined,
  containers: (pod.status?.containerStatuses ?? []).map((status) => ({
    name: status.name,
    ready: status.ready,
    restarts: status.restartCount,
    waiting: status.state?.waiting?.reason ?? "",
  })),
});

function clusterError(error: unknown): ClusterError {
  if (error instanceof ApiException) {
    const status = error.code;
    const body = (() => {
      try {
        return (JSON.parse(String(error.body)) as { message?: string }).message ?? "";
      } catch {
        return String(error.body).slice(0, 200);
      }
    })();
    if (status === 401 || status === 403) return new ClusterError("forbidden", `the cluster refused it (${status}): ${body}`);
    if (status === 409) return new ClusterError("conflict", `somebody else changed it at the same time: ${body}`);
    return new ClusterError("other", `the cluster answered ${status}: ${body}`);
  }
  return new ClusterError("unreachable", `no answer from the cluster: ${error instanceof Error ? error.message : String(error)}`);
}

/** @throws ClusterError where the kubeconfig or the context cannot be used */
export function connectCluster(options: { kubeconfig?: string; context?: string; namespace: string }): Cluster {
  const config = new KubeConfig();
  try {
    if (options.kubeconfig !== undefined) config.loadFromFile(options.kubeconfig);
    else config.loadFromDefault();
  } catch (error) {
    throw new ClusterError("unreachable", `the kubeconfig cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (options.context !== undefined) {
    if (!config.getContextObject(options.context)) {
      throw new ClusterError(
        "unreachable",
        `--context names a context of the kubeconfig (${
          config
            .getContexts()
            .map((c) => c.name)
            .join(", ") || "it has none"
        }); got "${options.context}"`,
      );
    }
    config.setCurrentContext(options.context);
  }
  if (!config.getCurrentCluster())
    throw new ClusterError(
      "unreachable",
      "the kubeconfig has no current context: run the get-credentials command of the stack's outputs, or give --context",
    );
  const { namespace } = options;
  const leases = config.makeApiClient(CoordinationV1Api);
  const core = config.makeApiClient(CoreV1Api);
  const authorization = config.makeApiClient(AuthorizationV1Api);
  const call = async <T>(action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      throw error instanceof ClusterError ? error : clusterError(error);
    }
  };
  const orMissing = async <T>(action: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await action();
    } catch (error) {
      if (error instanceof ApiException && error.code === 404) return undefined;
      throw clusterError(error);
    }
  };
  return {
    context: config.getCurrentContext(),
    namespace,
    version: () => call(async () => (await core.listNamespacedConfigMap({ namespace, limit: 1 })).apiVersion ?? "v1"),
    lease: async (name) => {
      const lease = await orMissing(() => leases.readNamespacedLease({ name, namespace }));
      return lease && leaseView(lease);
    },
    configMaps: (labelSelector) =>
      call(async () => (await core.listNamespacedConfigMap({ namespace, labelSelector })).items.map(configMapView)),
    pods: (labelSelector) => call(async () => (await core.listNamespacedPod({ namespace, labelSelector })).items.map(podView)),
    annotateLease: (lease, annotations, dryRun = false) =>
      call(async () => {
        const current = await leases.readNamespacedLease({ name: lease.metadata.name, namespace });
        if (
          !current.metadata ||
          current.metadata.resourceVersion !== lease.metadata.resourceVersion ||
          current.metadata.uid !== lease.metadata.uid
        ) {
          throw new ApiException(409, "Conflict", JSON.stringify({ message: "the lease was renewed meanwhile" }), {});
        }
        const body: V1Lease = {
          ...current,
          metadata: { ...current.metadata, annotations: { ...current.metadata.annotations, ...annotations } },
        };
        await leases.replaceNamespacedLease({ name: lease.metadata.name, namespace, body, ...(dryRun ? { dryRun: "All" } : {}) });
      }),
    writeConfigMap: (map, data) =>
      call(async () => {
        const { name, uid, resourceVersion } = map.metadata;
        const current = await core.readNamespacedConfigMap({ name, namespace });
        if (current.metadata?.uid !== uid || current.metadata.resourceVersion !== resourceVersion || !resourceVersion) {
          throw new ClusterError("conflict", `${name} was written meanwhile: look again`);
        }
        await core.replaceNamespacedConfigMap({ name, namespace, body: { ...current, data } });
      }),
    allowed: async (verb, group, resource) => {
      const resourceAttributes = { namespace, verb, group, resource };
      const body = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes } };
      return (await orMissing(() => authorization.createSelfSubjectAccessReview({ body })))?.status?.allowed;
    },
  };
}
