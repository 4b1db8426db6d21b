/** The verbs, carried out on the store. */
import type { Result } from "./answers";
import { isWrite } from "./request-faults";
import { decode, isJson, jsonPatch, mergePatch, type Json, type ResourceType } from "./objects";
import { versionOf, type Asked } from "./requests";
import { selectorOf } from "./selectors";
import { ApiError } from "./status";
import * as failure from "./status";
import type { Store } from "./store";

const patchTypes = [
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
  "application/json-patch+json",
];

/** Throws where the user may not create an object of this name. */
type MayCreate = (name: string) => void;
type Operation = (store: Store, asked: Asked, mayCreate: MayCreate) => Result;

const mediaTypeOf = (contentType: string): string => contentType.split(";")[0]?.trim() ?? "";
const isStrict = (query: URLSearchParams): boolean => query.get("fieldValidation") === "Strict";
const unsupported = () => new ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8")) as unknown;
  } catch {
    throw failure.badRequest("couldn't get version/kind; json parse error");
  }
}

function listed(store: Store, type: ResourceType, namespace: string, query: URLSearchParams): Json {
  const wanted = versionOf(query);
  const current = store.currentVersion;
  if (wanted !== undefined && wanted > current)
    throw new ApiError(504, "Timeout", `Timeout: Too large resource version: ${wanted}, current: ${current}`, {
      retryAfterSeconds: 1,
    });
  const exact = query.get("resourceVersionMatch") === "Exact" ? wanted : undefined;
  const objects = exact === undefined ? store.list(type, namespace) : store.listAt(type, namespace, exact);
  return {
    kind: `${type.kind}List`,
    apiVersion: type.apiVersion,
    metadata: { resourceVersion: String(exact ?? current) },
    items: objects.filter(selectorOf(type, query)).map(({ kind: _kind, apiVersion: _apiVersion, ...rest }) => rest),
  };
}

const get: Operation = (store, { target: { type, namespace, name } }) => {
  const found = store.get(type, namespace, name);
  if (!found) throw failure.notFound(type, name);
  return { status: 200, body: found };
};

const list: Operation = (store, { target: { type, namespace }, query }) => ({
  status: 200,
  body: listed(store, type, namespace, query),
});

const create: Operation = (store, { target: { type, namespace }, query, contentType, body }) => {
  if (mediaTypeOf(contentType) !== "application/json") throw unsupported();
  const { object, warnings } = decode(type, parse(body), isStrict(query));
  return { status: 201, body: store.create(type, namespace, object), warnings };
};

const update: Operation = (store, { target: { type, namespace, name }, query, contentType, body }, mayCreate) => {
  if (mediaTypeOf(contentType) !== "application/json") throw unsupported();
  const { object, warnings } = decode(type, parse(body), isStrict(query));
  const done = store.replace(type, namespace, name, object, () => mayCreate(name));
  return { status: done.created ? 201 : 200, body: done.object, warnings };
};

const patch: Operation = (store, { target: { type, namespace, name }, query, contentType, body }) => {
  const mediaType = mediaTypeOf(contentType);
  if (!patchTypes.includes(mediaType) || (mediaType === patchTypes[1] && type.resource === "pods")) throw unsupported();
  const patch = parse(body);
  const existing = store.get(type, namespace, name);
  if (!existing) throw failure.notFound(type, name);
  let patched: Json | undefined;
  if (mediaType === "application/json-patch+json") {
    patched = jsonPatch(existing, patch);
    if (!patched)
      throw new ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {});
  } else if (isJson(patch)) patched = mergePatch(existing, patch) as Json;
  else throw failure.badRequest("a merge patch is an object");
  const { object, warnings } = decode(type, patched, isStrict(query));
  if (object.metadata.name !== name)
    throw failure.badRequest(
      `the name of the object (${String(object.metadata.name)}) does not match the name on the URL (${name})`,
    );
  return { status: 200, body: store.update(type, existing, object, false), warnings };
};

const remove: Operation = (store, { target: { type, namespace, name }, body }) => {
  const options = body.length > 0 ? parse(body) : {};
  const preconditions = isJson(options) && isJson(options.preconditions) ? options.preconditions : {};
  const text = (field: string) => {
    const value = preconditions[field];
    return typeof value === "string" ? { [field]: value } : {};
  };
  const removed = store.remove(type, namespace, name, { ...text("uid"), ...text("resourceVersion") });
  if (type.resource === "pods") return { status: 200, body: removed };
  const { group, resource } = type;
  return {
    status: 200,
    body: {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Success",
      details: { name, ...(group === "" ? {} : { group }), kind: resource, uid: removed.metadata.uid },
    },
  };
};

const operations: Record<Asked["verb"], Operation> = { get, list, create, update, patch, delete: remove };

/** Carries out what is allowed. @throws ApiError */
export const carryOut: Operation = (store, asked, mayCreate) => {
  const { verb, query } = asked;
  const operation = operations[verb];
  if (!isWrite(verb) || !query.has("dryRun")) return operation(store, asked, mayCreate);
  if (query.get("dryRun") !== "All")
    throw failure.badRequest(`Invalid value: "${query.get("dryRun")}": the one dryRun is All`);
  return store.dryRun(() => operation(store, asked, mayCreate));
};
