/** Waits until a pod without a gate may sign, and leaves what it signed: see solo.ts for the conditions. */
import { randomUUID } from "node:crypto";
import { watermarksOf } from "../../contract/baker-file";
import { ports } from "../../contract/ports";
import { sidecarStatusSchema } from "../../contract/status";
import { sleep } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { getJson } from "../runtime/http-get";
import type { KubeClient } from "../runtime/kube";
import type { Log } from "../runtime/log";
import { highestSigned } from "./own-marks";
import { brokenWatermarks } from "./quarantine";
import { lastPossibleLevel, leavesFloor, leaveSolo, trySolo } from "./solo";

export class SoloStart {
  /** What a baker with broken high watermark files can have signed: see SoloFacts. */
  private signedUpTo: number | "unknown" | null = null;
  private met = false;
  /** Level of the last signature that Octez' own files knew when the conditions were asked last; -1: none. */
  private ownBefore = -1;
  /** See leavesFloor. */
  private mustReach: number | "unknown" | null = null;
  private readonly run = randomUUID();

  constructor(
    private readonly config: DaemonConfig,
    private readonly log: Log,
    private readonly kube: KubeClient,
  ) {}

  /** Until the conditions are met, or `signal` aborts. @returns true where they are met */
  async wait(signal: AbortSignal): Promise<boolean> {
    this.signedUpTo = null;
    this.met = false;
    for (let logged = ""; !signal.aborted;) {
      const result = await this.attempt(signal);
      if (signal.aborted) return false;
      if (result.ok || result.reason !== logged)
        this.log[result.ok ? "info" : "warn"]("solo-start", result.reason, { detail: result.detail });
      if (result.ok) return (this.met = true);
      logged = result.reason;
      await sleep(this.config.file.timings.retrySeconds * 1000, signal);
    }
    return false;
  }

  /** Once the daemons have ended for the last time. */
  async leave(signal: AbortSignal): Promise<void> {
    const { env, file, identity } = this.config;
    if (!this.met) return;
    const ownLevel = await highestSigned(env.TOG_CLIENT_DIR, file.network.chainId);
    if (ownLevel === null || !leavesFloor({ before: this.ownBefore, level: ownLevel }, this.mustReach))
      return this.log.warn("solo-end", "own-marks-prove-nothing", { detail: "a gate starts above head + 5" });
    const { run } = this;
    const { requestTimeoutMs: timeoutMs } = file.timings;
    const left = await leaveSolo({ kube: this.kube, file, identity, run, ownLevel, timeoutMs, signal });
    const others = watermarksOf(file).filter((name) => !left.includes(name));
    if (left.length > 0) this.log.info("solo-end", "floor-left", { floor: ownLevel, watermarks: left.join(" ") });
    if (others.length > 0) this.log.warn("solo-end", "floor-not-left", { watermarks: others.join(" ") });
  }

  private async attempt(signal: AbortSignal): ReturnType<typeof trySolo> {
    const { env, file, identity } = this.config;
    const { requestTimeoutMs: timeoutMs, headFreshSeconds } = file.timings;
    const head = await getJson(`http://${env.TOG_POD_ADDRESS}:${ports.sidecar}/status`, { timeoutMs, signal })
      .then((body) => sidecarStatusSchema.parse(body).head)
      .catch(() => null);
    if (typeof this.signedUpTo !== "number" && (await brokenWatermarks(env.TOG_CLIENT_DIR)))
      this.signedUpTo = lastPossibleLevel(head, headFreshSeconds);
    const { kube, signedUpTo, run } = this;
    const level = await highestSigned(env.TOG_CLIENT_DIR, file.network.chainId);
    this.ownBefore = level ?? -1;
    const facts = { headLevel: head?.level ?? null, signedUpTo, own: { pod: env.TOG_POD_NAME, level } };
    const result = await trySolo({ ...facts, kube, file, identity, run, timeoutMs, signal });
    // Another run, on another disk perhaps, or somebody outside: only a synced head bounds what was signed.
    if (result.wasUnfenced && typeof this.mustReach !== "number")
      this.mustReach = lastPossibleLevel(head, headFreshSeconds);
    return result;
  }
}
