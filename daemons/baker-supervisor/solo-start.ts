/** Waits until a pod without a gate may sign: see solo.ts for the conditions. */
import { ports } from "../../contract/ports";
import { sidecarStatusSchema } from "../../contract/status";
import { sleep } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { getJson } from "../runtime/http-get";
import type { KubeClient } from "../runtime/kube";
import type { Log } from "../runtime/log";
import { brokenWatermarks } from "./quarantine";
import { lastPossibleLevel, trySolo } from "./solo";

export class SoloStart {
  /** What a baker with broken high watermark files can have signed: see SoloFacts. */
  private signedUpTo: number | "unknown" | null = null;

  constructor(
    private readonly config: DaemonConfig,
    private readonly log: Log,
    private readonly kube: KubeClient,
  ) {}

  /** Until the conditions are met, or `signal` aborts. @returns true where they are met */
  async wait(signal: AbortSignal): Promise<boolean> {
    this.signedUpTo = null;
    for (let logged = ""; !signal.aborted;) {
      const result = await this.attempt(signal);
      if (signal.aborted) return false;
      if (result.ok || result.reason !== logged)
        this.log[result.ok ? "info" : "warn"]("solo-start", result.reason, { detail: result.detail });
      if (result.ok) return true;
      logged = result.reason;
      await sleep(this.config.file.timings.retrySeconds * 1000, signal);
    }
    return false;
  }

  private async attempt(signal: AbortSignal): ReturnType<typeof trySolo> {
    const { env, file, identity } = this.config;
    const { requestTimeoutMs: timeoutMs, headFreshSeconds } = file.timings;
    const head = await getJson(`http://${env.TOG_POD_ADDRESS}:${ports.sidecar}/status`, { timeoutMs, signal })
      .then((body) => sidecarStatusSchema.parse(body).head)
      .catch(() => null);
    if (typeof this.signedUpTo !== "number" && (await brokenWatermarks(env.TOG_CLIENT_DIR)))
      this.signedUpTo = lastPossibleLevel(head, headFreshSeconds);
    const { kube, signedUpTo } = this;
    return trySolo({ kube, file, identity, headLevel: head?.level ?? null, signedUpTo, timeoutMs, signal });
  }
}
