/**
 * A Kubernetes API server for tests and the laboratory: leases, config maps, pods and events with the semantics that
 * our daemons depend on (resourceVersion, uid preconditions, PUT that creates a lease, watches, RBAC), as recorded from
 * API servers 1.20 and 1.36, and with switches for every way in which it can fail. In one process, without etcd. It
 * does not keep managedFields, nor admit, schedule or run anything.
 */
import * as http from "node:http";
import * as https from "node:https";
import type { Socket } from "node:net";
import { systemClock, type Clock } from "../../daemons/runtime/clock";
import { readBody } from "../../daemons/runtime/http-bodies";
import { ConnectionLost, failed, reset, respond, type Result } from "./answers";
import { serveExec, type Execute } from "./exec";
import { ActiveFault, suffer, type Fault, type FaultHandle, type RequestInfo } from "./request-faults";
import { Identities } from "./identities";
import { copy, decode, type Json, type StoredObject } from "./objects";
import { carryOut } from "./operations";
import { Rbac, type Role, type RoleBinding, type User } from "./rbac";
import { durationMs, routeOf, verbOf, type Asked, type Target } from "./requests";
import { selectedName } from "./selectors";
import { ApiError } from "./status";
import * as failure from "./status";
import { resourceType, Store, type Commit } from "./store";
import { Watches } from "./watches";

export type { Commit } from "./store";
export type { Fault, FaultEffect, FaultHandle, FaultMatch, RequestInfo, Verb } from "./request-faults";
export { writeVerbs } from "./request-faults";
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

const maxBodyBytes = 3 * 1024 * 1024;

