/**
 * The election table as pure functions: `decide(state, now) -> {action, reason}`.
 * Times are milliseconds of CLOCK_MONOTONIC as this process sees it; nobody else's clock is ever read.
 */
import type { LeadershipState } from "../../contract/leadership";
import type { Timings } from "../../contract/timings";
import { maxEpoch } from "../../contract/watermark";
import type { Head } from "../runtime/quiet-moment";

/** The leader lease as this process last saw it. */
export interface LeaseView {
  uid: string;
  /** holderIdentity; "" where nobody holds. */
  holder: string;
  epoch: number;
  durationMs: number;
  /** Identity that may acquire a released lease at once; "" where none is named. */
  successor: string;
  /** Pod name that an operator wishes for; "" where there is no wish. */
  preferredHolder: string;
  /** When this process saw this uid for the first time. */
  uidSeenAtMs: number;
  /** When this process last saw the record (its spec) change. */
  changedAtMs: number;
  /**
   * The holder became this pod without a write of this process: a restored backup. It then counts as held by somebody
   * else.
   */
  surprising: boolean;
}

export interface LeaseTenure {
  leaseUid: string;
  epoch: number;
  /** Send time of the last successful renewal. */
  renewedAtMs: number;
}

/** Another member, as its lease told. */
export interface Member {
  pod: string;
  identity: string;
  eligible: boolean;
  headLevel: number | null;
  noncesMissing: number;
  /** Its DAL node is well, or it has none. */
  dalWell: boolean;
  /** When its record changed last, by our own clock. */
  changedAtMs: number;
}

export const handoverCauses = [
  "planned-operator",
  "planned-ineligible",
  "planned-behind",
  "planned-dal",
  "planned-sigterm",
  "higher-epoch",
] as const;
export type HandoverCause = (typeof handoverCauses)[number];
export const handoverSteps = ["waiting", "draining", "stopping", "pushing", "releasing"] as const;
export type HandoverStep = (typeof handoverSteps)[number];

export interface Handover {
  cause: HandoverCause;
  step: HandoverStep;
  /** When the step began. */
  sinceMs: number;
  /** The end of the wait for a quiet moment. */
  waitUntilMs: number;
  /** Since when the moment is quiet; null while it is not. */
  quietSinceMs: number | null;
  /** The first head that the sidecar told after the wait had begun. */
  headAtFirst: Head | null;
  /** What the containers have confirmed since the step began. */
  quiet: boolean;
  drained: boolean;
  stopped: boolean;
  pushed: boolean;
}

export interface ElectorState {
  phase: LeadershipState;
  self: string;
  pod: string;
  lease: LeaseView | null;
  /** The API said that there is no lease. */
  leaseMissing: boolean;
  tenure: LeaseTenure | null;
  eligible: boolean;
  headLevel: number | null;
  /** This pod's DAL node is well, or it has none, or nobody says what it is. */
  dalWell: boolean;
  members: readonly Member[];
  /** Since when a condition holds without a break; null where it does not hold. */
  ineligibleSinceMs: number | null;
  behindSinceMs: number | null;
  dalUnwellSinceMs: number | null;
  nobodyEligibleSinceMs: number | null;
  /** SIGTERM, or a preStop call that is not long ago. */
  yielding: boolean;
  /** What the gate found in a watermark under the present epoch. */
  tenureLost: "higher-epoch" | "other-holder" | null;
  /** The last voluntary handover of any member, when this process learned of it, and the pause that follows it. */
  lastVoluntaryAtMs: number | null;
  voluntaryPauseMs: number;
  /** The last handover that an operator asked for, when this process learned of it. */
  lastOperatorAtMs: number | null;
  /** Until when an operator wants no automatic handover; null where nothing is paused. */
  handoversPausedUntilMs: number | null;
  handover: Handover | null;
  lostAtMs: number | null;
  /** This pod's supervisor says that no daemon runs. */
  daemonsStopped: boolean;
}

export type AcquireCause =
  | "first"
  | "expired"
  | "released"
  | "last-resort"
  | "reacquired"
  /** A release named this pod; the releaser's cause stands in the receipt. */
  | "successor";

