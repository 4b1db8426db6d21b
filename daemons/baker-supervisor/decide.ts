/** Whether the daemons may run now. Pure: `decide(state, now) -> {command, reason}`. */
import type { Leadership } from "../../contract/leadership";
import type { Timings } from "../../contract/timings";

/** stop-planned: SIGTERM, grace, SIGKILL. stop-now: SIGKILL. */
export type Command = "run" | "stop-planned" | "stop-now";

export interface SupervisorState {
  topology: "solo" | "active-standby";
  /** holderIdentity of this pod. */
  self: string;
  /** The newest record of the own pod's elector and when it arrived. */
  record: Leadership | null;
  receivedAtMs: number;
  /** Solo only: the start conditions have been met once. */
  soloReady: boolean;
  /** Since SIGTERM; null before. */
  terminatingSinceMs: number | null;
}

export interface Verdict {
  command: Command;
  /** Stable code in kebab-case. */
  reason: string;
  /** When to decide again even if nothing arrives; Infinity where time changes nothing. */
  wakeAtMs: number;
}

const verdict = (command: Command, reason: string, wakeAtMs = Infinity): Verdict => ({ command, reason, wakeAtMs });

/** validUntilNs in milliseconds of the same clock. */
export const validUntilMs = (record: Leadership): number => Number(BigInt(record.validUntilNs) / 1000n) / 1000;

/** After SIGTERM the elector hands over in order; this long its word still counts. */
export const terminationMs = (t: Timings): number => (t.terminationWaitSeconds + t.gateDrainSeconds + 0.5) * 1000;

/** @param now milliseconds of CLOCK_MONOTONIC */
export function decide(state: SupervisorState, now: number, t: Timings): Verdict {
  const { record } = state;
  if (state.topology === "solo") {
    if (state.terminatingSinceMs !== null) return verdict("stop-planned", "sigterm");
    return state.soloReady ? verdict("run", "solo") : verdict("stop-planned", "solo-start-conditions");
  }
  if (!record) return verdict("stop-now", "no-leadership");
  if (record.self !== state.self) return verdict("stop-now", "not-our-elector");
  if (record.holderIdentity !== state.self || (record.state !== "active" && record.state !== "handing-over"))
    return verdict("stop-now", record.state);
  const until = validUntilMs(record);
  if (now >= until) return verdict("stop-now", "validity-expired");
  // A deadline beyond what any renewal can give is no deadline.
  if (until > state.receivedAtMs + t.leaseSeconds * 1000) return verdict("stop-now", "implausible-deadline");
  if (record.daemons === "stop")
    return record.state === "handing-over"
      ? verdict("stop-planned", "handing-over", until)
      : verdict("stop-now", "stop", until);
  if (state.terminatingSinceMs === null) return verdict("run", record.state, until);
  const patience = state.terminatingSinceMs + terminationMs(t);
  return now >= patience
    ? verdict("stop-planned", "sigterm", until)
    : verdict("run", "sigterm-awaits-handover", Math.min(until, patience));
}

/**
 * After SIGTERM: whether this process may end. While a handover goes on it stays, to say that nothing runs any more.
 */
export function mayEnd(state: SupervisorState, running: boolean, now: number, t: Timings): boolean {
  if (state.terminatingSinceMs === null || running) return false;
  const current = decide(state, now, t);
  if (current.command === "run") return false;
  if (state.topology === "solo" || current.command === "stop-now") return true;
  return now >= state.terminatingSinceMs + terminationMs(t) + (t.stopGraceSeconds + t.noncePushSeconds + 1) * 1000;
}

export interface CrashState {
  /** Consecutive runs that ended early. */
  failures: number;
  /** The present run began with no crash loop, or with one that was forgotten: it is none before it ends early, too. */
  forgotten?: boolean;
}
/**
 * A run of this length is no crash loop. In units of retrySeconds, as all of these, so that an accelerated laboratory
 * scales them.
 */
const longRun = 30;
/** So many failures in a row are a crash loop. */
export const crashLoop = 3;

/** After a daemon ended by itself. @returns the new state and the pause before the next start */
export function afterCrash(before: CrashState, ranMs: number, t: Timings): { failures: number; restartInMs: number } {
  const failures = ranMs >= longRun * t.retrySeconds * 1000 ? 1 : before.failures + 1;
  return { failures, restartInMs: t.retrySeconds * Math.min(30_000, 200 * 2 ** (failures - 1)) };
}

/**
 * The time without a crash after which a stopped daemon may be tried again: twice as long for each further failure, so
 * that two pods whose baker fails do not hand the lease to and fro for ever. In units of a long run.
 */
const forgottenAfter = (failures: number): number => 10 * 2 ** Math.min(7, failures - crashLoop);

/** @param quietMs how long the daemon has been running, or stopped, without a crash */
export const isCrashLooping = (
  { failures, forgotten }: CrashState,
  running: boolean,
  quietMs: number,
  t: Timings,
): boolean =>
  failures >= crashLoop &&
  !(running && forgotten) &&
  quietMs < (running ? 1 : forgottenAfter(failures)) * longRun * t.retrySeconds * 1000;
