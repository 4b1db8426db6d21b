/**
 * The election as a model: two electors that decide with the real `decide`, `nextEpoch` and `successorOf`, the leader
 * lease in the API, their
 * supervisors, and a nonce that the master's daemon may make at any time. What elector.ts does around the decisions
 * is written again here.
 *
 * Time goes in ticks of one second. It goes on only when every elector has lost what it must lose by now and every
 * supervisor has
 * killed what it must kill: that is what S4 presupposes. Requests, answers and looks at the lease take as long as
 * they like, and may be lost.
 */
import type { LeadershipState } from "../contract/leadership";
import { defaultTimings, type Timings } from "../contract/timings";
import {
  decide,
  nextEpoch,
  successorOf,
  type AcquireCause,
  type ElectorState,
  type Handover,
  type HandoverCause,
} from "../daemons/elector/decide";
import type { Model } from "./checker";
import { Namer } from "./namer";

export interface ElectionRules {
  timings: Timings;
  nextEpoch(lease: number, watermark: number, own: boolean): number;
  /** What the elector believes, before it decides. */
  believes(state: ElectorState): ElectorState;
  /** A write names the version of the lease on which it was decided. */
  conditional: boolean;
  /** The tenure counts from the moment at which the renewal was sent. */
  fromSending: boolean;
}
export const electionRules: ElectionRules = {
  timings: {
    ...defaultTimings,
    leaseSeconds: 2,
    renewDeadlineSeconds: 1,
    // A challenger comes as early as the rules permit.
    retrySeconds: 0,
    gateDrainSeconds: 1,
    stopGraceSeconds: 1,
    noncePushSeconds: 1,
    handoverWaitSeconds: 1,
  },
  nextEpoch: (lease, watermark) => nextEpoch(lease, [watermark]),
  believes: (state) => state,
  conditional: true,
  fromSending: true,
};

export interface ElectionBounds {
  epochs: number;
  /** How often an operator wishes for the other pod, an elector's process ends, the lease is deleted. */
  wishes: number;
  restarts: number;
  deletions: number;
  /** The daemons make nonces. */
  nonces: boolean;
}

interface Lease {
  uid: number;
  holder: string;
  epoch: number;
  successor: string;
  wish: string;
}
interface Write {
  kind: "acquire" | "renew" | "release";
  lease: Lease;
  /** Since it was sent. */
  age: number;
  /** The API has taken it. */
  applied: boolean;
  /** Nobody else has written since it was decided, or taken. */
  current: boolean;
  pushed: boolean;
  /** The epoch of the watermark when it was sent. */
  watermark: number;
}
interface Pod {
  phase: LeadershipState;
  view: (Lease & { seen: number; changed: number }) | null;
  /** The view is of the newest version. */
  current: boolean;
  /** An attempt to acquire was decided on the version of the view. */
  cause: AcquireCause | null;
  tenure: { uid: number; epoch: number; age: number } | null;
  handover: { cause: HandoverCause; step: Handover["step"]; since: number; stopped: boolean; pushed: boolean } | null;
  lost: number | null;
  write: Write | null;
  /**
   * What the supervisor knows: the age of the renewal until whose deadline the daemons may run, null where it was
   * told to stop.
   */
  allowed: number | null;
  running: boolean;
  /** A nonce that the other pod does not have. */
  unshared: boolean;
}
export interface ElectionState {
  lease: Lease | null;
  uids: number;
  watermark: number;
  pods: readonly Pod[];
  late: readonly { pod: number; lease: Lease }[];
  /** Epochs of the tenures so far: highest. */
  highest: number;
  left: { wishes: number; restarts: number; deletions: number };
  broken: string | undefined;
}

const names = ["a", "b"] as const;
const identity = (pod: number) => `${names[pod]}_uid`;
const nowMs = 1_000_000;

const starting: Pod = {
  phase: "standby",
  view: null,
  current: false,
  cause: null,
  tenure: null,
  handover: null,
  lost: null,
  write: null,
  allowed: null,
  running: false,
  unshared: false,
};
const atMs = (age: number) => nowMs - age * 1000;
/** Ages that are above every bound with which they are compared are not told apart. */
const older = (age: number, most: number) => Math.min(most, age + 1);
const failed = (kind: Write["kind"]): Partial<Pod> => (kind === "acquire" ? { phase: "standby", cause: null } : {});

