/** The Kubernetes API with the watermarks in it, and the network between it and the gates. */
import { labels, watermarkDataKey, watermarkName } from "../../../contract/names";
import { watermarkSchema, type Watermark } from "../../../contract/watermark";
import type { GateOptions } from "../../../daemons/signing-gate/gate";
import type { ConfigMap, Outcome } from "../../../daemons/runtime/kube";
import type { GateProcess } from "./gate-process";
import type { Promises } from "./promises";
import { baker, type Scene } from "./scene";

interface Stored {
  uid: string;
  rv: number;
  text: string;
}
type Answer = Outcome<ConfigMap>;
const toObject = (name: string, { uid, rv, text }: Stored): ConfigMap => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: {
    name,
    namespace: "bakers",
    uid,
    resourceVersion: String(rv),
    labels: { [labels.baker]: baker },
  },
  data: text === "" ? {} : { [watermarkDataKey]: text },
});
export const parseRecord = (text: string): Watermark | null =>
  text === "" ? null : watermarkSchema.parse(JSON.parse(text));

export class SimulatedApi {
  /** Highest epoch that any watermark had or the elector gave: what the lease keeps. */
  highestEpoch = 0;
  private readonly store = new Map<string, Stored>();
  private readonly past = new Map<string, Stored[]>();
  private revision = 100;
  private uids = 0;
  private readonly addressOf: ReadonlyMap<string, string>;

  constructor(
    private readonly scene: Scene,
    private readonly processes: readonly GateProcess[],
    private readonly promises: Promises,
  ) {
    this.addressOf = new Map(scene.keys.map((key) => [watermarkName(key.address), key.address]));
  }

  address(name: string): string {
    return this.addressOf.get(name) ?? "";
  }
  get(name: string): Stored | undefined {
    return this.store.get(name);
  }
  /** Every record that the object ever had, oldest first. */
  history(name: string): readonly string[] {
    return this.versions(name).map(({ text }) => text);
  }
  private versions(name: string): readonly Stored[] {
    return this.past.get(name) ?? [];
  }
  newUid(): string {
    return `uid-${++this.uids}`;
  }

  /** An outsider puts it there. */
  put(name: string, uid: string, text: string): void {
    this.change(name, { uid, rv: ++this.revision, text }, "other");
  }
  remove(name: string): void {
    this.change(name, undefined, "other");
  }

  private change(name: string, next: Stored | undefined, by: "gate" | "other"): void {
    const before = this.store.get(name);
    if (next) this.store.set(name, next);
    else this.store.delete(name);
    if (next && next.text !== "") this.past.set(name, [...this.versions(name), next]);
    if (by === "gate") this.scene.counts.commits++;
    if (next) this.highestEpoch = Math.max(this.highestEpoch, parseRecord(next.text)?.epoch ?? 0);
    this.scene.commitLog.push({
      at: this.scene.world.stamp(),
      address: this.address(name),
      uid: next?.uid ?? before?.uid ?? "",
      by,
      record: next ? parseRecord(next.text) : null,
    });
    this.announce(name);
  }

  /** The regular look of every gate. */
  private announce(name: string): void {
    const { world, faults, features, takesAway } = this.scene;
    for (const process of this.processes) {
      if (faults && features.lossyApi && world.chance(0.2) && !takesAway) continue;
      const stored = this.store.get(name);
      const object = stored ? toObject(name, stored) : undefined;
      world.after(world.between(2, faults ? 2500 : 10), () =>
        process.deliver(() => {
          process.sees(this.address(name), stored ? parseRecord(stored.text) : null);
          process.gate?.look(this.address(name), object);
        }),
      );
    }
  }