export type Action =
  | { kind: "none" }
  | { kind: "create-lease" }
  | { kind: "acquire"; cause: AcquireCause }
  | { kind: "lose" }
  | { kind: "settle" }
  | { kind: "stand-by" }
  | { kind: "hand-over"; cause: HandoverCause; waitMs: number }
  | { kind: "hurry"; waitUntilMs: number }
  | { kind: "cancel-handover" }
  | { kind: "step"; step: HandoverStep };

export interface Decision {
  action: Action;
  /** Stable code in kebab-case. */
  reason: string;
  /** When to decide again even if nothing happens; Infinity where time changes nothing. */
  wakeAtMs: number;
}

const none = (reason: string, wakeAtMs = Infinity): Decision => ({ action: { kind: "none" }, reason, wakeAtMs });
const act = (action: Action, reason: string): Decision => ({ action, reason, wakeAtMs: 0 });

/** Members whose record changed recently enough. */
export const freshMembers = (members: readonly Member[], now: number, t: Timings): Member[] =>
  members.filter((member) => now - member.changedAtMs < t.memberMaxAgeSeconds * 1000);

const level = (member: { headLevel: number | null }): number => member.headLevel ?? -1;

/**
 * Who should follow: eligible, nonces complete, up with the best head, its DAL node well, highest head, then the first
 * name. A DAL node never outweighs a head that moves a tenure: the successor would hand over at once.
 */
export function bestSuccessor(members: readonly Member[], now: number, t: Timings): Member | null {
  const eligible = freshMembers(members, now, t).filter((member) => member.eligible);
  const highest = Math.max(...eligible.map(level));
  const behind = (member: Member) => highest - level(member) >= t.aheadLevels;
  return (
    eligible.sort(
      (a, b) =>
        Number(a.noncesMissing > 0) - Number(b.noncesMissing > 0) ||
        Number(behind(a)) - Number(behind(b)) ||
        Number(b.dalWell) - Number(a.dalWell) ||
        level(b) - level(a) ||
        a.pod.localeCompare(b.pod),
    )[0] ?? null
  );
}

/** Who has the head that this master lacks. */
export function aheadSuccessor(state: ElectorState, now: number, t: Timings): Member | null {
  const ahead = state.members.filter((member) => level(member) >= level(state) + t.aheadLevels);
  return bestSuccessor(ahead, now, t);
}

/** Who has the DAL node that this master lacks, and is no worse in anything else that moves a tenure. */
export function dalSuccessor(state: ElectorState, now: number, t: Timings): Member | null {
  const behind = (member: Member) => level(state) - level(member) >= t.aheadLevels;
  const well = state.members.filter((member) => member.dalWell && member.noncesMissing === 0 && !behind(member));
  return bestSuccessor(well, now, t);
}

/** The member that the operator wishes for, if it is another one and eligible. */
export function wishedSuccessor(state: ElectorState, now: number, t: Timings): Member | null {
  const wish = state.lease?.preferredHolder ?? "";
  if (wish === "" || wish === state.pod) return null;
  return freshMembers(state.members, now, t).find((member) => member.pod === wish && member.eligible) ?? null;
}

/** Who is named at the release of a handover. */
export function successorOf(state: ElectorState, cause: HandoverCause, now: number, t: Timings): string {
  if (cause === "higher-epoch") return state.self;
  const wished = cause === "planned-operator" ? wishedSuccessor(state, now, t) : null;
  const better =
    cause === "planned-dal"
      ? dalSuccessor(state, now, t)
      : cause === "planned-behind"
        ? aheadSuccessor(state, now, t)
        : null;
  return (wished ?? better ?? bestSuccessor(state.members, now, t))?.identity ?? "";
}

/** Brings the since-times up to date with the other facts. Idempotent. */
export function track(state: ElectorState, now: number, t: Timings): void {
  const since = (holds: boolean, before: number | null) => (holds ? (before ?? now) : null);
  const eligible = freshMembers(state.members, now, t).filter((member) => member.eligible);
  state.ineligibleSinceMs = since(!state.eligible, state.ineligibleSinceMs);
  state.behindSinceMs = since(aheadSuccessor(state, now, t) !== null, state.behindSinceMs);
  state.dalUnwellSinceMs = since(!state.dalWell, state.dalUnwellSinceMs);
  state.nobodyEligibleSinceMs = since(!state.eligible && eligible.length === 0, state.nobodyEligibleSinceMs);
}

