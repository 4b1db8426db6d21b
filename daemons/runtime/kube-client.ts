/**
 * KubeClient over node:http(s) with keep-alive. Small on purpose: the ready-made client costs 70 MB and 400 ms more in
 * every container.
 *
 * Guarantees: a hard deadline per request on the monotonic clock; a connection that timed out or broke is never used
 * again, nor is any that was idle beside it; a write is sent once; TLS is verified with the mounted CA; token and CA
 * are read again at least every ten seconds and after a 401; bodies and watch lines are bounded; an answer that is not
 * the object asked for is `malformed`, never an object.
 */
import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { join } from "node:path";
import { backoffMs, sleep, type Clock } from "./clock";
import { exchange, followObjects, type Exchange } from "./http-client";
import {
  secondsTime,
  type FailureKind,
  type KubeClient,
  type Kinds,
  type Outcome,
  type RequestOptions,
  type Resource,
  type WatchEvent,
} from "./kube";
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

const credentialsMaxAgeMs = 10_000;
const idleSocketMs = 30_000;
const watchHeadersMs = 10_000;
const maxEventsInFlight = 4;

const kinds: Record<Resource, { kind: string; apiVersion: string; path: string }> = {
  leases: { kind: "Lease", apiVersion: "coordination.k8s.io/v1", path: "/apis/coordination.k8s.io/v1" },
  configmaps: { kind: "ConfigMap", apiVersion: "v1", path: "/api/v1" },
  pods: { kind: "Pod", apiVersion: "v1", path: "/api/v1" },
};

type Json = Record<string, unknown>;
const isRecord = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};
const optional = (value: unknown, type: "string" | "number"): boolean => value === undefined || typeof value === type;
const textMap = (value: unknown): boolean =>
  value === undefined || (isRecord(value) && Object.values(value).every((entry) => typeof entry === "string"));

/** Why `value` is no whole object of the resource, or undefined where it is one. */
function objection(
  resource: Resource,
  value: unknown,
  namespace: string,
  name: string | undefined,
): string | undefined {
  if (!isRecord(value) || value.kind !== kinds[resource].kind || value.apiVersion !== kinds[resource].apiVersion)
    return `expected a ${kinds[resource].kind}`;
  const meta = value.metadata;
  if (!isRecord(meta) || typeof meta.name !== "string" || (name !== undefined && meta.name !== name))
    return `expected metadata.name ${name ?? ""}`;
  if (meta.namespace !== namespace) return `expected metadata.namespace ${namespace}`;
  for (const field of ["uid", "resourceVersion"] as const)
    if (typeof meta[field] !== "string" || meta[field] === "") return `expected a metadata.${field}`;
  if (!textMap(meta.labels) || !textMap(meta.annotations))
    return "expected texts in metadata.labels and metadata.annotations";
  switch (resource) {
    case "leases": {
      const spec = value.spec ?? {};
      return isRecord(spec) &&
        optional(spec.holderIdentity, "string") &&
        optional(spec.leaseDurationSeconds, "number") &&
        optional(spec.leaseTransitions, "number") &&
        optional(spec.acquireTime, "string") &&
        optional(spec.renewTime, "string")
        ? undefined
        : "expected a Lease's spec";
    }
    case "configmaps":
      return textMap(value.data) ? undefined : "expected texts in data";
    case "pods":
      return (value.status === undefined || isRecord(value.status)) &&
        (value.spec === undefined || isRecord(value.spec))
        ? undefined
        : "expected a Pod's spec and status";
  }
}

/** The object without managedFields (the server keeps its own), or why it is none. */
function asObject<R extends Resource>(
  resource: R,
  value: unknown,
  namespace: string,
  name?: string,
): { object: Kinds[R] } | { problem: string } {
  const problem = objection(resource, value, namespace, name);
  if (problem !== undefined) return { problem };
  const object = value as Json & { metadata: Json };
  delete object.metadata.managedFields;
  if (resource === "leases") object.spec ??= {};
  return { object: object as unknown as Kinds[R] };
}

