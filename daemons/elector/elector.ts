/**
 * Gathers what the parts know, decides (decide.ts), and executes the decision.
 *
 * Guarantees: whatever wakes the process, deadlines are looked at before anything else is done; a release is written
 * only after the supervisor has said that no daemon runs. The claims on the lease are leader-lease.ts's. Does not
 * guarantee: that a stopped machine stops its daemons in time. The signing gate is for that. States: standby,
 * acquiring, active, handing-over, lost (contract/leadership.ts).
 */
import type { BakerFile } from "../../contract/baker-file";
import type { PodEnv } from "../../contract/env";
import type { Leadership, LeadershipState } from "../../contract/leadership";
import type { Receipt } from "../../contract/receipt";
import type { MemberRecord } from "../../contract/status";
import type { Clock } from "../runtime/clock";
import type { KubeClient } from "../runtime/kube";
import type { Log } from "../runtime/log";
import { NextRights, type Rights } from "../runtime/rights";
import { Wake } from "../runtime/wake";
import { decide, successorOf, type Action, type Decision, type ElectorState, type HandoverCause } from "./decide";
import { gatherConfirmations, gatherLease, gatherMembers, gatherPod, initialState, type Sources } from "./facts";
import { memberRecord } from "./health";
import { LeaderLease, type Finished } from "./leader-lease";
import { LeadershipReaders, knowsItsRole, leadershipOf } from "./leadership";
import { podOf, readReceipts } from "./lease";
import { Members } from "./members";
import type { ElectorMetrics } from "./metrics";
import { OperatorPause } from "./operator-pause";
import { PodStatus, type Statuses } from "./pod-status";
import { Receipts, VoluntaryPause } from "./receipts";
import { Report } from "./report";

export interface ElectorOptions {
  env: PodEnv;
  file: BakerFile;
  identity: string;
  kube: KubeClient;
  clock: Clock;
  log: Log;
  metrics: ElectorMetrics;
  rights: Rights;
}

/** Every change of phase; any other is a fault of this program, which then stops and lets the lease run out. */
const transitions: Record<LeadershipState, readonly LeadershipState[]> = {
  // To active where the answer to an attempt came after it had been given up.
  standby: ["acquiring", "active"],
  acquiring: ["standby", "active"],
  active: ["handing-over", "lost"],
  "handing-over": ["active", "standby", "lost"],
  lost: ["standby"],
};

type ActionOf<K extends Action["kind"]> = Extract<Action, { kind: K }>;

export class Elector {
  readonly state: ElectorState;
  /** Resolves the pauses of the status followers when a handover begins a new step. */
  readonly hurry = new Wake();
  private readonly report: Report;
  private readonly tenureReceipts: Receipts;
  private readonly sources: Sources;
  private readonly readers = new LeadershipReaders();
  private readonly stop = new AbortController();
  private readonly startedAtMs: number;
  private asked = { sigterm: false, preStopAtMs: -Infinity };
  private decision: Decision = { action: { kind: "none" }, reason: "starting", wakeAtMs: 0 };
  private timer: NodeJS.Timeout | undefined;
  private evaluating = false;
  private running: Promise<unknown> = Promise.resolve();

  constructor(private readonly o: ElectorOptions) {
    const { timings: t } = o.file;
    const { signal } = this.stop;
    const changed = () => this.evaluate();
    this.startedAtMs = o.clock.now();
    this.state = initialState(o.identity, o.env.TOG_POD_NAME);
    const report = (this.report = new Report({ ...o, quietMs: 10_000 * t.retrySeconds }));
    const part = { ...o, report, changed, requestTimeoutMs: t.requestTimeoutMs, signal };
    const receipts = (this.tenureReceipts = new Receipts({ ...part, pod: o.env.TOG_POD_NAME }));
    const operatorPause = new OperatorPause({
      // The holder speaks: nobody else acts on a pause.
      ignored: (why) => this.state.tenure && report.pauseIgnored(why),
      changed: () => this.sources.members.announce(),
    });
    this.sources = {
      pod: new PodStatus({
        freshMs: 2500 * t.retrySeconds + t.requestTimeoutMs,
        nonceDeadlineMs: this.startedAtMs + t.lastResortSeconds * 1000,
      }),
      lease: new LeaderLease({ ...part, receipts, pauseIsOver: (text) => operatorPause.isOver(text) }),
      members: new Members({ ...part, ownRecord: () => this.ownRecord() }),
      pause: new VoluntaryPause(t),
      operatorPause,
      rights: new NextRights(part),
    };
  }

