/**
 * KubeClient over node:http(s) with keep-alive. Small on purpose: the ready-made client costs 70 MB and 400 ms more in
 * every container.
 *
 * Guarantees: a hard deadline per request on the monotonic clock; a write is sent once; TLS is verified with the
 * mounted CA; bodies and watch lines are bounded; an answer that is not the object asked for is `malformed`, never an
 * object.
 */
import { randomBytes } from "node:crypto";
import type { PodEnv } from "../../contract/env";
import { systemClock, type Clock } from "./clock";
import {
  secondsTime,
  type KubeClient,
  type KubeEvent,
  type Kinds,
  type Outcome,
  type RequestOptions,
  type Resource,
} from "./kube";
import { failureOf, outcomeOf, parseJson, pathOf } from "./kube-answers";
import { KubeConnections } from "./kube-connections";
import { writeInDoubt } from "./kube-doubt";
import { ObjectWatch } from "./kube-watch";
import type { Log } from "./log";
import { Counter, Histogram, type Registry } from "./metrics";

export interface KubeClientOptions {
  /** http(s)://HOST[:PORT] */
  url: string;
  /** Folder of `token` and, for https, `ca.crt`. */
  kubeDir: string;
  namespace: string;
  clock: Clock;
  log?: Log;
  metrics?: Registry;
  /** Who emits Kubernetes Events: the daemon and the pod. */
  component?: string;
  instance?: string;
  /** @default 2 MiB: etcd takes objects of at most 1.5 MiB */
  maxBodyBytes?: number;
}

const maxEventsInFlight = 4;

/** The client of a daemon in a pod. */
export const podKubeClient = (env: PodEnv, options: { component: string; log: Log; metrics?: Registry }): KubeClient =>
  createKubeClient({
    url: env.TOG_KUBE_URL,
    kubeDir: env.TOG_KUBE_DIR,
    namespace: env.TOG_NAMESPACE,
    clock: systemClock,
    instance: env.TOG_POD_NAME,
    ...options,
  });

type RequestRecorder = (verb: string, resource: string, outcome: string, sentAtMs?: number) => void;

/** Counts requests and their times. */
function recorder(clock: Clock, metrics: Registry | undefined): RequestRecorder {
  if (!metrics) return () => undefined;
  const requests = new Counter({
    name: "tog_kube_requests_total",
    help: "Requests to the Kubernetes API",
    labelNames: ["verb", "resource", "outcome"],
    registers: [metrics],
  });
  const seconds = new Histogram({
    name: "tog_kube_request_seconds",
    help: "Time of a request to the Kubernetes API",
    labelNames: ["verb"],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [metrics],
  });
  return (verb, resource, outcome, sentAtMs) => {
    requests.inc({ verb, resource, outcome });
    if (sentAtMs !== undefined) seconds.observe({ verb }, Math.max(0, clock.now() - sentAtMs) / 1000);
  };
}

/** @throws Error where a write would not be what the caller means */
function checkWrite(resource: Resource, { metadata }: Kinds[Resource], update: boolean, namespace: string): void {
  if (update && (metadata.uid ?? "") === "")
    throw new Error(
      `a PUT of ${resource}/${metadata.name} needs metadata.uid: without it a deleted object would be created`,
    );
  if (update && (metadata.resourceVersion ?? "") === "")
    throw new Error(
      `a PUT of ${resource}/${metadata.name} needs metadata.resourceVersion: without it it would be unconditional`,
    );
  if (metadata.namespace !== undefined && metadata.namespace !== namespace)
    throw new Error(`objects of this client are in namespace ${namespace}; got ${metadata.namespace}`);
}

export function createKubeClient(options: KubeClientOptions): KubeClient {
  const { clock, namespace, log, maxBodyBytes = 2 * 1024 * 1024, component = "tezos-on-gke" } = options;
  const connections = new KubeConnections({ ...options, maxBodyBytes, userAgent: `tezos-on-gke/${component}` });
  const record = recorder(clock, options.metrics);
  const reporter = { component, instance: options.instance ?? component, namespace };

  /** One request, and what its answer means for the object `name`. */
  const perform = async <R extends Resource>(
    verb: "get" | "create" | "update",
    resource: R,
    name: string,
    body: Kinds[R] | undefined,
    wanted: RequestOptions,
    dedicated = false,
  ): Promise<Outcome<Kinds[R]>> => {
    const write = verb !== "get";
    if (body) checkWrite(resource, body, verb === "update", namespace);
    const path = pathOf(resource, namespace) + (verb === "create" ? "" : `/${encodeURIComponent(name)}`);
    const method = { get: "GET", create: "POST", update: "PUT" }[verb];
    const result = await connections.ask(method, path, body && JSON.stringify(body), wanted, dedicated);
    const uid = verb === "update" ? body?.metadata.uid : undefined;
    const outcome = outcomeOf(result, { resource, namespace, name, write, uid });
    record(verb, resource, outcome.ok ? "ok" : outcome.kind, outcome.sentAtMs);
    return outcome;
  };

  let eventsInFlight = 0;
  const emitEvent = async (event: KubeEvent): Promise<void> => {
    if (eventsInFlight >= maxEventsInFlight)
      return log?.warn("kube-event-dropped", `${event.reason}: ${maxEventsInFlight} are in flight`);
    eventsInFlight++;
    try {
      const body = JSON.stringify(eventObject(event, reporter, clock.wall()));
      const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`;
      const result = await connections.ask("POST", path, body, { timeoutMs: 3000 });
      const failure = !result.answered
        ? { kind: result.kind, message: result.message }
        : result.status === 201
          ? undefined
          : failureOf(result.status, parseJson(result.body), undefined);
      record("create", "events", failure?.kind ?? "ok", result.sentAtMs);
      if (failure && failure.kind !== "aborted") log?.warn("kube-event-lost", `${event.reason}: ${failure.message}`);
    } finally {
      eventsInFlight--;
    }
  };

  return {
    get: (resource, name, wanted) => perform("get", resource, name, undefined, wanted),
    create: (resource, object, wanted) => perform("create", resource, object.metadata.name, object, wanted),
    replace: (resource, object, wanted) =>
      writeInDoubt(clock, wanted, {
        write: (options) => perform("update", resource, object.metadata.name, object, options),
        read: (options) => perform("get", resource, object.metadata.name, undefined, options, true),
        onLost: () => connections.renew(),
      }),
    watch: (resource, name, onEvent, { signal, idleMs = 30_000 }) => {
      const stop = AbortSignal.any([signal, connections.closed]);
      const counted = (verb: string, outcome: string, sentAtMs?: number) => record(verb, resource, outcome, sentAtMs);
      const asked = { resource, namespace, name, onEvent, idleMs, maxBodyBytes, signal: stop, record: counted };
      return new ObjectWatch({ connections, clock, log, ...asked }).run();
    },
    emitEvent,
    close: () => connections.close(),
  };
}

/** A Kubernetes Event as the API takes it. */
function eventObject(
  event: KubeEvent,
  by: { component: string; instance: string; namespace: string },
  wallMs: number,
): object {
  const at = secondsTime(wallMs);
  const { namespace } = by;
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${event.regarding.name}.${randomBytes(8).toString("hex")}`, namespace },
    involvedObject: { ...event.regarding, namespace },
    type: event.type,
    reason: event.reason,
    message: event.message.slice(0, 1024),
    source: { component: by.component },
    reportingComponent: by.component,
    reportingInstance: by.instance,
    firstTimestamp: at,
    lastTimestamp: at,
    count: 1,
  };
}
