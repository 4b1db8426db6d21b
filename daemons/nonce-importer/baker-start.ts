/**
 * Knows when this pod's octez-baker has started. For a while then it can overwrite its nonce files with what it loaded
 * before: it loads them, asks the node, and rewrites them without taking wallet_lock (octez-baker v25).
 */
import { ports } from "../../contract/ports";
import { supervisorStatusSchema } from "../../contract/status";
import type { Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { followDocument } from "../runtime/follow-document";
import { Wake } from "../runtime/wake";

export class BakerStart {
  /** Until then what is merged may be lost again. */
  settledAtMs = -Infinity;
  private pids = new Set<number>();
  private timer: NodeJS.Timeout | undefined;

  /** @param onSettled a baker has started and has had its time */
  constructor(
    private readonly config: DaemonConfig,
    private readonly clock: Clock,
    private readonly onSettled: () => void,
  ) {}

  /** Follows the supervisor's status until the signal aborts; one that does not answer starts nothing. */
  async follow(signal: AbortSignal): Promise<void> {
    const { env, file } = this.config;
    await followDocument({
      ...{ clock: this.clock, host: env.TOG_POD_ADDRESS, port: ports.supervisor, path: "/status", signal },
      timeoutMs: file.timings.requestTimeoutMs,
      // The supervisor tells each change at once.
      streamMs: 2 * this.settleMs,
      pollMs: () => undefined,
      wake: new Wake(),
      onDocument: (document) => this.onStatus(document),
    });
    clearTimeout(this.timer);
  }

  /** octez-baker is past its rewriting 0.5 s after its start; its node may be slow. */
  private get settleMs(): number {
    return 5000 * this.config.file.timings.nonceAckSeconds;
  }

  private onStatus(document: unknown): void {
    const status = supervisorStatusSchema.safeParse(document);
    if (!status.success) return;
    const pids = status.data.daemons.flatMap(({ pid }) => pid ?? []);
    const started = pids.some((pid) => !this.pids.has(pid));
    this.pids = new Set(pids);
    if (!started) return;
    this.settledAtMs = this.clock.now() + this.settleMs;
    clearTimeout(this.timer);
    this.timer = setTimeout(this.onSettled, this.settleMs);
  }
}
