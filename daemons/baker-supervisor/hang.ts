/**
 * Whether a daemon hangs although its process lives: the chain had rights for it, and no attestation was asked of the
 * gate. Pure. A daemon that asks and gets no signature does not hang; neither does one whose delegate has no rights.
 */
import type { GateStatus, SidecarStatus } from "../../contract/status";
import type { Timings } from "../../contract/timings";

/** What gate, sidecar and process tell at one moment, while the gate is open and the daemon runs. */
export interface Seen {
  /** Both name the run of the daemon: what another one did does not count. */
  pid: number;
  epoch: number;
  /** Attestations that the gate was asked for since the gate's start. */
  asked: number;
  /** Levels whose attestation the chain has missed since the sidecar's start. */
  missed: number;
  ranMs: number;
}

/**
 * What the two containers say of the daemon; undefined where nothing can be asked of it: the gate is shut, or no signer
 * answers, without which octez-baker does not even ask.
 */
export const toldBy = (
  gate: GateStatus,
  sidecar: SidecarStatus,
): Pick<Seen, "epoch" | "asked" | "missed"> | undefined =>
  gate.open && gate.signersAnswering > 0
    ? { epoch: gate.epoch, asked: gate.attestationsAsked ?? 0, missed: sidecar.missedAttestations ?? 0 }
    : undefined;

/**
 * asks: it has just been seen to work. works: nothing speaks against it. restart: another process may do better.
 * helpless: one already followed a hang, and it does not work either, or the one that hangs cannot even be killed.
 */
export type HangVerdict = "asks" | "works" | "restart" | "helpless";

/** One level may have begun before the daemon was ready for it; two are no accident. */
const hungAfterLevels = 2;
/**
 * In units of retrySeconds, as a crash loop is. A daemon that has never asked may still be starting, for as long as a
 * long run; one that was restarted because of a hang has shown before how fast it starts. One that was helpless, and
 * that nobody has stopped meanwhile, is tried again after as long as a crash loop is first remembered.
 */
const patience = { neverAsked: 30, afterHang: 10, killed: 5, helpless: 300 };

export class HangWatch {
  /** Where the present count began. */
  private from: Seen | undefined;
  private hasAsked = false;
  /** The last run that was ended because it hung, as none has asked since. */
  private restarted: Seen | undefined;

  /** @param seen undefined while the daemon does not run, or nothing can be asked of it */
  see(seen: Seen | undefined, { retrySeconds }: Pick<Timings, "retrySeconds">): HangVerdict {
    const { from } = this;
    if (!seen || seen.pid !== from?.pid || seen.epoch !== from.epoch) {
      this.hasAsked = false;
      this.from = seen;
      return "works";
    }
    if (seen.asked !== from.asked || seen.missed < from.missed) {
      this.from = seen;
      if (seen.asked <= from.asked) return "works";
      this.hasAsked = true;
      this.restarted = undefined;
      return "asks";
    }
    if (seen.missed - from.missed < hungAfterLevels) return "works";
    const ranLong = (units: number) => seen.ranMs >= 1000 * units * retrySeconds;
    const before = this.restarted?.epoch === seen.epoch ? this.restarted : undefined;
    // Whatever waits for a disk that hangs outlives SIGKILL.
    if (before?.pid === seen.pid)
      return seen.ranMs - before.ranMs >= 1000 * patience.killed * retrySeconds ? "helpless" : "works";
    if (before && !ranLong(patience.helpless)) return ranLong(patience.afterHang) ? "helpless" : "works";
    if (!before && !this.hasAsked && !ranLong(patience.neverAsked)) return "works";
    this.restarted = seen;
    return "restart";
  }
}