function failureOf(
  status: number,
  answer: unknown,
  name: string | undefined,
): { kind: FailureKind; message: string; retryAfterMs?: number } {
  const body = isRecord(answer) && answer.kind === "Status" ? answer : undefined;
  const reason = body?.reason;
  const details = isRecord(body?.details) ? body.details : {};
  const message = typeof body?.message === "string" ? body.message.slice(0, 500) : `HTTP ${status} without a Status`;
  const kind = ((): FailureKind => {
    if (status === 401) return "unauthorized";
    if (status === 403) return "forbidden";
    if (status === 404)
      return reason === "NotFound" && name !== undefined && details.name === name ? "not-found" : "malformed";
    if (status === 409)
      return reason === "AlreadyExists" ? "already-exists" : reason === "Conflict" ? "conflict" : "malformed";
    if (status === 410) return "gone";
    if (status === 429) return "too-many-requests";
    if (status >= 500) return "server";
    return status >= 400 && body ? "invalid" : "malformed";
  })();
  return {
    kind,
    message,
    ...(typeof details.retryAfterSeconds === "number" ? { retryAfterMs: details.retryAfterSeconds * 1000 } : {}),
  };
}

/** Of the header, in milliseconds. */
function retryAfter(headers: http.IncomingHttpHeaders): number | undefined {
  const seconds = Number(headers["retry-after"] ?? NaN);
  return seconds >= 0 ? seconds * 1000 : undefined;
}

