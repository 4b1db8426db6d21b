/** Asks the Kubernetes API until no pod of the other topology is left. */
import { otherPods } from "../../contract/baker-file";
import { leaderLeaseName } from "../../contract/names";
import { sleep, type Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import type { KubeClient, Lease } from "../runtime/kube";
import type { Log } from "../runtime/log";
import { decide, type GuardFacts } from "./decide";

const relogMs = 60_000;

export class TopologyGuard {
  private seen: { lease: Lease; changedAtMs: number } | null = null;
  private logged = { reason: "", atMs: -Infinity };

  constructor(
    private readonly config: DaemonConfig,
    private readonly kube: KubeClient,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** @throws Error where `signal` aborts before the other topology is gone */
  async wait(signal: AbortSignal): Promise<void> {
    while (!(await this.gone(signal))) {
      await sleep(this.config.file.timings.retrySeconds * 1000, signal);
      if (signal.aborted) throw new Error("stopped before the other topology was gone");
    }
  }

  private async gone(signal: AbortSignal): Promise<boolean> {
    const { topology, timings } = this.config.file;
    const pods = await Promise.all(otherPods(this.config.file).map((name) => this.pod(name, signal)));
    const lease = topology === "solo" ? await this.lease(signal) : null;
    const now = this.clock.now();
    const result = decide({ topology, pods, lease, leaseMs: timings.leaseSeconds * 1000 }, now);
    // A word at each change, and once a minute while it lasts.
    if (result.ok || result.reason !== this.logged.reason || now - this.logged.atMs > relogMs) {
      this.log.info(result.ok ? "done" : "waiting", result.reason, { detail: result.detail });
      this.logged = { reason: result.reason, atMs: now };
    }
    return result.ok && !signal.aborted;
  }

  private async pod(name: string, signal: AbortSignal): Promise<GuardFacts["pods"][number]> {
    const pod = await this.kube.get("pods", name, { timeoutMs: this.config.file.timings.requestTimeoutMs, signal });
    if (pod.ok) return { name, phase: pod.object.status?.phase ?? "" };
    if (pod.kind === "not-found") return { name, phase: "gone" };
    this.log.warn("api-failure", pod.message, { kind: pod.kind, other: name });
    return { name, phase: null };
  }

  private async lease(signal: AbortSignal): Promise<GuardFacts["lease"]> {
    const { baker, timings } = this.config.file;
    const read = await this.kube.get("leases", leaderLeaseName(baker), { timeoutMs: timings.requestTimeoutMs, signal });
    if (!read.ok) {
      if (read.kind === "not-found") return { exists: false };
      this.log.warn("api-failure", read.message, { kind: read.kind });
      return null;
    }
    const { metadata, spec } = read.object;
    const known = this.seen?.lease.metadata;
    if (!this.seen || known?.uid !== metadata.uid || known?.resourceVersion !== metadata.resourceVersion)
      this.seen = { lease: read.object, changedAtMs: this.clock.now() };
    return {
      exists: true,
      holder: spec.holderIdentity ?? "",
      durationMs: (spec.leaseDurationSeconds ?? 0) * 1000,
      changedAtMs: this.seen.changedAtMs,
    };
  }
}
