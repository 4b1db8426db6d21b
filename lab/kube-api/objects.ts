/** The resources that are served, and how the API reads, defaults and validates their objects. */
import { randomUUID } from "node:crypto";
import { badRequest, invalid, type ResourceInfo } from "./status";

export type Json = Record<string, unknown>;
export interface Meta {
  name: string;
  generateName?: string;
  namespace: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  [other: string]: unknown;
}
export interface StoredObject {
  kind: string;
  apiVersion: string;
  metadata: Meta;
  [part: string]: unknown;
}

export interface ResourceType extends ResourceInfo {
  apiVersion: string;
  /** A PUT to a missing name creates it (leases and events: yes; config maps and pods: no). */
  createOnUpdate: boolean;
  /** A PUT without resourceVersion replaces whatever is there. */
  unconditionalUpdate: boolean;
  /** Names below the object that are kept; undefined = all. */
  fields?: Record<string, readonly string[] | "map" | "scalar">;
  /** Known, and dropped without a word: fields behind feature gates that are off. */
  dropped?: readonly string[];
  selectable: readonly string[];
}

export const resourceTypes: readonly ResourceType[] = [
  {
    group: "coordination.k8s.io",
    apiVersion: "coordination.k8s.io/v1",
    resource: "leases",
    kind: "Lease",
    createOnUpdate: true,
    unconditionalUpdate: false,
    fields: {
      spec: [
        "holderIdentity",
        "leaseDurationSeconds",
        "acquireTime",
        "renewTime",
        "leaseTransitions",
        "strategy",
        "preferredHolder",
      ],
    },
    dropped: ["strategy", "preferredHolder"],
    selectable: [],
  },
  {
    group: "",
    apiVersion: "v1",
    resource: "configmaps",
    kind: "ConfigMap",
    createOnUpdate: false,
    unconditionalUpdate: true,
    fields: { data: "map", binaryData: "map", immutable: "scalar" },
    selectable: [],
  },
  {
    group: "",
    apiVersion: "v1",
    resource: "pods",
    kind: "Pod",
    createOnUpdate: false,
    unconditionalUpdate: true,
    selectable: ["status.phase", "spec.nodeName", "status.podIP"],
  },
  {
    group: "",
    apiVersion: "v1",
    resource: "events",
    kind: "Event",
    createOnUpdate: true,
    unconditionalUpdate: true,
    selectable: ["involvedObject.kind", "involvedObject.name", "involvedObject.uid", "reason", "type"],
  },
];

export const isJson = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
/** Of what came as JSON; a fifth of the time of structuredClone. */
export const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

const metaFields = [
  "name",
  "generateName",
  "namespace",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "labels",
  "annotations",
  "ownerReferences",
  "finalizers",
  "managedFields",
  "selfLink",
];

/**
 * Go's time.Parse with the MicroTime layout: exactly six fractional digits. Returns the normalized text. @throws
 * ApiError 400
 */
function microTime(type: ResourceType, value: unknown): string {
  const fail = (message: string) =>
    badRequest(`${type.kind} in version "v1" cannot be handled as a ${type.kind}: ${message}`);
  if (typeof value !== "string") throw fail("json: cannot unmarshal into Go struct field of type v1.MicroTime");
  const failAt = (rest: string, layout: string) =>
    fail(`parsing time "${value}" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "${rest}" as "${layout}"`);
  const seconds = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.exec(value)?.[0];
  if (seconds === undefined) throw failAt(value, "2006");
  const fraction = /^\.\d{6}/.exec(value.slice(seconds.length))?.[0];
  if (fraction === undefined) throw failAt(value.slice(seconds.length), ".000000");
  const zone = value.slice(seconds.length + fraction.length);
  if (!/^(Z|[+-]\d\d:\d\d)$/.test(zone)) throw failAt(zone, "Z07:00");
  const at = new Date(seconds + zone);
  if (Number.isNaN(at.getTime())) throw failAt(value, "2006");
  return at.toISOString().slice(0, 19) + fraction + "Z";
}

