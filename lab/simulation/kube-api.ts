/**
 * The Kubernetes API with its objects, and the network between it and the pods: conditional writes, watches, lost and
 * late requests and answers, refusals, throttling. What happens follows from the faults that act at the moment.
 */
import { watermarkDataKey, watermarkName } from "../../contract/names";
import type { Watermark } from "../../contract/watermark";
import type {
  FailureKind,
  Kinds,
  KubeClient,
  Outcome,
  RequestOptions,
  Resource,
  WatchEvent,
} from "../../daemons/runtime/kube";
import { writeInDoubt } from "../../daemons/runtime/kube-doubt";
import { parseRecord } from "../checker/schedules/api";
import type { Process } from "./process";
import type { Stage } from "./stage";

type Stored = Kinds[Resource];
type Answer = Outcome<Stored>;
/** What the server says, without the time at which it was asked. */
type Reply = { ok: true; object: Stored } | { ok: false; kind: FailureKind; status: number; retryAfterMs?: number };

interface Watcher {
  key: string;
  pod: number;
  process: Process;
  onEvent: (event: WatchEvent<Stored>) => void;
  /** Events arrive in their order. */
  lastMs: number;
  /** Its stream has ended: it lists again as soon as it can. */
  broken: boolean;
  over: boolean;
}

/** At least so many contents of an object can come back. */
const keptVersions = 40;

const keyOf = (resource: Resource, name: string): string => `${resource}/${name}`;
const refused = (kind: FailureKind, status: number): Reply => ({ ok: false, kind, status });
const throttled = (retryAfterMs: number): Reply => ({
  ...{ ok: false, kind: "too-many-requests", status: 429, retryAfterMs },
});
export const recordOf = (object: Stored | undefined): Watermark | null =>
  parseRecord(object && "data" in object ? (object.data?.[watermarkDataKey] ?? "") : "");

export class SimulatedKube {
  private readonly store = new Map<string, Stored>();
  /** The last contents that an object had, oldest first. */
  private readonly past = new Map<string, Stored[]>();
  private readonly watchers = new Set<Watcher>();
  private revision = 100;
  private uids = 0;
  private readonly addressOf: ReadonlyMap<string, string>;

  constructor(private readonly stage: Stage) {
    this.addressOf = new Map(stage.addresses.map((address) => [keyOf("configmaps", watermarkName(address)), address]));
  }

  // --- objects, as the server has them

  peek<R extends Resource>(resource: R, name: string): Kinds[R] | undefined {
    return this.store.get(keyOf(resource, name)) as Kinds[R] | undefined;
  }
  history<R extends Resource>(resource: R, name: string): readonly Kinds[R][] {
    return (this.past.get(keyOf(resource, name)) ?? []) as Kinds[R][];
  }
  /** Somebody from outside puts it there. @param fresh as a new object */
  put<R extends Resource>(resource: R, object: Kinds[R], fresh = false): void {
    const uid = (fresh ? undefined : this.peek(resource, object.metadata.name)?.metadata.uid) ?? this.newUid();
    this.change(resource, object.metadata.name, this.versioned(object, uid), "other");
  }
  remove(resource: Resource, name: string): void {
    this.change(resource, name, undefined, "other");
  }
  private newUid(): string {
    return `uid-${++this.uids}`;
  }
  private versioned(object: Stored, uid: string): Stored {
    const metadata = { ...object.metadata, uid, resourceVersion: String(++this.revision) };
    return Object.freeze({ ...object, metadata: Object.freeze(metadata) });
  }

  private change(resource: Resource, name: string, next: Stored | undefined, by: "gate" | "other"): void {
    const key = keyOf(resource, name);
    const before = this.store.get(key);
    if (next) this.store.set(key, next);
    else this.store.delete(key);
    if (next) this.remember(key, next);
    const address = this.addressOf.get(key);
    if (address !== undefined) {
      const uid = next?.metadata.uid ?? before?.metadata.uid ?? "";
      this.stage.commitLog.push({ at: this.stage.world.stamp(), address, uid, by, record: recordOf(next) });
    }
    for (const watcher of this.watchers) if (watcher.key === key) this.announce(watcher, next, before);
  }

