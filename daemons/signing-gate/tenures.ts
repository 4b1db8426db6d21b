/**
 * The tenures of this pod as its gate knows them: the one that is valid now, and the one that a watermark has shown to
 * be over although the elector does not know it yet. Wakes whoever waits at every change.
 */
import type { Log } from "../runtime/log";
import type { Tenure, TenureLost } from "./decide";
import type { LeadershipView } from "./leadership";

export interface TenuresOptions {
  leadership: LeadershipView;
  /** Resolves after `ms`, or at once when aborted; never rejects. */
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  log: Log;
}

export class Tenures {
  private readonly ending = new AbortController();
  private readonly waiters = new Set<() => void>();
  private over: { epoch: number; why: TenureLost } | undefined;
  private lastEpoch = 0;
  private unsubscribe = (): void => undefined;

  constructor(
    private readonly options: TenuresOptions,
    private readonly on: {
      /** Leadership changed and there is a valid tenure. `begins`: another one than before. */
      tenure(tenure: Tenure, begins: boolean): void;
      /** A watermark has shown that the tenure is over. */
      end(): void;
    },
  ) {}

  /** Follows the leadership from now on. */
  start(): void {
    this.unsubscribe = this.options.leadership.onChange(() => this.follow());
    this.follow();
  }
  close(): void {
    this.ending.abort();
    this.unsubscribe();
    this.wake();
  }

  /** Epoch of the newest tenure, 0 before the first one. */
  get epoch(): number {
    return this.lastEpoch;
  }

  /** The tenure to work in: valid now and not known to be over. */
  current(): Tenure | undefined {
    const tenure = this.ending.signal.aborted ? undefined : this.options.leadership.tenure();
    return tenure && this.over?.epoch !== tenure.epoch ? tenure : undefined;
  }
  isCurrent(tenure: Tenure): boolean {
    return this.current()?.epoch === tenure.epoch;
  }

  /** Why the tenure that the elector still gives us is over, or null. */
  lost(): TenureLost | null {
    const given = this.options.leadership.tenure();
    return given && this.over?.epoch === given.epoch ? this.over.why : null;
  }
  /** Stable code of why there is no current tenure. */
  reason(): string {
    return this.options.leadership.tenure() && this.over
      ? `tenure-over-${this.over.why}`
      : this.options.leadership.reason();
  }

  end(tenure: Tenure, why: TenureLost, address: string): void {
    this.over = { epoch: tenure.epoch, why };
    this.on.end();
    this.options.log.warn("tenure-lost", why, { epoch: tenure.epoch, address });
    this.wake();
  }

  wake(): void {
    const waiting = [...this.waiters];
    this.waiters.clear();
    for (const resume of waiting) resume();
  }
  /** Resolves at the next change of leadership or of a key, or after `ms`. */
  async changed(ms: number): Promise<void> {
    if (ms <= 0) return;
    const controller = new AbortController();
    const resume = () => controller.abort();
    this.waiters.add(resume);
    await this.options.sleep(ms, controller.signal);
    this.waiters.delete(resume);
  }

  private follow(): void {
    const tenure = this.current();
    if (tenure) {
      const begins = tenure.epoch !== this.lastEpoch;
      this.lastEpoch = tenure.epoch;
      this.on.tenure(tenure, begins);
    }
    this.wake();
  }
}