/** Handovers that no person asked for: each makes the next one wait. */
export const voluntaryCauses: ReadonlySet<string> = new Set([
  "planned-ineligible",
  "planned-behind",
  "planned-dal",
] satisfies HandoverCause[]);
/**
 * Those that an operator's pause stops: the master could stay, only less well. One that cannot bake moves all the same.
 */
const pausableCauses: ReadonlySet<HandoverCause> = new Set(["planned-behind", "planned-dal"]);
const isPaused = (state: ElectorState, cause: HandoverCause, now: number): boolean =>
  pausableCauses.has(cause) && now < (state.handoversPausedUntilMs ?? -Infinity);

/**
 * The pause after the newest voluntary handover: base x 2^(length of its series - 1). Wall times of receipts serve for
 * pace only.
 */
export function voluntaryPauseMs(receipts: readonly { cause: string; at: string }[], t: Timings): number {
  const series = receipts.filter(({ cause }) => voluntaryCauses.has(cause));
  let length = series.length > 0 ? 1 : 0;
  for (let i = 1; i < series.length; i++) {
    const gap = Date.parse(series[i - 1]?.at ?? "") - Date.parse(series[i]?.at ?? "");
    if (!(gap < 2000 * t.voluntaryHandoverMaxSeconds)) break;
    length++;
  }
  if (length === 0) return 0;
  return 1000 * Math.min(t.voluntaryHandoverMaxSeconds, t.voluntaryHandoverSeconds * 2 ** Math.min(length - 1, 30));
}

/** Why the tenure is over, whatever else is going on. */
function lossOf(state: ElectorState, now: number, t: Timings): string | null {
  const { tenure, lease } = state;
  if (!tenure) return "no-tenure";
  if (now >= tenure.renewedAtMs + t.renewDeadlineSeconds * 1000) return "renew-deadline";
  if (state.leaseMissing) return "lease-deleted";
  if (lease && lease.uid !== tenure.leaseUid) return "lease-recreated";
  // A release whose answer was lost is a release, and the successor may hold already.
  const releasing = state.phase === "handing-over" && state.handover?.step === "releasing";
  if (lease && lease.holder !== state.self && !releasing) return "lease-taken";
  if (lease && lease.epoch !== tenure.epoch && !releasing) return "epoch-changed";
  if (state.tenureLost === "other-holder") return "other-holder";
  return null;
}

function decideActive(state: ElectorState, now: number, t: Timings): Decision {
  const loss = lossOf(state, now, t);
  if (loss) return act({ kind: "lose" }, loss);
  const deadline = (state.tenure?.renewedAtMs ?? 0) + t.renewDeadlineSeconds * 1000;
  type HandOver = Decision & { action: { kind: "hand-over" } };
  const handOver = (cause: HandoverCause, reason: string, waitSeconds: number): HandOver => ({
    ...{ action: { kind: "hand-over", cause, waitMs: waitSeconds * 1000 }, reason, wakeAtMs: 0 },
  });
  if (state.tenureLost === "higher-epoch") return handOver("higher-epoch", "higher-epoch", 0);
  const successor = bestSuccessor(state.members, now, t);
  if (state.yielding)
    return handOver("planned-sigterm", successor ? "sigterm" : "sigterm-nobody-eligible", t.terminationWaitSeconds);
  if (wishedSuccessor(state, now, t)) return handOver("planned-operator", "preferred-holder", t.handoverWaitSeconds);

  const pausedUntil = state.lastVoluntaryAtMs === null ? 0 : state.lastVoluntaryAtMs + state.voluntaryPauseMs;
  /** What nobody asked for waits for its patience, and for the pause after the last one. */
  const voluntary = (sinceMs: number, waiting: string, untilMs: number, handover: HandOver): Decision => {
    const due = sinceMs + t.ineligibleSeconds * 1000;
    if (now < due) return none(waiting, Math.min(deadline, due));
    if (isPaused(state, handover.action.cause, now))
      return none("handovers-paused", Math.min(deadline, state.handoversPausedUntilMs ?? Infinity));
    if (now < untilMs) return none("voluntary-pause", Math.min(deadline, untilMs));
    return handover;
  };
  if (state.ineligibleSinceMs !== null) {
    if (!successor) return none("nobody-else-eligible", deadline);
    const handover = handOver("planned-ineligible", "ineligible", t.handoverWaitSeconds);
    return voluntary(state.ineligibleSinceMs, "ineligible-for-now", pausedUntil, handover);
  }
  if (state.behindSinceMs !== null) {
    const handover = handOver("planned-behind", "behind", t.handoverWaitSeconds);
    return voluntary(state.behindSinceMs, "behind-for-now", pausedUntil, handover);
  }
  if (state.dalUnwellSinceMs !== null) {
    if (!dalSuccessor(state, now, t)) return none("no-better-dal-node", deadline);
    // What an operator has chosen is not undone at once for a part of the income.
    const chosenAtMs = state.lastOperatorAtMs ?? -Infinity;
    const until = Math.max(pausedUntil, chosenAtMs + t.voluntaryHandoverSeconds * 1000);
    // At the next 50th level octez-baker may stall: no longer than for a block at the next level.
    const handover = handOver("planned-dal", "dal-node-unwell", t.terminationWaitSeconds);
    return voluntary(state.dalUnwellSinceMs, "dal-node-unwell-for-now", until, handover);
  }
  return none("holding", deadline);
}