/**
 * What the elector publishes of its state to the supervisor (elector.ts, `publish`); a restarted one is silent at
 * first.
 */
function published(pod: Pod): Pod {
  const { phase, handover, tenure, view } = pod;
  const held = tenure !== null && (phase === "active" || phase === "handing-over");
  const run = held && (phase === "active" || handover?.step === "waiting" || handover?.step === "draining");
  if (run) return { ...pod, allowed: tenure.age };
  if (held || phase === "lost" || view !== null) return { ...pod, allowed: null };
  return pod;
}

/** What is the same in every state: the bounds, the rules, and what an elector believes. */
class Election {
  readonly t: ElectionRules["timings"];

  constructor(
    readonly bounds: ElectionBounds,
    readonly rules: ElectionRules,
  ) {
    this.t = rules.timings;
  }

  electorState(s: ElectionState, p: number): ElectorState {
    const pod = s.pods[p] as Pod;
    const other = 1 - p;
    return this.rules.believes({
      phase: pod.phase,
      self: identity(p),
      pod: names[p] ?? "",
      lease: pod.view && {
        uid: String(pod.view.uid),
        holder: pod.view.holder,
        epoch: pod.view.epoch,
        durationMs: this.t.leaseSeconds * 1000,
        successor: pod.view.successor,
        preferredHolder: pod.view.wish,
        uidSeenAtMs: this.bounds.deletions > 0 ? atMs(pod.view.seen) : -Infinity,
        changedAtMs: atMs(pod.view.changed),
        surprising: false,
      },
      leaseMissing: false,
      tenure: pod.tenure && {
        leaseUid: String(pod.tenure.uid),
        epoch: pod.tenure.epoch,
        renewedAtMs: atMs(pod.tenure.age),
      },
      eligible: true,
      headLevel: 10,
      dalWell: true,
      members: [
        {
          pod: names[other] ?? "",
          identity: identity(other),
          eligible: true,
          headLevel: 10,
          noncesMissing: 0,
          dalWell: true,
          changedAtMs: nowMs,
        },
      ],
      ineligibleSinceMs: null,
      behindSinceMs: null,
      dalUnwellSinceMs: null,
      nobodyEligibleSinceMs: null,
      yielding: false,
      tenureLost: null,
      lastVoluntaryAtMs: null,
      voluntaryPauseMs: 0,
      lastOperatorAtMs: null,
      handoversPausedUntilMs: null,
      handover: pod.handover && {
        cause: pod.handover.cause,
        step: pod.handover.step,
        sinceMs: atMs(pod.handover.since),
        waitUntilMs: atMs(pod.handover.since) + this.t.handoverWaitSeconds * 1000,
        headAtFirst: null,
        quietSinceMs: null,
        quiet: true,
        drained: true,
        stopped: pod.handover.stopped,
        pushed: pod.handover.pushed,
      },
      lostAtMs: pod.lost === null ? null : atMs(pod.lost),
      daemonsStopped: pod.lost !== null && !pod.running,
    });
  }

  mayRun(pod: Pod): boolean {
    return pod.allowed !== null && pod.allowed < this.t.renewDeadlineSeconds;
  }

  /** A second later. */
  readonly aged = ({ view, tenure, handover, lost, write, allowed, ...rest }: Pod): Pod => {
    const { leaseSeconds, retrySeconds, renewDeadlineSeconds } = this.t;
    return {
      phase: rest.phase,
      view: view && {
        ...view,
        seen: older(view.seen, this.bounds.deletions > 0 ? leaseSeconds : 0),
        changed: older(view.changed, leaseSeconds + retrySeconds),
      },
      current: rest.current,
      cause: rest.cause,
      tenure: tenure && { ...tenure, age: older(tenure.age, renewDeadlineSeconds) },
      handover: handover && { ...handover, since: older(handover.since, 3) },
      lost: lost === null ? null : older(lost, 1),
      write: write && { ...write, age: older(write.age, 2) },
      allowed: allowed === null ? null : older(allowed, renewDeadlineSeconds),
      running: rest.running,
      unshared: rest.unshared,
    };
  };
}