  /** Nonces have been exchanged once since the start: the importer need not be asked any more. */
  get noncesExchanged(): boolean {
    return this.sources.pod.noncesExchanged;
  }

  private get t() {
    return this.o.file.timings;
  }

  /** Runs until close(); SIGTERM is `terminate()`. */
  start(): void {
    const { signal } = this.stop;
    this.running = Promise.allSettled([this.sources.lease.run(signal), this.sources.members.run(signal)]);
    this.evaluate();
  }

  /** Ends everything; what is held is not released. */
  async close(): Promise<void> {
    this.stop.abort();
    clearTimeout(this.timer);
    await this.running;
  }

  /** SIGTERM: hands over if it must. @returns true where this pod holds nothing any more */
  async terminate(timeoutMs: number): Promise<boolean> {
    this.asked.sigterm = true;
    return this.relinquish(timeoutMs);
  }

  /** A preStop call. @returns true where this pod holds nothing any more */
  async handOver(timeoutMs: number): Promise<boolean> {
    this.asked.preStopAtMs = this.o.clock.now();
    return this.relinquish(timeoutMs);
  }

  private async relinquish(timeoutMs: number): Promise<boolean> {
    const { clock } = this.o;
    const until = clock.now() + timeoutMs;
    const done = () => this.state.tenure === null && this.state.phase !== "acquiring" && this.state.phase !== "lost";
    const wake = new Wake();
    this.sources.members.announce();
    this.evaluate();
    const unsubscribe = this.readers.subscribe(() => wake.kick());
    try {
      while (!done() && clock.now() < until && !this.stop.signal.aborted)
        await wake.wait(Math.min(100, until - clock.now()), this.stop.signal);
      return done();
    } finally {
      unsubscribe();
    }
  }

  /** The newest record, or null while a restarted elector does not yet know whether it holds. */
  leadership(): Leadership | null {
    this.evaluate();
    return this.readers.record;
  }

  /** Calls `listener` with each new record as one JSON text without newline, and at once with the present one. */
  subscribe(listener: (line: string) => void): () => void {
    this.evaluate();
    return this.readers.subscribe(listener);
  }

  /** Of the last transitions, newest first. */
  receipts(): Receipt[] {
    const { object } = this.sources.lease.known;
    return object ? readReceipts(object) : [];
  }

  pausedSeconds(): number {
    return Math.max(0, (this.state.handoversPausedUntilMs ?? 0) - this.o.clock.now()) / 1000;
  }

  members(): MemberRecord[] {
    return [...this.sources.members.records(), this.ownRecord()].sort((a, b) => a.identity.localeCompare(b.identity));
  }

  status(): unknown {
    const { lease, handover } = this.state;
    return {
      leadership: this.readers.record,
      reason: this.decision.reason,
      eligible: this.ownRecord().reason,
      handover: handover && { cause: handover.cause, step: handover.step },
      receipt: this.tenureReceipts.current,
      preferredHolder: lease?.preferredHolder ?? "",
      pausedSeconds: this.pausedSeconds(),
      members: this.members(),
    };
  }

  /**
   * A container of the pod answered, or did not (null); the same object where nothing has changed. @param askedAtMs
   * when it was asked
   */
  sawStatus<K extends keyof Statuses>(name: K, status: Statuses[K], askedAtMs: number): void {
    const changed = this.sources.pod.saw(name, status, askedAtMs);
    if (changed || this.state.handover !== null || this.state.lostAtMs !== null) this.evaluate();
  }

