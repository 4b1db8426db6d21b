/** An API in memory whose answers are late, lost or refused as a random number says; for simulated time. */
import type { Clock } from "../../daemons/runtime/clock";
import type {
  FailureKind,
  KubeClient,
  KubeObject,
  Kinds,
  Outcome,
  Resource,
  WatchEvent,
} from "../../daemons/runtime/kube";

export interface Weather {
  /** Milliseconds each way. */
  latencyMs: [number, number];
  /** Probabilities per request: never arrives; arrives but its answer is lost; 500 without effect. */
  lostBefore: number;
  lostAfter: number;
  refused: number;
  /** Only writes suffer. */
  writesOnly?: boolean;
}
export const fine: Weather = { latencyMs: [1, 5], lostBefore: 0, lostAfter: 0, refused: 0 };

export class FakeApi {
  private readonly objects = new Map<string, KubeObject>();
  private readonly watchers = new Map<
    string,
    Set<(event: { type: "MODIFIED" | "DELETED"; object: KubeObject }) => void>
  >();
  private version = 100;
  private serial = 0;
  onWrite: ((key: string, before: KubeObject | undefined, after: KubeObject) => void) | undefined;

  get(key: string): KubeObject | undefined {
    const object = this.objects.get(key);
    return object && structuredClone(object);
  }
  put(key: string, object: KubeObject): KubeObject {
    const before = this.objects.get(key);
    const uid = before?.metadata.uid ?? `uid-${++this.serial}`;
    const after = structuredClone({
      ...object,
      metadata: { ...object.metadata, uid, resourceVersion: String(++this.version) },
    });
    this.objects.set(key, after);
    this.onWrite?.(key, before, after);
    for (const tell of this.watchers.get(key) ?? []) tell({ type: "MODIFIED", object: structuredClone(after) });
    return structuredClone(after);
  }
  remove(key: string): void {
    const object = this.objects.get(key);
    this.objects.delete(key);
    if (object) for (const tell of this.watchers.get(key) ?? []) tell({ type: "DELETED", object });
  }

  /** The client of one pod; `weather` is looked at for each request. */
  client(clock: Clock, random: () => number, weather: () => Weather): KubeClient {
    const later = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
    const between = ([low, high]: [number, number]) => low + random() * (high - low);
    const exchange = async <T>(
      timeoutMs: number,
      isWrite: boolean,
      act: () => T | FailureKind,
    ): Promise<Outcome<T>> => {
      const sentAtMs = clock.now();
      const now = weather();
      const fail = (kind: FailureKind, unknown: boolean): Outcome<T> => ({
        ok: false,
        kind,
        unknown,
        status: 0,
        message: kind,
        sentAtMs,
      });
      const chance = now.writesOnly && !isWrite ? 1 : random();
      const wayMs = between(now.latencyMs);
      const timedOut = later(timeoutMs).then(() => fail("timeout", isWrite));
      const answered = (async (): Promise<Outcome<T>> => {
        await later(wayMs);
        if (chance < now.lostBefore) return timedOut;
        if (chance < now.lostBefore + now.refused) return fail("server", false);
        const result = act();
        await later(between(now.latencyMs));
        if (chance < now.lostBefore + now.refused + now.lostAfter) return timedOut;
        return typeof result === "string" ? fail(result as FailureKind, false) : { ok: true, object: result, sentAtMs };
      })();
      return Promise.race([answered, timedOut]);
    };
    const name = (resource: Resource, object: string) => `${resource}/${object}`;
    return {
      get: <R extends Resource>(resource: R, object: string, { timeoutMs }: { timeoutMs: number }) =>
        exchange<Kinds[R]>(
          timeoutMs,
          false,
          () => (this.get(name(resource, object)) as Kinds[R] | undefined) ?? "not-found",
        ),
      create: <R extends Resource>(resource: R, object: Kinds[R], { timeoutMs }: { timeoutMs: number }) =>
        exchange<Kinds[R]>(timeoutMs, true, () => {
          const key = name(resource, object.metadata.name);
          return this.objects.has(key) ? "already-exists" : (this.put(key, object) as Kinds[R]);
        }),
      replace: <R extends Resource>(resource: R, object: Kinds[R], { timeoutMs }: { timeoutMs: number }) => {
        const { uid, resourceVersion } = object.metadata;
        if (!uid || !resourceVersion) throw new Error("a conditional write names uid and resourceVersion");
        const copy = structuredClone(object);
        return exchange<Kinds[R]>(timeoutMs, true, () => {
          const key = name(resource, copy.metadata.name);
          const stored = this.objects.get(key);
          if (!stored) return "conflict";
          if (stored.metadata.uid !== uid || stored.metadata.resourceVersion !== resourceVersion) return "conflict";
          return this.put(key, copy) as Kinds[R];
        });
      },
      watch: <R extends Resource>(
        resource: R,
        object: string,
        onEvent: (event: WatchEvent<Kinds[R]>) => void,
        { signal }: { signal: AbortSignal },
      ) =>
        new Promise<void>((resolve) => {
          const key = name(resource, object);
          const tell = (event: { type: "MODIFIED" | "DELETED"; object: KubeObject }) => {
            if (random() < weather().lostBefore) return;
            setTimeout(() => signal.aborted || onEvent(event as WatchEvent<Kinds[R]>), between(weather().latencyMs));
          };
          const all = this.watchers.get(key) ?? new Set();
          this.watchers.set(key, all.add(tell));
          signal.addEventListener("abort", () => {
            all.delete(tell);
            resolve();
          });
        }),
      emitEvent: () => Promise.resolve(),
      close: () => undefined,
    };
  }
}