/** The transitions from one state. */
class Steps {
  constructor(
    private readonly m: Election,
    private readonly s: ElectionState,
    private readonly step: (what: string, state: ElectionState) => void,
  ) {}

  /** Everything that can happen next. */
  all(): void {
    for (const [p, pod] of this.s.pods.entries()) this.happens(p, pod);
    this.arrivesLate();
    this.operates();
    if (!this.s.pods.some((pod, p) => this.isUrgent(p, pod)))
      this.step("a second passes", { ...this.s, pods: this.s.pods.map(this.m.aged) });
  }

  /** Of a pod by itself. */
  private happens(p: number, pod: Pod): void {
    this.decides(p, pod);
    if (pod.write) this.answers(p, pod, pod.write);
    else this.sends(p, pod);
    this.looks(p, pod);
    this.supervises(p, pod);
    if (pod.tenure && this.s.lease && this.s.watermark < pod.tenure.epoch && pod.phase === "active")
      this.step(`${names[p]}'s gate raises the watermark`, { ...this.s, watermark: pod.tenure.epoch });
    if (this.s.left.restarts > 0)
      this.step(`${names[p]}'s elector ends and starts again`, {
        ...this.s,
        pods: this.s.pods.map((old, i) =>
          i === p ? { ...starting, allowed: old.allowed, running: old.running, unshared: old.unshared } : old,
        ),
        left: { ...this.s.left, restarts: this.s.left.restarts - 1 },
      });
  }

  /** Time does not pass before this pod has acted. */
  private isUrgent(p: number, pod: Pod): boolean {
    const must = decide(this.m.electorState(this.s, p), nowMs, this.m.t).action.kind === "lose";
    const stopping = pod.handover?.step === "stopping";
    return must || (pod.running && !this.m.mayRun(pod) && !stopping) || (pod.write?.age ?? 0) >= 2;
  }

  private arrivesLate(): void {
    for (const { pod, lease } of this.s.late)
      if (this.s.lease?.uid === lease.uid) {
        const kind = lease.holder === "" ? "release" : "acquire";
        const isRenewal = this.s.lease.holder === lease.holder && this.s.lease.epoch === lease.epoch;
        const write: Write = {
          kind: isRenewal ? "renew" : kind,
          lease,
          age: 0,
          applied: true,
          current: true,
          pushed: false,
          watermark: -1,
        };
        this.step(`${names[pod]}'s ${write.kind} arrives late`, {
          ...this.s,
          ...this.changedTo(lease),
          ...this.judge(pod, write),
          late: [],
        });
      }
  }

  /** What people do. */
  private operates(): void {
    if (this.s.left.wishes > 0 && this.s.lease && this.s.lease.wish === "" && this.s.lease.holder !== "") {
      const wish = this.s.lease.holder === identity(0) ? names[1] : names[0];
      this.step(`an operator wishes for ${wish}`, {
        ...this.s,
        ...this.changedTo({ ...this.s.lease, wish }),
        left: { ...this.s.left, wishes: this.s.left.wishes - 1 },
      });
    }
    if (this.s.left.deletions > 0 && this.s.lease)
      this.step("the lease is deleted and created again", {
        ...this.s,
        ...this.changedTo({ uid: this.s.uids + 1, holder: "", epoch: 0, successor: "", wish: "" }),
        uids: this.s.uids + 1,
        left: { ...this.s.left, deletions: this.s.left.deletions - 1 },
      });
  }

  private withPod(p: number, change: Partial<Pod>, more: Partial<ElectionState> = {}): ElectionState {
    return {
      ...this.s,
      ...more,
      pods: (more.pods ?? this.s.pods).map((pod, i) => (i === p ? published({ ...pod, ...change }) : pod)),
    };
  }
  private changedTo(lease: Lease | null): Partial<ElectionState> {
    return {
      lease,
      late: this.m.rules.conditional ? [] : this.s.late,
      pods: this.s.pods.map((pod) => ({
        ...pod,
        current: false,
        write: pod.write && { ...pod.write, current: pod.write.current && !this.m.rules.conditional },
      })),
    };
  }

