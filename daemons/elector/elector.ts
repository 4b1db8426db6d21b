/**
 * Executes the decisions of decide.ts: the only writer of this pod's claims on the leader lease.
 *
 * Guarantees: one request about the leader lease at a time, each conditional on what was decided upon; validity counts
 * from the send time of the last successful renewal on CLOCK_MONOTONIC; whatever wakes the process, deadlines are
 * looked at before anything else is done; a release is written only after the supervisor has said that no daemon runs.
 * Does not guarantee: that a stopped machine stops its daemons in time. The signing gate is for that. States: standby,
 * acquiring, active, handing-over, lost (contract/leadership.ts).
 */
import type { BakerFile } from "../../contract/baker-file";
import { memberPods } from "../../contract/baker-file";
import type { PodEnv } from "../../contract/env";
import type { Leadership, LeadershipState } from "../../contract/leadership";
import { annotations, leaderLeaseName, memberLeaseName, podOrdinal, watermarkDataKey } from "../../contract/names";
import type { Receipt } from "../../contract/receipt";
import { maxEpoch, readWatermark } from "../../contract/watermark";
import {
  memberRecordSchema,
  type GateStatus,
  type MemberRecord,
  type NonceStatus,
  type SidecarStatus,
  type SupervisorStatus,
} from "../../contract/status";
import { untilAfterBeat, type Clock } from "../runtime/clock";
import { microTime, type KubeClient, type Lease, type Outcome } from "../runtime/kube";
import type { Log } from "../runtime/log";
import { Recent } from "../runtime/recent";
import { Wake } from "../runtime/wake";
import {
  decide,
  nextEpoch,
  successorOf,
  track,
  voluntaryPauseMs,
  type AcquireCause,
  type Decision,
  type ElectorState,
  type HandoverCause,
} from "./decide";
import { eligibility, quietMoment, recents, troubles } from "./health";
import { emptyLease, readLastTransition, readReceipts, viewLease, withReceipt } from "./lease";
import type { ElectorMetrics } from "./metrics";

/** What the node says about our rights. Both reject on any failure. */
export interface Rights {
  /** Those of the given levels at which the delegate may bake in round 0 or 1. */
  bakingLevels(levels: readonly number[], signal: AbortSignal): Promise<number[]>;
  /** Minimal seconds between two blocks. */
  blockSeconds(signal: AbortSignal): Promise<number>;
  /**
   * Levels among `from` to `to`, both included, at which the delegate had a right to attest and no block includes it.
   */
  missedLevels(from: number, to: number, signal: AbortSignal): Promise<number>;
}

export interface ElectorOptions {
  env: PodEnv;
  file: BakerFile;
  identity: string;
  kube: KubeClient;
  clock: Clock;
  log: Log;
  metrics: ElectorMetrics;
  rights: Rights;
  random?: () => number;
}

const podOf = (identity: string): string =>
  identity.slice(0, identity.lastIndexOf("_") >= 0 ? identity.lastIndexOf("_") : undefined);

/** A copy of which annotations may be changed, and the spec replaced. */
const writable = (lease: Lease) => ({
  ...lease,
  metadata: { ...lease.metadata, annotations: { ...lease.metadata.annotations } },
});

export type Statuses = {
  sidecar: SidecarStatus | null;
  supervisor: SupervisorStatus | null;
  gate: GateStatus | null;
  exposer: NonceStatus | null;
  importer: NonceStatus | null;
};

/** A stored member lease of another pod. */
interface Seen {
  pod: string;
  lease: Lease | null;
  record: MemberRecord | null;
  changedAtMs: number;
  /** When the watch told of it last. */
  toldAtMs: number;
}

export class Elector {
  readonly state: ElectorState;
  /** Resolves the pauses of the status followers when a handover begins a new step. */
  readonly hurry = new Wake();
  readonly statuses: Statuses = { sidecar: null, supervisor: null, gate: null, exposer: null, importer: null };
  private readonly askedAtMs: Record<keyof Statuses, number> = {
    sidecar: 0,
    supervisor: 0,
    gate: 0,
    exposer: 0,
    importer: 0,
  };
  private sidecarAnsweredAtMs = -Infinity;
  private readonly leaseWake = new Wake();
  private readonly memberWake = new Wake();
  private readonly stop = new AbortController();
  private readonly startedAtMs: number;
  private reconciled = false;
  /** The nonces have been exchanged once since the start: the importer need not be asked any more. */
  get knowsNonces(): boolean {
    return this.reconciled;
  }
  private object: Lease | null = null;
  private rereadAtOnce = true;
  private nextReadMs = 0;
  private nextRenewMs = 0;
  /** Requests that failed since the last success: how many, and when and why the first did. */
  private failing: { times: number; sinceMs: number; message: string } | null = null;
  private readonly recent: Recent;
  private acquireCause: AcquireCause = "first";
  private acquireReason = "";
  /** While a request about the lease is under way, the last event of the watch waits here. */
  private writing = false;
  private held: Lease | null = null;
  /** The version of the lease on which the attempt to acquire was decided. */
  private decidedOn = "";
  private wantCreate = false;
  /** renewTime and epoch of acquisitions whose answer was lost. */
  private attempts: string[] = [];
  private sigterm = false;
  private preStopAtMs: number | null = null;
  private seen: Seen[];
  private ownMember: Lease | null = null;
  private memberDirty = true;
  private decision: Decision = { action: { kind: "none" }, reason: "starting", wakeAtMs: 0 };
  private timer: NodeJS.Timeout | undefined;
  private evaluating = false;
  private readonly listeners = new Set<(line: string) => void>();
  private published = "";
  private record: Leadership | null = null;
  private rightsAt: { level: number; levels: number[] | null; askedAtMs: number } | null = null;
  private blockSeconds: number | null = null;
  private receipt: Receipt | null = null;
  private receiptBeganMs = 0;
  private receiptDirty = false;
  /**
   * The last level attested before the tenure and the first in it: what was missed between is asked once the chain has
   * gone on.
   */
  private uncounted: { from: number; to: number; askedAtMs: number } | null = null;
  private newestVoluntaryEpoch = -1;
  private lastWarnedAtMs = new Map<string, number>();
  private readonly tasks: Promise<void>[] = [];

