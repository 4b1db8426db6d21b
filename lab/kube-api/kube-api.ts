/**
 * A Kubernetes API server for tests and the laboratory: leases, config maps, pods and events with the semantics that
 * our daemons depend on (resourceVersion, uid preconditions, PUT that creates a lease, watches, RBAC), as recorded from
 * API servers 1.20 and 1.36, and with switches for every way in which it can fail. In one process, without etcd. It
 * does not keep managedFields, nor admit, schedule or run anything.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { isIP, type Socket } from "node:net";
import { join } from "node:path";
import { sleep, systemClock, type Clock } from "../../daemons/runtime/clock";
import { readBody } from "../../daemons/runtime/http-bodies";
import { createAuthority, createServerCertificate, type KeyAndCertificate } from "./certificates";
import { serveExec, type Execute } from "./exec";
import { ActiveFault, type Fault, type FaultHandle, type RequestInfo, type Verb } from "./faults";
import {
  copy,
  decode,
  isJson,
  jsonPatch,
  mergePatch,
  resourceTypes,
  type Json,
  type ResourceType,
  type StoredObject,
} from "./objects";
import { anonymous, Rbac, type Role, type RoleBinding, serviceAccountUser, type User } from "./rbac";
import { ApiError } from "./status";
import * as failure from "./status";
import { resourceType, Store, type Commit } from "./store";

export type { Commit } from "./store";
export type { Fault, FaultEffect, FaultHandle, FaultMatch, RequestInfo, Verb } from "./faults";
export { writeVerbs } from "./faults";
export type { PolicyRule, Role, RoleBinding, User } from "./rbac";
export { serviceAccountUser } from "./rbac";

/** A commit as checkers see it: in order, before it is answered. Read only. */
export interface AuditEntry extends Commit {
  atMs: number;
  /** As given to addToken; "" for writes of the test itself. */
  client: string;
}
export interface KubeApiOptions {
  /** Folder for the objects and the authority; without it they live as long as the instance. */
  folder?: string;
  clock?: Clock;
  random?: () => number;
  /** @default 60000 */
  bookmarkMs?: number;
  onRequest?: (request: RequestInfo) => void;
  onCommit?: (entry: AuditEntry) => void;
}
export interface Listening {
  url: string;
  port: number;
}

/** What a request is answered with. */
export interface Result {
  status: number;
  body: unknown;
  warnings?: readonly string[];
  contentType?: string;
  retryAfterSeconds?: number;
}
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
/** The request will never be answered: its connection is reset. */
export class ConnectionLost extends Error {}
type Selector = (object: StoredObject) => boolean;
/** A watch that is being served. */
export interface Watcher {
  info: RequestInfo;
  type: ResourceType;
  namespace: string;
  selects: Selector;
  after: number;
  bookmarks: boolean;
  /** Version of the last bookmark. */
  bookmarked: number;
  response: http.ServerResponse;
  /** Lines that a hang holds back; undefined where nothing does. */
  backlog: string[] | undefined;
  stop: () => void;
}

const maxBodyBytes = 3 * 1024 * 1024;
const maxBacklogBytes = 8 * 1024 * 1024;
const patchTypes = [
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
  "application/json-patch+json",
];

/** A TLS socket of Node 20 cannot be reset, only closed. */
export function reset(socket: Socket | null): void {
  if (!socket) return;
  if ("encrypted" in socket) socket.destroy();
  else socket.resetAndDestroy();
}

export const isWrite = (verb: Verb): boolean => verb !== "get" && verb !== "list" && verb !== "watch";

/** `a=b`, `a==b`, `a!=b`, `a`, `!a`, comma separated; values by `read`. */
function selector(text: string | null, read: (object: StoredObject, field: string) => string | undefined): Selector {
  if (text === null || text === "") return () => true;
  const terms = text.split(",").map((term) => {
    const match = /^(!?)([^=!]+?)(?:(==|=|!=)(.*))?$/.exec(term.trim());
    if (!match) throw failure.badRequest(`unable to parse requirement: ${term}`);
    const [, not, field = "", operator, value = ""] = match;
    return (object: StoredObject): boolean => {
      const got = read(object, field);
      if (operator === undefined) return (got !== undefined) === (not === "");
      return operator === "!=" ? got !== value : got === value;
    };
  });
  return (object) => terms.every((term) => term(object));
}

