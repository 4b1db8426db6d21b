/** What a request asks for. */
import type { RequestInfo, Verb } from "./request-faults";
import { resourceTypes, type ResourceType } from "./objects";
import type { User } from "./rbac";
import { ApiError } from "./status";
import * as failure from "./status";

export interface Target {
  type: ResourceType;
  namespace: string;
  name: string;
}
/** One request, as far as it has been understood. */
export interface Asked {
  verb: Exclude<Verb, "watch">;
  target: Target;
  info: RequestInfo;
  user: User;
  query: URLSearchParams;
  contentType: string;
  body: Buffer;
  /** Aborted when the client does not wait any longer. */
  signal: AbortSignal;
}
/** Undefined for a path that is no resource of this API. */
export function routeOf(path: string): Target | undefined {
  const match = /^\/(?:api\/v1|apis\/([^/]+)\/v1)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?$/.exec(path);
  if (!match) return undefined;
  const [, group = "", namespace = "", resource = "", name = ""] = match;
  const type = resourceTypes.find((entry) => entry.group === group && entry.resource === resource);
  return type && (namespace !== "" || name === "")
    ? { type, namespace: decodeURIComponent(namespace), name: decodeURIComponent(name) }
    : undefined;
}

/** @throws ApiError 405 */
export function verbOf(method: string, target: Target, query: URLSearchParams): Verb {
  const named = target.name !== "";
  const watching = ["true", "1"].includes(query.get("watch") ?? "");
  const verb = {
    GET: watching ? "watch" : named ? "get" : "list",
    POST: named || target.namespace === "" ? undefined : "create",
    PUT: named ? "update" : undefined,
    PATCH: named ? "patch" : undefined,
    DELETE: named ? "delete" : undefined,
  }[method] as Verb | undefined;
  if (!verb)
    throw new ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
  return verb;
}

/** The resourceVersion that a list or watch begins with; undefined where any will do. @throws ApiError 400 */
export function versionOf(query: URLSearchParams): number | undefined {
  const text = query.get("resourceVersion") ?? "";
  if (text === "" || text === "0") return undefined;
  if (!/^\d+$/.test(text))
    throw failure.badRequest(`Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`);
  return Number(text);
}

/** Go durations as a request's `timeout`, in milliseconds. */
export function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ns|us|ms|s|m)?$/.exec(text);
  if (!match) throw failure.badRequest(`invalid timeout specified in the request URL: ${text}`);
  return (
    Number(match[1]) *
    { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, m: 60_000 }[(match[2] ?? "s") as "ns" | "us" | "ms" | "s" | "m"]
  );
}
