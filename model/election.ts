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

export function election(bounds: ElectionBounds, rules: ElectionRules = electionRules): Model<ElectionState> {
  const t = rules.timings;
  const namer = new Namer();
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
  function electorState(s: ElectionState, p: number): ElectorState {
    const pod = s.pods[p] as Pod;
    const other = 1 - p;
    return rules.believes({
      phase: pod.phase,
      self: identity(p),
      pod: names[p] ?? "",
      lease: pod.view && {
        uid: String(pod.view.uid),
        holder: pod.view.holder,
        epoch: pod.view.epoch,
        durationMs: t.leaseSeconds * 1000,
        successor: pod.view.successor,
        preferredHolder: pod.view.wish,
        uidSeenAtMs: bounds.deletions > 0 ? atMs(pod.view.seen) : -Infinity,
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
      members: [
        {
          pod: names[other] ?? "",
          identity: identity(other),
          eligible: true,
          headLevel: 10,
          noncesMissing: 0,
          changedAtMs: nowMs,
        },
      ],
      ineligibleSinceMs: null,
      behindSinceMs: null,
      nobodyEligibleSinceMs: null,
      yielding: false,
      tenureLost: null,
      lastVoluntaryAtMs: null,
      voluntaryPauseMs: 0,
      handover: pod.handover && {
        cause: pod.handover.cause,
        step: pod.handover.step,
        sinceMs: atMs(pod.handover.since),
        waitUntilMs: atMs(pod.handover.since) + t.handoverWaitSeconds * 1000,
        quiet: true,
        drained: true,
        stopped: pod.handover.stopped,
        pushed: pod.handover.pushed,
      },
      lostAtMs: pod.lost === null ? null : atMs(pod.lost),
      daemonsStopped: pod.lost !== null && !pod.running,
    });
  }
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
  const mayRun = (pod: Pod) => pod.allowed !== null && pod.allowed < t.renewDeadlineSeconds;

  function next(s: ElectionState, step: (what: string, state: ElectionState) => void): void {
    const withPod = (p: number, change: Partial<Pod>, more: Partial<ElectionState> = {}): ElectionState => ({
      ...s,
      ...more,
      pods: (more.pods ?? s.pods).map((pod, i) => (i === p ? published({ ...pod, ...change }) : pod)),
    });
    const changedTo = (lease: Lease | null): Partial<ElectionState> => ({
      lease,
      late: rules.conditional ? [] : s.late,
      pods: s.pods.map((pod) => ({
        ...pod,
        current: false,
        write: pod.write && { ...pod.write, current: pod.write.current && !rules.conditional },
      })),
    });

    /** What an onlooker says when the API takes a write. */
    function judge(p: number, { kind, lease, pushed, watermark }: Write): Partial<ElectionState> {
      const pod = s.pods[p] as Pod;
      if (kind === "acquire") {
        if (lease.epoch <= watermark) return { broken: "S2: a tenure's epoch is not above that of a watermark" };
        if (lease.epoch <= s.highest && bounds.deletions === 0) return { broken: "S2: two tenures have one epoch" };
        return { highest: Math.max(s.highest, lease.epoch) };
      }
      if (kind === "release" && pod.running) return { broken: "S4: the lease was released while daemons ran" };
      if (kind === "release" && pushed && pod.unshared)
        return { broken: "nonces: a handover whose push was acknowledged left a nonce behind" };
      return {};
    }

    function decides(p: number, pod: Pod): void {
      const believed = electorState(s, p);
      const { action, reason } = decide(believed, nowMs, t);
      const who = `${names[p]} (${pod.phase}): ${reason}`;
      switch (action.kind) {
        case "acquire":
          return step(`${who}, tries to acquire`, withPod(p, { phase: "acquiring", cause: action.cause }));
        case "lose":
          return step(
            `${who}, the tenure is lost`,
            withPod(p, { phase: "lost", tenure: null, handover: null, lost: 0 }),
          );
        case "settle":
          return step(`${who}, stands by`, withPod(p, { phase: "standby", lost: null }));
        case "stand-by":
          return step(`${who}, stands by`, withPod(p, { phase: "standby", cause: null }));
        case "hand-over": {
          const handover = { cause: action.cause, step: "waiting" as const, since: 0, stopped: false, pushed: false };
          return step(`${who}, begins a handover`, withPod(p, { phase: "handing-over", handover }));
        }
        case "cancel-handover":
          return step(`${who}, cancels the handover`, withPod(p, { phase: "active", handover: null }));
        case "step":
          return step(
            `${who}, handover: ${action.step}`,
            withPod(p, { handover: pod.handover && { ...pod.handover, step: action.step, since: 0 } }),
          );
        case "none":
        case "hurry":
        case "create-lease":
      }
    }

    /** The one request about the lease that an elector has under way. */
    function sends(p: number, pod: Pod): void {
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
          watermark: s.watermark,
        };
        step(`${names[p]} sends: ${kind}`, withPod(p, { write }));
      };
      if (pod.phase === "acquiring") {
        const epoch = rules.nextEpoch(view.epoch, s.watermark, view.holder === identity(p));
        if (epoch <= bounds.epochs)
          send("acquire", { holder: identity(p), epoch, successor: "", wish: view.wish === names[p] ? "" : view.wish });
      } else if (tenure && view.holder === identity(p) && view.uid === tenure.uid) {
        if (handover?.step === "releasing") {
          const successor = successorOf(electorState(s, p), handover.cause, nowMs, t);
          const wish = successor.startsWith(`${view.wish}_`) ? "" : view.wish;
          send("release", { holder: "", successor, wish }, electorState(s, p).handover?.pushed);
        } else send("renew", {});
      }
    }

    function answers(p: number, pod: Pod, write: Write): void {
      const { kind, lease, age, applied } = write;
      const who = `${names[p]}'s ${kind}`;
      const refused = { write: null, ...failed(kind) };
      if (applied) {
        const seen = pod.view?.uid === lease.uid ? pod.view.seen : 0;
        const known = { write: null, view: { ...lease, seen, changed: 0 }, current: write.current };
        step(`the answer to ${who} arrives`, withPod(p, { ...known, ...told(pod, write) }));
      } else if (write.current && s.lease && s.lease.uid === lease.uid)
        step(
          `the API takes ${who}`,
          withPod(
            p,
            { write: { ...write, applied: true, current: true } },
            { ...changedTo(lease), ...judge(p, write) },
          ),
        );
      else step(`the API refuses ${who}: conflict`, withPod(p, refused));
      if (age === 0) return;
      if (applied) step(`${names[p]} waits no longer for the answer to its ${kind}`, withPod(p, refused));
      else if (write.current && s.late.length === 0)
        step(`${names[p]} waits no longer for its ${kind}`, withPod(p, refused, { late: [{ pod: p, lease }] }));
    }
    /** What an elector makes of the answer to its write. */
    function told(pod: Pod, { kind, lease, age }: Write): Partial<Pod> {
      const counted = rules.fromSending ? age : 0;
      if (kind === "acquire")
        return { phase: "active", cause: null, tenure: { uid: lease.uid, epoch: lease.epoch, age: counted } };
      if (!pod.tenure) return {};
      if (kind === "release") return { phase: "standby", tenure: null, handover: null };
      return pod.tenure.epoch === lease.epoch ? { tenure: { ...pod.tenure, age: counted } } : {};
    }
    const failed = (kind: Write["kind"]): Partial<Pod> => (kind === "acquire" ? { phase: "standby", cause: null } : {});

    function looks(p: number, pod: Pod): void {
      if (!s.lease || (pod.current && pod.view) || pod.write) return;
      const seen = pod.view?.uid === s.lease.uid ? pod.view.seen : 0;
      const lookedAt: Partial<Pod> = { view: { ...s.lease, seen, changed: 0 }, current: true };
      // The answer to an earlier release was lost.
      const released =
        pod.tenure &&
        pod.handover?.step === "releasing" &&
        s.lease.uid === pod.tenure.uid &&
        s.lease.holder !== identity(p);
      const gone: Partial<Pod> = released ? { phase: "standby", tenure: null, handover: null } : {};
      // An attempt that was decided on another version is given up.
      const overtaken: Partial<Pod> = pod.phase === "acquiring" ? { phase: "standby", cause: null } : {};
      step(`${names[p]} sees the lease`, withPod(p, { ...lookedAt, ...overtaken, ...gone }));
    }

    function supervises(p: number, pod: Pod): void {
      const { handover } = pod;
      if (mayRun(pod) && !pod.running) step(`${names[p]} starts its daemons`, withPod(p, { running: true }));
      if (bounds.nonces && pod.running && !pod.unshared)
        step(`${names[p]}'s daemon makes a nonce`, withPod(p, { unshared: true }));
      if (pod.unshared) step(`${names[p]}'s nonce reaches the other pod`, withPod(p, { unshared: false }));
      if (pod.running && !mayRun(pod)) step(`${names[p]}'s daemons stop`, withPod(p, { running: false }));
      if (handover?.step === "stopping" && !handover.stopped && !pod.running)
        step(`${names[p]}: nothing runs any more`, withPod(p, { handover: { ...handover, stopped: true } }));
      if (handover?.step === "pushing" && !handover.pushed)
        step(
          `${names[p]}'s push is acknowledged`,
          withPod(p, { unshared: false, handover: { ...handover, pushed: true } }),
        );
    }

    let urgent = false;
    for (const [p, pod] of s.pods.entries()) {
      decides(p, pod);
      if (pod.write) answers(p, pod, pod.write);
      else sends(p, pod);
      looks(p, pod);
      supervises(p, pod);
      if (pod.tenure && s.lease && s.watermark < pod.tenure.epoch && pod.phase === "active")
        step(`${names[p]}'s gate raises the watermark`, { ...s, watermark: pod.tenure.epoch });
      if (s.left.restarts > 0)
        step(`${names[p]}'s elector ends and starts again`, {
          ...s,
          pods: s.pods.map((old, i) =>
            i === p ? { ...starting, allowed: old.allowed, running: old.running, unshared: old.unshared } : old,
          ),
          left: { ...s.left, restarts: s.left.restarts - 1 },
        });
      const must = decide(electorState(s, p), nowMs, t).action.kind === "lose";
      const stopping = pod.handover?.step === "stopping";
      urgent ||= must || (pod.running && !mayRun(pod) && !stopping) || (pod.write?.age ?? 0) >= 2;
    }
    for (const { pod, lease } of s.late)
      if (s.lease?.uid === lease.uid) {
        const kind = lease.holder === "" ? "release" : "acquire";
        const isRenewal = s.lease.holder === lease.holder && s.lease.epoch === lease.epoch;
        const write: Write = {
          kind: isRenewal ? "renew" : kind,
          lease,
          age: 0,
          applied: true,
          current: true,
          pushed: false,
          watermark: -1,
        };
        step(`${names[pod]}'s ${write.kind} arrives late`, {
          ...s,
          ...changedTo(lease),
          ...judge(pod, write),
          late: [],
        });
      }
    if (s.left.wishes > 0 && s.lease && s.lease.wish === "" && s.lease.holder !== "") {
      const wish = s.lease.holder === identity(0) ? names[1] : names[0];
      step(`an operator wishes for ${wish}`, {
        ...s,
        ...changedTo({ ...s.lease, wish }),
        left: { ...s.left, wishes: s.left.wishes - 1 },
      });
    }
    if (s.left.deletions > 0 && s.lease)
      step("the lease is deleted and created again", {
        ...s,
        ...changedTo({ uid: s.uids + 1, holder: "", epoch: 0, successor: "", wish: "" }),
        uids: s.uids + 1,
        left: { ...s.left, deletions: s.left.deletions - 1 },
      });
    if (!urgent) step("a second passes", { ...s, pods: s.pods.map(aged) });
  }
  /** Ages that are above every bound with which they are compared are not told apart. */
  const older = (age: number, most: number) => Math.min(most, age + 1);
  const { leaseSeconds, retrySeconds, renewDeadlineSeconds } = t;
  const aged = ({ view, tenure, handover, lost, write, allowed, ...rest }: Pod): Pod => ({
    phase: rest.phase,
    view: view && {
      ...view,
      seen: older(view.seen, bounds.deletions > 0 ? leaseSeconds : 0),
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
  });

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
    next,
    key: (s) => namer.name(s),
    broken: (s) =>
      s.broken ??
      (s.pods.every(({ running }) => running) ? "S4: the daemons of two pods run at the same time" : undefined),
  };
}