  /**
   * Decides until there is nothing to do at this moment; cheap, synchronous, called by everything that learned
   * something.
   */
  evaluate(): void {
    if (this.evaluating || this.stop.signal.aborted) return;
    this.evaluating = true;
    try {
      for (let i = 0; i < 16; i++) {
        const now = this.o.clock.now();
        this.gather(now);
        const before = this.decision.reason;
        this.decision = decide(this.state, now, this.t);
        if (this.decision.reason !== before)
          this.o.log.debug("decision", this.decision.reason, { state: this.state.phase });
        if (!this.execute(this.decision, now)) break;
      }
      this.publish();
    } finally {
      this.evaluating = false;
    }
    clearTimeout(this.timer);
    const delay = Math.min(this.decision.wakeAtMs - this.o.clock.now(), this.t.retrySeconds * 1000);
    this.timer = setTimeout(() => this.evaluate(), Math.max(1, delay));
  }

  // --- gathering

  private gather(now: number): void {
    const { state, sources, asked } = this;
    const { pod, lease, members } = sources;
    gatherLease(state, sources, now, this.o.clock.wall());
    const finished = lease.takeFinished();
    if (finished) this.conclude(finished);
    const couldBake = state.eligible;
    const reason = gatherPod(state, sources, now);
    if (state.eligible !== couldBake) {
      this.o.log.info(state.eligible ? "eligible" : "not-eligible", reason);
      members.announce();
    }
    state.yielding = asked.sigterm || now - asked.preStopAtMs < 2000 * this.t.preStopSeconds;
    gatherMembers(state, sources, now, this.t);
    if (state.handover) gatherConfirmations(state.handover, sources, now, this.t);
    if (state.phase !== "active" || !state.tenure) return;
    const shown = { gate: pod.fresh("gate", now), supervisor: pod.fresh("supervisor", now) };
    this.tenureReceipts.follow(state.tenure.epoch, { ...shown, headLevel: state.headLevel }, now);
  }

  private ownRecord(): MemberRecord {
    const { state, o } = this;
    const { pod } = this.sources;
    return memberRecord(pod.latest, {
      ...{ identity: o.identity, address: o.env.TOG_POD_ADDRESS, zone: o.env.TOG_ZONE, state: state.phase },
      ...{ headLevel: state.headLevel, eligible: state.eligible, yielding: state.yielding },
      ...{ pausedSeconds: Math.ceil(this.pausedSeconds()), reconciled: pod.noncesExchanged },
      recent: this.report.recent.list(),
      troubles: this.sources.lease.troubles(),
    });
  }

  // --- executing

  /** @returns true where deciding again may find more to do now */
  private execute({ action, reason }: Decision, now: number): boolean {
    const { state } = this;
    const { lease } = this.sources;
    switch (action.kind) {
      case "none":
        return false;
      case "create-lease":
        lease.want({ kind: "create" });
        return false;
      case "acquire":
        lease.want({ kind: "acquire", cause: action.cause, reason, version: lease.known.version });
        this.enter("acquiring", reason);
        return false;
      case "stand-by":
        lease.want({ kind: "nothing" });
        this.enter("standby", reason);
        return true;
      case "lose":
        this.lose(reason, now);
        return false;
      case "settle":
        state.lostAtMs = null;
        this.enter("standby", reason);
        lease.readAgain();
        return true;
      case "hand-over":
        this.beginHandover(action, reason, now);
        return true;
      case "hurry":
        if (state.handover) state.handover.waitUntilMs = action.waitUntilMs;
        return true;
      case "cancel-handover":
        state.handover = null;
        this.tenureReceipts.clear();
        this.enter("active", reason);
        this.report.event("Normal", "HandoverCancelled", reason);
        return true;
      case "step":
        this.stepHandover(action, reason, now);
        return true;
    }
  }

  private beginHandover({ cause, waitMs }: ActionOf<"hand-over">, reason: string, now: number): void {
    const confirmed = { quiet: false, drained: false, stopped: false, pushed: false };
    this.state.handover = {
      cause,
      step: "waiting",
      sinceMs: now,
      waitUntilMs: now + waitMs,
      ...{ headAtFirst: null, quietSinceMs: null },
      ...confirmed,
    };
    this.tenureReceipts.beginHandover(cause, reason, (this.state.tenure?.epoch ?? 0) + 1);
    this.enter("handing-over", reason);
    this.hurry.kick(false);
    this.report.event("Normal", "HandoverStarted", `${cause}: ${reason}`);
  }