  constructor(private readonly o: ElectorOptions) {
    const now = o.clock.now();
    this.startedAtMs = now;
    this.recent = new Recent(o.clock);
    this.state = {
      phase: "standby",
      self: o.identity,
      pod: o.env.TOG_POD_NAME,
      lease: null,
      leaseMissing: false,
      tenure: null,
      eligible: false,
      headLevel: null,
      members: [],
      ineligibleSinceMs: null,
      behindSinceMs: null,
      nobodyEligibleSinceMs: null,
      yielding: false,
      tenureLost: null,
      lastVoluntaryAtMs: null,
      voluntaryPauseMs: 0,
      handover: null,
      lostAtMs: null,
      daemonsStopped: false,
    };
    this.seen = memberPods(o.file)
      .filter((pod) => pod !== o.env.TOG_POD_NAME)
      .map((pod) => ({ pod, lease: null, record: null, changedAtMs: -Infinity, toldAtMs: -Infinity }));
  }

  private get t() {
    return this.o.file.timings;
  }

  /** Runs until stopped(); SIGTERM is `terminate()`. */
  start(): void {
    const { signal } = this.stop;
    this.tasks.push(
      this.leaseLoop(signal),
      this.memberLoop(signal),
      this.o.kube.watch(
        "leases",
        leaderLeaseName(this.o.file.baker),
        (event) => {
          // Watch for speed: an event only says that it is time to look, unless it is plainly newer.
          if (event.type === "DELETED") this.rereadAtOnce = true;
          // Perhaps our own write, whose answer tells more.
          else if (this.writing) this.held = event.object;
          else if (this.isNewer(event.object)) this.sawLease(event.object, false);
          this.evaluate();
          this.leaseWake.kick();
        },
        { signal },
      ),
      ...this.seen.map((seen) =>
        this.o.kube.watch(
          "leases",
          memberLeaseName(this.o.file.baker, podOrdinal(seen.pod)),
          (event) => {
            if (event.type === "DELETED") return;
            seen.toldAtMs = this.o.clock.now();
            this.sawMember(seen, event.object);
            this.evaluate();
          },
          { signal },
        ),
      ),
    );
    this.evaluate();
  }

  /** Ends everything; what is held is not released. */
  async close(): Promise<void> {
    this.stop.abort();
    clearTimeout(this.timer);
    await Promise.allSettled(this.tasks);
  }

  /** SIGTERM: hands over if it must, then resolves. */
  async terminate(timeoutMs: number): Promise<boolean> {
    this.sigterm = true;
    this.memberDirty = true;
    this.memberWake.kick();
    this.evaluate();
    return this.relinquished(timeoutMs);
  }

  /** A preStop call. @returns true where this pod holds nothing any more */
  async handOver(timeoutMs: number): Promise<boolean> {
    this.preStopAtMs = this.o.clock.now();
    this.memberDirty = true;
    this.memberWake.kick();
    this.evaluate();
    return this.relinquished(timeoutMs);
  }

  private async relinquished(timeoutMs: number): Promise<boolean> {
    const until = this.o.clock.now() + timeoutMs;
    const done = () => this.state.tenure === null && this.state.phase !== "acquiring" && this.state.phase !== "lost";
    const wake = new Wake();
    const listener = () => wake.kick();
    this.listeners.add(listener);
    try {
      while (!done() && this.o.clock.now() < until && !this.stop.signal.aborted)
        await wake.wait(Math.min(100, until - this.o.clock.now()), this.stop.signal);
      return done();
    } finally {
      this.listeners.delete(listener);
    }
  }

  /** The newest record, or null while a restarted elector does not yet know whether it holds. */
  leadership(): Leadership | null {
    this.evaluate();
    return this.record;
  }

  /** Calls `listener` with each new record as one JSON text without newline, and at once with the present one. */
  subscribe(listener: (line: string) => void): () => void {
    this.listeners.add(listener);
    this.evaluate();
    if (this.published !== "") listener(this.published);
    return () => this.listeners.delete(listener);
  }

  /** Of the last transitions, newest first. */
  receipts(): Receipt[] {
    return this.object ? readReceipts(this.object) : [];
  }

  members(): MemberRecord[] {
    return [...this.seen.flatMap((seen) => (seen.record ? [seen.record] : [])), this.ownRecord()].sort((a, b) =>
      a.identity.localeCompare(b.identity),
    );
  }

  status(): unknown {
    const { lease, handover } = this.state;
    return {
      leadership: this.record,
      reason: this.decision.reason,
      eligible: this.ownRecord().reason,
      handover: handover && { cause: handover.cause, step: handover.step },
      receipt: this.receipt,
      preferredHolder: lease?.preferredHolder ?? "",
      members: this.members(),
    };
  }

  /**
   * A container of the pod answered, or did not (null); the same object where nothing has changed. @param askedAtMs
   * when it was asked
   */
  sawStatus<K extends keyof Statuses>(name: K, status: Statuses[K], askedAtMs: number): void {
    const same = this.statuses[name] === status && this.state.handover === null && this.state.lostAtMs === null;
    this.statuses[name] = status;
    this.askedAtMs[name] = askedAtMs;
    if (name === "sidecar" && status !== null) this.sidecarAnsweredAtMs = askedAtMs;
    if (!same) this.evaluate();
  }

  // --- deciding
  // ----------------------------------------------------------------------------------------------------------------

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
        if (this.decision.action.kind === "none") break;
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

  /** How long the last status of a container counts. */
  private freshMs(): number {
    return 2500 * this.t.retrySeconds + this.t.requestTimeoutMs;
  }