  private remember(key: string, object: Stored): void {
    const past = this.past.get(key) ?? [];
    this.past.set(key, past);
    past.push(object);
    if (past.length > 2 * keptVersions) past.splice(0, keptVersions);
  }

  private read(resource: Resource, name: string): Reply {
    const stored = this.store.get(keyOf(resource, name));
    return stored ? { ok: true, object: stored } : refused("not-found", 404);
  }
  private create(resource: Resource, object: Stored): Reply {
    const { name } = object.metadata;
    if (this.store.has(keyOf(resource, name))) return refused("already-exists", 409);
    const made = this.versioned(object, this.newUid());
    this.change(resource, name, made, "gate");
    return { ok: true, object: made };
  }
  private replace(resource: Resource, object: Stored, blind: boolean): Reply {
    const { name, uid = "", resourceVersion } = object.metadata;
    const stored = this.store.get(keyOf(resource, name));
    if (!stored) return refused("not-found", 404);
    const { metadata } = stored;
    if (!blind && (metadata.uid !== uid || metadata.resourceVersion !== resourceVersion)) {
      this.stage.counts.conflicts++;
      return refused("conflict", 409);
    }
    const next = this.versioned(object, metadata.uid ?? uid);
    this.change(resource, name, next, "gate");
    return { ok: true, object: next };
  }

  // --- the network

  private delayMs(pod: number): number {
    const { world } = this.stage;
    if (!this.stage.suffers(pod, "api-slow")) return world.between(0.5, 6);
    return world.chance(0.3) ? world.between(1200, 2400) : world.between(20, 800);
  }
  /** On the way there. What was given up meanwhile arrives all the same. */
  private requestMs(pod: number): number {
    const { world } = this.stage;
    return this.stage.suffers(pod, "api-late") && world.chance(0.25) ? world.between(1000, 12_000) : this.delayMs(pod);
  }
  private cut(pod: number): "refuses" | "silent" | undefined {
    if (this.stage.suffers(pod, "api-silent")) return "silent";
    return this.stage.has("api-down") || this.stage.suffers(pod, "api-refuses") ? "refuses" : undefined;
  }
  private loses(pod: number): boolean {
    return this.stage.suffers(pod, "api-loses-answers") && this.stage.world.chance(0.15);
  }

