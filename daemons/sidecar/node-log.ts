import type { SidecarStatus } from "../../contract/status";
import type { Log } from "../runtime/log";

/** Logs whenever the node becomes live or ready, or ceases to be, and each other reason for it. */
export class NodeLog {
  /** The codes alone: the reasons themselves hold ages. */
  private readonly said = { live: "unknown", ready: "unknown" };

  constructor(private readonly log: Log) {}

  tell({ live, liveReason, ready, reason }: SidecarStatus): void {
    this.tellOne("live", live, liveReason);
    this.tellOne("ready", ready, reason);
  }

  private tellOne(what: "live" | "ready", ok: boolean, why: string): void {
    const now = ok ? "ok" : (why.split(":")[0] ?? "");
    if (this.said[what] === now) return;
    this.said[what] = now;
    if (ok) this.log.info(`node-${what}`, "the node is " + what);
    else this.log.warn(`node-not-${what}`, why);
  }
}