  /** What an onlooker says when the API takes a write. */
  private judge(p: number, { kind, lease, pushed, watermark }: Write): Partial<ElectionState> {
    const pod = this.s.pods[p] as Pod;
    if (kind === "acquire") {
      if (lease.epoch <= watermark) return { broken: "S2: a tenure's epoch is not above that of a watermark" };
      if (lease.epoch <= this.s.highest && this.m.bounds.deletions === 0)
        return { broken: "S2: two tenures have one epoch" };
      return { highest: Math.max(this.s.highest, lease.epoch) };
    }
    if (kind === "release" && pod.running) return { broken: "S4: the lease was released while daemons ran" };
    if (kind === "release" && pushed && pod.unshared)
      return { broken: "nonces: a handover whose push was acknowledged left a nonce behind" };
    return {};
  }

  private decides(p: number, pod: Pod): void {
    const believed = this.m.electorState(this.s, p);
    const { action, reason } = decide(believed, nowMs, this.m.t);
    const who = `${names[p]} (${pod.phase}): ${reason}`;
    switch (action.kind) {
      case "acquire":
        return this.step(`${who}, tries to acquire`, this.withPod(p, { phase: "acquiring", cause: action.cause }));
      case "lose":
        return this.step(
          `${who}, the tenure is lost`,
          this.withPod(p, { phase: "lost", tenure: null, handover: null, lost: 0 }),
        );
      case "settle":
        return this.step(`${who}, stands by`, this.withPod(p, { phase: "standby", lost: null }));
      case "stand-by":
        return this.step(`${who}, stands by`, this.withPod(p, { phase: "standby", cause: null }));
      case "hand-over": {
        const handover = { cause: action.cause, step: "waiting" as const, since: 0, stopped: false, pushed: false };
        return this.step(`${who}, begins a handover`, this.withPod(p, { phase: "handing-over", handover }));
      }
      case "cancel-handover":
        return this.step(`${who}, cancels the handover`, this.withPod(p, { phase: "active", handover: null }));
      case "step":
        return this.step(
          `${who}, handover: ${action.step}`,
          this.withPod(p, { handover: pod.handover && { ...pod.handover, step: action.step, since: 0 } }),
        );
      case "none":
      case "hurry":
      case "create-lease":
    }
  }

  /** The one request about the lease that an elector has under way. */
  private sends(p: number, pod: Pod): void {
    const { view, tenure, handover } = pod;
    if (!view) return;
    const send = (kind: Write["kind"], lease: Partial<Lease>, pushed = false) => {
      const { uid, holder, epoch, successor, wish } = { ...view, ...lease };
      const sent = { uid, holder, epoch, successor, wish };
      const write: Write = {
        kind,
        lease: sent,
        age: 0,
        applied: false,
        current: pod.current,
        pushed,
        watermark: this.s.watermark,
      };
      this.step(`${names[p]} sends: ${kind}`, this.withPod(p, { write }));
    };
    if (pod.phase === "acquiring") {
      const epoch = this.m.rules.nextEpoch(view.epoch, this.s.watermark, view.holder === identity(p));
      if (epoch <= this.m.bounds.epochs)
        send("acquire", { holder: identity(p), epoch, successor: "", wish: view.wish === names[p] ? "" : view.wish });
    } else if (tenure && view.holder === identity(p) && view.uid === tenure.uid) {
      if (handover?.step === "releasing") {
        const successor = successorOf(this.m.electorState(this.s, p), handover.cause, nowMs, this.m.t);
        const wish = successor.startsWith(`${view.wish}_`) ? "" : view.wish;
        send("release", { holder: "", successor, wish }, this.m.electorState(this.s, p).handover?.pushed);
      } else send("renew", {});
    }
  }

