/** Metrics of the elector. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { leadershipStates, type LeadershipState } from "../../contract/leadership";
import { acquiredAtMs, type Receipt } from "../../contract/receipt";
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

/** When the first of the certificates in a PEM file ends, in seconds since 1970. @throws Error where it holds none */
export function certificateEnd(pem: string): number {
  const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length === 0) throw new Error("no certificate in it");
  return Math.min(...certificates.map((text) => Date.parse(new X509Certificate(text).validTo) / 1000));
}

interface LeaseSource {
  receipts(): Receipt[];
  pausedSeconds(): number;
  caFile: string;
}

/** What the lease and the pod's own files say at the moment of a scrape. */
export function exportTransitions(registry: Registry, source: LeaseSource): void {
  const registers = [registry];
  const labelNames = ["epoch", "from", "to", "cause"];
  const gauge = (name: string, help: string, value: (receipt: Receipt) => number | null): void =>
    void new Gauge({
      ...{ name, help, labelNames, registers },
      collect() {
        this.reset();
        for (const receipt of source.receipts()) {
          const number = value(receipt);
          if (number !== null)
            this.set({ epoch: receipt.epoch, from: receipt.from, to: receipt.to, cause: receipt.cause }, number);
        }
      },
    });
  gauge(
    "tog_elector_transition_timestamp_seconds",
    "When the new master of each of the last transitions acquired the lease (at most 50)",
    (receipt) => acquiredAtMs(receipt) / 1000,
  );
  gauge(
    "tog_elector_transition_missed_levels",
    "Levels missed in each of the last transitions",
    ({ missedLevels }) => missedLevels,
  );
  new Gauge({
    name: "tog_elector_handovers_paused_seconds",
    help: "How long an operator's pause of automatic handovers still lasts; 0 where there is none",
    registers,
    collect() {
      this.set(source.pausedSeconds());
    },
  });
  new Gauge({
    name: "tog_elector_ca_end_timestamp_seconds",
    help: "When the certificate authority of the cluster ends, as mounted in this pod",
    registers,
    collect() {
      try {
        this.set(certificateEnd(readFileSync(source.caFile, "utf8")));
      } catch {
        this.remove();
      }
    },
  });
}

export function createElectorMetrics(registry: Registry): ElectorMetrics {
  const registers = [registry];
  const state = new Gauge({
    name: "tog_elector_state",
    help: "1 for the state this pod is in",
    labelNames: ["state"],
    registers,
  });
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
