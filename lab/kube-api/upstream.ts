/**
 * A real API server in the place of the embedded one: the same faults, audit and tokens by name in front of it, and its
 * own authentication, roles, admission and storage behind. Each token of a laboratory stands for one that the real API
 * issued to that service account.
 *
 * The audit is exact: writes of one object pass one after the other, each is told before it is answered, and a write of
 * unknown outcome is looked up before the next one.
 */
import type * as http from "node:http";
import * as https from "node:https";
import type { Execute } from "./exec";
import type { Fault, FaultHandle } from "./faults";
import {
  ConnectionLost,
  isWrite,
  KubeApi,
  reset,
  type Asked,
  type AuditEntry,
  type KubeApiOptions,
  type Listening,
  type RequestInfo,
  type Result,
  type Target,
  type Watcher,
} from "./kube-api";
import { type Json, type StoredObject } from "./objects";
import type { Role, RoleBinding, User } from "./rbac";

type Awaitable<T> = T | Promise<T>;

/** What a laboratory needs of an API, embedded or real. */
export interface LabApi {
  start(options: { host?: string; port?: number; tls?: boolean; names?: readonly string[] }): Promise<Listening>;
  dispose(): Promise<void>;
  addRole(role: Role): Awaitable<void>;
  addRoleBinding(binding: RoleBinding): Awaitable<void>;
  addToken(token: string, user: { namespace: string; serviceAccount: string }, client?: string): Awaitable<void>;
  addAdmin(token: string, client?: string): Awaitable<void>;
  writeKubeDir(folder: string, token: string, namespace: string): void;
  kubeconfig(token: string, namespace: string): string;
  /** What an exec runs; without it there is no exec. */
  onExec: Execute | undefined;
  addFault(fault: Fault): FaultHandle;
  read(resource: string, namespace: string, name: string): Awaitable<StoredObject | undefined>;
  apply(resource: string, namespace: string, object: Json): Awaitable<StoredObject>;
  remove(resource: string, namespace: string, name: string): Awaitable<void>;
}

export interface Upstream {
  /** https, without a path. */
  url: string;
  /** PEM. */
  ca: string;
  /** May do everything. */
  adminToken: string;
  /** A token of a service account, as a pod has it. */
  serviceAccountToken(namespace: string, name: string): Promise<string>;
}

interface Reply {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}
const pathOf = (resource: string, namespace: string, name?: string): string => {
  const group = {
    leases: "apis/coordination.k8s.io/v1",
    roles: "apis/rbac.authorization.k8s.io/v1",
    rolebindings: "apis/rbac.authorization.k8s.io/v1",
  }[resource];
  return `/${group ?? "api/v1"}/namespaces/${namespace}/${resource}${name === undefined ? "" : `/${name}`}`;
};

class Client {
  private readonly agent: https.Agent;
  constructor(readonly upstream: Upstream) {
    this.agent = new https.Agent({ keepAlive: true, ca: upstream.ca, maxSockets: 200 });
  }
  open(
    method: string,
    path: string,
    token: string,
    headers: http.OutgoingHttpHeaders,
    body: Buffer | string,
    signal?: AbortSignal,
  ) {
    return new Promise<http.IncomingMessage>((resolve, reject) => {
      const length = Buffer.byteLength(body);
      const request = https.request(
        this.upstream.url + path,
        {
          method,
          agent: this.agent,
          signal,
          headers: {
            ...headers,
            authorization: `Bearer ${token}`,
            ...(length > 0 ? { "content-length": length } : {}),
          },
        },
        resolve,
      );
      request.once("error", reject);
      request.end(body);
    });
  }
  async ask(
    method: string,
    path: string,
    token: string,
    headers: http.OutgoingHttpHeaders,
    body: Buffer | string,
    signal?: AbortSignal,
  ): Promise<Reply> {
    const answer = await this.open(method, path, token, headers, body, signal);
    const chunks: Buffer[] = [];
    for await (const chunk of answer) chunks.push(chunk as Buffer);
    return { status: answer.statusCode ?? 500, headers: answer.headers, text: Buffer.concat(chunks).toString("utf8") };
  }
  /** As the admin. @throws Error for any other status than those expected */
  async admin(method: string, path: string, body: object | undefined, expected: readonly number[]): Promise<Json> {
    const headers = { "content-type": "application/json" };
    const text = body === undefined ? "" : JSON.stringify(body);
    const { status, text: answer } = await this.ask(method, path, this.upstream.adminToken, headers, text);
    if (!expected.includes(status)) throw new Error(`${method} ${path}: ${status} ${answer.slice(0, 500)}`);
    return status < 300 ? (JSON.parse(answer) as Json) : {};
  }
  close(): void {
    this.agent.destroy();
  }
}