  private answers(p: number, pod: Pod, write: Write): void {
    const { kind, lease, age, applied } = write;
    const who = `${names[p]}'s ${kind}`;
    const refused = { write: null, ...failed(kind) };
    if (applied) {
      const seen = pod.view?.uid === lease.uid ? pod.view.seen : 0;
      const known = { write: null, view: { ...lease, seen, changed: 0 }, current: write.current };
      this.step(`the answer to ${who} arrives`, this.withPod(p, { ...known, ...this.told(pod, write) }));
    } else if (write.current && this.s.lease && this.s.lease.uid === lease.uid)
      this.step(
        `the API takes ${who}`,
        this.withPod(
          p,
          { write: { ...write, applied: true, current: true } },
          { ...this.changedTo(lease), ...this.judge(p, write) },
        ),
      );
    else this.step(`the API refuses ${who}: conflict`, this.withPod(p, refused));
    if (age === 0) return;
    if (applied) this.step(`${names[p]} waits no longer for the answer to its ${kind}`, this.withPod(p, refused));
    else if (write.current && this.s.late.length === 0)
      this.step(`${names[p]} waits no longer for its ${kind}`, this.withPod(p, refused, { late: [{ pod: p, lease }] }));
  }
  /** What an elector makes of the answer to its write. */
  private told(pod: Pod, { kind, lease, age }: Write): Partial<Pod> {
    const counted = this.m.rules.fromSending ? age : 0;
    if (kind === "acquire")
      return { phase: "active", cause: null, tenure: { uid: lease.uid, epoch: lease.epoch, age: counted } };
    if (!pod.tenure) return {};
    if (kind === "release") return { phase: "standby", tenure: null, handover: null };
    return pod.tenure.epoch === lease.epoch ? { tenure: { ...pod.tenure, age: counted } } : {};
  }
  private looks(p: number, pod: Pod): void {
    if (!this.s.lease || (pod.current && pod.view) || pod.write) return;
    const seen = pod.view?.uid === this.s.lease.uid ? pod.view.seen : 0;
    const lookedAt: Partial<Pod> = { view: { ...this.s.lease, seen, changed: 0 }, current: true };
    // The answer to an earlier release was lost.
    const released =
      pod.tenure &&
      pod.handover?.step === "releasing" &&
      this.s.lease.uid === pod.tenure.uid &&
      this.s.lease.holder !== identity(p);
    const gone: Partial<Pod> = released ? { phase: "standby", tenure: null, handover: null } : {};
    // An attempt that was decided on another version is given up.
    const overtaken: Partial<Pod> = pod.phase === "acquiring" ? { phase: "standby", cause: null } : {};
    this.step(`${names[p]} sees the lease`, this.withPod(p, { ...lookedAt, ...overtaken, ...gone }));
  }

  private supervises(p: number, pod: Pod): void {
    const { handover } = pod;
    if (this.m.mayRun(pod) && !pod.running)
      this.step(`${names[p]} starts its daemons`, this.withPod(p, { running: true }));
    if (this.m.bounds.nonces && pod.running && !pod.unshared)
      this.step(`${names[p]}'s daemon makes a nonce`, this.withPod(p, { unshared: true }));
    if (pod.unshared) this.step(`${names[p]}'s nonce reaches the other pod`, this.withPod(p, { unshared: false }));
    if (pod.running && !this.m.mayRun(pod))
      this.step(`${names[p]}'s daemons stop`, this.withPod(p, { running: false }));
    if (handover?.step === "stopping" && !handover.stopped && !pod.running)
      this.step(`${names[p]}: nothing runs any more`, this.withPod(p, { handover: { ...handover, stopped: true } }));
    if (handover?.step === "pushing" && !handover.pushed)
      this.step(
        `${names[p]}'s push is acknowledged`,
        this.withPod(p, { unshared: false, handover: { ...handover, pushed: true } }),
      );
  }
}

export function election(bounds: ElectionBounds, rules: ElectionRules = electionRules): Model<ElectionState> {
  const namer = new Namer();
  const model = new Election(bounds, rules);
  const initial: ElectionState = {
    lease: { uid: 1, holder: "", epoch: 0, successor: "", wish: "" },
    uids: 1,
    watermark: 0,
    pods: [starting, starting],
    late: [],
    highest: 0,
    left: { wishes: bounds.wishes, restarts: bounds.restarts, deletions: bounds.deletions },
    broken: undefined,
  };
  return {
    initial: [initial],
    next: (s, step) => new Steps(model, s, step).all(),
    key: (s) => namer.name(s),
    broken: (s) =>
      s.broken ??
      (s.pods.every(({ running }) => running) ? "S4: the daemons of two pods run at the same time" : undefined),
  };
}
