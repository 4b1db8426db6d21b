/** Metrics of the elector. */
import { leadershipStates, type LeadershipState } from "../../contract/leadership";
import { Counter, Gauge, Histogram, type Registry } from "../runtime/metrics";

export interface ElectorMetrics {
  phase(phase: LeadershipState): void;
  acquired(cause: string, epoch: number): void;
  released(cause: string, durationMs: number): void;
  lost(reason: string): void;
  renewed(durationMs: number, ok: boolean): void;
  requestFailed(kind: string): void;
  member(pod: string, eligible: boolean): void;
}

export function createElectorMetrics(registry: Registry): ElectorMetrics {
  const registers = [registry];
  const state = new Gauge({ name: "tog_elector_state", help: "1 for the state this pod is in", labelNames: ["state"], registers });
  const epoch = new Gauge({ name: "tog_elector_epoch", help: "Epoch of this pod's last tenure", registers });
  const acquisitions = new Counter({
    name: "tog_elector_acquisitions_total",
    help: "Tenures that this pod began, by cause",
    labelNames: ["cause"],
    registers,
  });
  const releases = new Counter({
    name: "tog_elector_releases_total",
    help: "Planned handovers that this pod completed, by cause",
    labelNames: ["cause"],
    registers,
  });
  const losses = new Counter({
    name: "tog_elector_losses_total",
    help: "Tenures that this pod lost, by reason",
    labelNames: ["reason"],
    registers,
  });
  const handover = new Histogram({
    name: "tog_elector_handover_seconds",
    help: "From the decision to hand over until the release",
    buckets: [0.1, 0.3, 1, 2, 5, 10, 20, 40],
    registers,
  });
  const renewal = new Histogram({
    name: "tog_elector_renewal_seconds",
    help: "Duration of a successful renewal of the leader lease",
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
    registers,
  });
  const failures = new Counter({
    name: "tog_elector_request_failures_total",
    help: "Failed requests about the leader lease, by kind",
    labelNames: ["kind"],
    registers,
  });
  const members = new Gauge({
    name: "tog_elector_member_eligible",
    help: "1 where another member is alive and eligible",
    labelNames: ["member"],
    registers,
  });
  for (const name of leadershipStates) state.set({ state: name }, name === "standby" ? 1 : 0);
  return {
    phase: (phase) => leadershipStates.forEach((name) => state.set({ state: name }, name === phase ? 1 : 0)),
    acquired: (cause, value) => {
      acquisitions.inc({ cause });
      epoch.set(value);
    },
    released: (cause, durationMs) => {
      releases.inc({ cause });
      handover.observe(durationMs / 1000);
    },
    lost: (reason) => losses.inc({ reason }),
    renewed: (durationMs, ok) => {
      if (ok) renewal.observe(durationMs / 1000);
    },
    requestFailed: (kind) => failures.inc({ kind }),
    member: (pod, eligible) => members.set({ member: pod }, eligible ? 1 : 0),
  };
}
