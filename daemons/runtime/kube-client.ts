/**
 * KubeClient over node:http(s) with keep-alive. Small on purpose: the ready-made client costs 70 MB and 400 ms more in every container.
 *
 * Guarantees: a hard deadline per request on the monotonic clock; a connection that timed out or broke is never used again, nor is any
 * that was idle beside it; a write is sent once; TLS is verified with the mounted CA; token and CA are read again at least every ten
 * seconds and after a 401; bodies and watch lines are bounded; an answer that is not the object asked for is `malformed`, never an object.
 */
import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { join } from "node:path";
import { StringDecoder } from "node:string_decoder";
import { backoffMs, sleep, type Clock } from "./clock";
import type { FailureKind, KubeClient, Kinds, Outcome, RequestOptions, Resource, WatchEvent } from "./kube";
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
const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
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
function objection(resource: Resource, value: unknown, namespace: string, name: string | undefined): string | undefined {
  if (!isRecord(value) || value.kind !== kinds[resource].kind || value.apiVersion !== kinds[resource].apiVersion)
    return `expected a ${kinds[resource].kind}`;
  const meta = value.metadata;
  if (!isRecord(meta) || typeof meta.name !== "string" || (name !== undefined && meta.name !== name))
    return `expected metadata.name ${name ?? ""}`;
  if (meta.namespace !== namespace) return `expected metadata.namespace ${namespace}`;
  for (const field of ["uid", "resourceVersion"] as const)
    if (typeof meta[field] !== "string" || meta[field] === "") return `expected a metadata.${field}`;
  if (!textMap(meta.labels) || !textMap(meta.annotations)) return "expected texts in metadata.labels and metadata.annotations";
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
      return (value.status === undefined || isRecord(value.status)) && (value.spec === undefined || isRecord(value.spec))
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

type Exchange =
  | { answered: true; status: number; body: string; retryAfterMs?: number; sentAtMs: number }
  | {
      answered: false;
      kind: "timeout" | "network" | "malformed" | "aborted";
      message: string;
      sent: boolean;
      reused: boolean;
      sentAtMs: number;
    };

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
    if (status === 404) return reason === "NotFound" && name !== undefined && details.name === name ? "not-found" : "malformed";
    if (status === 409) return reason === "AlreadyExists" ? "already-exists" : reason === "Conflict" ? "conflict" : "malformed";
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
      log?.warn("kube-credentials", `using the last ones read: ${error instanceof Error ? error.message : String(error)}`);
      credentials.readAtMs = now;
    }
    return credentials;
  };
  const connections = (ca: string | undefined): http.Agent =>
    (agent ??= secure
      ? new https.Agent({ keepAlive: true, maxFreeSockets: 4, timeout: idleSocketMs, ca, minVersion: "TLSv1.2" })
      : new http.Agent({ keepAlive: true, maxFreeSockets: 4, timeout: idleSocketMs }));

  /** One HTTP request, not started where this throws. `dedicated`: a connection of its own. */
  const open = (method: string, path: string, body: string | undefined, contentType: string, dedicated: boolean): http.ClientRequest => {
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
        ...(body === undefined ? {} : { "content-type": contentType, "content-length": Buffer.byteLength(body) }),
      },
    };
    return secure ? https.request({ ...request, ca, minVersion: "TLSv1.2" as const }) : http.request(request);
  };

  const exchangeOnce = (method: string, path: string, body: string | undefined, wanted: RequestOptions): Promise<Exchange> =>
    new Promise((resolve) => {
      const sentAtMs = clock.now();
      let sent = false;
      let done = false;
      let request: http.ClientRequest | undefined;
      const finish = (result: Exchange): void => {
        if (done) return;
        done = true;
        clearTimeout(timer);
        wanted.signal?.removeEventListener("abort", onAbort);
        closing.signal.removeEventListener("abort", onAbort);
        if (!result.answered) {
          request?.destroy();
          // Whatever broke or silenced this connection has probably done the same to the idle ones.
          if (result.kind === "timeout" || result.kind === "network") renewConnections();
          if (result.kind === "network") rereadCredentials();
        } else if (result.status === 401) rereadCredentials();
        resolve(result);
      };
      const fail = (kind: "timeout" | "network" | "malformed" | "aborted", message: string): void =>
        finish({ answered: false, kind, message, sent, reused: request?.reusedSocket ?? false, sentAtMs });
      const onAbort = (): void => fail("aborted", "aborted by the caller");
      const timer = setTimeout(() => fail("timeout", `no answer within ${wanted.timeoutMs} ms`), wanted.timeoutMs);
      if (wanted.signal?.aborted || closing.signal.aborted) return onAbort();
      wanted.signal?.addEventListener("abort", onAbort);
      closing.signal.addEventListener("abort", onAbort);
      try {
        request = open(method, path, body, "application/json", false);
      } catch (error) {
        return fail("network", error instanceof Error ? error.message : String(error));
      }
      request.on("socket", (socket) => {
        if (request?.reusedSocket) sent = true;
        else socket.once(secure ? "secureConnect" : "connect", () => (sent = true));
      });
      request.on("error", (error) => fail("network", error.message));
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxBody) fail("malformed", `an answer of more than ${maxBody} bytes`);
          else chunks.push(chunk);
        });
        response.on("error", (error) => fail("network", error.message));
        response.on("close", () => fail("network", "the connection ended inside the answer"));
        response.on("end", () => {
          if (!response.complete) return fail("network", "the connection ended inside the answer");
          // After a pause of the process the answer may be processed before the timer.
          if (clock.now() - sentAtMs > wanted.timeoutMs) return fail("timeout", `the answer came after ${wanted.timeoutMs} ms`);
          const retryAfter = Number(response.headers["retry-after"]);
          finish({
            answered: true,
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks).toString("utf8"),
            ...(Number.isFinite(retryAfter) && retryAfter >= 0 && response.headers["retry-after"] !== undefined
              ? { retryAfterMs: retryAfter * 1000 }
              : {}),
            sentAtMs,
          });
        });
      });
      request.end(body);
    });

  const exchange = async (method: string, path: string, body: string | undefined, wanted: RequestOptions): Promise<Exchange> => {
    const first = await exchangeOnce(method, path, body, wanted);
    // An idle connection that the server had closed: a read may simply be asked again, inside the same deadline.
    if (method === "GET" && !first.answered && first.kind === "network" && first.reused) {
      const left = wanted.timeoutMs - (clock.now() - first.sentAtMs);
      if (left > 0) return exchangeOnce(method, path, body, { ...wanted, timeoutMs: left });
    }
    return first;
  };

  const collection = (resource: Resource): string => `${kinds[resource].path}/namespaces/${encodeURIComponent(namespace)}/${resource}`;
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
    const result = await exchange(method, path, body && JSON.stringify(body), wanted);
    const outcome = ((): Outcome<Kinds[R]> => {
      const write = verb !== "get";
      const { sentAtMs } = result;
      if (!result.answered)
        return { ok: false, kind: result.kind, unknown: write && result.sent, status: 0, message: result.message, sentAtMs };
      const answer = parseJson(result.body);
      if (result.status === 200 || (write && result.status === 201)) {
        const parsed = asObject(resource, answer, namespace, name);
        if ("object" in parsed) {
          // A PUT that created: the object had been deleted. It is not the one the caller meant, whatever it holds now.
          const other = verb === "update" && (result.status === 201 || parsed.object.metadata.uid !== body?.metadata.uid);
          if (!other) return { ok: true, object: parsed.object, sentAtMs };
          return { ok: false, kind: "conflict", unknown: true, status: result.status, message: "the PUT hit another object", sentAtMs };
        }
        return { ok: false, kind: "malformed", unknown: write, status: result.status, message: parsed.problem, sentAtMs };
      }
      const failure = failureOf(result.status, answer, name);
      const retryAfterMs = result.retryAfterMs ?? failure.retryAfterMs;
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

  /** The object through a list of that one name: unlike a GET it names a resourceVersion from which a watch can always start. */
  const listOne = async <R extends Resource>(
    resource: R,
    name: string,
    wanted: RequestOptions,
  ): Promise<
    { ok: true; object: Kinds[R] | undefined; resourceVersion: string } | { ok: false; message: string; retryAfterMs?: number }
  > => {
    const selector = `fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`;
    const result = await exchange("GET", `${collection(resource)}?${selector}`, undefined, wanted);
    const failed = (outcome: string, message: string, retryAfterMs?: number) => {
      record("list", resource, outcome, result.sentAtMs);
      return { ok: false as const, message, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
    };
    if (!result.answered) return failed(result.kind, result.message);
    const answer = parseJson(result.body);
    if (result.status !== 200) {
      const failure = failureOf(result.status, answer, undefined);
      return failed(failure.kind, failure.message, result.retryAfterMs ?? failure.retryAfterMs);
    }
    const { kind, apiVersion } = kinds[resource];
    const version = isRecord(answer) && isRecord(answer.metadata) ? answer.metadata.resourceVersion : undefined;
    if (!isRecord(answer) || answer.kind !== `${kind}List` || typeof version !== "string" || version === "" || !Array.isArray(answer.items))
      return failed("malformed", `expected a ${kind}List`);
    const item: unknown = answer.items[0];
    if (answer.items.length > 1) return failed("malformed", "expected one item");
    const parsed = item === undefined ? undefined : asObject(resource, { ...(item as Json), kind, apiVersion }, namespace, name);
    if (parsed && "problem" in parsed) return failed("malformed", parsed.problem);
    record("list", resource, "ok", result.sentAtMs);
    return { ok: true, object: parsed?.object, resourceVersion: version };
  };

  /** One watch request; resolves with why it ended. `line` returns "anew" or "broken" to end it. */
  const watchOnce = (
    path: string,
    idleMs: number,
    signal: AbortSignal,
    line: (text: string) => "next" | "anew" | "broken",
  ): Promise<{ end: "clean" | "idle" | "anew" | "cut" | "broken" | "aborted"; message: string; retryAfterMs?: number }> =>
    new Promise((resolve) => {
      let done = false;
      let request: http.ClientRequest | undefined;
      let timer: NodeJS.Timeout | undefined;
      const finish = (
        end: "clean" | "idle" | "anew" | "cut" | "broken" | "aborted",
        message: string,
        extra: { retryAfterMs?: number } = {},
      ): void => {
        if (done) return;
        done = true;
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        request?.destroy();
        resolve({ end, message, ...extra });
      };
      const onAbort = (): void => finish("aborted", "");
      const arm = (ms: number): void => {
        clearTimeout(timer);
        timer = setTimeout(() => finish("idle", `silent for ${ms} ms`), ms);
      };
      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort);
      arm(Math.min(idleMs, watchHeadersMs));
      try {
        request = open("GET", path, undefined, "", true);
      } catch (error) {
        return finish("cut", error instanceof Error ? error.message : String(error));
      }
      request.on("socket", (socket) => socket.setKeepAlive(true, 5000));
      request.on("error", (error) => finish("cut", error.message));
      request.on("response", (response) => {
        arm(idleMs);
        if (response.statusCode !== 200) {
          const retryAfter = Number(response.headers["retry-after"]);
          if (response.statusCode === 401) rereadCredentials();
          return finish(response.statusCode === 410 ? "anew" : "broken", `HTTP ${response.statusCode}`, {
            ...(retryAfter > 0 ? { retryAfterMs: retryAfter * 1000 } : {}),
          });
        }
        const decoder = new StringDecoder("utf8");
        let rest = "";
        response.on("data", (chunk: Buffer) => {
          if (done) return;
          arm(idleMs);
          const lines = (rest + decoder.write(chunk)).split("\n");
          rest = lines.pop() ?? "";
          for (const text of lines) {
            if (text.trim() === "") continue;
            const verdict = line(text);
            if (verdict !== "next") return finish(verdict, "the stream says so");
            if (signal.aborted) return onAbort();
          }
          if (rest.length > maxBody) finish("broken", `a line of more than ${maxBody} characters`);
        });
        response.on("error", (error) => finish("cut", error.message));
        response.on("end", () => finish(response.complete && rest === "" ? "clean" : "cut", "the stream ended"));
        response.on("close", () => finish("cut", "the stream ended"));
      });
      request.end();
    });

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
    const pause = (why: string, retryAfterMs?: number): Promise<void> => {
      if (failures === 0 || failures === 5) log?.warn("kube-watch", `${resource}/${name}: ${why}`);
      return sleep(Math.max(retryAfterMs ?? 0, backoffMs(failures++, 100, 5000)), signal);
    };
    const handle = (text: string): "next" | "anew" | "broken" => {
      const event = parseJson(text);
      if (!isRecord(event) || !isRecord(event.object)) return "broken";
      const { type, object } = event;
      if (type === "ERROR") return "anew";
      const meta = object.metadata;
      if (type === "BOOKMARK") {
        if (isRecord(meta) && typeof meta.resourceVersion === "string" && meta.resourceVersion !== "") version = meta.resourceVersion;
        return "next";
      }
      if (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED") return "broken";
      const parsed = asObject(resource, object, namespace, name);
      if ("problem" in parsed) return "broken";
      version = parsed.object.metadata.resourceVersion;
      last = type === "DELETED" ? undefined : parsed.object;
      failures = 0;
      onEvent({ type, object: parsed.object });
      return "next";
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
      const ended = await watchOnce(`${collection(resource)}?${query.toString()}`, idleMs, signal, handle);
      requests?.inc({ verb: "watch", resource, outcome: ended.end });
      if (ended.end === "aborted") break;
      if (clock.now() - startedMs >= Math.min(5000, 0.9 * idleMs)) failures = 0;
      if (ended.end === "clean" && clock.now() - startedMs > 1000) continue;
      if (ended.end === "idle" || ended.end === "anew" || ended.end === "broken") version = undefined;
      // Silence and 410 are answered by the list at once, unless they come in a row.
      if ((ended.end === "idle" || ended.end === "anew") && failures === 0) failures = 1;
      else await pause(ended.message, ended.retryAfterMs);
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
      const at = new Date(clock.wall()).toISOString().replace(/\.\d{3}Z$/, "Z");
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
      const result = await exchange("POST", path, JSON.stringify(body), { timeoutMs: 3000 });
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
      throw new Error(`a PUT of ${resource}/${metadata.name} needs metadata.uid: without it a deleted object would be created`);
    if (update && (metadata.resourceVersion ?? "") === "")
      throw new Error(`a PUT of ${resource}/${metadata.name} needs metadata.resourceVersion: without it it would be unconditional`);
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