function selectorOf(type: ResourceType, query: URLSearchParams): Selector {
  const fields = selector(query.get("fieldSelector"), (object, field) => {
    if (field !== "metadata.name" && field !== "metadata.namespace" && !type.selectable.includes(field))
      throw failure.badRequest(`field label not supported: ${field}`);
    let value: unknown = object;
    for (const part of field.split(".")) value = isJson(value) ? value[part] : undefined;
    return typeof value === "string" ? value : "";
  });
  const labels = selector(query.get("labelSelector"), (object, label) => object.metadata.labels?.[label]);
  fields({
    kind: "",
    apiVersion: "",
    metadata: { name: "", namespace: "", uid: "", resourceVersion: "", creationTimestamp: "" },
  });
  return (object) => fields(object) && labels(object);
}
const selectedName = (query: URLSearchParams): string =>
  /(?:^|,)metadata\.name==?([^,!=]+)/.exec(query.get("fieldSelector") ?? "")?.[1] ?? "";

/** Go durations as a request's `timeout`, in milliseconds. */
function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ns|us|ms|s|m)?$/.exec(text);
  if (!match) throw failure.badRequest(`invalid timeout specified in the request URL: ${text}`);
  return (
    Number(match[1]) *
    { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, m: 60_000 }[(match[2] ?? "s") as "ns" | "us" | "ms" | "s" | "m"]
  );
}

export class KubeApi {
  readonly rbac = new Rbac();
  /** Runs a command in a container of a pod; without it there is no exec. */
  onExec: Execute | undefined;
  private readonly clock: Clock;
  private readonly store: Store;
  private readonly authority: KeyAndCertificate;
  private readonly tokens = new Map<string, { user: User; client: string }>();
  protected readonly watchers = new Set<Watcher>();
  private faults: ActiveFault[] = [];
  private server: http.Server | https.Server | undefined;
  private secure = true;
  private actor = "";
  private bookmarkTimer: NodeJS.Timeout | undefined;

  constructor(protected readonly options: KubeApiOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.store = new Store(
      () => new Date(this.clock.wall()),
      (commit) => this.committed(commit),
      options.folder,
    );
    this.authority = this.loadAuthority();
  }

  /** PEM of the authority that clients verify with. */
  get ca(): string {
    return this.authority.certificate;
  }

