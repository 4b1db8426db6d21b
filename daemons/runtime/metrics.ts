/**
 * Prometheus metrics of one daemon. Names: `tog_<daemon>_<what>_<unit>`; docs/metrics.md, which is generated, lists
 * every metric.
 */
import { readdirSync } from "node:fs";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export { Counter, Gauge, Histogram, Registry };

/**
 * A registry with the process's own figures and the labels baker and pod on every series.
 * Read when asked for: the library's own set keeps a timer of 10 ms and costs more CPU than a daemon does.
 */
export function createRegistry(baker: string, pod: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ baker, pod });
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number): void =>
    void new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  let counted = 0;
  new Counter({
    name: "tog_process_cpu_seconds_total",
    help: "CPU time of the process",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.inc((user + system - counted) / 1e6);
      counted = user + system;
    },
  });
  gauge("tog_process_resident_memory_bytes", "Resident memory of the process", () => process.memoryUsage.rss());
  gauge("tog_process_heap_used_bytes", "JavaScript heap in use", () => process.memoryUsage().heapUsed);
  gauge("tog_process_open_fds", "Open file descriptors", () => {
    try {
      return readdirSync("/proc/self/fd").length;
    } catch {
      return 0;
    }
  });
  const started = new Date().getTime() / 1000 - process.uptime();
  gauge("tog_process_start_time_seconds", "Start of the process, seconds since 1970", () => started);
  return registry;
}
