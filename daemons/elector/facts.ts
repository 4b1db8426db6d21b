/** Brings the election's state up to date with what the parts of the elector know. Decides nothing. */
import { annotations } from "../../contract/names";
import type { Timings } from "../../contract/timings";
import { quietMoment } from "../runtime/quiet-moment";
import type { NextRights } from "../runtime/rights";
import { track, type ElectorState, type Handover, type HandoverCause } from "./decide";
import { eligibility } from "./health";
import type { LeaderLease } from "./leader-lease";
import type { Members } from "./members";
import type { OperatorPause } from "./operator-pause";
import type { PodStatus } from "./pod-status";
import type { VoluntaryPause } from "./receipts";

export interface Sources {
  pod: PodStatus;
  lease: LeaderLease;
  members: Members;
  pause: VoluntaryPause;
  operatorPause: OperatorPause;
  rights: NextRights;
}

export const initialState = (self: string, pod: string): ElectorState => ({
  phase: "standby",
  self,
  pod,
  lease: null,
  leaseMissing: false,
  tenure: null,
  eligible: false,
  headLevel: null,
  dalWell: true,
  members: [],
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
  handover: null,
  lostAtMs: null,
  daemonsStopped: false,
});

export function gatherLease(
  state: ElectorState,
  { lease, pause, operatorPause }: Sources,
  now: number,
  wall: number,
): void {
  const { object, view, missing } = lease.known;
  state.lease = view;
  state.leaseMissing = missing;
  state.tenure = lease.tenure;
  pause.see(object, view, now);
  state.lastVoluntaryAtMs = pause.atMs;
  state.voluntaryPauseMs = pause.pauseMs;
  state.lastOperatorAtMs = pause.operatorAtMs;
  operatorPause.see(object?.metadata.annotations?.[annotations.handoverPause] ?? "", { now, wall });
  state.handoversPausedUntilMs = operatorPause.untilMs;
}

/** @returns why this pod could bake, or could not */
export function gatherPod(state: ElectorState, { pod }: Sources, now: number): string {
  pod.noteExchange(now);
  const [sidecar, supervisor, gate] = [pod.fresh("sidecar", now), pod.fresh("supervisor", now), pod.fresh("gate", now)];
  const { eligible, reason } = eligibility({ sidecar, supervisor, gate, reconciled: pod.noncesExchanged });
  state.eligible = eligible;
  state.headLevel = sidecar?.head?.level ?? null;
  state.dalWell = sidecar?.dal?.well ?? true;
  state.tenureLost = state.tenure && gate?.epoch === state.tenure.epoch ? gate.tenureLost : null;
  state.daemonsStopped = state.lostAtMs !== null && daemonsStopped(pod, state.lostAtMs, now);
  return reason;
}

export function gatherMembers(state: ElectorState, { members }: Sources, now: number, timings: Timings): void {
  state.members = members.list();
  track(state, now, timings);
}

/** What the containers have confirmed since the present step of the handover began. */
export function gatherConfirmations(handover: Handover, sources: Sources, now: number, timings: Timings): void {
  const { pod } = sources;
  const { sinceMs, step } = handover;
  if (step === "waiting") {
    handover.quietSinceMs = isQuiet(handover, sources, now) ? (handover.quietSinceMs ?? now) : null;
    // What was signed just now octez-baker still has to send.
    const settledMs = canSign(handover.cause) ? 300 * timings.retrySeconds : 0;
    handover.quiet = handover.quietSinceMs !== null && now - handover.quietSinceMs >= settledMs;
  }
  if (step === "draining" && pod.askedSince("gate", sinceMs)) {
    const gate = pod.fresh("gate", now);
    if (gate) handover.drained = !gate.open && gate.inFlight === 0;
  }
  if (step === "stopping" && pod.askedSince("supervisor", sinceMs) && pod.fresh("supervisor", now))
    handover.stopped = daemonsStopped(pod, sinceMs, now);
  if (step === "pushing" && pod.askedSince("exposer", sinceMs))
    handover.pushed = pod.latest.exposer?.finalPushed ?? false;
}

/** The supervisor, asked since then, says that no daemon runs and that it obeys no order to run one. */
function daemonsStopped(pod: PodStatus, sinceMs: number, now: number): boolean {
  const supervisor = pod.fresh("supervisor", now);
  return (
    pod.askedSince("supervisor", sinceMs) && supervisor !== null && !supervisor.running && supervisor.obeys !== "run"
  );
}

/** False where the master is behind or not eligible. */
const canSign = (cause: HandoverCause): boolean =>
  cause === "planned-operator" || cause === "planned-sigterm" || cause === "planned-dal";

function isQuiet(handover: Handover, { pod, rights }: Sources, now: number): boolean {
  const { cause, sinceMs, waitUntilMs } = handover;
  if (cause === "higher-epoch") return true;
  // What they told before may be of the last block, while octez-baker already votes for the next one.
  if (canSign(cause) && !(pod.askedSince("sidecar", sinceMs) && pod.askedSince("gate", sinceMs))) return false;
  const { sidecar, gate, exposer } = pod.latest;
  const head = sidecar?.head ?? null;
  if (head && sidecar?.ready) rights.ask(head.level, now);
  if (head) handover.headAtFirst ??= { level: head.level, ageSeconds: head.ageSeconds };
  return quietMoment({
    fellSilent: pod.sidecarFellSilent(sinceMs),
    leftSeconds: (waitUntilMs - now) / 1000,
    canBake: canSign(cause),
    inFlight: gate?.inFlight ?? 0,
    nodeReady: sidecar?.ready ?? false,
    head,
    headAtFirst: handover.headAtFirst,
    rights: head && rights.above(head.level),
    keys: gate?.keys ?? [],
    blockSeconds: rights.blockSeconds,
    noncesMissing: exposer?.missing ?? 0,
  }).ok;
}