  private gather(now: number): void {
    const { state, statuses } = this;
    const fresh = <K extends keyof Statuses>(name: K): Statuses[K] | null =>
      now - this.askedAtMs[name] <= this.freshMs() ? statuses[name] : null;
    const sidecar = fresh("sidecar");
    const gate = fresh("gate");
    const supervisor = fresh("supervisor");
    // The first exchange of nonces may delay this pod's first claim, but a broken exchange never vetoes a failover.
    if (statuses.importer?.reconciled || now - this.startedAtMs > this.t.lastResortSeconds * 1000)
      this.reconciled = true;
    const eligible = eligibility({ sidecar, supervisor, gate, reconciled: this.reconciled });
    if (eligible.eligible !== state.eligible) {
      this.o.log.info(eligible.eligible ? "eligible" : "not-eligible", eligible.reason);
      this.memberDirty = true;
      this.memberWake.kick();
    }
    state.eligible = eligible.eligible;
    state.headLevel = sidecar?.head?.level ?? null;
    state.yielding =
      this.sigterm || (this.preStopAtMs !== null && now - this.preStopAtMs < 2000 * this.t.preStopSeconds);
    state.tenureLost = state.tenure && gate?.epoch === state.tenure.epoch ? gate.tenureLost : null;
    state.daemonsStopped =
      state.lostAtMs !== null &&
      this.askedAtMs.supervisor >= state.lostAtMs &&
      supervisor !== null &&
      !supervisor.running &&
      supervisor.obeys !== "run";
    state.members = this.seen.flatMap((seen) =>
      seen.record
        ? [
            {
              pod: seen.pod,
              identity: seen.record.identity,
              eligible: seen.record.eligible,
              headLevel: seen.record.headLevel,
              noncesMissing: seen.record.noncesMissing,
              changedAtMs: seen.changedAtMs,
            },
          ]
        : [],
    );
    track(state, now, this.t);
    const handover = state.handover;
    if (handover) {
      const asked = (name: keyof Statuses) => this.askedAtMs[name] >= handover.sinceMs;
      if (handover.step === "waiting") handover.quiet = this.isQuiet(handover.cause, now);
      if (handover.step === "draining" && asked("gate") && gate) handover.drained = !gate.open && gate.inFlight === 0;
      if (handover.step === "stopping" && asked("supervisor") && supervisor)
        handover.stopped = !supervisor.running && supervisor.obeys !== "run";
      if (handover.step === "pushing" && asked("exposer")) handover.pushed = statuses.exposer?.finalPushed ?? false;
    }
    this.followTenure(now, gate, supervisor);
  }

  private isQuiet(cause: HandoverCause, now: number): boolean {
    if (cause === "higher-epoch") return true;
    const { sidecar, gate, exposer } = this.statuses;
    const head = sidecar?.head ?? null;
    if (head && sidecar?.ready) this.askRights(head.level, now);
    const beganMs = this.receiptBeganMs - this.freshMs();
    return quietMoment({
      fellSilent: sidecar === null && this.sidecarAnsweredAtMs >= beganMs,
      leftSeconds: ((this.state.handover?.waitUntilMs ?? Infinity) - now) / 1000,
      canBake: cause === "planned-operator" || cause === "planned-sigterm",
      nodeReady: sidecar?.ready ?? false,
      head,
      rights: head && this.rightsAt?.level === head.level ? this.rightsAt.levels : null,
      keys: gate?.keys ?? [],
      blockSeconds: this.blockSeconds,
      noncesMissing: exposer?.missing ?? 0,
    }).ok;
  }

  private askRights(level: number, now: number): void {
    const asked = this.rightsAt;
    if (asked?.level === level && (asked.levels !== null || now - asked.askedAtMs < this.t.requestTimeoutMs)) return;
    const mine = (this.rightsAt = { level, levels: null as number[] | null, askedAtMs: now });
    const signal = AbortSignal.any([this.stop.signal, AbortSignal.timeout(Math.ceil(this.t.requestTimeoutMs))]);
    void (async () => {
      try {
        mine.levels = await this.o.rights.bakingLevels([level + 1, level + 2], signal);
        this.blockSeconds ??= await this.o.rights.blockSeconds(signal).catch(() => null);
        this.evaluate();
      } catch (error) {
        this.warn("rights-unknown", error instanceof Error ? error.message : String(error));
      }
    })();
  }

  /** @returns true where deciding again may find more to do now */
  private execute({ action, reason }: Decision, now: number): boolean {
    const { state } = this;
    switch (action.kind) {
      case "none":
        return false;
      case "create-lease":
        if (!this.wantCreate) this.leaseWake.kick();
        this.wantCreate = true;
        return false;
      case "acquire":
        this.acquireCause = action.cause;
        this.acquireReason = reason;
        this.decidedOn = this.version(this.object);
        this.enter("acquiring", reason);
        this.leaseWake.kick();
        return false;
      case "lose":
        this.lose(reason, now);
        return false;
      case "stand-by":
        this.enter("standby", reason);
        return true;
      case "settle":
        state.lostAtMs = null;
        this.enter("standby", reason);
        this.rereadAtOnce = true;
        this.leaseWake.kick();
        return true;
      case "hand-over": {
        state.handover = {
          cause: action.cause,
          step: "waiting",
          sinceMs: now,
          waitUntilMs: now + action.waitMs,
          quiet: false,
          drained: false,
          stopped: false,
          pushed: false,
        };
        this.receiptBeganMs = now;
        this.receipt = {
          epoch: (state.tenure?.epoch ?? 0) + 1,
          from: state.pod,
          to: "",
          cause: action.cause,
          at: new Date(this.o.clock.wall()).toISOString(),
          timeline: [],
          missedLevels: null,
        };
        this.receiptDirty = false;
        this.note("handover-began", reason, now);
        this.enter("handing-over", reason);
        this.hurry.kick(false);
        this.event("Normal", "HandoverStarted", `${action.cause}: ${reason}`);
        return true;
      }
      case "hurry":
        if (state.handover) state.handover.waitUntilMs = action.waitUntilMs;
        return true;
      case "cancel-handover":
        state.handover = null;
        this.receipt = null;
        this.enter("active", reason);
        this.event("Normal", "HandoverCancelled", reason);
        return true;
      case "step":
        if (!state.handover) return false;
        state.handover.step = action.step;
        state.handover.sinceMs = now;
        this.note(action.step, reason, now);
        if (reason.endsWith("-timeout")) this.o.log.warn("handover-step", reason, { step: action.step });
        else this.o.log.info("handover-step", reason, { step: action.step });
        if (reason === "nonce-push-timeout")
          this.event("Warning", "NoncesNotPushed", "handed over without the acknowledgement of the nonces");
        this.publish();
        this.hurry.kick(false);
        if (action.step === "releasing") this.leaseWake.kick();
        return true;
    }
  }

