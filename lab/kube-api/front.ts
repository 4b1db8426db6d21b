/**
 * The server that clients of a real API server talk to: faults, audit and tokens by name as in the embedded one; the
 * real one authenticates, permits and stores.
 *
 * The audit is exact: writes of one object pass one after the other, each is told before it is answered, and a write of
 * unknown outcome is looked up before the next one.
 */
import type * as http from "node:http";
import { ConnectionLost, type Result } from "./answers";
import { isWrite, type RequestInfo } from "./request-faults";
import { KubeApi, type AuditEntry, type KubeApiOptions } from "./kube-api";
import type { StoredObject } from "./objects";
import type { User } from "./rbac";
import type { Asked, Target } from "./requests";
import { pathOf, type UpstreamClient } from "./upstream-client";

export class Front extends KubeApi {
  /** By the name of the user: the real token. */
  readonly realTokens = new Map<string, string>();
  private readonly queues = new Map<string, Promise<void>>();
  private readonly versions = new Map<string, string>();

  constructor(
    options: KubeApiOptions,
    private readonly client: UpstreamClient,
  ) {
    super(options);
  }

  protected override allows(): boolean {
    return true;
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
    const watcher = this.watching.open(target, info, response, {}, () => given.abort());
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
        for (const line of lines) this.watching.send(watcher, line);
      }
      if (rest !== "") this.watching.send(watcher, rest);
      response.end();
    };
    serve().catch(() => watcher.stop());
  }
}
