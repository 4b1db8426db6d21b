/** Between the texts of the Kubernetes API and objects: what an answer means. Pure. */
import type { IncomingHttpHeaders } from "node:http";
import type { Exchange } from "./http-client";
import type { FailureKind, Kinds, Outcome, Resource } from "./kube";

export const kinds: Record<Resource, { kind: string; apiVersion: string; path: string }> = {
  leases: { kind: "Lease", apiVersion: "coordination.k8s.io/v1", path: "/apis/coordination.k8s.io/v1" },
  configmaps: { kind: "ConfigMap", apiVersion: "v1", path: "/api/v1" },
  pods: { kind: "Pod", apiVersion: "v1", path: "/api/v1" },
};

export type Json = Record<string, unknown>;
export const isRecord = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};
const optional = (value: unknown, type: "string" | "number"): boolean => value === undefined || typeof value === type;
/** Older servers write null where newer ones leave an empty map out. */
const textMap = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  (isRecord(value) && Object.values(value).every((entry) => typeof entry === "string"));

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
export function asObject<R extends Resource>(
  resource: R,
  value: unknown,
  namespace: string,
  name?: string,
): { object: Kinds[R] } | { problem: string } {
  const problem = objection(resource, value, namespace, name);
  if (problem !== undefined) return { problem };
  const object = value as Json & { metadata: Json };
  delete object.metadata.managedFields;
  for (const key of ["labels", "annotations"]) if (object.metadata[key] === null) delete object.metadata[key];
  if (object.data === null) delete object.data;
  if (resource === "leases") object.spec ??= {};
  return { object: object as unknown as Kinds[R] };
}

export function failureOf(
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
export function retryAfter(headers: IncomingHttpHeaders): number | undefined {
  const seconds = Number(headers["retry-after"] ?? NaN);
  return seconds >= 0 ? seconds * 1000 : undefined;
}

export const pathOf = (resource: Resource, namespace: string): string =>
  `${kinds[resource].path}/namespaces/${encodeURIComponent(namespace)}/${resource}`;

/**
 * What the answer to one request about one object means. `uid`: of the object that a PUT replaces. A write whose answer
 * does not tell may have happened.
 */
export function outcomeOf<R extends Resource>(
  result: Exchange,
  asked: { resource: R; namespace: string; name: string; write: boolean; uid?: string | undefined },
): Outcome<Kinds[R]> {
  const { resource, namespace, name, write, uid } = asked;
  const { sentAtMs } = result;
  const status = result.answered ? result.status : 0;
  const failed = (kind: FailureKind, unknown: boolean, message: string, retryAfterMs?: number): Outcome<Kinds[R]> => ({
    ...{ ok: false, kind, unknown, status, message, sentAtMs },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
  if (!result.answered) return failed(result.kind, write && result.sent, result.message);
  const answer = parseJson(result.body);
  if (status !== 200 && !(write && status === 201)) {
    const { kind, message, retryAfterMs } = failureOf(status, answer, name);
    const unknown = write && (kind === "server" || kind === "malformed");
    return failed(kind, unknown, message, retryAfter(result.headers) ?? retryAfterMs);
  }
  const parsed = asObject(resource, answer, namespace, name);
  if ("problem" in parsed) return failed("malformed", write, parsed.problem);
  // A PUT that created: the object had been deleted. It is not the one the caller meant, whatever it holds now.
  if (uid !== undefined && (status === 201 || parsed.object.metadata.uid !== uid))
    return failed("conflict", true, "the PUT hit another object");
  return { ok: true, object: parsed.object, sentAtMs };
}

export type Listed<T> =
  | { ok: true; object: T | undefined; resourceVersion: string }
  | { ok: false; kind: FailureKind; message: string; retryAfterMs?: number };

/** What the answer to a list of one name means. */
export function listedOf<R extends Resource>(
  result: Exchange,
  { resource, namespace, name }: { resource: R; namespace: string; name: string },
): Listed<Kinds[R]> {
  const failed = (kind: FailureKind, message: string) => ({ ok: false as const, kind, message });
  if (!result.answered) return failed(result.kind, result.message);
  const answer = parseJson(result.body);
  if (result.status !== 200) {
    const failure = failureOf(result.status, answer, undefined);
    const retryAfterMs = retryAfter(result.headers) ?? failure.retryAfterMs;
    return { ...failed(failure.kind, failure.message), ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  }
  const { kind, apiVersion } = kinds[resource];
  const version = isRecord(answer) && isRecord(answer.metadata) ? answer.metadata.resourceVersion : undefined;
  if (!isRecord(answer) || answer.kind !== `${kind}List` || typeof version !== "string" || version === "")
    return failed("malformed", `expected a ${kind}List`);
  if (!Array.isArray(answer.items)) return failed("malformed", `expected a ${kind}List`);
  if (answer.items.length > 1) return failed("malformed", "expected one item");
  const item = answer.items[0] as Json | undefined;
  if (item === undefined) return { ok: true, object: undefined, resourceVersion: version };
  const parsed = asObject(resource, { ...item, kind, apiVersion }, namespace, name);
  if ("problem" in parsed) return failed("malformed", parsed.problem);
  return { ok: true, object: parsed.object, resourceVersion: version };
}
