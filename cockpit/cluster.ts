/** What the operator's commands need of a cluster. */
import type { ConfigMapView, LeaseView, PodView } from "../diagnosis/objects";

export interface ServicePort {
  namespace: string;
  service: string;
  port: number;
}

/** @throws ClusterError for everything but "not found" */
export interface Cluster {
  context: string;
  /** URL of the API server. */
  server: string;
  namespace: string;
  version(): Promise<string>;
  lease(name: string): Promise<LeaseView | undefined>;
  configMap(name: string): Promise<ConfigMapView | undefined>;
  configMaps(labelSelector: string): Promise<ConfigMapView[]>;
  pods(labelSelector: string): Promise<PodView[]>;
  /** Conditional: fails with ClusterError kind "conflict" where the lease has changed. `dryRun` leaves it unchanged. */
  annotateLease(lease: LeaseView, annotations: Record<string, string>, dryRun?: boolean): Promise<void>;
  /** Conditional: fails with ClusterError kind "conflict" where the object has changed since it was read. */
  writeConfigMap(map: ConfigMapView, data: Record<string, string>): Promise<void>;
  /** Runs a command in a container. `code` null where it did not end within a minute. */
  exec(
    pod: string,
    container: string,
    command: string[],
    input: string,
  ): Promise<{ code: number | null; out: string; err: string }>;
  /**
   * Asks what is behind a service, which the API server carries there. `path` begins with a slash; with a `body` it is
   * a POST of JSON. Undefined where there is no such service.
   */
  askService(to: ServicePort, path: string, body?: unknown): Promise<{ status: number; text: string } | undefined>;
  /** Of the Kubernetes API server, like `v1.36.3`. */
  serverVersion(): Promise<string>;
  /** The Kubernetes Events of the namespace, newest last. */
  events(): Promise<{ at: string; object: string; reason: string; message: string; count: number }[]>;
  /** The last lines of a container, or of the one that ran before it. */
  logs(pod: string, container: string, lines: number, previous: boolean): Promise<string>;
  /** Whom the load balancer of a service lets in; [] for everybody, undefined where there is no such service. */
  sourceRanges(service: string): Promise<string[] | undefined>;
  /** Whether the user of the kubeconfig may do it; undefined where the API serves no access reviews. */
  allowed(verb: string, group: string, resource: string): Promise<boolean | undefined>;
}

export class ClusterError extends Error {
  constructor(
    readonly kind: "unreachable" | "forbidden" | "conflict" | "other",
    message: string,
  ) {
    super(message);
  }
}

/** The command was given what it cannot do. */
export class UsageError extends Error {}