  /**
   * One exchange: `apply` happens at the server, once, perhaps after the client has given up. `doubtMs` as in
   * RequestOptions: what the read beside a write says is not used.
   */
  private call(process: GateProcess, timeoutMs: number, apply: () => Answer, doubtMs = timeoutMs): Promise<Answer> {
    const { world, faults, features, counts } = this.scene;
    if (!process.alive) return new Promise(() => undefined);
    const sentAtMs = world.now;
    const lossy = faults && features.lossyApi;
    const fail = (kind: "network" | "timeout" | "server", unknown: boolean): Answer => ({
      ...{ ok: false, kind, unknown, status: 0, message: kind, sentAtMs },
    });
    return new Promise((resolve) => {
      let done = false;
      const answer = (outcome: Answer) =>
        process.deliver(() => {
          if (done) return;
          done = true;
          if (outcome.ok) this.answered(process, outcome.object);
          resolve(outcome);
        });
      if (process.apiDown) return void world.after(1, () => answer(fail("network", false)));
      world.after(timeoutMs, () => answer(fail("timeout", true)));
      if (doubtMs < timeoutMs)
        world.after(doubtMs, () => {
          const readMs = lossy && world.chance(0.2) ? world.between(500, 4000) : world.between(0.6, 10);
          if (doubtMs + 3 * readMs < timeoutMs) world.after(readMs, () => answer(fail("timeout", true)));
        });
      if (lossy && world.chance(0.04)) return;
      const there = lossy && world.chance(0.08) ? world.between(500, 4000) : world.between(0.3, 5);
      world.after(there, () => {
        const outcome = apply();
        if (!outcome.ok && outcome.kind === "conflict") counts.conflicts++;
        const lose = lossy && world.chance(0.08);
        if (lose && outcome.ok) counts.lostAnswers++;
        if (lose)
          return world.chance(0.5)
            ? world.after(1, () => answer(fail(world.chance(0.5) ? "server" : "network", true)))
            : undefined;
        const back = lossy && world.chance(0.05) ? world.between(300, 3000) : world.between(0.3, 5);
        world.after(back, () => answer(outcome));
        return undefined;
      });
    });
  }

  private answered(process: GateProcess, { metadata, data }: ConfigMap): void {
    const record = parseRecord(data?.[watermarkDataKey] ?? "");
    const address = this.address(metadata.name);
    if (record) process.answered.set(address, record);
    process.sees(address, record);
  }

  private failure(kind: "not-found" | "conflict", status: number): Outcome<never> {
    return { ok: false, kind, unknown: false, status, message: kind, sentAtMs: this.scene.world.now };
  }
  private read(name: string): Answer {
    const { world, faults, features } = this.scene;
    const past = this.versions(name);
    const stale = faults && features.staleReads && past.length > 0 && world.chance(0.05);
    const stored = stale ? world.pick(past) : this.store.get(name);
    if (!stored) return this.failure("not-found", 404);
    return { ok: true, object: toObject(name, stored), sentAtMs: this.scene.world.now };
  }
  private replace(process: GateProcess, { metadata: { name, uid, resourceVersion }, data }: ConfigMap): Answer {
    const { sabotage } = this.scene;
    const stored = this.store.get(name);
    if (!stored) return this.failure("not-found", 404);
    if (sabotage !== "blind-writes" && (stored.uid !== uid || String(stored.rv) !== resourceVersion))
      return this.failure("conflict", 409);
    const text = data?.[watermarkDataKey] ?? "";
    const rv = ++this.revision;
    const kept = sabotage === "no-floor" ? text.replace(/"floor":-?\d+/, '"floor":-1') : text;
    this.promises.writes(process.disk, this.address(name));
    this.change(name, { uid: stored.uid, rv, text: kept }, "gate");
    this.promises.stored(this.address(name), watermarkSchema.parse(JSON.parse(kept)));
    return { ok: true, object: toObject(name, { uid: stored.uid, rv, text }), sentAtMs: this.scene.world.now };
  }

  /** The API as one process reaches it. */
  clientOf(process: GateProcess): GateOptions["kube"] {
    const { world, sabotage } = this.scene;
    return {
      get: (_resource, name, { timeoutMs }) =>
        this.call(process, timeoutMs, () => this.read(name)) as unknown as Promise<Outcome<never>>,
      replace: (_resource, given, { timeoutMs, doubtMs }) => {
        const object = given as ConfigMap;
        if (!object.metadata.uid || !object.metadata.resourceVersion)
          throw new Error("a PUT without uid or resourceVersion");
        const answer =
          sabotage === "phantom-writes" && world.chance(0.3)
            ? Promise.resolve({ ok: true, object, sentAtMs: world.now })
            : this.call(process, timeoutMs, () => this.replace(process, object), doubtMs);
        return answer as unknown as Promise<Outcome<never>>;
      },
    };
  }
}