  /** One exchange: `apply` happens at the server, once, perhaps after the client has given up. */
  private call(
    { pod, process }: { pod: number; process: Process },
    write: boolean,
    { timeoutMs, signal }: RequestOptions,
    apply: () => Reply,
  ): Promise<Answer> {
    const { world, counts } = this.stage;
    const sentAtMs = process.clock.now();
    return new Promise((resolve) => {
      let done = false;
      // An answer says what happened; only where there is none a write may have happened.
      const finish = (reply: Reply, unknown = false): void => {
        if (done) return;
        done = true;
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        resolve(
          reply.ok ? { ...reply, sentAtMs } : { ...reply, unknown: unknown && write, message: reply.kind, sentAtMs },
        );
      };
      const abort = (): void => finish(refused("aborted", 0), true);
      const timer = setTimeout(() => finish(refused("timeout", 0), true), Math.max(1, timeoutMs));
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort);
      const cut = this.cut(pod);
      if (cut === "refuses") return process.later(1, () => finish(refused("network", 0)));
      if (cut === "silent" || this.loses(pod)) return;
      world.after(this.requestMs(pod), () => {
        // Where connections are refused, what is under way still arrives.
        if (this.cut(pod) === "silent") return;
        if (this.stage.suffers(pod, "api-throttles") && world.chance(0.5)) {
          const retryAfterMs = world.pick([0, 1000, 5000]);
          return process.later(1, () => finish(throttled(retryAfterMs)));
        }
        const reply = apply();
        if (this.loses(pod)) {
          counts.lostAnswers++;
          // A connection that breaks, or one that hangs.
          if (world.chance(0.5)) process.later(1, () => finish(refused(world.pick(["network", "server"]), 0), true));
          return;
        }
        world.after(this.delayMs(pod), () => {
          if (this.cut(pod) !== "silent") process.deliver(() => finish(reply));
        });
      });
    });
  }

  // --- watches

  private announce(watcher: Watcher, next: Stored | undefined, before: Stored | undefined): void {
    const { stage } = this;
    if (watcher.broken) return;
    if (stage.suffers(watcher.pod, "watch-silent")) return this.breakWatch(watcher, 30_000);
    if (this.cut(watcher.pod)) return this.breakWatch(watcher, stage.world.between(500, 5000));
    const object = next ?? before;
    if (object) this.send(watcher, { type: next ? "MODIFIED" : "DELETED", object });
  }
  private send(watcher: Watcher, event: WatchEvent<Stored>): void {
    const { world } = this.stage;
    watcher.lastMs = Math.max(watcher.lastMs, world.now + this.delayMs(watcher.pod));
    watcher.process.later(watcher.lastMs - world.now, () => {
      if (!watcher.over) watcher.onEvent(event);
    });
  }
  /** Events are lost from now on, until it lists again. */
  private breakWatch(watcher: Watcher, noticedAfterMs: number): void {
    watcher.broken = true;
    this.stage.world.after(noticedAfterMs, () => this.listAgain(watcher));
  }
  private listAgain(watcher: Watcher): void {
    const { stage } = this;
    const { world } = stage;
    if (watcher.over || !watcher.process.alive) return;
    if (this.cut(watcher.pod) || stage.suffers(watcher.pod, "watch-silent"))
      return void world.after(world.between(100, 5000), () => this.listAgain(watcher));
    watcher.broken = false;
    const object = this.store.get(watcher.key);
    if (object) return this.send(watcher, { type: "MODIFIED", object });
    const gone = this.past.get(watcher.key)?.at(-1);
    if (gone) this.send(watcher, { type: "DELETED", object: gone });
  }
  /** The API has forgotten the versions from which this pod's watches would go on. */
  expireWatches(pod: number): void {
    for (const watcher of this.watchers) if (watcher.pod === pod && !watcher.broken) this.breakWatch(watcher, 5);
  }
  private watch(who: { pod: number; process: Process }, key: string, onEvent: Watcher["onEvent"], signal: AbortSignal) {
    const watcher: Watcher = { ...who, key, onEvent, lastMs: 0, broken: true, over: false };
    this.watchers.add(watcher);
    this.stage.world.after(this.delayMs(who.pod), () => this.listAgain(watcher));
    return new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => {
        watcher.over = true;
        this.watchers.delete(watcher);
        resolve();
      });
    });
  }
  /** Its process has ended, and its connections with it. */
  forget(process: Process): void {
    for (const watcher of this.watchers) if (watcher.process === process) this.watchers.delete(watcher);
  }

  /** The API as one process reaches it. */
  clientOf(pod: number, process: Process): KubeClient {
    const { stage } = this;
    const who = { pod, process };
    const blind = stage.sabotage === (process.name === "elector" ? "elector-writes-blindly" : "gate-writes-blindly");
    const get = <R extends Resource>(resource: R, name: string, options: RequestOptions) =>
      this.call(who, false, options, () => this.read(resource, name)) as Promise<Outcome<Kinds[R]>>;
    return {
      get,
      create: <R extends Resource>(resource: R, object: Kinds[R], options: RequestOptions) =>
        this.call(who, true, options, () => this.create(resource, object)) as Promise<Outcome<Kinds[R]>>,
      replace: <R extends Resource>(resource: R, object: Kinds[R], options: RequestOptions) => {
        if (!object.metadata.uid || !object.metadata.resourceVersion)
          throw new Error("a PUT without uid or resourceVersion");
        return writeInDoubt<Kinds[R]>(process.clock, options, {
          write: (wanted) =>
            this.call(who, true, wanted, () => this.replace(resource, object, blind)) as Promise<Outcome<Kinds[R]>>,
          read: (wanted) => get(resource, object.metadata.name, wanted),
          onLost: () => undefined,
        });
      },
      watch: <R extends Resource>(
        resource: R,
        name: string,
        onEvent: (event: WatchEvent<Kinds[R]>) => void,
        { signal }: { signal: AbortSignal },
      ) => this.watch(who, keyOf(resource, name), onEvent as Watcher["onEvent"], signal),
      emitEvent: () => Promise.resolve(),
      close: () => undefined,
    };
  }
}
