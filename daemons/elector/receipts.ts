/**
 * The receipts of transitions: who handed over to whom, why, and how long each step took. A receipt travels in the
 * lease: the releasing pod begins it, the acquiring pod completes it with the first renewals of its tenure.
 */
import type { Receipt } from "../../contract/receipt";
import type { GateStatus, SupervisorStatus } from "../../contract/status";
import type { Timings } from "../../contract/timings";
import type { Clock } from "../runtime/clock";
import type { Lease } from "../runtime/kube";
import type { Rights } from "../runtime/rights";
import { voluntaryCauses, voluntaryPauseMs, type AcquireCause, type HandoverCause, type LeaseView } from "./decide";
import { podOf, readLastTransition, readReceipts } from "./lease";
import type { Report } from "./report";

/** The receipt with one more step. */
const withStep = (receipt: Receipt, atMs: number, event: string, reason: string): Receipt => ({
  ...receipt,
  timeline: [...receipt.timeline, { atMs: Math.max(0, Math.round(atMs)), event, reason }],
});

/** What this pod claims when it acquires. */
export interface Claim {
  pod: string;
  epoch: number;
  cause: AcquireCause;
  /** The decision's. */
  reason: string;
}

/**
 * The receipt that an acquisition writes: the releaser's, completed, or a new one where nobody released. Pure.
 * @returns also the milliseconds since the transition began, by wall clocks
 */
export function receiptOfAcquisition(
  lease: Lease,
  view: LeaseView,
  claim: Claim,
  now: { now: number; wall: number },
): { receipt: Receipt; elapsedMs: number } {
  const last = view.holder === "" ? readLastTransition(lease) : undefined;
  const inherited = last?.epoch === view.epoch + 1 ? last : undefined;
  const at = inherited?.at ?? new Date(now.wall - Math.max(0, now.now - view.changedAtMs)).toISOString();
  const elapsedMs = Math.max(0, Math.round(now.wall - Date.parse(at)));
  const released = claim.cause === "successor" || claim.cause === "released";
  const seen = view.holder === "" ? [] : [{ atMs: 0, event: "last-renewal-seen", reason: view.holder }];
  const receipt: Receipt = {
    epoch: claim.epoch,
    from: inherited?.from ?? podOf(view.holder),
    to: claim.pod,
    cause: released ? (inherited?.cause ?? "released") : claim.cause,
    at,
    timeline: inherited?.timeline ?? seen,
    missedLevels: null,
  };
  return { receipt: withStep(receipt, elapsedMs, "acquired", claim.reason), elapsedMs };
}

/** The receipt of the present tenure or handover. */
export class Receipts {
  current: Receipt | null = null;
  /** When the transition of the current receipt began. */
  beganMs = 0;
  private changed = false;
  /**
   * The last level attested before the tenure and the first in it: what was missed between is asked once the chain has
   * gone on.
   */
  private uncounted: { from: number; to: number; askedAtMs: number; isAsked: boolean } | null = null;

  constructor(
    private readonly o: {
      pod: string;
      clock: Clock;
      rights: Rights;
      report: Report;
      requestTimeoutMs: number;
      signal: AbortSignal;
    },
  ) {}

  /** A tenure whose acquisition wrote `receipt` has begun. */
  begin(receipt: Receipt, beganMs: number): void {
    this.current = receipt;
    this.beganMs = beganMs;
    this.changed = false;
    this.uncounted = null;
  }

  beginHandover(cause: HandoverCause, reason: string, epoch: number): void {
    const at = new Date(this.o.clock.wall()).toISOString();
    const receipt = { epoch, from: this.o.pod, to: "", cause, at, timeline: [], missedLevels: null };
    this.begin(withStep(receipt, 0, "handover-began", reason), this.o.clock.now());
  }

  clear(): void {
    this.current = null;
    this.uncounted = null;
  }

  note(event: string, reason: string, now: number): void {
    if (this.current) this.current = withStep(this.current, now - this.beganMs, event, reason);
  }

  /** What a release writes. The current receipt stays as it is: the release may fail. */
  ofRelease(successor: string, now: number): Receipt | null {
    if (!this.current) return null;
    const reason = successor === "" ? "nobody-eligible" : "successor-named";
    return withStep({ ...this.current, to: podOf(successor) }, now - this.beganMs, "released", reason);
  }