export class KubeApi {
  readonly rbac = new Rbac();
  /** Runs a command in a container of a pod; without it there is no exec. */
  onExec: Execute | undefined;
  private readonly clock: Clock;
  private readonly store: Store;
  private readonly identities: Identities;
  protected readonly watching: Watches;
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
    this.identities = new Identities(options.folder);
    this.watching = new Watches(this.store);
  }

  /** PEM of the authority that clients verify with. */
  get ca(): string {
    return this.identities.ca;
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
      ? https.createServer({ ...limits, ...this.identities.serverCertificate(host, options.names ?? []) }, handler)
      : http.createServer(limits, handler);
    server.on("clientError", (_error, socket) => socket.destroy());
    server.on("upgrade", (request: http.IncomingMessage, socket: Socket, head: Buffer) => {
      let allowed = false;
      try {
        allowed = this.identities.authenticate(request).user.groups.includes("system:masters");
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
    this.bookmarkTimer = setInterval(() => this.watching.sendBookmarks(), this.options.bookmarkMs ?? 60_000);
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
    for (const watcher of [...this.watching.all]) watcher.stop();
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
    this.identities.addToken(token, user, client);
  }
  /** A token that may do everything. */
  addAdmin(token: string, client?: string): void {
    this.identities.addAdmin(token, client);
  }
  /** Writes what a service account volume holds: token, ca.crt, namespace. */
  writeKubeDir(folder: string, token: string, namespace: string): void {
    this.identities.writeKubeDir(folder, token, namespace);
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
      for (const watcher of this.watching.all) if (!this.hangs(watcher.info)) this.watching.flush(watcher);
    });
    this.faults.push(active);
    for (const watcher of [...this.watching.all]) {
      if (!active.total || !active.matches(watcher.info)) continue;
      if (fault.effect.kind === "cut") watcher.stop();
      else if (fault.effect.kind === "hang") watcher.backlog ??= [];
    }
    return active;
  }
  private hangs(watch: RequestInfo): boolean {
    return this.faults.some((fault) => fault.total && fault.fault.effect.kind === "hang" && fault.matches(watch));
  }
  clearFaults(): void {
    for (const fault of this.faults) fault.remove();
  }
  /** Forgets the past, so that old versions are answered 410. */
  compact(): void {
    this.store.compact();
  }
  get watches(): number {
    return this.watching.all.size;
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
      const { user, client } = this.identities.authenticate(request);
      const url = new URL(request.url ?? "/", "http://api");
      const target = routeOf(url.pathname);
      if (!target) return respond(response, this.other(url.pathname, user, request.method ?? "GET"));
      const info: RequestInfo = {
        atMs: this.clock.wall(),
        client,
        user: user.name,
        verb: verbOf(request.method ?? "GET", target, url.searchParams),
        group: target.type.group,
        resource: target.type.resource,
        namespace: target.namespace,
        name: target.name === "" ? selectedName(url.searchParams) : target.name,
        path: request.url ?? "/",
        remotePort: request.socket.remotePort ?? 0,
      };
      this.options.onRequest?.(info);
      const faults = this.faults.filter((fault) => fault.matches(info) && fault.take());
      const isAfter = ({ fault: { effect } }: ActiveFault): boolean => "after" in effect && effect.after === true;
      const api = { random: this.options.random ?? Math.random, running: () => this.server !== undefined };
      for (const fault of faults.filter((entry) => !isAfter(entry)))
        if (await suffer(fault, request, response, api)) return;
      let result: Result | undefined;
      try {
        result = await this.answer({ target, info, user, query: url.searchParams, body }, request, response);
      } catch (error) {
        if (error instanceof ConnectionLost) return reset(request.socket);
        result = failed(error);
      }
      if (!result) return;
      for (const fault of faults.filter(isAfter)) if (await suffer(fault, request, response, api)) return;
      respond(response, result);
    } catch (error) {
      respond(response, failed(error));
    }
  }

  /** Undefined for a watch, which answers by itself. @throws ApiError, ConnectionLost */
  private async answer(
    asked: Pick<Asked, "target" | "info" | "user" | "query" | "body">,
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): Promise<Result | undefined> {
    const { target, info, user, query } = asked;
    const { verb } = info;
    if (!this.allows(user, info)) throw failure.forbidden(target.type, info.name, user.name, verb, target.namespace);
    if (verb === "watch") return void this.watch(target, info, query, response, user);
    const timeout = query.get("timeout");
    if (timeout !== null && durationMs(timeout) < 1) {
      // Cut off before the answer was encoded: without kind and apiVersion.
      const body = { ...failure.timedOut().status(), kind: undefined, apiVersion: undefined };
      return { status: 504, body, contentType: "text/plain; charset=utf-8" };
    }
    const contentType = request.headers["content-type"] ?? "";
    const given = new AbortController();
    response.once("close", () => given.abort());
    return this.perform({ ...asked, verb, contentType, signal: given.signal });
  }

  protected allows(user: User, info: RequestInfo): boolean {
    return this.rbac.allows(user, info);
  }
  /** Carries out what is allowed. */
  protected perform(asked: Asked): Result | Promise<Result> {
    const { target, info, user } = asked;
    this.actor = info.client;
    try {
      return carryOut(this.store, asked, (name) => {
        if (!this.rbac.allows(user, { ...info, verb: "create", name }))
          throw failure.forbidden(target.type, name, user.name, "create", target.namespace);
      });
    } finally {
      this.actor = "";
    }
  }
  protected watch(
    target: Target,
    info: RequestInfo,
    query: URLSearchParams,
    response: http.ServerResponse,
    _user: User,
  ): void {
    this.watching.serve(target, info, query, response);
  }

  private async readBody(request: http.IncomingMessage): Promise<Buffer> {
    try {
      return await readBody(request, maxBodyBytes);
    } catch {
      throw new ApiError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${maxBodyBytes}`, {});
    }
  }

  private other(path: string, user: User, method: string): Result {
    if (["/livez", "/readyz", "/healthz"].includes(path)) return { status: 200, body: "ok", contentType: "text/plain" };
    if (path === "/version")
      return { status: 200, body: { major: "1", minor: "36", gitVersion: "v1.36.0-laboratory" } };
    if (!user.groups.includes("system:masters"))
      return failed(failure.forbiddenPath(path, user.name, method.toLowerCase()));
    return failed(failure.noSuchPath());
  }

  private committed(commit: Commit): void {
    this.options.onCommit?.({ ...commit, atMs: this.clock.wall(), client: this.actor });
    this.watching.committed(commit);
  }
}
