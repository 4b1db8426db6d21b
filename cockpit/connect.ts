/** The operator's way to the cluster: kubeconfig and exec plugins through @kubernetes/client-node. */
import {
  ApiException,
  AuthorizationV1Api,
  CoordinationV1Api,
  CoreV1Api,
  createConfiguration,
  Exec,
  KubeConfig,
  ServerConfiguration,
  type V1ConfigMap,
  type V1ContainerStateTerminated,
  type V1Lease,
  type V1Pod,
} from "@kubernetes/client-node";
import { Readable, Writable } from "node:stream";
import {
  ClusterError,
  type Cluster,
  type ConfigMapView,
  type LeaseView,
  type ObjectMetadata,
  type PodView,
} from "./cluster";

const metadata = (
  meta:
    | {
        name?: string;
        uid?: string;
        resourceVersion?: string;
        labels?: Record<string, string>;
        annotations?: Record<string, string>;
      }
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
/** Kubernetes tells times in whole seconds, and an unknown end without one. */
const endOf = (end: V1ContainerStateTerminated | undefined): { how: string; atMs: number } | undefined => {
  const atMs = end?.finishedAt ? new Date(end.finishedAt).getTime() : NaN;
  return end && !Number.isNaN(atMs)
    ? { how: `exit ${end.exitCode}${end.reason ? ` (${end.reason})` : ""}`, atMs }
    : undefined;
};
const podView = (pod: V1Pod): PodView => ({
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
  init: (() => {
    const current = (pod.status?.initContainerStatuses ?? []).find(
      (status) => !status.state?.terminated || status.state.terminated.exitCode !== 0,
    );
    if (!current) return "";
    const why =
      current.state?.waiting?.reason ?? (current.state?.terminated ? `exit ${current.state.terminated.exitCode}` : "");
    return `${current.name}${why && why !== "PodInitializing" ? ` (${why})` : ""}`;
  })(),
});

/** Servers take messages of some ten KiB. */
function* pieces(text: string): Generator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
}

class Collector extends Writable {
  text = "";
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

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
    if (status === 401 || status === 403)
      return new ClusterError("forbidden", `the cluster refused it (${status}): ${body}`);
    if (status === 409) return new ClusterError("conflict", `somebody else changed it at the same time: ${body}`);
    return new ClusterError("other", `the cluster answered ${status}: ${body}`);
  }
  const late = error instanceof Error && error.name === "AbortError";
  const why = late ? `nothing within ${deadlineMs / 1000} s` : error instanceof Error ? error.message : String(error);
  return new ClusterError("unreachable", `no answer from the cluster: ${why}`);
}

/** Of one request; the plugin that logs in has its own time. */
const deadlineMs = 10_000;
const execMs = 60_000;

/** @throws ClusterError where the kubeconfig or the context cannot be used */
export function connectCluster(options: { kubeconfig?: string; context?: string; namespace: string }): Cluster {
  const config = new KubeConfig();
  try {
    if (options.kubeconfig !== undefined) config.loadFromFile(options.kubeconfig);
    else config.loadFromDefault();
  } catch (error) {
    throw new ClusterError(
      "unreachable",
      `the kubeconfig cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
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
  const server = config.getCurrentCluster()?.server ?? "";
  // What the library assumes where it finds no kubeconfig at all.
  if (server === "http://localhost:8080")
    throw new ClusterError(
      "unreachable",
      "there is no kubeconfig: set KUBECONFIG, give --kubeconfig, or run the get-credentials command of the stack's outputs",
    );
  const { namespace } = options;
  const configuration = createConfiguration({
    baseServer: new ServerConfiguration(server, {}),
    authMethods: { default: config },
    // Without it a cluster that accepts connections and never answers holds the command for ever.
    promiseMiddleware: [
      {
        pre: (context) => {
          context.setSignal(AbortSignal.timeout(deadlineMs));
          return Promise.resolve(context);
        },
        post: (response) => Promise.resolve(response),
      },
    ],
  });
  const leases = new CoordinationV1Api(configuration);
  const core = new CoreV1Api(configuration);
  const authorization = new AuthorizationV1Api(configuration);
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
    configMap: async (name) => {
      const map = await orMissing(() => core.readNamespacedConfigMap({ name, namespace }));
      return map && configMapView(map);
    },
    configMaps: (labelSelector) =>
      call(async () => (await core.listNamespacedConfigMap({ namespace, labelSelector })).items.map(configMapView)),
    pods: (labelSelector) =>
      call(async () => (await core.listNamespacedPod({ namespace, labelSelector })).items.map(podView)),
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
        await leases.replaceNamespacedLease({
          name: lease.metadata.name,
          namespace,
          body,
          ...(dryRun ? { dryRun: "All" } : {}),
        });
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
    exec: (pod, container, command, input) => {
      const [out, err] = [new Collector(), new Collector()];
      return call(
        () =>
          new Promise((resolve, reject) => {
            const end = (code: number | null) => {
              clearTimeout(timer);
              resolve({ code, out: out.text, err: err.text });
            };
            const timer = setTimeout(() => end(null), execMs);
            new Exec(config)
              .exec(
                namespace,
                pod,
                container,
                command,
                out,
                err,
                input === "" ? null : Readable.from(pieces(input)),
                false,
                (status) => {
                  const exit = status.details?.causes?.find((cause) => cause.reason === "ExitCode")?.message;
                  end(status.status === "Success" ? 0 : Number(exit ?? 1));
                },
              )
              .then((socket) => {
                socket.addEventListener("close", () => end(null));
                setTimeout(() => socket.close(), execMs).unref();
                // Older servers cannot be told that the input is over.
                if (input !== "" && socket.protocol !== "v5.channel.k8s.io")
                  reject(
                    new ClusterError(
                      "other",
                      `${command[0]} needs its input in the pod: that takes Kubernetes 1.30 or newer`,
                    ),
                  );
              })
              .catch(() =>
                reject(
                  new ClusterError("other", `no command can be run in ${pod}, container ${container}: is it running?`),
                ),
              );
          }),
      );
    },
    allowed: async (verb, group, resource) => {
      const resourceAttributes = { namespace, verb, group, resource };
      const body = {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: { resourceAttributes },
      };
      return (await orMissing(() => authorization.createSelfSubjectAccessReview({ body })))?.status?.allowed;
    },
  };
}
