/** The operator's way to the cluster: kubeconfig and exec plugins through @kubernetes/client-node. */
import {
  ApiException,
  AuthorizationV1Api,
  CoordinationV1Api,
  CoreV1Api,
  createConfiguration,
  HttpMethod,
  ServerConfiguration,
  VersionApi,
  type KubeConfig,
} from "@kubernetes/client-node";
import {
  configMapView,
  leaseView,
  podView,
  type ConfigMapView,
  type LeaseView,
  type PodView,
} from "../diagnosis/objects";
import { ClusterError, type Cluster, type ServicePort } from "./cluster";
import { execIn, type ExecResult } from "./exec";
import { loadKubeconfig, type ClusterOptions } from "./kubeconfig";

/** Of one request; the plugin that logs in has its own time. */
const deadlineMs = 10_000;

/** What the API server itself says, in place of what it was to ask. */
function statusCode(text: string): number | undefined {
  try {
    const said = JSON.parse(text) as { kind?: unknown; apiVersion?: unknown; code?: unknown } | null;
    return said?.kind === "Status" && said.apiVersion === "v1" && typeof said.code === "number" ? said.code : undefined;
  } catch {
    return undefined;
  }
}

function apiError({ code, body }: ApiException<unknown>): ClusterError {
  const message = (() => {
    try {
      return (JSON.parse(String(body)) as { message?: string }).message ?? "";
    } catch {
      return String(body).slice(0, 200);
    }
  })();
  if (code === 401 || code === 403)
    return new ClusterError("forbidden", `the cluster refused it (${code}): ${message}`);
  if (code === 409) return new ClusterError("conflict", `somebody else changed it at the same time: ${message}`);
  return new ClusterError("other", `the cluster answered ${code}: ${message}`);
}

function clusterError(error: unknown): ClusterError {
  if (error instanceof ClusterError) return error;
  if (error instanceof ApiException) return apiError(error);
  const late = error instanceof Error && error.name === "AbortError";
  const why = late ? `nothing within ${deadlineMs / 1000} s` : error instanceof Error ? error.message : String(error);
  return new ClusterError("unreachable", `no answer from the cluster: ${why}`);
}