/** The server of the pods' side. */
class Front extends KubeApi {
  /** By the name of the user: the real token. */
  readonly realTokens = new Map<string, string>();
  private readonly queues = new Map<string, Promise<void>>();
  private readonly versions = new Map<string, string>();

  constructor(
    options: KubeApiOptions,
    private readonly client: Client,
  ) {
    super(options);
  }

  protected override allows(): boolean {
    return true;
  }
  protected override sendBookmarks(): void {
    // The real API sends its own.
  }
  private token(user: User): string {
    return user.groups.includes("system:masters")
      ? this.client.upstream.adminToken
      : (this.realTokens.get(user.name) ?? "");
  }

  protected override async perform(asked: Asked): Promise<Result> {
    if (!isWrite(asked.verb)) return this.forward(asked);
    const { type, namespace } = asked.target;
    const name =
      asked.target.name ||
      String((JSON.parse(asked.body.toString() || "{}") as { metadata?: { name?: string } }).metadata?.name);
    return this.alone(`${type.resource}/${namespace}/${name}`, async () => {
      try {
        const result = await this.forward(asked);
        if (result.status < 300 && asked.verb !== "delete")
          this.tell(type.resource, namespace, result.body as StoredObject, asked.info.client);
        if (result.status < 300 && asked.verb === "delete")
          await this.lookUp(type.resource, namespace, name, asked.info.client);
        return result;
      } catch (error) {
        await this.lookUp(type.resource, namespace, name, asked.info.client);
        throw error;
      }
    });
  }
  /** One after the other for each key. */
  async alone<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.queues.get(key) ?? Promise.resolve();
    const mine = before.then(work);
    this.queues.set(
      key,
      mine.then(
        () => undefined,
        () => undefined,
      ),
    );
    return mine;
  }
  tell(resource: string, namespace: string, object: StoredObject, client: string): void {
    const { name, resourceVersion } = object.metadata;
    const key = `${resource}/${namespace}/${name}`;
    if (this.versions.get(key) === resourceVersion) return;
    const type = this.versions.has(key) ? "MODIFIED" : "ADDED";
    this.versions.set(key, resourceVersion);
    const entry: AuditEntry = {
      ...{ type, resource, namespace, name, object, client },
      ...{ version: Number(resourceVersion), previous: undefined, atMs: Date.now() },
    };
    this.options.onCommit?.(entry);
  }
  /** What a write of unknown outcome has done; patient, because the API may be gone for a while. */
  async lookUp(resource: string, namespace: string, name: string, client: string): Promise<void> {
    for (let attempt = 0; attempt < 600; attempt++) {
      const signal = AbortSignal.timeout(2000);
      const path = pathOf(resource, namespace, name);
      const reply = await this.client
        .ask("GET", path, this.client.upstream.adminToken, {}, "", signal)
        .catch(() => undefined);
      if (reply?.status === 200) return this.tell(resource, namespace, JSON.parse(reply.text) as StoredObject, client);
      const key = `${resource}/${namespace}/${name}`;
      if (reply?.status === 404) {
        if (!this.versions.delete(key)) return;
        const object = {
          kind: "",
          apiVersion: "",
          metadata: { name, namespace, uid: "", resourceVersion: "0", creationTimestamp: "" },
        };
        const fields = { type: "DELETED" as const, resource, namespace, name, object, previous: undefined, version: 0 };
        this.options.onCommit?.({ ...fields, atMs: Date.now(), client });
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  private async forward({ info, user, contentType, body, signal }: Asked): Promise<Result> {
    const method = {
      get: "GET",
      list: "GET",
      create: "POST",
      update: "PUT",
      patch: "PATCH",
      delete: "DELETE",
      watch: "GET",
    }[info.verb];
    const headers = contentType === "" ? {} : { "content-type": contentType };
    const reply = await this.client
      .ask(method, info.path, this.token(user), headers, body, signal)
      .catch((error: unknown) => {
        throw new ConnectionLost(String(error));
      });
    const retry = Number(reply.headers["retry-after"]);
    const type = reply.headers["content-type"] ?? "application/json";
    return {
      status: reply.status,
      body: type.startsWith("application/json") ? (JSON.parse(reply.text) as unknown) : reply.text,
      contentType: type,
      ...(Number.isFinite(retry) ? { retryAfterSeconds: retry } : {}),
    };
  }

  protected override watch(
    target: Target,
    info: RequestInfo,
    _query: URLSearchParams,
    response: http.ServerResponse,
    user: User,
  ): void {
    const given = new AbortController();
    const watcher: Watcher = {
      ...{
        info,
        type: target.type,
        namespace: target.namespace,
        selects: () => true,
        after: 0,
        bookmarks: false,
        bookmarked: 0,
        response,
      },
      backlog: undefined,
      stop: () => {
        given.abort();
        this.watchers.delete(watcher);
        reset(response.socket);
      },
    };
    response.on("close", () => {
      given.abort();
      this.watchers.delete(watcher);
    });
    this.watchers.add(watcher);
    const serve = async (): Promise<void> => {
      const answer = await this.client.open("GET", info.path, this.token(user), {}, "", given.signal);
      response.writeHead(answer.statusCode ?? 500, {
        "content-type": answer.headers["content-type"] ?? "application/json",
      });
      response.flushHeaders();
      let rest = "";
      answer.setEncoding("utf8");
      for await (const chunk of answer) {
        const lines = (rest + (chunk as string)).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) this.send(watcher, line);
      }
      if (rest !== "") this.send(watcher, rest);
      response.end();
    };
    serve().catch(() => watcher.stop());
  }
}

export class UpstreamKubeApi implements LabApi {
  private readonly client: Client;
  private readonly front: Front;
  private readonly known = new Set<string>();

  constructor(
    options: KubeApiOptions,
    private readonly upstream: Upstream,
  ) {
    this.client = new Client(upstream);
    this.front = new Front(options, this.client);
  }

  start(options: Parameters<LabApi["start"]>[0]): Promise<Listening> {
    return this.front.start(options);
  }
  async dispose(): Promise<void> {
    await this.front.dispose();
    this.client.close();
  }

  /** The namespace as the stack declares it. */
  private async prepare(namespace: string): Promise<void> {
    if (this.known.has(namespace)) return;
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await this.client.admin(
      "POST",
      "/api/v1/namespaces",
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels } },
      [201, 409],
    );
    await this.account(namespace, "default");
    this.known.add(namespace);
  }
  private account(namespace: string, name: string): Promise<Json> {
    const object = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } };
    return this.client.admin("POST", pathOf("serviceaccounts", namespace), object, [201, 409]);
  }
  private async put(resource: string, namespace: string, object: { metadata: { name?: string } }): Promise<void> {
    const name = object.metadata.name ?? "";
    await this.client.admin("DELETE", pathOf(resource, namespace, name), undefined, [200, 404]);
    await this.client.admin("POST", pathOf(resource, namespace), object, [201]);
  }
  async addRole({ metadata, rules }: Role): Promise<void> {
    const namespace = metadata.namespace ?? "default";
    await this.prepare(namespace);
    await this.put("roles", namespace, {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "Role",
      metadata,
      rules,
    } as never);
  }
  async addRoleBinding({ metadata, roleRef, subjects }: RoleBinding): Promise<void> {
    const namespace = metadata.namespace ?? "default";
    await this.prepare(namespace);
    for (const { kind, name } of subjects) if (kind === "ServiceAccount") await this.account(namespace, name);
    const object = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", ...roleRef },
      subjects: subjects.map((subject) => ({ ...subject, namespace: subject.namespace ?? namespace })),
    };
    await this.put("rolebindings", namespace, object);
  }

  async addToken(token: string, user: { namespace: string; serviceAccount: string }, client?: string): Promise<void> {
    const name = `${user.namespace}:${user.serviceAccount}:${client ?? ""}`;
    this.front.realTokens.set(name, await this.upstream.serviceAccountToken(user.namespace, user.serviceAccount));
    this.front.addToken(token, { name, groups: [] }, client);
  }
  addAdmin(token: string, client?: string): void {
    this.front.addAdmin(token, client);
  }
  writeKubeDir(folder: string, token: string, namespace: string): void {
    this.front.writeKubeDir(folder, token, namespace);
  }
  kubeconfig(token: string, namespace: string): string {
    return this.front.kubeconfig(token, namespace);
  }
  set onExec(execute: Execute | undefined) {
    this.front.onExec = execute;
  }
  addFault(fault: Fault): FaultHandle {
    return this.front.addFault(fault);
  }

  async read(resource: string, namespace: string, name: string): Promise<StoredObject | undefined> {
    const found = await this.client.admin("GET", pathOf(resource, namespace, name), undefined, [200, 404]);
    return "metadata" in found ? (found as StoredObject) : undefined;
  }
  async apply(resource: string, namespace: string, object: Json): Promise<StoredObject> {
    // Queued at once: what is removed right after must not be made again.
    if (resource === "pods")
      return this.front.alone(`pods/${namespace}/${(object.metadata as { name: string }).name}`, () =>
        this.applyPod(namespace, object),
      );
    const { name, ...metadata } = object.metadata as { name: string; resourceVersion?: string; uid?: string };
    delete metadata.resourceVersion;
    delete metadata.uid;
    return this.front.alone(`${resource}/${namespace}/${name}`, async () => {
      await this.prepare(namespace);
      for (;;) {
        const existing = await this.read(resource, namespace, name);
        const resourceVersion = existing?.metadata.resourceVersion;
        const body = {
          ...object,
          metadata: { ...metadata, name, namespace, ...(existing ? { resourceVersion } : {}) },
        };
        const written = existing
          ? await this.client.admin("PUT", pathOf(resource, namespace, name), body, [200, 409])
          : await this.client.admin("POST", pathOf(resource, namespace), body, [201, 409]);
        if (!("metadata" in written)) continue;
        this.front.tell(resource, namespace, written as StoredObject, "");
        return written as StoredObject;
      }
    });
  }
  /** A pod that no kubelet runs: whoever calls this plays it. The API gives it a uid of its own. */
  private async applyPod(namespace: string, object: Json): Promise<StoredObject> {
    await this.prepare(namespace);
    const { metadata, spec, status } = object as { metadata: Json; spec?: Json; status?: Json };
    const { name, labels, deletionTimestamp } = metadata as { name: string; labels?: Json; deletionTimestamp?: string };
    const security = { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } };
    const restricted = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace, labels },
      spec: {
        ...spec,
        automountServiceAccountToken: false,
        securityContext: security,
        containers: [{ name: "laboratory", image: "laboratory", securityContext: restricted }],
      },
    };
    const path = pathOf("pods", namespace, name);
    await this.client.admin("POST", pathOf("pods", namespace), pod, [201, 409]);
    if (deletionTimestamp !== undefined)
      await this.client.admin("DELETE", `${path}?gracePeriodSeconds=300`, undefined, [200, 202, 404]);
    for (;;) {
      const existing = await this.read("pods", namespace, name);
      if (!existing) return object as StoredObject;
      // What the API validates is left to it; the rest is what the laboratory tells of its processes.
      const { phase, podIP, conditions } = (status ?? {}) as { phase?: string; podIP?: string; conditions?: Json[] };
      const told = { phase, conditions, ...(podIP === undefined ? {} : { podIP, podIPs: [{ ip: podIP }] }) };
      const written = await this.client.admin("PUT", `${path}/status`, { ...existing, status: told }, [200, 409, 404]);
      if ("metadata" in written) return written as StoredObject;
    }
  }
  async remove(resource: string, namespace: string, name: string): Promise<void> {
    const path = pathOf(resource, namespace, name);
    await this.front.alone(`${resource}/${namespace}/${name}`, async () => {
      await this.client.admin("DELETE", `${path}?gracePeriodSeconds=0`, undefined, [200, 202, 404]);
      if (resource !== "pods") await this.front.lookUp(resource, namespace, name, "");
    });
  }
}
