/** The supervisor's metrics. */
import { Counter, Gauge, type Registry } from "../runtime/metrics";
import type { Supervisor } from "./supervisor";

/** @param diskUsedRatio used part (0..1) of the disk; rejects where it cannot be read */
export function createMetrics(
  registry: Registry,
  supervisor: Supervisor,
  diskUsedRatio: () => Promise<number>,
): { quarantined: Counter } {
  const registers = [registry];
  new Gauge({
    name: "tog_supervisor_disk_used_ratio",
    help: "Used part (0..1) of the disk that holds the node's data and the client folder",
    registers,
    async collect() {
      this.set(await diskUsedRatio());
    },
  });
  new Gauge({
    name: "tog_supervisor_daemon_running",
    help: "1 while the daemon has a process",
    labelNames: ["daemon"],
    registers,
    collect() {
      this.reset();
      for (const daemon of supervisor.status().daemons) this.set({ daemon: daemon.name }, daemon.pid === null ? 0 : 1);
    },
  });
  new Gauge({
    name: "tog_supervisor_daemon_restarts",
    help: "Starts after a crash since the supervisor started",
    labelNames: ["daemon"],
    registers,
    collect() {
      this.reset();
      for (const daemon of supervisor.status().daemons) this.set({ daemon: daemon.name }, daemon.restarts);
    },
  });
  new Gauge({
    name: "tog_supervisor_crash_looping",
    help: "1 while a daemon crashes again and again",
    registers,
    collect() {
      this.set(supervisor.status().crashLooping ? 1 : 0);
    },
  });
  return {
    quarantined: new Counter({
      name: "tog_supervisor_quarantined_files_total",
      help: "High watermark and nonce files that could not be read and were moved aside",
      registers,
    }),
  };
}
