/** Prometheus metrics of one daemon. Names: `tog_<daemon>_<what>_<unit>`; every metric is listed in the generated metrics reference. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export { Counter, Gauge, Histogram, Registry };

/** A registry with the process's own figures (prefix `tog_`) and the labels baker and pod on every series. */
export function createRegistry(baker: string, pod: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ baker, pod });
  collectDefaultMetrics({ register: registry, prefix: "tog_" });
  return registry;
}