export function createKubeClient(options: KubeClientOptions): KubeClient {
  const { clock, namespace, kubeDir, log } = options;
  const base = new URL(options.url);
  const secure = base.protocol === "https:";
  const host = base.hostname.replace(/^\[|\]$/g, "");
  const port = base.port === "" ? (secure ? 443 : 80) : Number(base.port);
  const maxBody = options.maxBodyBytes ?? 2 * 1024 * 1024;
  const component = options.component ?? "tezos-on-gke";
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);

  const requests = options.metrics
    ? new Counter({
        name: "tog_kube_requests_total",
        help: "Requests to the Kubernetes API",
        labelNames: ["verb", "resource", "outcome"],
        registers: [options.metrics],
      })
    : undefined;
  const seconds = options.metrics
    ? new Histogram({
        name: "tog_kube_request_seconds",
        help: "Time of a request to the Kubernetes API",
        labelNames: ["verb"],
        buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
        registers: [options.metrics],
      })
    : undefined;

  let credentials: { token: string; ca: string | undefined; readAtMs: number } | undefined;
  let agent: http.Agent | undefined;

  /** From now on requests use new connections; those in use finish and are closed then. */
  const renewConnections = (): void => {
    const old = agent;
    agent = undefined;
    if (!old) return;
    old.maxFreeSockets = 0;
    for (const sockets of Object.values(old.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  };
  const rereadCredentials = (): void => {
    if (credentials) credentials.readAtMs = -Infinity;
  };
  const access = (): { token: string; ca: string | undefined } => {
    const now = clock.now();
    if (credentials && now - credentials.readAtMs < credentialsMaxAgeMs) return credentials;
    try {
      const token = readFileSync(join(kubeDir, "token"), "utf8").trim();
      const ca = secure ? readFileSync(join(kubeDir, "ca.crt"), "utf8") : undefined;
      if (credentials && credentials.ca !== ca) renewConnections();
      credentials = { token, ca, readAtMs: now };
    } catch (error) {
      if (!credentials) throw error;
      log?.warn(
        "kube-credentials",
        `using the last ones read: ${error instanceof Error ? error.message : String(error)}`,
      );
      credentials.readAtMs = now;
    }
    return credentials;
  };
  const connections = (ca: string | undefined): http.Agent =>
    (agent ??= secure
      ? new https.Agent({ keepAlive: true, maxFreeSockets: 8, timeout: idleSocketMs, ca, minVersion: "TLSv1.2" })
      : new http.Agent({ keepAlive: true, maxFreeSockets: 8, timeout: idleSocketMs }));

  /** One HTTP request, not started where this throws. `dedicated`: a connection of its own. */
  const open = (method: string, path: string, body: string | undefined, dedicated: boolean): http.ClientRequest => {
    const { token, ca } = access();
    const request = {
      host,
      port,
      method,
      path,
      agent: dedicated ? false : connections(ca),
      headers: {
        accept: "application/json",
        "user-agent": `tezos-on-gke/${component}`,
        authorization: `Bearer ${token}`,
        ...(body === undefined
          ? {}
          : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
      },
    };
    return secure ? https.request({ ...request, ca, minVersion: "TLSv1.2" as const }) : http.request(request);
  };

  const once = async (
    method: string,
    path: string,
    body: string | undefined,
    wanted: RequestOptions,
  ): Promise<Exchange> => {
    const result = await exchange(() => open(method, path, body, false), {
      clock,
      timeoutMs: wanted.timeoutMs,
      maxBytes: maxBody,
      signals: [wanted.signal, closing.signal],
      ...(body === undefined ? {} : { body }),
    });
    // Whatever broke or silenced this connection has probably done the same to the idle ones.
    if (!result.answered && (result.kind === "timeout" || result.kind === "network")) renewConnections();
    if (result.answered ? result.status === 401 : result.kind === "network") rereadCredentials();
    return result;
  };
  const ask = async (
    method: string,
    path: string,
    body: string | undefined,
    wanted: RequestOptions,
  ): Promise<Exchange> => {
    const first = await once(method, path, body, wanted);
    // An idle connection that the server had closed: a read may simply be asked again, inside the same deadline.
    if (method === "GET" && !first.answered && first.kind === "network" && first.reused) {
      const left = wanted.timeoutMs - (clock.now() - first.sentAtMs);
      if (left > 0) return once(method, path, body, { ...wanted, timeoutMs: left });
    }
    return first;
  };

  const collection = (resource: Resource): string =>
    `${kinds[resource].path}/namespaces/${encodeURIComponent(namespace)}/${resource}`;
  const record = (verb: string, resource: string, outcome: string, sentAtMs: number): void => {
    requests?.inc({ verb, resource, outcome });
    seconds?.observe({ verb }, Math.max(0, clock.now() - sentAtMs) / 1000);
  };

  /** One request, and what its answer means for the object `name`. */
  const perform = async <R extends Resource>(
    verb: "get" | "create" | "update",
    resource: R,
    name: string,
    body: Kinds[R] | undefined,
    wanted: RequestOptions,
  ): Promise<Outcome<Kinds[R]>> => {
    const path = verb === "create" ? collection(resource) : `${collection(resource)}/${encodeURIComponent(name)}`;
    const method = verb === "get" ? "GET" : verb === "create" ? "POST" : "PUT";
    const result = await ask(method, path, body && JSON.stringify(body), wanted);
    const outcome = ((): Outcome<Kinds[R]> => {
      const write = verb !== "get";
      const { sentAtMs } = result;
      if (!result.answered)
        return {
          ok: false,
          kind: result.kind,
          unknown: write && result.sent,
          status: 0,
          message: result.message,
          sentAtMs,
        };
      const answer = parseJson(result.body);
      if (result.status === 200 || (write && result.status === 201)) {
        const parsed = asObject(resource, answer, namespace, name);
        if ("object" in parsed) {
          // A PUT that created: the object had been deleted. It is not the one the caller meant, whatever it holds now.
          const other =
            verb === "update" && (result.status === 201 || parsed.object.metadata.uid !== body?.metadata.uid);
          if (!other) return { ok: true, object: parsed.object, sentAtMs };
          return {
            ok: false,
            kind: "conflict",
            unknown: true,
            status: result.status,
            message: "the PUT hit another object",
            sentAtMs,
          };
        }
        return {
          ok: false,
          kind: "malformed",
          unknown: write,
          status: result.status,
          message: parsed.problem,
          sentAtMs,
        };
      }
      const failure = failureOf(result.status, answer, name);
      const retryAfterMs = retryAfter(result.headers) ?? failure.retryAfterMs;
      return {
        ok: false,
        kind: failure.kind,
        unknown: write && (failure.kind === "server" || failure.kind === "malformed"),
        status: result.status,
        message: failure.message,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
        sentAtMs,
      };
    })();
    record(verb, resource, outcome.ok ? "ok" : outcome.kind, outcome.sentAtMs);
    return outcome;
  };

  /**
   * The object through a list of that one name: unlike a GET it names a resourceVersion from which a watch can always
   * start.
   */
  const listOne = async <R extends Resource>(
    resource: R,
    name: string,
    wanted: RequestOptions,
  ): Promise<
    | { ok: true; object: Kinds[R] | undefined; resourceVersion: string }
    | { ok: false; message: string; retryAfterMs?: number }
  > => {
    const selector = `fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`;
    const result = await ask("GET", `${collection(resource)}?${selector}`, undefined, wanted);
    const failed = (outcome: string, message: string, retryAfterMs?: number) => {
      record("list", resource, outcome, result.sentAtMs);
      return { ok: false as const, message, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
    };
    if (!result.answered) return failed(result.kind, result.message);
    const answer = parseJson(result.body);
    if (result.status !== 200) {
      const failure = failureOf(result.status, answer, undefined);
      return failed(failure.kind, failure.message, retryAfter(result.headers) ?? failure.retryAfterMs);
    }
    const { kind, apiVersion } = kinds[resource];
    const version = isRecord(answer) && isRecord(answer.metadata) ? answer.metadata.resourceVersion : undefined;
    if (
      !isRecord(answer) ||
      answer.kind !== `${kind}List` ||
      typeof version !== "string" ||
      version === "" ||
      !Array.isArray(answer.items)
    )
      return failed("malformed", `expected a ${kind}List`);
    const item: unknown = answer.items[0];
    if (answer.items.length > 1) return failed("malformed", "expected one item");
    const parsed =
      item === undefined ? undefined : asObject(resource, { ...(item as Json), kind, apiVersion }, namespace, name);
    if (parsed && "problem" in parsed) return failed("malformed", parsed.problem);
    record("list", resource, "ok", result.sentAtMs);
    return { ok: true, object: parsed?.object, resourceVersion: version };
  };

  const watch = async <R extends Resource>(
    resource: R,
    name: string,
    onEvent: (event: WatchEvent<Kinds[R]>) => void,
    wanted: { signal: AbortSignal; idleMs?: number },
  ): Promise<void> => {
    const idleMs = wanted.idleMs ?? 30_000;
    const stop = new AbortController();
    const onStop = (): void => stop.abort();
    for (const signal of [wanted.signal, closing.signal]) {
      if (signal.aborted) onStop();
      signal.addEventListener("abort", onStop);
    }
    const { signal } = stop;
    let version: string | undefined;
    let last: Kinds[R] | undefined;
    let failures = 0;
    let expired = false;
    const pause = (why: string, retryAfterMs?: number): Promise<void> => {
      if (failures === 0 || failures === 5) log?.warn("kube-watch", `${resource}/${name}: ${why}`);
      return sleep(Math.max(retryAfterMs ?? 0, backoffMs(failures++, 100, 5000)), signal);
    };
    /** Undefined, or why the stream is of no use any more. */
    const handle = (text: string): string | undefined => {
      const event = parseJson(text);
      if (!isRecord(event) || !isRecord(event.object)) return "expected a watch event";
      const { type, object } = event;
      if (type === "ERROR") {
        expired = object.code === 410;
        return `${String(object.code)} ${String(object.message)}`.slice(0, 300);
      }
      const meta = object.metadata;
      if (type === "BOOKMARK") {
        if (isRecord(meta) && typeof meta.resourceVersion === "string" && meta.resourceVersion !== "")
          version = meta.resourceVersion;
        return undefined;
      }
      if (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED") return `unknown event ${String(type)}`;
      const parsed = asObject(resource, object, namespace, name);
      if ("problem" in parsed) return parsed.problem;
      version = parsed.object.metadata.resourceVersion;
      last = type === "DELETED" ? undefined : parsed.object;
      failures = 0;
      onEvent({ type, object: parsed.object });
      return undefined;
    };
    while (!signal.aborted) {
      if (version === undefined) {
        const listed = await listOne(resource, name, { timeoutMs: Math.min(idleMs, 5000), signal });
        if (signal.aborted) break;
        if (!listed.ok) {
          await pause(listed.message, listed.retryAfterMs);
          continue;
        }
        version = listed.resourceVersion;
        if (listed.object) onEvent({ type: "MODIFIED", object: (last = listed.object) });
        else if (last) {
          onEvent({ type: "DELETED", object: last });
          last = undefined;
        }
      }
      const startedMs = clock.now();
      const query = new URLSearchParams({
        watch: "true",
        fieldSelector: `metadata.name=${name}`,
        resourceVersion: version,
        allowWatchBookmarks: "true",
        timeoutSeconds: String(240 + Math.floor(Math.random() * 60)),
      });
      const path = `${collection(resource)}?${query.toString()}`;
      expired = false;
      const ended = await followObjects(() => open("GET", path, undefined, true), {
        idleMs,
        headersMs: watchHeadersMs,
        maxLength: maxBody,
        signal,
        onObject: handle,
      });
      requests?.inc({ verb: "watch", resource, outcome: expired ? "expired" : ended.end });
      if (ended.end === "aborted") break;
      const lastedMs = clock.now() - startedMs;
      if (lastedMs >= Math.min(5000, 0.9 * idleMs)) failures = 0;
      if (ended.end === "clean" && lastedMs > 1000) continue;
      if (ended.end === "refused") {
        expired = ended.status === 410;
        if (ended.status === 401) rereadCredentials();
      }
      if (ended.end !== "clean" && ended.end !== "cut") version = undefined;
      // Silence and 410 are answered by the list at once, unless they come in a row.
      if ((ended.end === "silent" || expired) && failures === 0) failures = 1;
      else await pause(ended.message, ended.end === "refused" ? retryAfter(ended.headers) : undefined);
    }
    for (const other of [wanted.signal, closing.signal]) other.removeEventListener("abort", onStop);
  };

  let eventsInFlight = 0;
  const emitEvent: KubeClient["emitEvent"] = async (event) => {
    if (eventsInFlight >= maxEventsInFlight) {
      log?.warn("kube-event-dropped", `${event.reason}: ${maxEventsInFlight} are in flight`);
      return;
    }
    eventsInFlight++;
    try {
      const at = secondsTime(clock.wall());
      const body = {
        apiVersion: "v1",
        kind: "Event",
        metadata: { name: `${event.regarding.name}.${randomBytes(8).toString("hex")}`, namespace },
        involvedObject: { ...event.regarding, namespace },
        type: event.type,
        reason: event.reason,
        message: event.message.slice(0, 1024),
        source: { component },
        reportingComponent: component,
        reportingInstance: options.instance ?? component,
        firstTimestamp: at,
        lastTimestamp: at,
        count: 1,
      };
      const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`;
      const result = await ask("POST", path, JSON.stringify(body), { timeoutMs: 3000 });
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

  const checked = <R extends Resource>(resource: R, object: Kinds[R], update: boolean): void => {
    const { metadata } = object;
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
  };

  return {
    get: (resource, name, wanted) => perform("get", resource, name, undefined, wanted),
    create: async (resource, object, wanted) => {
      checked(resource, object, false);
      return perform("create", resource, object.metadata.name, object, wanted);
    },
    replace: async (resource, object, wanted) => {
      checked(resource, object, true);
      return perform("update", resource, object.metadata.name, object, wanted);
    },
    watch,
    emitEvent,
    close: () => {
      closing.abort();
      renewConnections();
    },
  };
}
