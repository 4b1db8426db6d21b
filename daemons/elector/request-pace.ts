/**
 * When the next request about the leader lease may be sent: at once after a first failure, then ever later, but never
 * later than half a retry. A server that asks for a pause (Retry-After) gets it, up to one retry: a longer one would
 * cost the tenure.
 */
import type { Clock } from "../runtime/clock";
import type { ElectorMetrics } from "./metrics";
import type { Report } from "./report";

export class RequestPace {
  /** 0 after a success. */
  nextAtMs = 0;
  /** How long the last answer took, where that was long; else null. */
  private slowMs: number | null = null;
  /** Requests that failed since the last success: how many, and when and why the first did. */
  private failing: { times: number; sinceMs: number; message: string } | null = null;

  constructor(private readonly o: { clock: Clock; metrics: ElectorMetrics; report: Report; retryMs: number }) {}

  /** The API answered, and said nothing of a failure. */
  answered({ sentAtMs: askedAtMs }: { sentAtMs: number }): void {
    this.nextAtMs = 0;
    const tookMs = this.o.clock.now() - askedAtMs;
    this.slowMs = tookMs >= this.o.retryMs / 2 ? tookMs : null;
    if (!this.failing) return;
    const { sinceMs, message } = this.failing;
    const seconds = ((this.o.clock.now() - sinceMs) / 1000).toFixed(1);
    this.o.report.recent.note("api", `the Kubernetes API failed for ${seconds} s: ${message}`);
    this.failing = null;
  }

  /** What is wrong with the API now, in sentences. */
  troubles(): string[] {
    const { failing, slowMs } = this;
    return [
      ...(failing && failing.times > 1 ? [`the Kubernetes API does not answer as it should: ${failing.message}`] : []),
      ...(slowMs === null
        ? []
        : [`the Kubernetes API takes ${(slowMs / 1000).toFixed(1)} s to answer: signatures wait for it`]),
    ];
  }

  failed(failure: { kind: string; message: string; sentAtMs?: number; retryAfterMs?: number }): void {
    const { kind, message, sentAtMs = this.o.clock.now(), retryAfterMs = 0 } = failure;
    this.o.metrics.requestFailed(kind);
    this.o.report.warn("api-failure", message, { kind });
    this.failing ??= { times: 0, sinceMs: sentAtMs, message };
    const { times } = this.failing;
    this.failing.times++;
    const backoffMs = times === 0 ? 0 : Math.min(this.o.retryMs / 2, 20 * 2 ** Math.min(times, 10));
    this.nextAtMs = sentAtMs + Math.max(backoffMs, Math.min(retryAfterMs, this.o.retryMs));
  }
}