  private enter(phase: LeadershipState, reason: string): void {
    const from = this.state.phase;
    this.state.phase = phase;
    this.o.metrics.phase(phase);
    // An API that is away makes standby and acquiring alternate: worth a line only once in a while.
    const noisy = (from === "standby" && phase === "acquiring") || (from === "acquiring" && phase === "standby");
    this.o.log[noisy ? "debug" : phase === "lost" ? "warn" : "info"]("state", reason, {
      from,
      to: phase,
      epoch: this.state.tenure?.epoch ?? this.state.lease?.epoch ?? 0,
    });
    this.memberDirty ||= !noisy;
    if (!noisy) this.memberWake.kick();
    this.publish();
  }

  private lose(reason: string, now: number): void {
    const epoch = this.state.tenure?.epoch;
    this.state.tenure = null;
    this.state.handover = null;
    this.state.lostAtMs = now;
    this.receipt = null;
    this.enter("lost", reason);
    this.o.metrics.lost(reason);
    this.event("Warning", "MastershipLost", `epoch ${epoch ?? "?"}: ${reason}`);
    this.rereadAtOnce = true;
    this.leaseWake.kick();
    this.hurry.kick(false);
  }

  // --- publishing
  // -------------------------------------------------------------------------------------------------------------------

  private publish(): void {
    const { state } = this;
    const { lease, tenure, handover } = state;
    const held = tenure !== null && (state.phase === "active" || state.phase === "handing-over");
    if (!this.record && !held) {
      // A restarted elector may still be the holder: silence leaves the last deadline standing.
      const knows = state.phase === "lost" || state.leaseMissing || (lease !== null && lease.holder !== state.self);
      if (!knows && this.o.clock.now() - this.startedAtMs < this.t.renewDeadlineSeconds * 1000) return;
    }
    const running = held && (state.phase === "active" || handover?.step === "waiting" || handover?.step === "draining");
    const record: Leadership = {
      holder: held ? state.pod : podOf(lease?.holder ?? ""),
      holderIdentity: held ? state.self : (lease?.holder ?? ""),
      self: state.self,
      leaseUid: tenure?.leaseUid ?? lease?.uid ?? "",
      epoch: tenure?.epoch ?? lease?.epoch ?? 0,
      state: state.phase,
      reason: this.decision.reason,
      validUntilNs: held ? this.validUntilNs().toString() : "0",
      gate: held && (state.phase === "active" || handover?.step === "waiting") ? "open" : "shut",
      daemons: running ? "run" : "stop",
      nonces: handover?.step === "pushing" || handover?.step === "releasing" ? "final" : "follow",
    };
    const line = JSON.stringify(record);
    if (line === this.published) return;
    this.record = record;
    this.published = line;
    for (const listener of [...this.listeners]) listener(line);
  }

  private validUntilNs(): bigint {
    const renewedNs = BigInt(Math.floor((this.state.tenure?.renewedAtMs ?? 0) * 1e6));
    return renewedNs + BigInt(Math.floor(this.t.renewDeadlineSeconds * 1e9));
  }

  // --- the leader lease: one request at a time
  // ----------------------------------------------------------------------------------------

