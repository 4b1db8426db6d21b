/** Figures of the gate. Labels are bounded: kinds, reason codes and signers, never levels or digests. */
import type { GateStatus } from "../../contract/status";
import { Counter, Gauge, Histogram, type Registry } from "../runtime/metrics";

const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3.5];

/** What the gate's status says, read at each scrape. */
function exportStatus(registry: Registry, status: () => GateStatus): void {
  const registers = [registry];
  const gauge = (name: string, help: string, value: (status: GateStatus) => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value(status()));
      },
    });
  gauge("tog_gate_open", "1 while requests of this tenure are forwarded for at least one key", (s) => (s.open ? 1 : 0));
  gauge("tog_gate_epoch", "Epoch of the tenure", (s) => s.epoch);
  gauge("tog_gate_in_flight", "Requests being marked or forwarded", (s) => s.inFlight);
  gauge(
    "tog_gate_keys_lost",
    "Keys whose watermark is lost or refused",
    (s) => s.keys.filter((key) => key.state === "lost" || key.state === "refused").length,
  );
  gauge(
    "tog_gate_keys_without_signer",
    "Keys whose public key no signer has shown since the gate's start",
    (s) => s.keys.filter((key) => key.signers === 0).length,
  );
  gauge("tog_gate_signers_answering", "Signers that answered the last health check", (s) => s.signersAnswering);
  new Gauge({
    name: "tog_gate_endpoint_up",
    help: "1 where a signer answered the last health check through this endpoint",
    labelNames: ["signer", "zone"],
    registers,
    collect() {
      // A signer that was taken out must not stay as one that is down.
      this.reset();
      for (const { name, zone, answers } of status().signers)
        this.set({ signer: name, zone: zone ?? "" }, answers ? 1 : 0);
    },
  });
}

export function gateMetrics(registry: Registry) {
  const registers = [registry];
  const requests = new Counter({
    name: "tog_gate_requests_total",
    help: "Signing requests decided",
    labelNames: ["kind", "result", "reason"],
    registers,
  });
  const total = new Histogram({
    name: "tog_gate_request_seconds",
    help: "Time from a request's arrival to its answer",
    labelNames: ["result"],
    buckets,
    registers,
  });
  const mark = new Histogram({
    name: "tog_gate_mark_seconds",
    help: "Time to make a mark durable before forwarding",
    buckets,
    registers,
  });
  const signer = new Histogram({
    name: "tog_gate_signer_seconds",
    help: "Time of one attempt at a signer",
    labelNames: ["signer", "result"],
    buckets,
    registers,
  });
  return {
    follow: (status: () => GateStatus) => exportStatus(registry, status),
    attempt: (name: string, result: string, ms: number) => signer.observe({ signer: name, result }, ms / 1000),
    decision: (decision: {
      kind: string;
      result: string;
      reason: string;
      markMs: number;
      signMs: number;
      totalMs: number;
    }) => {
      requests.inc({ kind: decision.kind, result: decision.result, reason: decision.reason });
      total.observe({ result: decision.result }, decision.totalMs / 1000);
      if (decision.markMs > 0) mark.observe(decision.markMs / 1000);
    },
  };
}