function decideHandingOver(state: ElectorState, now: number, t: Timings): Decision {
  const loss = lossOf(state, now, t);
  if (loss) return act({ kind: "lose" }, loss);
  const handover = state.handover;
  if (!handover) return act({ kind: "lose" }, "no-handover");
  const deadline = (state.tenure?.renewedAtMs ?? 0) + t.renewDeadlineSeconds * 1000;
  const wake = (at: number) => Math.min(deadline, at);
  const step = (next: HandoverStep, reason: string) => act({ kind: "step", step: next }, reason);
  switch (handover.step) {
    case "waiting": {
      const hurried = now + t.terminationWaitSeconds * 1000;
      if (state.yielding && handover.cause !== "planned-sigterm") {
        if (handover.waitUntilMs > hurried) return act({ kind: "hurry", waitUntilMs: hurried }, "sigterm");
      } else if (!state.yielding) {
        if (handover.cause === "planned-operator" && !wishedSuccessor(state, now, t))
          return act({ kind: "cancel-handover" }, "successor-not-eligible");
        if (isPaused(state, handover.cause, now)) return act({ kind: "cancel-handover" }, "handovers-paused");
        if (handover.cause === "planned-ineligible" && state.eligible)
          return act({ kind: "cancel-handover" }, "eligible-again");
        if (handover.cause === "planned-behind" && state.behindSinceMs === null)
          return act({ kind: "cancel-handover" }, "no-longer-behind");
        if (handover.cause === "planned-dal" && state.dalWell) return act({ kind: "cancel-handover" }, "dal-node-well");
        if (handover.cause === "planned-dal" && !dalSuccessor(state, now, t))
          return act({ kind: "cancel-handover" }, "no-better-dal-node");
        if (handover.cause === "planned-ineligible" && !bestSuccessor(state.members, now, t))
          return act({ kind: "cancel-handover" }, "successor-not-eligible");
        if (handover.cause === "planned-sigterm") return act({ kind: "cancel-handover" }, "no-longer-yielding");
      }
      if (handover.quiet) return step("draining", "quiet-moment");
      if (now >= handover.waitUntilMs) return step("draining", "quiet-moment-timeout");
      return none("waiting-for-quiet-moment", wake(handover.waitUntilMs));
    }
    case "draining": {
      const due = handover.sinceMs + t.gateDrainSeconds * 1000;
      if (handover.drained) return step("stopping", "gate-drained");
      if (now >= due) return step("stopping", "gate-drain-timeout");
      return none("waiting-for-gate", wake(due));
    }
    case "stopping": {
      const due = handover.sinceMs + t.stopGraceSeconds * 1000 + 2 * t.killMs + t.requestTimeoutMs;
      if (handover.stopped) return step("pushing", "daemons-stopped");
      // Never release over daemons that may still run: shut down hard and let the lease run out.
      if (now >= due) return act({ kind: "lose" }, "daemons-not-confirmed-stopped");
      return none("waiting-for-daemons", wake(due));
    }
    case "pushing": {
      const due = handover.sinceMs + t.noncePushSeconds * 1000;
      if (handover.pushed) return step("releasing", "nonces-pushed");
      if (now >= due) return step("releasing", "nonce-push-timeout");
      return none("waiting-for-nonces", wake(due));
    }
    case "releasing":
      return none("releasing", deadline);
  }
}