const wrongType = (type: ResourceType, field: string, got: unknown, wanted: string) =>
  badRequest(
    `${type.kind} in version "v1" cannot be handled as a ${type.kind}: json: cannot unmarshal ${Array.isArray(got) ? "array" : typeof got} into Go struct field ${field} of type ${wanted}`,
  );

/** Types of a lease's fields, which Go checks, and times in their normal form. */
function checkLeaseSpec(type: ResourceType, spec: Json): void {
  for (const field of ["acquireTime", "renewTime"])
    if (spec[field] !== undefined) spec[field] = microTime(type, spec[field]);
  for (const field of ["leaseDurationSeconds", "leaseTransitions"])
    if (spec[field] !== undefined && !Number.isInteger(spec[field]))
      throw wrongType(type, `LeaseSpec.spec.${field}`, spec[field], "int32");
  if (spec.holderIdentity !== undefined && typeof spec.holderIdentity !== "string")
    throw wrongType(type, "LeaseSpec.spec.holderIdentity", spec.holderIdentity, "string");
}

/**
 * The object of a request body: known fields only, nulls dropped, times normalized.
 * @param strict 400 instead of a warning for unknown fields
 * @throws ApiError 400
 */
export function decode(
  type: ResourceType,
  body: unknown,
  strict: boolean,
): { object: Json & { metadata: Json }; warnings: string[] } {
  if (!isJson(body)) throw badRequest(`the object provided is unrecognized (must be of type ${type.kind})`);
  if ((body.kind ?? type.kind) !== type.kind || (body.apiVersion ?? type.apiVersion) !== type.apiVersion)
    throw badRequest(
      `${String(body.kind)} in version "${String(body.apiVersion)}" cannot be handled as a ${type.kind}: no kind "${String(body.kind)}" is registered for version "${String(body.apiVersion)}"`,
    );
  const unknown: string[] = [];
  const only = (value: Json, known: readonly string[], path: string): Json => {
    const kept: Json = {};
    for (const [field, entry] of Object.entries(value)) {
      if (!known.includes(field)) unknown.push(`${path}${field}`);
      else if (entry !== null) kept[field] = copy(entry);
    }
    return kept;
  };
  const metadata = body.metadata ?? {};
  if (!isJson(metadata)) throw wrongType(type, `${type.kind}.metadata`, metadata, "v1.ObjectMeta");
  const meta = only(metadata, metaFields, "metadata.");
  delete meta.managedFields;
  for (const field of ["name", "namespace", "uid", "resourceVersion", "generateName"])
    if (meta[field] !== undefined && typeof meta[field] !== "string")
      throw wrongType(type, `ObjectMeta.metadata.${field}`, meta[field], "string");
  for (const field of ["labels", "annotations"]) {
    const map = meta[field];
    if (map === undefined) continue;
    if (!isJson(map)) throw wrongType(type, `ObjectMeta.metadata.${field}`, map, "map[string]string");
    for (const value of Object.values(map))
      if (typeof value !== "string") throw wrongType(type, `ObjectMeta.metadata.${field}`, value, "string");
    if (Object.keys(map).length === 0) delete meta[field];
  }
  const object: Json & { metadata: Json } = { kind: type.kind, apiVersion: type.apiVersion, metadata: meta };
  const rest = Object.fromEntries(
    Object.entries(body).filter(([field]) => !["kind", "apiVersion", "metadata"].includes(field)),
  );
  if (!type.fields) Object.assign(object, copy(rest));
  else {
    for (const [field, value] of Object.entries(only(rest, Object.keys(type.fields), ""))) {
      const rule = type.fields[field];
      if (rule === "scalar") object[field] = value;
      else if (!isJson(value)) throw wrongType(type, `${type.kind}.${field}`, value, "object");
      else if (rule === "map") {
        for (const [key, entry] of Object.entries(value))
          if (typeof entry !== "string") throw wrongType(type, `${type.kind}.${field}.${key}`, entry, "string");
        if (Object.keys(value).length > 0) object[field] = value;
      } else if (rule) {
        const spec = only(value, rule, `${field}.`);
        for (const dropped of type.dropped ?? []) delete spec[dropped];
        object[field] = spec;
      }
    }
  }
  if (strict && unknown.length > 0)
    throw badRequest(
      `${type.kind} in version "v1" cannot be handled as a ${type.kind}: strict decoding error: ${unknown.map((field) => `unknown field "${field}"`).join(", ")}`,
    );
  if (type.resource === "leases") checkLeaseSpec(type, (object.spec ??= {}) as Json);
  return { object, warnings: unknown.map((field) => `unknown field "${field}"`) };
}