  private async leaseLoop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const now = this.o.clock.now();
      const { phase, tenure, handover } = this.state;
      const releasing = phase === "handing-over" && handover?.step === "releasing";
      let due = this.nextReadMs;
      let job: () => Promise<void> = () => this.read(signal);
      if (this.rereadAtOnce) due = this.pacedAt;
      else if (tenure && releasing) [due, job] = [this.pacedAt, () => this.release(signal)];
      else if (phase === "acquiring") [due, job] = [this.pacedAt, () => this.acquire(signal)];
      else if (this.wantCreate && this.state.leaseMissing) [due, job] = [this.pacedAt, () => this.create(signal)];
      else if (tenure) [due, job] = [Math.max(this.pacedAt, this.nextRenewMs), () => this.renew(signal)];
      if (due > now) await this.leaseWake.wait(due - now, signal);
      else {
        try {
          this.writing = true;
          await job();
        } catch (error) {
          this.failed("internal", error instanceof Error ? error.message : String(error));
        } finally {
          this.writing = false;
        }
        const held = this.held;
        this.held = null;
        if (held && this.isNewer(held)) this.sawLease(held, false);
        this.evaluate();
      }
    }
  }

  /**
   * When the next request may be sent: at once after a first failure, then ever later, but never later than a retry.
   */
  private pacedAt = 0;

  private succeeded(): void {
    if (this.failing) {
      const silentMs = this.o.clock.now() - this.failing.sinceMs;
      this.recent.note(
        "api",
        `the Kubernetes API failed for ${(silentMs / 1000).toFixed(1)} s: ${this.failing.message}`,
      );
      this.failing = null;
    }
    this.pacedAt = 0;
  }

  private failed(kind: string, message: string, sentAtMs = this.o.clock.now()): void {
    this.o.metrics.requestFailed(kind);
    this.warn("api-failure", message, { kind });
    this.failing ??= { times: 0, sinceMs: sentAtMs, message };
    const { times } = this.failing;
    this.failing.times++;
    this.pacedAt = sentAtMs + (times === 0 ? 0 : Math.min(this.t.retrySeconds * 500, 20 * 2 ** Math.min(times, 10)));
  }

  private version(lease: Lease | null): string {
    return `${lease?.metadata.uid}/${lease?.metadata.resourceVersion}`;
  }

  private isNewer(lease: Lease): boolean {
    const [a, b] = [lease.metadata.resourceVersion ?? "", this.object?.metadata.resourceVersion ?? ""];
    if (!this.object || lease.metadata.uid !== this.object.metadata.uid || !/^\d+$/.test(a) || !/^\d+$/.test(b)) {
      if (this.object && a !== b) this.rereadAtOnce = true;
      return !this.object;
    }
    return BigInt(a) > BigInt(b);
  }

  private sawLease(lease: Lease, written: boolean): void {
    const now = this.o.clock.now();
    const before = this.object && this.state.lease ? { object: this.object, view: this.state.lease } : null;
    const mine = written || this.attempts.includes(`${lease.spec.leaseTransitions}@${lease.spec.renewTime}`);
    const view = viewLease(lease, now, this.o.identity, before, mine);
    this.object = lease;
    this.state.lease = view;
    this.state.leaseMissing = false;
    this.wantCreate = false;
    // The watch tells changes at once; this is for the case that it has died unnoticed.
    this.nextReadMs = now + 2 * this.t.retrySeconds * 1000;
    if (before?.view.epoch !== view.epoch || before.view.uid !== view.uid) {
      const receipts = readReceipts(lease);
      const newest = receipts.find(
        (receipt) => receipt.cause === "planned-ineligible" || receipt.cause === "planned-behind",
      );
      if (newest && newest.epoch !== this.newestVoluntaryEpoch) {
        this.newestVoluntaryEpoch = newest.epoch;
        this.state.lastVoluntaryAtMs = now;
        this.state.voluntaryPauseMs = voluntaryPauseMs(receipts, this.t);
      }
    }
    if (before && before.view.holder !== view.holder && view.holder !== this.o.identity)
      this.o.log.info("holder", view.holder === "" ? "released" : "changed", {
        holder: view.holder,
        epoch: view.epoch,
      });
  }

  private async read(signal: AbortSignal): Promise<void> {
    this.rereadAtOnce = false;
    const outcome = await this.o.kube.get("leases", leaderLeaseName(this.o.file.baker), {
      timeoutMs: this.timeout(),
      signal,
    });
    if (outcome.ok) {
      this.succeeded();
      this.sawLease(outcome.object, false);
      this.nextRenewMs = Math.min(this.nextRenewMs, this.state.tenure && this.conflicted ? 0 : Infinity);
      this.conflicted = false;
      return;
    }
    if (outcome.kind === "aborted") return;
    if (outcome.kind === "not-found") {
      this.succeeded();
      this.state.leaseMissing = true;
      this.nextReadMs = this.o.clock.now() + this.t.retrySeconds * 1000;
      return;
    }
    if (this.conflicted) this.rereadAtOnce = true;
    this.nextReadMs = 0;
    this.failed(outcome.kind, `get: ${outcome.message}`, outcome.sentAtMs);
  }

  /** The last write met a conflict: after the read that follows, the next renewal is due at once. */
  private conflicted = false;

  private timeout(): number {
    const { tenure } = this.state;
    if (!tenure) return this.t.requestTimeoutMs;
    const left = tenure.renewedAtMs + this.t.renewDeadlineSeconds * 1000 - this.o.clock.now();
    return Math.max(1, Math.min(this.t.requestTimeoutMs, left));
  }

  private async create(signal: AbortSignal): Promise<void> {
    const lease = emptyLease(leaderLeaseName(this.o.file.baker), this.o.env.TOG_NAMESPACE, this.o.file.baker);
    const outcome = await this.o.kube.create("leases", lease, { timeoutMs: this.timeout(), signal });
    this.wantCreate = false;
    if (outcome.ok) {
      this.succeeded();
      this.sawLease(outcome.object, true);
      this.o.log.info("lease-created", outcome.object.metadata.uid ?? "");
    } else if (outcome.kind === "already-exists") this.rereadAtOnce = true;
    else {
      this.rereadAtOnce = true;
      this.failed(outcome.kind, `create: ${outcome.message}`, outcome.sentAtMs);
    }
  }

  private async renew(signal: AbortSignal): Promise<void> {
    const { tenure } = this.state;
    const object = this.object;
    if (
      !tenure ||
      !object ||
      object.metadata.uid !== tenure.leaseUid ||
      object.spec.holderIdentity !== this.o.identity
    ) {
      this.rereadAtOnce = true;
      return;
    }
    const next = writable(object);
    const note = next.metadata.annotations;
    next.spec = { ...next.spec, renewTime: microTime(this.o.clock.wall()), leaseDurationSeconds: this.t.leaseSeconds };
    if (note[annotations.preferredHolder] === this.state.pod) delete note[annotations.preferredHolder];
    const receipt = this.receiptDirty && this.state.phase === "active" ? this.receipt : null;
    if (receipt) next.metadata.annotations = withReceipt(note, readReceipts(object), receipt);
    const sent = JSON.stringify(receipt);
    const outcome = await this.o.kube.replace("leases", next, { timeoutMs: this.timeout(), signal });
    this.o.metrics.renewed(this.o.clock.now() - outcome.sentAtMs, outcome.ok);
    if (!outcome.ok) return this.writeFailed("renew", outcome);
    this.succeeded();
    if (receipt && JSON.stringify(this.receipt) === sent) this.receiptDirty = false;
    this.sawLease(outcome.object, true);
    // The tenure for which this was sent may be over; then its answer gives nothing.
    if (this.state.tenure === tenure && this.state.lease?.holder === this.o.identity)
      tenure.renewedAtMs = outcome.sentAtMs;
    this.nextRenewMs = this.renewAfter(outcome.sentAtMs);
  }

  /** With what the other containers tell (one wake serves all), at most a retry after the last renewal was sent. */
  private renewAfter(sentAtMs: number): number {
    const everyMs = this.t.retrySeconds * 1000;
    return Math.min(
      sentAtMs + everyMs,
      this.o.clock.now() + untilAfterBeat(this.o.clock, everyMs, this.o.env.TOG_POD_ADDRESS),
    );
  }

  private writeFailed(what: string, outcome: Extract<Outcome<Lease>, { ok: false }>): void {
    if (outcome.kind === "aborted") return;
    if (outcome.kind === "conflict" || outcome.kind === "not-found") {
      // Somebody else wrote (an operator's annotation, or a new holder): look before anything else. Not a failed
      // renewal.
      this.conflicted = true;
      this.rereadAtOnce = true;
      this.o.log.info("conflict", what);
      return;
    }
    if (outcome.unknown && what !== "renew") this.rereadAtOnce = true;
    this.failed(outcome.kind, `${what}: ${outcome.message}`, outcome.sentAtMs);
  }

  private async acquire(signal: AbortSignal): Promise<void> {
    const object = this.object;
    const back = (reason: string) => {
      if (this.state.phase === "acquiring") this.enter("standby", reason);
    };
    const seen = this.state.lease;
    if (!object || !seen) return back("lease-not-read");
    if (this.version(object) !== this.decidedOn) return back("overtaken");
    const epochs = await this.watermarkEpochs(signal);
    if (epochs === null) return back("watermarks-not-read");
    // The watermarks took time: somebody may have acquired, or SIGTERM come, meanwhile.
    if (this.version(this.object) !== this.decidedOn || this.state.phase !== "acquiring" || this.state.yielding)
      return back("overtaken");
    const epoch = nextEpoch(seen.epoch, epochs);
    const now = this.o.clock.now();
    const time = microTime(this.o.clock.wall());
    const next = writable(object);
    const released = seen.holder === "" ? readLastTransition(object) : undefined;
    const inherited = released && released.epoch === seen.epoch + 1 ? released : undefined;
    const at = inherited?.at ?? new Date(this.o.clock.wall() - Math.max(0, now - seen.changedAtMs)).toISOString();
    const elapsed = Math.max(0, Math.round(this.o.clock.wall() - Date.parse(at)));
    const cause =
      this.acquireCause === "successor" || this.acquireCause === "released"
        ? (inherited?.cause ?? "released")
        : this.acquireCause;
    const receipt: Receipt = {
      epoch,
      from: inherited?.from ?? podOf(seen.holder),
      to: this.state.pod,
      cause,
      at,
      timeline: [
        ...(inherited?.timeline ??
          (seen.holder === "" ? [] : [{ atMs: 0, event: "last-renewal-seen", reason: seen.holder }])),
        { atMs: elapsed, event: "acquired", reason: this.acquireReason },
      ],
      missedLevels: null,
    };
    const note = withReceipt(next.metadata.annotations, readReceipts(object), receipt);
    delete note[annotations.successor];
    if (note[annotations.preferredHolder] === this.state.pod) delete note[annotations.preferredHolder];
    next.metadata.annotations = note;
    next.spec = {
      ...next.spec,
      holderIdentity: this.o.identity,
      leaseDurationSeconds: this.t.leaseSeconds,
      acquireTime: time,
      renewTime: time,
      leaseTransitions: epoch,
    };
    this.attempts = [`${epoch}@${time}`, ...this.attempts].slice(0, 10);
    const outcome = await this.o.kube.replace("leases", next, { timeoutMs: this.timeout(), signal });
    if (!outcome.ok) {
      this.writeFailed("acquire", outcome);
      this.conflicted = false;
      return back(outcome.kind);
    }
    this.succeeded();
    this.sawLease(outcome.object, true);
    const lease = this.state.lease;
    // Written is written, even if the attempt was given up meanwhile: what is held can be handed over.
    if (!lease || lease.holder !== this.o.identity || lease.epoch !== epoch) return back("overtaken");
    this.state.tenure = { leaseUid: lease.uid, epoch, renewedAtMs: outcome.sentAtMs };
    this.nextRenewMs = this.renewAfter(outcome.sentAtMs);
    this.receipt = receipt;
    this.receiptBeganMs = outcome.sentAtMs - elapsed;
    this.receiptDirty = false;
    this.uncounted = null;
    this.o.metrics.acquired(cause, epoch);
    this.o.log.info("acquired", cause, { epoch, from: receipt.from, leaseUid: lease.uid });
    this.event("Normal", "MastershipAcquired", `epoch ${epoch} from ${receipt.from || "nobody"}: ${cause}`);
    this.enter("active", cause);
  }

  /**
   * Epochs of all watermarks of the baker, or null where one cannot be read now. A missing or foreign one says nothing.
   */
  private async watermarkEpochs(signal: AbortSignal): Promise<number[] | null> {
    const names = [...new Set(this.o.file.keys.map((key) => key.watermark))];
    const outcomes = await Promise.all(
      names.map((name) => this.o.kube.get("configmaps", name, { timeoutMs: this.timeout(), signal })),
    );
    const epochs: number[] = [];
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.ok) {
        const reading = readWatermark(outcome.object.data?.[watermarkDataKey]);
        if (reading.state === "empty") continue;
        const { baker, epoch } = reading.state === "record" ? reading.record : reading;
        if (baker !== this.o.file.baker || epoch === undefined) this.warn("watermark-not-understood", names[i] ?? "");
        else if (epoch <= maxEpoch) epochs.push(epoch);
        else this.absurdEpoch(names[i] ?? "", epoch);
      } else if (outcome.kind === "not-found") this.warn("watermark-missing", names[i] ?? "");
      else {
        this.failed(outcome.kind, `${names[i]}: ${outcome.message}`, outcome.sentAtMs);
        return null;
      }
    }
    return epochs;
  }

  private absurdEpoch(watermark: string, epoch: number): void {
    const told = `epoch ${epoch} of ${watermark} must be at most ${maxEpoch}: its key is refused, the others do not follow it`;
    this.warn("watermark-epoch-absurd", told);
    this.recent.note("watermark", told);
  }

  private async release(signal: AbortSignal): Promise<void> {
    const { tenure, handover } = this.state;
    const object = this.object;
    // The answer to an earlier release was lost.
    if (
      tenure &&
      handover &&
      object?.metadata.uid === tenure.leaseUid &&
      object.spec.holderIdentity !== this.o.identity
    )
      return this.released(
        tenure.epoch,
        handover.cause,
        object.spec.holderIdentity || (object.metadata.annotations?.[annotations.successor] ?? ""),
      );
    if (
      !tenure ||
      !handover ||
      !object ||
      object.metadata.uid !== tenure.leaseUid ||
      object.spec.holderIdentity !== this.o.identity
    ) {
      this.rereadAtOnce = true;
      return;
    }
    const now = this.o.clock.now();
    const successor = successorOf(this.state, handover.cause, now, this.t);
    const next = writable(object);
    let note = next.metadata.annotations;
    if (this.receipt) {
      this.receipt.to = podOf(successor);
      this.note("released", successor === "" ? "nobody-eligible" : "successor-named", now);
      note = { ...note, [annotations.lastTransition]: JSON.stringify(this.receipt) };
    }
    if (successor === "") delete note[annotations.successor];
    else note[annotations.successor] = successor;
    // The PUT that honours the operator's wish clears it.
    if (successor !== "" && note[annotations.preferredHolder] === podOf(successor))
      delete note[annotations.preferredHolder];
    next.metadata.annotations = note;
    next.spec = { ...next.spec, holderIdentity: "", renewTime: microTime(this.o.clock.wall()) };
    const outcome = await this.o.kube.replace("leases", next, { timeoutMs: this.timeout(), signal });
    if (!outcome.ok) {
      this.receipt?.timeline.pop();
      return this.writeFailed("release", outcome);
    }
    this.succeeded();
    this.sawLease(outcome.object, true);
    if (this.state.tenure !== tenure) return;
    this.released(tenure.epoch, handover.cause, successor);
  }

  private released(epoch: number, cause: string, successor: string): void {
    this.o.log.info("released", cause, { epoch, successor });
    this.o.metrics.released(cause, this.o.clock.now() - this.receiptBeganMs);
    this.event("Normal", "MastershipReleased", `epoch ${epoch} to ${podOf(successor) || "nobody"}: ${cause}`);
    this.state.tenure = null;
    this.state.handover = null;
    this.receipt = null;
    this.enter("standby", "released");
  }

  // --- the story of a tenure
  // ----------------------------------------------------------------------------------------------------------

  private note(event: string, reason: string, now: number): void {
    this.receipt?.timeline.push({ atMs: Math.max(0, Math.round(now - this.receiptBeganMs)), event, reason });
  }

  /** Completes the receipt with what the gate and the supervisor show; it is written with the next renewal. */
  private followTenure(now: number, gate: GateStatus | null, supervisor: SupervisorStatus | null): void {
    const { receipt, state } = this;
    if (!receipt || state.phase !== "active" || !state.tenure || receipt.epoch !== state.tenure.epoch) return;
    const has = (event: string) => receipt.timeline.some((entry) => entry.event === event);
    const add = (event: string, reason: string) => {
      this.note(event, reason, now);
      this.receiptDirty = true;
    };
    if (supervisor?.running && supervisor.obeys !== "stop" && !has("daemons-running"))
      add("daemons-running", supervisor.reason);
    if (gate?.epoch !== receipt.epoch) return;
    if (gate.open && !has("gate-open")) add("gate-open", gate.reason);
    const floor = Math.max(-1, ...gate.keys.map((key) => key.floor ?? -1));
    const signed = Math.max(-1, ...gate.keys.map((key) => key.lastAttestation?.level ?? -1));
    if (signed > floor && !has("first-attestation")) {
      add("first-attestation", `level ${signed}`);
      const from = Math.max(-1, ...gate.keys.map((key) => key.attestedBefore ?? -1));
      if (from >= 0) this.uncounted = { from, to: signed, askedAtMs: -Infinity };
    }
    this.countMissed(receipt, now);
  }

  /**
   * Two blocks after the first attestation, so that the block that includes it is final. A node that does not know is
   * asked for some minutes.
   */
  private countMissed(receipt: Receipt, now: number): void {
    const { uncounted } = this;
    const head = this.state.headLevel ?? -1;
    if (!uncounted || head < uncounted.to + 2 || now - uncounted.askedAtMs < 10 * this.t.requestTimeoutMs) return;
    if (head > uncounted.to + 50) return void (this.uncounted = null);
    uncounted.askedAtMs = now;
    void (async () => {
      try {
        const missed = await this.o.rights.missedLevels(uncounted.from, uncounted.to, this.stop.signal);
        if (this.uncounted !== uncounted || this.receipt !== receipt) return;
        this.uncounted = null;
        receipt.missedLevels = missed;
        this.receiptDirty = true;
      } catch (error) {
        this.warn("missed-levels-unknown", error instanceof Error ? error.message : String(error));
      }
    })();
  }

  private event(type: "Normal" | "Warning", reason: string, message: string): void {
    void this.o.kube.emitEvent({
      type,
      reason,
      message,
      regarding: { kind: "Pod", apiVersion: "v1", name: this.o.env.TOG_POD_NAME, uid: this.o.env.TOG_POD_UID },
    });
  }

  private warn(event: string, reason: string, fields: Record<string, unknown> = {}): void {
    const now = this.o.clock.now();
    if (now - (this.lastWarnedAtMs.get(event) ?? -Infinity) < 10_000 * this.t.retrySeconds) return;
    this.lastWarnedAtMs.set(event, now);
    this.o.log.warn(event, reason, fields);
  }

  // --- member leases
  // ------------------------------------------------------------------------------------------------------------------

  private ownRecord(): MemberRecord {
    const { sidecar, supervisor, gate, exposer } = this.statuses;
    const { state } = this;
    const eligible = eligibility({ sidecar, supervisor, gate, reconciled: this.reconciled });
    return {
      identity: this.o.identity,
      address: this.o.env.TOG_POD_ADDRESS,
      zone: this.o.env.TOG_ZONE,
      ready: sidecar?.ready ?? false,
      eligible: state.eligible && !state.yielding,
      reason: state.yielding ? "yielding" : eligible.reason,
      headLevel: state.headLevel,
      headTimestamp: sidecar?.head?.timestamp ?? null,
      noncesMissing: exposer?.missing ?? 0,
      daemons: !supervisor
        ? "unknown"
        : supervisor.crashLooping
          ? "crash-looping"
          : supervisor.running
            ? "running"
            : "stopped",
      signersAnswering: gate?.signersAnswering ?? 0,
      state: state.phase,
      keys: gate?.keys.map(({ address, state: keyState, reason }) => ({ address, state: keyState, reason })) ?? [],
      troubles: troubles(this.statuses),
      recent: recents(this.statuses, this.recent.list()),
    };
  }

  private async memberLoop(signal: AbortSignal): Promise<void> {
    const every = this.t.memberRenewSeconds * 1000;
    let writeAtMs = 0;
    while (!signal.aborted) {
      const now = this.o.clock.now();
      const jobs: Promise<void>[] = [];
      if (this.memberDirty || now >= writeAtMs) {
        this.memberDirty = false;
        writeAtMs = now + untilAfterBeat(this.o.clock, every, this.o.env.TOG_POD_ADDRESS);
        jobs.push(this.writeMember(signal));
      }
      // The watch tells of each renewal; where it has not, it may have died unnoticed.
      const silent = this.seen.filter((seen) => now - seen.toldAtMs >= 1.25 * every);
      jobs.push(...silent.map((seen) => this.readMember(seen, signal)));
      await Promise.allSettled(jobs);
      for (const seen of this.seen)
        this.o.metrics.member(
          seen.pod,
          this.o.clock.now() - seen.changedAtMs < this.t.memberMaxAgeSeconds * 1000 && (seen.record?.eligible ?? false),
        );
      this.evaluate();
      const pause = Math.max(20, writeAtMs - this.o.clock.now());
      await this.memberWake.wait(silent.length > 0 ? Math.min(every / 2, pause) : pause, signal);
    }
  }

  private async writeMember(signal: AbortSignal): Promise<void> {
    const name = memberLeaseName(this.o.file.baker, podOrdinal(this.o.env.TOG_POD_NAME));
    const options = { timeoutMs: this.t.requestTimeoutMs, signal };
    const fill = (lease: Lease): Lease => ({
      ...lease,
      metadata: {
        ...lease.metadata,
        annotations: { ...lease.metadata.annotations, [annotations.member]: JSON.stringify(this.ownRecord()) },
      },
      spec: {
        ...lease.spec,
        holderIdentity: this.o.identity,
        leaseDurationSeconds: Math.max(1, Math.ceil(this.t.memberMaxAgeSeconds)),
        renewTime: microTime(this.o.clock.wall()),
      },
    });
    for (let attempt = 0; attempt < 2; attempt++) {
      if (!this.ownMember) {
        const read = await this.o.kube.get("leases", name, options);
        if (read.ok) this.ownMember = read.object;
        else if (read.kind === "not-found") {
          const made = await this.o.kube.create(
            "leases",
            fill(emptyLease(name, this.o.env.TOG_NAMESPACE, this.o.file.baker)),
            options,
          );
          if (made.ok) this.ownMember = made.object;
          return;
        } else {
          this.warn("member-not-written", `get: ${read.message}`, { kind: read.kind });
          return;
        }
      }
      const wrote = await this.o.kube.replace("leases", fill(this.ownMember), options);
      if (wrote.ok) {
        this.ownMember = wrote.object;
        return;
      }
      this.ownMember = null;
      if (wrote.kind !== "conflict" && wrote.kind !== "not-found") {
        if (wrote.kind !== "aborted")
          this.warn("member-not-written", `replace: ${wrote.message}`, { kind: wrote.kind });
        return;
      }
    }
  }

  private async readMember(seen: Seen, signal: AbortSignal): Promise<void> {
    const name = memberLeaseName(this.o.file.baker, podOrdinal(seen.pod));
    const outcome = await this.o.kube.get("leases", name, { timeoutMs: this.t.requestTimeoutMs, signal });
    // The watch may have overtaken the answer.
    if (outcome.ok && outcome.sentAtMs > seen.toldAtMs) this.sawMember(seen, outcome.object);
  }

  private sawMember(seen: Seen, lease: Lease): void {
    // A first look proves nothing about life: only a change that we saw ourselves does.
    if (seen.lease && this.version(seen.lease) !== this.version(lease)) seen.changedAtMs = this.o.clock.now();
    seen.lease = lease;
    try {
      const parsed = memberRecordSchema.safeParse(JSON.parse(lease.metadata.annotations?.[annotations.member] ?? ""));
      seen.record = parsed.success && podOf(parsed.data.identity) === seen.pod ? parsed.data : null;
    } catch {
      seen.record = null;
    }
  }
}
