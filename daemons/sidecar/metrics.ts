import type { SidecarStatus } from "../../contract/status";
import { Counter, Gauge, type Registry } from "../runtime/metrics";

/** What the sidecar measures of the node. @returns counts a question that was not answered as it should */
export function sidecarMetrics(
  registry: Registry,
  status: () => SidecarStatus,
): (question: string, kind: string) => void {
  const registers = [registry];
  const failures = new Counter({
    name: "tog_sidecar_rpc_failures_total",
    help: "Questions that the node did not answer as it should",
    labelNames: ["question", "kind"],
    registers,
  });
  const gauge = (name: string, help: string, read: (status: SidecarStatus) => number): void =>
    void new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(status()));
      },
    });
  gauge("tog_sidecar_live", "1 where the node has connections", ({ live }) => Number(live));
  gauge("tog_sidecar_ready", "1 where the node's head is young enough", ({ ready }) => Number(ready));
  gauge("tog_sidecar_connections", "Connections of the node", ({ connections }) => connections ?? 0);
  gauge("tog_sidecar_head_level", "Level of the node's head", ({ head }) => head?.level ?? 0);
  gauge("tog_sidecar_head_age_seconds", "Age of the node's head", ({ head }) => head?.ageSeconds ?? Infinity);
  return (question, kind) => failures.inc({ question, kind });
}