  private stepHandover({ step }: ActionOf<"step">, reason: string, now: number): void {
    const { handover } = this.state;
    if (!handover) throw new Error(`a step of a handover (${step}) needs a handover; there is none`);
    handover.step = step;
    handover.sinceMs = now;
    this.tenureReceipts.note(step, reason, now);
    if (reason.endsWith("-timeout")) this.o.log.warn("handover-step", reason, { step });
    else this.o.log.info("handover-step", reason, { step });
    if (reason === "nonce-push-timeout")
      this.report.event("Warning", "NoncesNotPushed", "handed over without the acknowledgement of the nonces");
    this.publish();
    this.hurry.kick(false);
    if (step === "releasing")
      this.sources.lease.want({ kind: "release", successor: () => this.successor(handover.cause) });
  }

  private successor(cause: HandoverCause): string {
    return successorOf(this.state, cause, this.o.clock.now(), this.t);
  }

  private lose(reason: string, now: number): void {
    const { state } = this;
    const epoch = state.tenure?.epoch;
    this.sources.lease.giveUp();
    state.tenure = null;
    state.handover = null;
    state.lostAtMs = now;
    this.tenureReceipts.clear();
    this.enter("lost", reason);
    this.o.metrics.lost(reason);
    this.report.event("Warning", "MastershipLost", `epoch ${epoch ?? "?"}: ${reason}`);
    this.hurry.kick(false);
  }

  /** A tenure has begun or been released, or an attempt has failed. */
  private conclude(finished: Finished): void {
    const { log, metrics, clock } = this.o;
    switch (finished.kind) {
      case "not-acquired":
        if (this.state.phase === "acquiring") this.enter("standby", finished.reason);
        return;
      case "acquired": {
        const { cause, from, tenure } = finished;
        metrics.acquired(cause, tenure.epoch);
        log.info("acquired", cause, { epoch: tenure.epoch, from, leaseUid: tenure.leaseUid });
        this.report.event("Normal", "MastershipAcquired", `epoch ${tenure.epoch} from ${from || "nobody"}: ${cause}`);
        this.enter("active", cause);
        return;
      }
      case "released": {
        const { epoch, successor } = finished;
        const cause = this.state.handover?.cause ?? "";
        const to = podOf(successor) || "nobody";
        log.info("released", cause, { epoch, successor });
        metrics.released(cause, clock.now() - this.tenureReceipts.beganMs);
        this.report.event("Normal", "MastershipReleased", `epoch ${epoch} to ${to}: ${cause}`);
        this.state.handover = null;
        this.tenureReceipts.clear();
        this.enter("standby", "released");
        return;
      }
    }
  }

  private enter(phase: LeadershipState, reason: string): void {
    const from = this.state.phase;
    if (!transitions[from].includes(phase))
      throw new Error(`from ${from} an elector goes to ${transitions[from].join(" or ")}; got ${phase} (${reason})`);
    this.state.phase = phase;
    this.o.metrics.phase(phase);
    // An API that is away makes standby and acquiring alternate: worth a line only once in a while.
    const noisy = (from === "standby" && phase === "acquiring") || (from === "acquiring" && phase === "standby");
    this.o.log[noisy ? "debug" : phase === "lost" ? "warn" : "info"]("state", reason, {
      from,
      to: phase,
      epoch: this.state.tenure?.epoch ?? this.state.lease?.epoch ?? 0,
    });
    if (!noisy) this.sources.members.announce();
    this.publish();
  }

  private publish(): void {
    const mayHold = this.o.clock.now() - this.startedAtMs < this.t.renewDeadlineSeconds * 1000;
    if (!this.readers.record && mayHold && !knowsItsRole(this.state)) return;
    this.readers.publish(leadershipOf(this.state, this.decision.reason, this.t));
  }
}
