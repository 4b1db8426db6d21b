/** Follows one object of the Kubernetes API: a list of its name, then a watch from there. */
import { backoffMs, sleep, type Clock } from "./clock";
import { followObjects, type StreamEnd } from "./http-client";
import type { Kinds, Resource, WatchEvent } from "./kube";
import { asObject, isRecord, listedOf, parseJson, pathOf, retryAfter } from "./kube-answers";
import type { KubeConnections } from "./kube-connections";
import type { Log } from "./log";

const headersMs = 10_000;

export interface WatchOptions<R extends Resource> {
  connections: KubeConnections;
  clock: Clock;
  log?: Log | undefined;
  resource: R;
  namespace: string;
  name: string;
  onEvent: (event: WatchEvent<Kinds[R]>) => void;
  idleMs: number;
  maxBodyBytes: number;
  signal: AbortSignal;
  /** Counts a list or a watch with its outcome. */
  record: (verb: "list" | "watch", outcome: string, sentAtMs?: number) => void;
}

export class ObjectWatch<R extends Resource> {
  /** From which the watch goes on; undefined: the object is listed first. */
  private version: string | undefined;
  private last: Kinds[R] | undefined;
  private failures = 0;
  /** The server said 410: what the watch would go on from is forgotten. */
  private expired = false;

  constructor(private readonly o: WatchOptions<R>) {}

  /** Until the signal aborts. */
  async run(): Promise<void> {
    const { signal } = this.o;
    while (!signal.aborted) {
      if (this.version === undefined && !(await this.list())) continue;
      if (this.version !== undefined && !signal.aborted) await this.follow(this.version);
    }
  }

  private pause(why: string, retryAfterMs?: number): Promise<void> {
    const { resource, name, log, signal } = this.o;
    if (this.failures === 0 || this.failures === 5) log?.warn("kube-watch", `${resource}/${name}: ${why}`);
    return sleep(Math.max(retryAfterMs ?? 0, backoffMs(this.failures++, 100, 5000)), signal);
  }

  /**
   * The object through a list of that one name: unlike a GET it names a resourceVersion from which a watch can always
   * start.
   */
  private async list(): Promise<boolean> {
    const { connections, resource, namespace, name, idleMs, signal, onEvent, record } = this.o;
    const selector = `fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`;
    const wanted = { timeoutMs: Math.min(idleMs, 5000), signal };
    const result = await connections.ask("GET", `${pathOf(resource, namespace)}?${selector}`, undefined, wanted);
    const listed = listedOf(result, { resource, namespace, name });
    record("list", listed.ok ? "ok" : listed.kind, result.sentAtMs);
    if (signal.aborted) return false;
    if (!listed.ok) {
      await this.pause(listed.message, listed.retryAfterMs);
      return false;
    }
    this.version = listed.resourceVersion;
    const before = this.last;
    this.last = listed.object;
    if (listed.object) onEvent({ type: "MODIFIED", object: listed.object });
    else if (before) onEvent({ type: "DELETED", object: before });
    return true;
  }

  private async follow(resourceVersion: string): Promise<void> {
    const { connections, clock, resource, namespace, name, idleMs, maxBodyBytes, signal, record } = this.o;
    const startedMs = clock.now();
    const query = new URLSearchParams({
      watch: "true",
      fieldSelector: `metadata.name=${name}`,
      resourceVersion,
      allowWatchBookmarks: "true",
      timeoutSeconds: String(240 + Math.floor(Math.random() * 60)),
    });
    this.expired = false;
    const path = `${pathOf(resource, namespace)}?${query.toString()}`;
    const ended = await followObjects(() => connections.open("GET", path, undefined, true), {
      ...{ idleMs, headersMs, maxLength: maxBodyBytes, signal },
      onObject: (text) => this.handle(text),
    });
    record("watch", this.expired ? "expired" : ended.end);
    if (ended.end !== "aborted") await this.afterEnd(ended, clock.now() - startedMs);
  }

  private async afterEnd(ended: StreamEnd, lastedMs: number): Promise<void> {
    if (lastedMs >= Math.min(5000, 0.9 * this.o.idleMs)) this.failures = 0;
    if (ended.end === "clean" && lastedMs > 1000) return;
    if (ended.end === "refused") {
      this.expired = ended.status === 410;
      if (ended.status === 401) this.o.connections.rereadCredentials();
    }
    if (ended.end !== "clean" && ended.end !== "cut") this.version = undefined;
    // Silence and 410 are answered by the list at once, unless they come in a row.
    if ((ended.end === "silent" || this.expired) && this.failures === 0) this.failures = 1;
    else await this.pause(ended.message, ended.end === "refused" ? retryAfter(ended.headers) : undefined);
  }

  /** @returns undefined, or why the stream is of no use any more */
  private handle(text: string): string | undefined {
    const { resource, namespace, name } = this.o;
    const event = parseJson(text);
    if (!isRecord(event) || !isRecord(event.object)) return "expected a watch event";
    const { type, object } = event;
    if (type === "ERROR") {
      this.expired = object.code === 410;
      return `${String(object.code)} ${String(object.message)}`.slice(0, 300);
    }
    if (type === "BOOKMARK") {
      const meta = object.metadata;
      if (isRecord(meta) && typeof meta.resourceVersion === "string" && meta.resourceVersion !== "")
        this.version = meta.resourceVersion;
      return undefined;
    }
    if (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED") return `unknown event ${String(type)}`;
    const parsed = asObject(resource, object, namespace, name);
    if ("problem" in parsed) return parsed.problem;
    this.version = parsed.object.metadata.resourceVersion;
    this.last = type === "DELETED" ? undefined : parsed.object;
    this.failures = 0;
    this.o.onEvent({ type, object: parsed.object });
    return undefined;
  }
}
