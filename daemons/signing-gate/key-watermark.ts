/** The watermark of one key: the object as the API last returned it, the lock around it, reading and writing. */
import { watermarkDataKey, watermarkName } from "../../contract/names";
import { slowRequestMs, type Timings } from "../../contract/timings";
import type { Watermark } from "../../contract/watermark";
import type { Clock } from "../runtime/clock";
import type { ConfigMap, KubeClient, Outcome } from "../runtime/kube";
import { observe, type Observed } from "./decide";
import type { MarksMemory } from "./memory";

export interface WatermarkOptions {
  baker: string;
  chainId: string;
  timings: Timings;
  clock: Clock;
  kube: Pick<KubeClient, "get" | "replace">;
  memory: MarksMemory;
}

export class KeyWatermark {
  /** The last whole object that the API returned, or undefined where nothing is known. */
  private object: ConfigMap | undefined;
  /** Set where a write's outcome is unknown or a conflict was answered: read before deciding. */
  stale = true;
  private lock = Promise.resolve();
  private readonly name: string;
  /** Objects are never changed, so that each is parsed once. */
  private readonly parsed = new WeakMap<ConfigMap, Observed>();

  constructor(
    private readonly address: string,
    private readonly options: WatermarkOptions,
  ) {
    this.name = watermarkName(address);
  }

  /** One after the other, in the order of the calls. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.lock.then(work);
    this.lock = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /** What the object says that the API last returned. */
  observed(): Observed {
    return this.observe(this.object);
  }
  /** What any object of this key says. */
  observe(object: ConfigMap | undefined): Observed {
    if (!object) return { state: "missing" };
    let observed = this.parsed.get(object);
    if (!observed) {
      const { baker, chainId: chain } = this.options;
      observed = observe(object, { baker, chain, dataKey: watermarkDataKey });
      this.parsed.set(object, observed);
    }
    return observed;
  }

  private timeoutMs(deadlineMs: number): number {
    const { clock, timings } = this.options;
    return Math.min(slowRequestMs(timings), deadlineMs - clock.now());
  }

  /** A plain GET. The kind of failure where the API did not answer; then the watermark stays stale. */
  async read(deadlineMs: number): Promise<string | undefined> {
    const { kube, memory } = this.options;
    const timeoutMs = this.timeoutMs(deadlineMs);
    if (timeoutMs <= 0) return "timeout";
    const outcome = await kube.get("configmaps", this.name, { timeoutMs });
    if (outcome.ok) {
      this.object = outcome.object;
      const observed = this.observed();
      if (observed.state === "record") memory.note(this.address, observed.uid, observed.record);
    } else if (outcome.kind === "not-found") this.object = undefined;
    else return outcome.kind;
    this.stale = false;
    return undefined;
  }

  /**
   * One conditional PUT of the object last returned. The watermark is stale afterwards unless the API acknowledged
   * exactly this record. `once`: all of the time is for this write. Otherwise one that is lost on its way leaves time
   * for another before `deadlineMs`, while one that a slow API answers late is waited for.
   */
  async write(record: Watermark, deadlineMs: number, once: boolean): Promise<Outcome<ConfigMap>> {
    const { kube, timings } = this.options;
    const base = this.object;
    if (!base || !base.metadata.uid || !base.metadata.resourceVersion)
      throw new Error("a watermark is written over an object that the API returned");
    const text = JSON.stringify(record);
    this.stale = true;
    const outcome = await kube.replace(
      "configmaps",
      { ...base, data: { ...base.data, [watermarkDataKey]: text } },
      { timeoutMs: Math.max(1, this.timeoutMs(deadlineMs)), ...(once ? {} : { doubtMs: timings.markWriteMs }) },
    );
    if (!outcome.ok) return outcome;
    const { metadata, data } = outcome.object;
    if (
      metadata.name !== this.name ||
      metadata.uid !== base.metadata.uid ||
      !metadata.resourceVersion ||
      data?.[watermarkDataKey] !== text
    )
      return {
        ...{ ok: false, kind: "malformed", unknown: true, status: 200 },
        ...{ message: "not what was written", sentAtMs: outcome.sentAtMs },
      };
    this.object = outcome.object;
    this.stale = false;
    return outcome;
  }
}