const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** @throws ApiError 422 */
export function validate(type: ResourceType, object: Json & { metadata: Json }): void {
  const name = String(object.metadata.name ?? "");
  if (name.length > 253 || !subdomain.test(name))
    throw invalid(
      type,
      name,
      "metadata.name",
      `Invalid value: "${name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character`,
    );
  const annotations = Object.entries((object.metadata.annotations ?? {}) as Record<string, string>);
  const size = annotations.reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
  if (size > 256 * 1024)
    throw invalid(
      type,
      name,
      "metadata.annotations",
      `Too long: may not be more than ${256 * 1024} bytes`,
      "FieldValueTooLong",
    );
  if (type.resource === "leases") {
    const spec = object.spec as Json;
    if (typeof spec.leaseDurationSeconds === "number" && spec.leaseDurationSeconds <= 0)
      throw invalid(
        type,
        name,
        "spec.leaseDurationSeconds",
        `Invalid value: ${spec.leaseDurationSeconds}: must be greater than 0`,
      );
    if (typeof spec.leaseTransitions === "number" && spec.leaseTransitions < 0)
      throw invalid(
        type,
        name,
        "spec.leaseTransitions",
        `Invalid value: ${spec.leaseTransitions}: must be greater than or equal to 0`,
      );
  }
  if (type.resource === "configmaps") {
    const entries = Object.entries((object.data ?? {}) as Record<string, string>);
    for (const [key] of entries)
      if (!/^[-._a-zA-Z0-9]{1,253}$/.test(key))
        throw invalid(
          type,
          name,
          `data[${key}]`,
          `Invalid value: "${key}": a valid config key must consist of alphanumeric characters, '-', '_' or '.'`,
        );
    const total = entries.reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
    if (total > 1024 * 1024)
      throw invalid(type, name, "", `Too long: may not be more than ${1024 * 1024} bytes`, "FieldValueTooLong");
  }
  if (type.resource === "events") {
    const involved = isJson(object.involvedObject) ? object.involvedObject : {};
    if (involved.namespace !== object.metadata.namespace)
      throw invalid(
        type,
        name,
        "involvedObject.namespace",
        `Invalid value: "${String(involved.namespace ?? "")}": does not match event.namespace`,
      );
  }
}

/** RFC 7386. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isJson(patch)) return patch;
  const result: Json = isJson(target) ? { ...target } : {};
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete result[field];
    else result[field] = mergePatch(result[field], value);
  }
  return result;
}

/** RFC 6902 with add, remove, replace and test over objects; undefined where an operation does not apply. */
export function jsonPatch(target: Json, operations: unknown): Json | undefined {
  if (!Array.isArray(operations)) return undefined;
  const result = copy(target);
  for (const operation of operations as unknown[]) {
    if (!isJson(operation) || typeof operation.path !== "string") return undefined;
    const path = operation.path
      .split("/")
      .slice(1)
      .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = path.pop();
    let parent: unknown = result;
    for (const part of path) parent = isJson(parent) ? parent[part] : undefined;
    if (last === undefined || !isJson(parent)) return undefined;
    switch (operation.op) {
      case "test":
        if (JSON.stringify(parent[last]) !== JSON.stringify(operation.value)) return undefined;
        break;
      case "replace":
      case "remove":
        if (!(last in parent)) return undefined;
        if (operation.op === "remove") delete parent[last];
        else parent[last] = operation.value;
        break;
      case "add":
        parent[last] = operation.value;
        break;
      default:
        return undefined;
    }
  }
  return result;
}

export const newUid = (): string => randomUUID();