  /**
   * Listens. Also again after stop(): with the same objects, and without the past (watches from old versions are
   * answered 410).
   * @param options `tls` true; `host` 127.0.0.1; `port` 0 = any; `names` = further names of the certificate
   */
  async start(
    options: { host?: string; port?: number; tls?: boolean; names?: readonly string[] } = {},
  ): Promise<Listening> {
    if (this.server) throw new Error("the API has been started already");
    const host = options.host ?? "127.0.0.1";
    this.secure = options.tls ?? true;
    this.store.compact();
    const handler = (request: http.IncomingMessage, response: http.ServerResponse) =>
      void this.handle(request, response);
    const limits = { requestTimeout: 0, keepAliveTimeout: 90_000 };
    const server = this.secure
      ? https.createServer({ ...limits, ...this.serverCertificate(host, options.names ?? []) }, handler)
      : http.createServer(limits, handler);
    server.on("clientError", (_error, socket) => socket.destroy());
    server.on("upgrade", (request: http.IncomingMessage, socket: Socket, head: Buffer) => {
      let allowed = false;
      try {
        allowed = this.authenticate(request).user.groups.includes("system:masters");
      } catch {
        // Nobody's token.
      }
      serveExec(request, socket, head, this.onExec, allowed);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port ?? 0, host, resolve);
    });
    this.server = server;
    this.bookmarkTimer = setInterval(() => this.sendBookmarks(), this.options.bookmarkMs ?? 60_000);
    this.bookmarkTimer.unref();
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    return { url: `${this.secure ? "https" : "http"}://${host}:${port}`, port };
  }

  /** As by SIGKILL: every connection is reset, nothing is answered any more. The objects stay for start(). */
  async stop(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    clearInterval(this.bookmarkTimer);
    for (const watcher of [...this.watchers]) watcher.stop();
    this.clearFaults();
    if (!server) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }
  /** Closes the journal; the instance is of no use afterwards. */
  async dispose(): Promise<void> {
    await this.stop();
    this.store.close();
  }

  // Who may do what

  addRole(role: Role): void {
    this.rbac.addRole(role);
  }
  addRoleBinding(binding: RoleBinding): void {
    this.rbac.addRoleBinding(binding);
  }
  /**
   * `client` names the holder of this token in faults and in the audit; several tokens of one user may have different
   * ones.
   */
  addToken(token: string, user: User | { namespace: string; serviceAccount: string }, client?: string): void {
    const known = "serviceAccount" in user ? serviceAccountUser(user.namespace, user.serviceAccount) : user;
    this.tokens.set(token, { user: known, client: client ?? known.name });
  }
  /** A token that may do everything. */
  addAdmin(token: string, client = "admin"): void {
    this.addToken(token, { name: "admin", groups: ["system:masters", "system:authenticated"] }, client);
  }
  removeToken(token: string): void {
    this.tokens.delete(token);
  }
  /** Writes what a service account volume holds: token, ca.crt, namespace. */
  writeKubeDir(folder: string, token: string, namespace: string): void {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "token"), token, { mode: 0o600 });
    writeFileSync(join(folder, "ca.crt"), this.ca);
    writeFileSync(join(folder, "namespace"), namespace);
  }

  /** A kubeconfig for whoever has this token, with one context of the name `laboratory`. */
  kubeconfig(token: string, namespace: string): string {
    const address = this.server?.address();
    if (typeof address !== "object" || !address) throw new Error("the API is not listening");
    const server = `${this.secure ? "https" : "http"}://${address.address}:${address.port}`;
    const name = "laboratory";
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": name,
      clusters: [{ name, cluster: { server, "certificate-authority-data": Buffer.from(this.ca).toString("base64") } }],
      users: [{ name, user: { token } }],
      contexts: [{ name, context: { cluster: name, user: name, namespace } }],
    });
  }

  // What goes wrong

  addFault(fault: Fault): FaultHandle {
    const active = new ActiveFault(fault, this.options.random ?? Math.random, (ended) => {
      this.faults = this.faults.filter((other) => other !== ended);
      for (const watcher of this.watchers) this.flush(watcher);
    });
    this.faults.push(active);
    for (const watcher of [...this.watchers]) {
      if (!active.total || !active.matches(watcher.info)) continue;
      if (fault.effect.kind === "cut") watcher.stop();
      else if (fault.effect.kind === "hang") watcher.backlog ??= [];
    }
    return active;
  }
  clearFaults(): void {
    for (const fault of this.faults) fault.remove();
  }
  /** Forgets the past, so that old versions are answered 410. */
  compact(): void {
    this.store.compact();
  }
  get watches(): number {
    return this.watchers.size;
  }

  // The objects, for whoever sets the scene or checks it

  read(resource: string, namespace: string, name: string): StoredObject | undefined {
    const found = this.store.get(resourceType(resource), namespace, name);
    return found && copy(found);
  }
  list(resource: string, namespace: string): StoredObject[] {
    return this.store.list(resourceType(resource), namespace).map(copy);
  }
  /** Creates, with the uid that it may have, or replaces, unconditionally. */
  apply(resource: string, namespace: string, object: Json): StoredObject {
    const type = resourceType(resource);
    const decoded = decode(type, object, true).object;
    const { uid } = decoded.metadata;
    delete decoded.metadata.resourceVersion;
    delete decoded.metadata.uid;
    const existing = this.store.get(type, namespace, String(decoded.metadata.name));
    if (existing) return copy(this.store.update(type, existing, decoded, false));
    return copy(this.store.create(type, namespace, decoded, typeof uid === "string" && uid !== "" ? uid : undefined));
  }
  remove(resource: string, namespace: string, name: string): void {
    this.store.remove(resourceType(resource), namespace, name);
  }

  // Serving

  private async handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    response.on("error", () => undefined);
    try {
      const body = await this.readBody(request);
      const { user, client } = this.authenticate(request);
      const url = new URL(request.url ?? "/", "http://api");
      const target = this.route(url.pathname);
      if (!target) {
        this.respond(response, this.other(url.pathname, user, request.method ?? "GET"));
        return;
      }
      const verb = this.verb(request.method ?? "GET", target, url.searchParams);
      const info: RequestInfo = {
        atMs: this.clock.wall(),
        client,
        user: user.name,
        verb,
        group: target.type.group,
        resource: target.type.resource,
        namespace: target.namespace,
        name: target.name === "" ? selectedName(url.searchParams) : target.name,
        path: request.url ?? "/",
        remotePort: request.socket.remotePort ?? 0,
      };
      this.options.onRequest?.(info);
      const faults = this.faults.filter((fault) => fault.matches(info) && fault.take());
      const isAfter = (fault: ActiveFault): boolean =>
        "after" in fault.fault.effect && fault.fault.effect.after === true;
      for (const fault of faults.filter((entry) => !isAfter(entry)))
        if (await this.suffer(fault, request, response)) return;
      let result: Result | undefined;
      try {
        if (!this.allows(user, info))
          throw failure.forbidden(target.type, info.name, user.name, verb, target.namespace);
        const timeout = url.searchParams.get("timeout");
        if (verb !== "watch" && timeout !== null && durationMs(timeout) < 1) {
          // Cut off before the answer was encoded: without kind and apiVersion.
          const body = { ...failure.timedOut().status(), kind: undefined, apiVersion: undefined };
          result = { status: 504, body, contentType: "text/plain; charset=utf-8" };
        } else if (verb === "watch") {
          this.watch(target, info, url.searchParams, response, user);
          return;
        } else {
          const contentType = request.headers["content-type"] ?? "";
          const given = new AbortController();
          response.once("close", () => given.abort());
          result = await this.perform({
            verb,
            target,
            info,
            user,
            query: url.searchParams,
            contentType,
            body,
            signal: given.signal,
          });
        }
      } catch (error) {
        if (error instanceof ConnectionLost) return reset(request.socket);
        result = this.failed(error);
      }
      for (const fault of faults.filter(isAfter)) if (await this.suffer(fault, request, response)) return;
      this.respond(response, result);
    } catch (error) {
      this.respond(response, this.failed(error));
    }
  }

  protected allows(user: User, info: RequestInfo): boolean {
    return this.rbac.allows(user, info);
  }
  /** Carries out what is allowed. */
  protected perform({ verb, target, info, user, query, contentType, body }: Asked): Result | Promise<Result> {
    this.actor = info.client;
    try {
      return this.execute(verb, target, query, contentType, body, (name) => {
        if (!this.rbac.allows(user, { ...info, verb: "create", name }))
          throw failure.forbidden(target.type, name, user.name, "create", target.namespace);
      });
    } finally {
      this.actor = "";
    }
  }

  private failed(error: unknown): Result {
    if (!(error instanceof ApiError)) {
      const message = error instanceof Error ? error.message : String(error);
      return this.failed(new ApiError(500, "InternalError", `Internal error occurred: ${message}`));
    }
    const seconds = error.details?.retryAfterSeconds;
    return {
      status: error.code,
      body: error.status(),
      ...(seconds === undefined ? {} : { retryAfterSeconds: seconds }),
    };
  }

  /** True where the request has been answered, or never will be. */
  private async suffer(
    active: ActiveFault,
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): Promise<boolean> {
    const { effect } = active.fault;
    switch (effect.kind) {
      case "latency": {
        const [low, high] = typeof effect.ms === "number" ? [effect.ms, effect.ms] : effect.ms;
        await Promise.race([sleep(low + (this.options.random ?? Math.random)() * (high - low)), active.end()]);
        return false;
      }
      case "status": {
        const seconds = effect.retryAfterSeconds ?? (effect.code === 429 ? 1 : undefined);
        const texts: Record<typeof effect.code, [string, string]> = {
          401: ["Unauthorized", "Unauthorized"],
          403: ["Forbidden", "forbidden by a fault"],
          409: [
            "Conflict",
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
          ],
          410: ["Expired", "The resourceVersion for the provided list is too old."],
          429: ["TooManyRequests", "Too many requests, please try again later."],
          500: ["InternalError", "Internal error occurred: etcdserver: request timed out"],
          503: ["ServiceUnavailable", "the server is currently unable to handle the request"],
          504: ["Timeout", "Timeout: request did not complete within the allotted timeout"],
        };
        const [reason, message] = texts[effect.code];
        this.respond(
          response,
          this.failed(
            new ApiError(effect.code, reason, message, seconds === undefined ? {} : { retryAfterSeconds: seconds }),
          ),
        );
        return true;
      }
      case "hang": {
        await active.end();
        const gone = request.socket.destroyed || this.server === undefined;
        return gone && (effect.late !== true || this.server === undefined);
      }
      case "cut":
        reset(request.socket);
        return true;
      case "html":
        response
          .writeHead(effect.code, { "content-type": "text/html" })
          .end("<html><body><h1>Bad Gateway</h1></body></html>");
        return true;
    }
  }

  private async readBody(request: http.IncomingMessage): Promise<Buffer> {
    try {
      return await readBody(request, maxBodyBytes);
    } catch {
      throw new ApiError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${maxBodyBytes}`, {});
    }
  }

  private authenticate(request: http.IncomingMessage): { user: User; client: string } {
    const header = request.headers.authorization;
    if (header === undefined) return { user: anonymous, client: anonymous.name };
    const known = this.tokens.get(/^Bearer (.+)$/i.exec(header)?.[1] ?? "");
    if (!known) throw failure.unauthorized();
    return known;
  }

  private route(path: string): Target | undefined {
    const match = /^\/(?:api\/v1|apis\/([^/]+)\/v1)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?$/.exec(path);
    if (!match) return undefined;
    const [, group = "", namespace = "", resource = "", name = ""] = match;
    const type = resourceTypes.find((entry) => entry.group === group && entry.resource === resource);
    return type && (namespace !== "" || name === "")
      ? { type, namespace: decodeURIComponent(namespace), name: decodeURIComponent(name) }
      : undefined;
  }

  private other(path: string, user: User, method: string): Result {
    if (["/livez", "/readyz", "/healthz"].includes(path)) return { status: 200, body: "ok", contentType: "text/plain" };
    if (path === "/version")
      return { status: 200, body: { major: "1", minor: "36", gitVersion: "v1.36.0-laboratory" } };
    if (!user.groups.includes("system:masters"))
      return this.failed(failure.forbiddenPath(path, user.name, method.toLowerCase()));
    return this.failed(failure.noSuchPath());
  }

  private verb(method: string, target: Target, query: URLSearchParams): Verb {
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
      throw new ApiError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        {},
      );
    return verb;
  }

  private execute(
    verb: Exclude<Verb, "watch">,
    { type, namespace, name }: Target,
    query: URLSearchParams,
    contentType: string,
    body: Buffer,
    mayCreate: (name: string) => void,
  ): Result {
    const mediaType = contentType.split(";")[0]?.trim() ?? "";
    const unsupported = () => new ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
    const parse = (): unknown => {
      try {
        return JSON.parse(body.toString("utf8")) as unknown;
      } catch {
        throw failure.badRequest("couldn't get version/kind; json parse error");
      }
    };
    const strict = query.get("fieldValidation") === "Strict";
    if (isWrite(verb) && query.has("dryRun")) {
      if (query.get("dryRun") !== "All")
        throw failure.badRequest(`Invalid value: "${query.get("dryRun")}": the one dryRun is All`);
      const real = new URLSearchParams(query);
      real.delete("dryRun");
      return this.store.dryRun(() => this.execute(verb, { type, namespace, name }, real, contentType, body, mayCreate));
    }
    switch (verb) {
      case "get": {
        const found = this.store.get(type, namespace, name);
        if (!found) throw failure.notFound(type, name);
        return { status: 200, body: found };
      }
      case "list":
        return { status: 200, body: this.listed(type, namespace, query) };
      case "create": {
        if (mediaType !== "application/json") throw unsupported();
        const { object, warnings } = decode(type, parse(), strict);
        return { status: 201, body: this.store.create(type, namespace, object), warnings };
      }
      case "update": {
        if (mediaType !== "application/json") throw unsupported();
        const { object, warnings } = decode(type, parse(), strict);
        const done = this.store.replace(type, namespace, name, object, () => mayCreate(name));
        return { status: done.created ? 201 : 200, body: done.object, warnings };
      }
      case "patch": {
        if (!patchTypes.includes(mediaType) || (mediaType === patchTypes[1] && type.resource === "pods"))
          throw unsupported();
        const patch = parse();
        const existing = this.store.get(type, namespace, name);
        if (!existing) throw failure.notFound(type, name);
        let patched: Json | undefined;
        if (mediaType === "application/json-patch+json") {
          patched = jsonPatch(existing, patch);
          if (!patched)
            throw new ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {});
        } else if (isJson(patch)) patched = mergePatch(existing, patch) as Json;
        else throw failure.badRequest("a merge patch is an object");
        const { object, warnings } = decode(type, patched, strict);
        if (object.metadata.name !== name)
          throw failure.badRequest(
            `the name of the object (${String(object.metadata.name)}) does not match the name on the URL (${name})`,
          );
        return { status: 200, body: this.store.update(type, existing, object, false), warnings };
      }
      case "delete": {
        const options = body.length > 0 ? parse() : {};
        const preconditions = isJson(options) && isJson(options.preconditions) ? options.preconditions : {};
        const text = (field: string) => {
          const value = preconditions[field];
          return typeof value === "string" ? { [field]: value } : {};
        };
        const removed = this.store.remove(type, namespace, name, { ...text("uid"), ...text("resourceVersion") });
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
      }
    }
  }

  private version(query: URLSearchParams): number | undefined {
    const text = query.get("resourceVersion") ?? "";
    if (text === "" || text === "0") return undefined;
    if (!/^\d+$/.test(text))
      throw failure.badRequest(`Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`);
    return Number(text);
  }

  private listed(type: ResourceType, namespace: string, query: URLSearchParams): Json {
    const wanted = this.version(query);
    const current = this.store.currentVersion;
    if (wanted !== undefined && wanted > current)
      throw new ApiError(504, "Timeout", `Timeout: Too large resource version: ${wanted}, current: ${current}`, {
        retryAfterSeconds: 1,
      });
    const exact = query.get("resourceVersionMatch") === "Exact" ? wanted : undefined;
    const objects = exact === undefined ? this.store.list(type, namespace) : this.store.listAt(type, namespace, exact);
    return {
      kind: `${type.kind}List`,
      apiVersion: type.apiVersion,
      metadata: { resourceVersion: String(exact ?? current) },
      items: objects.filter(selectorOf(type, query)).map(({ kind: _kind, apiVersion: _apiVersion, ...rest }) => rest),
    };
  }

  protected watch(
    target: Target,
    info: RequestInfo,
    query: URLSearchParams,
    response: http.ServerResponse,
    _user: User,
  ): void {
    const { type, namespace } = target;
    const selects = selectorOf(type, query);
    const wanted = this.version(query);
    const initial = query.get("sendInitialEvents") === "true";
    const seconds = Number(query.get("timeoutSeconds") ?? 0) || 1800 + Math.random() * 1800;
    response.writeHead(200, { "content-type": "application/json", "cache-control": "no-cache, private" });
    response.flushHeaders();
    if (wanted !== undefined && wanted < this.store.oldestVersion && !initial) {
      const status = failure.tooOld(wanted, this.store.currentVersion).status();
      response.end(JSON.stringify({ type: "ERROR", object: status }) + "\n");
      return;
    }
    const timer = setTimeout(() => {
      if (watcher.bookmarks && watcher.bookmarked < this.store.currentVersion) this.bookmark(watcher);
      this.watchers.delete(watcher);
      response.end();
    }, seconds * 1000);
    const watcher: Watcher = {
      info,
      type,
      namespace,
      selects,
      after: wanted ?? this.store.currentVersion,
      bookmarked: 0,
      bookmarks: ["true", "1"].includes(query.get("allowWatchBookmarks") ?? ""),
      response,
      backlog: undefined,
      stop: () => {
        clearTimeout(timer);
        this.watchers.delete(watcher);
        reset(response.socket);
      },
    };
    response.on("close", () => {
      clearTimeout(timer);
      this.watchers.delete(watcher);
    });
    if (wanted === undefined || initial) {
      watcher.after = this.store.currentVersion;
      for (const object of this.store.list(type, namespace).filter(selects))
        this.send(watcher, JSON.stringify({ type: "ADDED", object }));
      if (initial) this.bookmark(watcher, { "k8s.io/initial-events-end": "true" });
    } else for (const commit of this.store.since(wanted)) this.offer(watcher, commit);
    this.watchers.add(watcher);
  }

  private offer(watcher: Watcher, commit: Commit): void {
    if (commit.resource !== watcher.type.resource || commit.version <= watcher.after) return;
    if (watcher.namespace !== "" && commit.namespace !== watcher.namespace) return;
    const now = commit.type !== "DELETED" && watcher.selects(commit.object);
    const before = commit.previous !== undefined && watcher.selects(commit.previous);
    watcher.after = commit.version;
    if (!now && !before) return;
    const type = now ? (before ? "MODIFIED" : "ADDED") : "DELETED";
    this.send(watcher, JSON.stringify({ type, object: commit.object }));
  }
  protected send(watcher: Watcher, line: string): void {
    if (watcher.backlog) watcher.backlog.push(line + "\n");
    else if (watcher.response.writableLength > maxBacklogBytes) watcher.stop();
    else watcher.response.write(line + "\n");
  }
  private flush(watcher: Watcher): void {
    if (!watcher.backlog) return;
    if (this.faults.some((fault) => fault.total && fault.fault.effect.kind === "hang" && fault.matches(watcher.info)))
      return;
    const lines = watcher.backlog.join("");
    watcher.backlog = undefined;
    if (lines !== "") watcher.response.write(lines);
  }
  private bookmark(watcher: Watcher, annotations?: Record<string, string>): void {
    watcher.bookmarked = Math.max(this.store.currentVersion, watcher.after);
    const metadata = {
      resourceVersion: String(watcher.bookmarked),
      ...(annotations ? { annotations } : {}),
    };
    const { kind, apiVersion } = watcher.type;
    this.send(
      watcher,
      JSON.stringify({
        type: "BOOKMARK",
        object: { kind, apiVersion, metadata, ...(kind === "Lease" ? { spec: {} } : {}) },
      }),
    );
  }
  protected sendBookmarks(): void {
    for (const watcher of this.watchers)
      if (watcher.bookmarks && watcher.after <= this.store.currentVersion) this.bookmark(watcher);
  }

  private committed(commit: Commit): void {
    this.options.onCommit?.({ ...commit, atMs: this.clock.wall(), client: this.actor });
    for (const watcher of this.watchers) this.offer(watcher, commit);
  }

  private respond(response: http.ServerResponse, result: Result): void {
    if (response.destroyed || response.headersSent) return;
    const body = typeof result.body === "string" ? result.body : JSON.stringify(result.body);
    response.writeHead(result.status, {
      "cache-control": "no-cache, private",
      "content-type": result.contentType ?? "application/json",
      "content-length": Buffer.byteLength(body),
      ...(result.retryAfterSeconds === undefined ? {} : { "retry-after": String(result.retryAfterSeconds) }),
      ...(result.warnings && result.warnings.length > 0
        ? { warning: result.warnings.map((text) => `299 - "${text.replaceAll('"', '\\"')}"`).join(", ") }
        : {}),
    });
    response.end(body);
  }

  private loadAuthority(): KeyAndCertificate {
    const { folder } = this.options;
    if (folder === undefined) return createAuthority();
    const path = join(folder, "authority.json");
    if (existsSync(path)) return JSON.parse(readFileSync(path, "utf8")) as KeyAndCertificate;
    const authority = createAuthority();
    writeFileSync(path, JSON.stringify(authority), { mode: 0o600 });
    return authority;
  }
  private serverCertificate(host: string, names: readonly string[]): { key: string; cert: string } {
    const hosts = [...new Set([host, "localhost", "kubernetes.default.svc", ...names])].filter(
      (entry) => isIP(entry) !== 6,
    );
    const { key, certificate } = createServerCertificate(this.authority, hosts);
    return { key, cert: certificate };
  }
}