  /** The receipt that the next renewal shall write, or null where the lease has it already. */
  unwritten(): Receipt | null {
    return this.changed ? this.current : null;
  }

  written(receipt: Receipt): void {
    if (this.current === receipt) this.changed = false;
  }

  /** Completes the receipt of an active tenure with what the gate and the supervisor show. */
  follow(
    epoch: number,
    pod: { gate: GateStatus | null; supervisor: SupervisorStatus | null; headLevel: number | null },
    now: number,
  ): void {
    const { gate, supervisor } = pod;
    if (this.current?.epoch !== epoch) return;
    if (supervisor?.running && supervisor.obeys !== "stop") this.once("daemons-running", supervisor.reason, now);
    if (gate?.epoch !== epoch) return;
    if (gate.open) this.once("gate-open", gate.reason, now);
    const highest = (levels: (number | null | undefined)[]) => Math.max(-1, ...levels.map((level) => level ?? -1));
    // Until a key is open, its last attestation is the former master's, and its floor as well. A key that is not active
    // on the chain yet attests nothing, and its floor says nothing of the others.
    const attests = ({ state, floor, lastAttestation }: GateStatus["keys"][number]) =>
      state === "open" && (lastAttestation?.level ?? -1) > (floor ?? -1);
    const signed = highest(gate.keys.filter(attests).map((key) => key.lastAttestation?.level));
    if (signed >= 0 && this.once("first-attestation", `level ${signed}`, now)) {
      const from = highest(gate.keys.map((key) => key.attestedBefore));
      if (from >= 0) this.uncounted = { from, to: signed, askedAtMs: -Infinity, isAsked: false };
    }
    this.countMissed(pod.headLevel ?? -1, now);
  }

  /** @returns false where the receipt has this step already */
  private once(event: string, reason: string, now: number): boolean {
    if (this.current?.timeline.some((entry) => entry.event === event)) return false;
    this.note(event, reason, now);
    return (this.changed = true);
  }

  /**
   * Two blocks after the first attestation, so that the block that includes it is final. A node that does not know is
   * asked for some minutes.
   */
  private countMissed(head: number, now: number): void {
    const { uncounted } = this;
    const { rights, report, requestTimeoutMs, signal } = this.o;
    if (!uncounted || uncounted.isAsked || head < uncounted.to + 2) return;
    if (now - uncounted.askedAtMs < 10 * requestTimeoutMs) return;
    if (head > uncounted.to + 50) return void (this.uncounted = null);
    uncounted.askedAtMs = now;
    uncounted.isAsked = true;
    rights.missedLevels(uncounted.from, uncounted.to, signal).then(
      (missedLevels) => {
        if (this.uncounted !== uncounted || !this.current) return;
        this.uncounted = null;
        this.current = { ...this.current, missedLevels };
        this.changed = true;
      },
      (error: unknown) => {
        uncounted.isAsked = false;
        report.warn("missed-levels-unknown", error instanceof Error ? error.message : String(error));
      },
    );
  }
}

/** When this process learned of the last handovers, by who asked for them, and how long the next one waits. */
export class VoluntaryPause {
  /** Of the last one that no person asked for. */
  atMs: number | null = null;
  pauseMs = 0;
  operatorAtMs: number | null = null;
  private epoch = -1;
  private operatorEpoch = -1;
  private transition = "";

  constructor(private readonly timings: Timings) {}

  see(lease: Lease | null, view: LeaseView | null, now: number): void {
    const transition = `${view?.uid}/${view?.epoch}`;
    if (!lease || transition === this.transition) return;
    this.transition = transition;
    const receipts = readReceipts(lease);
    const operator = receipts.find(({ cause }) => cause === "planned-operator");
    if (operator && operator.epoch !== this.operatorEpoch) {
      this.operatorEpoch = operator.epoch;
      this.operatorAtMs = now;
    }
    const newest = receipts.find(({ cause }) => voluntaryCauses.has(cause));
    if (!newest || newest.epoch === this.epoch) return;
    this.epoch = newest.epoch;
    this.atMs = now;
    this.pauseMs = voluntaryPauseMs(receipts, this.timings);
  }
}
