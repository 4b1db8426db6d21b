/** What the elector tells people: warnings that do not flood the log, Kubernetes Events, and what happened lately. */
import type { PodEnv } from "../../contract/env";
import type { Clock } from "../runtime/clock";
import type { KubeClient } from "../runtime/kube";
import type { Log } from "../runtime/log";
import { Recent } from "../runtime/recent";

export class Report {
  readonly recent: Recent;
  private readonly warnedAtMs = new Map<string, number>();

  /** `quietMs`: a warning of one kind is repeated this long after the last one at the earliest. */
  constructor(private readonly o: { env: PodEnv; kube: KubeClient; clock: Clock; log: Log; quietMs: number }) {
    this.recent = new Recent(o.clock);
  }

  warn(event: string, reason: string, fields: Record<string, unknown> = {}): void {
    const now = this.o.clock.now();
    if (now - (this.warnedAtMs.get(event) ?? -Infinity) < this.o.quietMs) return;
    this.warnedAtMs.set(event, now);
    this.o.log.warn(event, reason, fields);
  }

  /** An operator's pause of automatic handovers that pauses nothing. */
  pauseIgnored(why: string): void {
    this.warn("handover-pause-ignored", why);
    this.recent.note("handover-pause-ignored", `a pause of automatic handovers is ignored: ${why}`);
  }

  /** A Kubernetes Event about this pod. */
  event(type: "Normal" | "Warning", reason: string, message: string): void {
    const { TOG_POD_NAME: name, TOG_POD_UID: uid } = this.o.env;
    void this.o.kube.emitEvent({ type, reason, message, regarding: { kind: "Pod", apiVersion: "v1", name, uid } });
  }
}