function decideLost(state: ElectorState, now: number, t: Timings): Decision {
  const due = (state.lostAtMs ?? now) + t.killMs + t.clockMarginMs;
  if (state.daemonsStopped) return act({ kind: "settle" }, "daemons-stopped");
  if (now >= due) return act({ kind: "settle" }, "kill-time-over");
  return none("lost", due);
}

function decideStandby(state: ElectorState, now: number, t: Timings): Decision {
  const { lease } = state;
  if (state.leaseMissing) return state.yielding ? none("yielding") : act({ kind: "create-lease" }, "lease-missing");
  if (!lease) return none("lease-not-read");
  if (state.yielding) return none("yielding");
  const others = freshMembers(state.members, now, t);
  const otherEligible = others.some((member) => member.eligible);
  const acquire = (cause: AcquireCause, reason: string) => act({ kind: "acquire", cause }, reason);

  if (lease.holder === state.self && !lease.surprising) {
    // Nobody else can have acquired: this pod's earlier tenure, whose epoch is not resumed.
    if (state.eligible) return acquire("reacquired", "own-lease");
    if (!otherEligible) return acquire("reacquired", "own-lease-nobody-else-eligible");
    return none("own-lease-not-eligible");
  }
  const leaseMs = t.leaseSeconds * 1000;
  const unseenUntil = lease.uidSeenAtMs + leaseMs;
  if (now < unseenUntil) return none("unseen-lease", unseenUntil);
  const heldUntil = lease.changedAtMs + Math.max(leaseMs, lease.durationMs);
  const released = lease.holder === "";
  if (!released && now < heldUntil) return none("held", heldUntil);

  const freeSince = Math.max(unseenUntil, released ? lease.changedAtMs : heldUntil);
  if (state.eligible) {
    if (released && lease.successor === state.self) return acquire("successor", "named-successor");
    const due = freeSince + t.retrySeconds * 1000;
    if (now < due) return none("one-retry-later", due);
    if (lease.epoch === 0) return acquire("first", "first-tenure");
    return released ? acquire("released", "released") : acquire("expired", "expired");
  }
  if (state.nobodyEligibleSinceMs === null) return none("not-eligible");
  const due = Math.max(freeSince, state.nobodyEligibleSinceMs + t.lastResortSeconds * 1000);
  if (now < due) return none("nobody-eligible-for-now", due);
  const ahead = others.some(
    (member) =>
      level(member) > level(state) || (level(member) === level(state) && member.pod.localeCompare(state.pod) < 0),
  );
  return ahead ? none("higher-head-elsewhere") : acquire("last-resort", "last-resort");
}

/** An attempt is given up as soon as what has been learned meanwhile speaks against it. */
function decideAcquiring(state: ElectorState, now: number, t: Timings): Decision {
  const still = decideStandby(state, now, t);
  return still.action.kind === "acquire" ? none("acquiring") : act({ kind: "stand-by" }, still.reason);
}

const table: Record<LeadershipState, (state: ElectorState, now: number, t: Timings) => Decision> = {
  standby: decideStandby,
  acquiring: decideAcquiring,
  active: decideActive,
  "handing-over": decideHandingOver,
  lost: decideLost,
};

/** What to do now. @param now milliseconds of CLOCK_MONOTONIC */
export const decide = (state: ElectorState, now: number, timings: Timings): Decision =>
  table[state.phase](state, now, timings);

/**
 * Leases' transitions for the next tenure; absurd epochs do not count. @param watermarks epochs of all watermarks of
 * the baker
 */
export const nextEpoch = (leaseEpoch: number, watermarks: readonly number[]): number =>
  Math.max(0, ...[leaseEpoch, ...watermarks].filter((epoch) => epoch <= maxEpoch)) + 1;
