/** The watches that are being served. */
import type { ServerResponse } from "node:http";
import { reset } from "./answers";
import type { RequestInfo } from "./request-faults";
import type { ResourceType } from "./objects";
import { versionOf, type Target } from "./requests";
import { selectorOf, type Selector } from "./selectors";
import * as failure from "./status";
import type { Commit, Store } from "./store";

const maxBacklogBytes = 8 * 1024 * 1024;

export interface Watcher {
  info: RequestInfo;
  type: ResourceType;
  namespace: string;
  selects: Selector;
  after: number;
  bookmarks: boolean;
  /** Version of the last bookmark. */
  bookmarked: number;
  response: ServerResponse;
  /** Lines that a hang holds back; undefined where nothing does. */
  backlog: string[] | undefined;
  stop: () => void;
}

export class Watches {
  readonly all = new Set<Watcher>();

  constructor(private readonly store: Store) {}

  /** A watcher until its response is closed; nothing is told to it yet. @param ended is called then */
  open(
    { type, namespace }: Target,
    info: RequestInfo,
    response: ServerResponse,
    given: Partial<Pick<Watcher, "selects" | "after" | "bookmarks">>,
    ended: () => void,
  ): Watcher {
    const end = (): void => {
      ended();
      this.all.delete(watcher);
    };
    const watcher: Watcher = {
      ...{ info, type, namespace, selects: () => true, after: 0, bookmarks: false, bookmarked: 0 },
      ...given,
      response,
      backlog: undefined,
      stop: () => {
        end();
        reset(response.socket);
      },
    };
    response.on("close", end);
    this.all.add(watcher);
    return watcher;
  }

  /** Tells what there is, and from then on what is committed. */
  serve(target: Target, info: RequestInfo, query: URLSearchParams, response: ServerResponse): void {
    const { type, namespace } = target;
    const selects = selectorOf(type, query);
    const wanted = versionOf(query);
    const initial = query.get("sendInitialEvents") === "true";
    const seconds = Number(query.get("timeoutSeconds") ?? 0) || 1800 + Math.random() * 1800;
    response.writeHead(200, { "content-type": "application/json", "cache-control": "no-cache, private" });
    response.flushHeaders();
    if (wanted !== undefined && wanted < this.store.oldestVersion && !initial) {
      const status = failure.tooOld(wanted, this.store.currentVersion).status();
      response.end(JSON.stringify({ type: "ERROR", object: status }) + "\n");
      return;
    }
    const after = wanted ?? this.store.currentVersion;
    const bookmarks = ["true", "1"].includes(query.get("allowWatchBookmarks") ?? "");
    const watcher = this.open(target, info, response, { selects, after, bookmarks }, () => clearTimeout(timer));
    const timer = setTimeout(() => {
      if (watcher.bookmarks && watcher.bookmarked < this.store.currentVersion) this.bookmark(watcher);
      this.all.delete(watcher);
      response.end();
    }, seconds * 1000);
    if (wanted === undefined || initial) {
      watcher.after = this.store.currentVersion;
      for (const object of this.store.list(type, namespace).filter(selects))
        this.send(watcher, JSON.stringify({ type: "ADDED", object }));
      if (initial) this.bookmark(watcher, { "k8s.io/initial-events-end": "true" });
    } else for (const commit of this.store.since(wanted)) this.offer(watcher, commit);
  }

  committed(commit: Commit): void {
    for (const watcher of this.all) this.offer(watcher, commit);
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
  /** A line of a watcher, or of what it will be told once a hang ends. */
  send(watcher: Watcher, line: string): void {
    if (watcher.backlog) watcher.backlog.push(line + "\n");
    else if (watcher.response.writableLength > maxBacklogBytes) watcher.stop();
    else watcher.response.write(line + "\n");
  }
  /** Tells a watcher what a hang has held back. */
  flush(watcher: Watcher): void {
    if (!watcher.backlog) return;
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
  sendBookmarks(): void {
    for (const watcher of this.all)
      if (watcher.bookmarks && watcher.after <= this.store.currentVersion) this.bookmark(watcher);
  }
}