const call = async <T>(action: () => Promise<T>): Promise<T> => {
  try {
    return await action();
  } catch (error) {
    throw clusterError(error);
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

class ConnectedCluster implements Cluster {
  readonly context: string;
  readonly server: string;
  private readonly leases: CoordinationV1Api;
  private readonly core: CoreV1Api;
  private readonly authorization: AuthorizationV1Api;
  private readonly versions: VersionApi;
  private readonly configuration: ReturnType<typeof createConfiguration>;

  constructor(
    private readonly config: KubeConfig,
    readonly namespace: string,
  ) {
    const configuration = (this.configuration = createConfiguration({
      baseServer: new ServerConfiguration(config.getCurrentCluster()?.server ?? "", {}),
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
    }));
    this.server = config.getCurrentCluster()?.server ?? "";
    this.context = config.getCurrentContext();
    this.leases = new CoordinationV1Api(configuration);
    this.core = new CoreV1Api(configuration);
    this.versions = new VersionApi(configuration);
    this.authorization = new AuthorizationV1Api(configuration);
  }

  version(): Promise<string> {
    const { core, namespace } = this;
    return call(async () => (await core.listNamespacedConfigMap({ namespace, limit: 1 })).apiVersion ?? "v1");
  }
  async lease(name: string): Promise<LeaseView | undefined> {
    const lease = await orMissing(() => this.leases.readNamespacedLease({ name, namespace: this.namespace }));
    return lease && leaseView(lease);
  }
  async configMap(name: string): Promise<ConfigMapView | undefined> {
    const map = await orMissing(() => this.core.readNamespacedConfigMap({ name, namespace: this.namespace }));
    return map && configMapView(map);
  }
  configMaps(labelSelector: string): Promise<ConfigMapView[]> {
    const { core, namespace } = this;
    return call(async () =>
      (await core.listNamespacedConfigMap({ namespace, labelSelector })).items.map(configMapView),
    );
  }
  pods(labelSelector: string): Promise<PodView[]> {
    const { core, namespace } = this;
    return call(async () => (await core.listNamespacedPod({ namespace, labelSelector })).items.map(podView));
  }

  annotateLease(lease: LeaseView, annotations: Record<string, string>, dryRun = false): Promise<void> {
    const { leases, namespace } = this;
    const { name, uid, resourceVersion } = lease.metadata;
    return call(async () => {
      const current = await leases.readNamespacedLease({ name, namespace });
      const { metadata } = current;
      if (metadata?.resourceVersion !== resourceVersion || metadata.uid !== uid)
        throw new ApiException(409, "Conflict", JSON.stringify({ message: "the lease was renewed meanwhile" }), {});
      await leases.replaceNamespacedLease({
        name,
        namespace,
        body: { ...current, metadata: { ...metadata, annotations: { ...metadata.annotations, ...annotations } } },
        ...(dryRun ? { dryRun: "All" } : {}),
      });
    });
  }
  writeConfigMap(map: ConfigMapView, data: Record<string, string>): Promise<void> {
    const { core, namespace } = this;
    const { name, uid, resourceVersion } = map.metadata;
    return call(async () => {
      const current = await core.readNamespacedConfigMap({ name, namespace });
      if (current.metadata?.uid !== uid || current.metadata.resourceVersion !== resourceVersion || !resourceVersion)
        throw new ClusterError("conflict", `${name} was written meanwhile: look again`);
      await core.replaceNamespacedConfigMap({ name, namespace, body: { ...current, data } });
    });
  }

  exec(pod: string, container: string, command: string[], input: string): Promise<ExecResult> {
    return call(() => execIn(this.config, { namespace: this.namespace, pod, container }, command, input));
  }
  askService(
    { namespace, service, port }: ServicePort,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; text: string } | undefined> {
    const { baseServer, httpApi } = this.configuration;
    const request = baseServer.makeRequestContext(
      `/api/v1/namespaces/${namespace}/services/${service}:${port}/proxy${path}`,
      body === undefined ? HttpMethod.GET : HttpMethod.POST,
    );
    if (body !== undefined) {
      request.setHeaderParam("Content-Type", "application/json");
      request.setBody(JSON.stringify(body));
    }
    return orMissing(async () => {
      await this.config.applySecurityAuthentication(request);
      request.setSignal(AbortSignal.timeout(deadlineMs));
      const answer = await httpApi.send(request).toPromise();
      const text = await answer.body.text();
      const code = statusCode(text);
      if (code !== undefined) throw new ApiException(code, "", text, answer.headers);
      return { status: answer.httpStatusCode, text };
    });
  }
  serverVersion(): Promise<string> {
    return call(async () => (await this.versions.getCode()).gitVersion);
  }
  events(): ReturnType<Cluster["events"]> {
    const { core, namespace } = this;
    return call(async () =>
      (await core.listNamespacedEvent({ namespace })).items
        .map(({ lastTimestamp, eventTime, firstTimestamp, involvedObject, reason, message, count }) => ({
          at: new Date(lastTimestamp ?? eventTime ?? firstTimestamp ?? 0).toISOString(),
          object: `${involvedObject.kind ?? ""}/${involvedObject.name ?? ""}`,
          ...{ reason: reason ?? "", message: message ?? "", count: count ?? 1 },
        }))
        .sort((a, b) => a.at.localeCompare(b.at)),
    );
  }
  logs(name: string, container: string, tailLines: number, previous: boolean): Promise<string> {
    const { core, namespace } = this;
    return call(() => core.readNamespacedPodLog({ name, namespace, container, tailLines, previous, timestamps: true }));
  }
  async sourceRanges(name: string): Promise<string[] | undefined> {
    const { core, namespace } = this;
    const service = await orMissing(() => core.readNamespacedService({ name, namespace }));
    return service && (service.spec?.loadBalancerSourceRanges ?? []);
  }
  async allowed(verb: string, group: string, resource: string): Promise<boolean | undefined> {
    const body = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes: { namespace: this.namespace, verb, group, resource } },
    };
    return (await orMissing(() => this.authorization.createSelfSubjectAccessReview({ body })))?.status?.allowed;
  }
}

/** @throws ClusterError where the kubeconfig or the context cannot be used */
export const connectCluster = (options: ClusterOptions): Cluster =>
  new ConnectedCluster(loadKubeconfig(options), options.namespace);
