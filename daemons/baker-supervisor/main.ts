/** Wiring of the baker-supervisor: configuration, leadership, children, files, HTTP. */
import { statfs } from "node:fs/promises";
import type { BakerFile } from "../../contract/baker-file";
import { ports } from "../../contract/ports";
import { sidecarStatusSchema } from "../../contract/status";
import { sleep, systemClock as clock } from "../runtime/clock";
import { expandArgs, loadConfig, type DaemonConfig } from "../runtime/config";
import { followConfig } from "../runtime/follow-config";
import { followLeadership } from "../runtime/follow-leadership";
import { getJson } from "../runtime/http-get";
import { serveHttp } from "../runtime/http-server";
import type { KubeClient } from "../runtime/kube";
import { createKubeClient } from "../runtime/kube-client";
import { runDaemon } from "../runtime/lifecycle";
import { createLog, type Log } from "../runtime/log";
import { Counter, createRegistry, Gauge, type Registry } from "../runtime/metrics";
import { spawnGroup } from "./daemon-process";
import { launch, launcher } from "./launch";
import { brokenWatermarks, quarantineBroken } from "./quarantine";
import { lastPossibleLevel, trySolo } from "./solo";
import { Supervisor } from "./supervisor";

/** Until the start conditions of a solo pod are met, or `signal` aborts. @returns true where they are met */
async function soloStart(
  { env, file, identity }: DaemonConfig,
  log: Log,
  kube: KubeClient,
  signal: AbortSignal,
): Promise<boolean> {
  const timeoutMs = file.timings.requestTimeoutMs;
  let said = "";
  let signedUpTo: number | "unknown" | null = null;
  while (!signal.aborted) {
    const head = await getJson(`http://${env.TOG_POD_ADDRESS}:${ports.sidecar}/status`, { timeoutMs, signal })
      .then((body) => sidecarStatusSchema.parse(body).head)
      .catch(() => null);
    const headLevel = head?.level ?? null;
    if (typeof signedUpTo !== "number" && (await brokenWatermarks(env.TOG_CLIENT_DIR)))
      signedUpTo = lastPossibleLevel(head, file.timings.headFreshSeconds);
    const result = await trySolo({ kube, file, identity, headLevel, signedUpTo, timeoutMs, signal });
    if (signal.aborted) return false;
    if (result.ok || result.reason !== said)
      log[result.ok ? "info" : "warn"]("solo-start", result.reason, { detail: result.detail });
    if (result.ok) return true;
    said = result.reason;
    await sleep(file.timings.retrySeconds * 1000, signal);
  }
  return false;
}

export function main(): Promise<void> {
  if (process.argv[3] === "--launch") return launch(Number(process.argv[4]), process.argv.slice(5));
  const config = loadConfig("baker-supervisor");
  const { env, file, identity } = config;
  const log = createLog(env.TOG_POD_NAME, "baker-supervisor");
  const t = file.timings;
  const commands = (from: BakerFile) =>
    from.daemons.map(({ name, command }) => ({ name, command: expandArgs(command, env) }));
  let daemons: { name: string; command: string[] }[];
  try {
    daemons = commands(file);
  } catch (error) {
    log.error("configuration", error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
  return runDaemon(log, async (terminated) => {
    const registry = createRegistry(file.baker, env.TOG_POD_NAME);
    const quarantined = new Counter({
      name: "tog_supervisor_quarantined_files_total",
      help: "High watermark and nonce files that could not be read and were moved aside",
      registers: [registry],
    });
    new Gauge({
      name: "tog_supervisor_disk_used_ratio",
      help: "Used part (0..1) of the disk that holds the node's data and the client folder",
      registers: [registry],
      async collect() {
        this.set(await diskUsedRatio(env.TOG_CLIENT_DIR));
      },
    });
    const server = await serveHttp({
      host: env.TOG_POD_ADDRESS,
      port: ports.supervisor,
      routes: {},
      metrics: registry,
      status: () => supervisor.status(),
    });
    const setAside = async () => {
      for (const name of await quarantineBroken(env.TOG_CLIENT_DIR, clock.wall())) {
        quarantined.inc();
        log.error("quarantined", "not-parsable", { file: name });
      }
    };
    const over = new AbortController();
    let follower: Promise<void> = Promise.resolve();
    const kube =
      file.topology === "solo"
        ? createKubeClient({
            url: env.TOG_KUBE_URL,
            kubeDir: env.TOG_KUBE_DIR,
            namespace: env.TOG_NAMESPACE,
            clock,
            log,
            metrics: registry,
            component: "baker-supervisor",
            instance: env.TOG_POD_NAME,
          })
        : undefined;
    const soloWait = (client: KubeClient) => {
      supervisor.soloReady(false);
      follower = soloStart(config, log, client, AbortSignal.any([over.signal, terminated])).then(async (met) => {
        if (!met) return;
        await setAside();
        supervisor.soloReady(true);
      });
    };
    const prefix = launcher();
    let said = "";
    const supervisor: Supervisor = new Supervisor({
      identity,
      topology: file.topology,
      timings: t,
      daemons,
      prefix,
      onChange: () => {
        const text = JSON.stringify(supervisor.status());
        if (text !== said) server.changed("/status");
        said = text;
      },
      spawn: spawnGroup,
      clock,
      log,
      prepare: async () => {
        // Without a gate a broken high watermark file is no empty one: the start conditions hold again, and set it
        // aside.
        if (kube && (await brokenWatermarks(env.TOG_CLIENT_DIR))) soloWait(kube);
        else await setAside();
      },
    });
    gauges(registry, supervisor);
    // However this process ends, its children end with it; here without waiting for the kernel.
    process.on("exit", () => supervisor.killAll("supervisor-ends"));
    const unfollow = followConfig({
      ...{ path: env.TOG_CONFIG_FILE, file, log, registry },
      onChange: (changed) => supervisor.configure(commands(changed)),
    });
    log.info("started", identity, { port: server.port });
    if (kube) soloWait(kube);
    else
      follower = followLeadership({
        host: env.TOG_POD_ADDRESS,
        timings: t,
        onRecord: (record) => supervisor.record(record),
        onDrop: (reason) => log.debug("leadership-stream", reason),
        signal: over.signal,
      });
    supervisor.evaluate();
    const disk = (async () => {
      while (!over.signal.aborted) {
        supervisor.diskUsedRatio = await diskUsedRatio(env.TOG_CLIENT_DIR).catch(() => undefined);
        await sleep(10_000 * t.retrySeconds, over.signal);
      }
    })();
    await new Promise<void>((resolve) => {
      if (terminated.aborted) resolve();
      terminated.addEventListener("abort", () => resolve(), { once: true });
    });
    await supervisor.terminate();
    over.abort();
    unfollow();
    await follower;
    kube?.close();
    await disk;
    await server.close();
  });
}

/** Used part, 0..1. @throws the error of the file system */
async function diskUsedRatio(folder: string): Promise<number> {
  const { blocks, bavail } = await statfs(folder);
  return blocks > 0 ? 1 - bavail / blocks : 0;
}

function gauges(registry: Registry, supervisor: Supervisor): void {
  const registers = [registry];
  const running = new Gauge({
    name: "tog_supervisor_daemon_running",
    help: "1 while the daemon has a process",
    labelNames: ["daemon"],
    registers,
    collect() {
      this.reset();
      for (const daemon of supervisor.status().daemons) this.set({ daemon: daemon.name }, daemon.pid === null ? 0 : 1);
    },
  });
  const restarts = new Gauge({
    name: "tog_supervisor_daemon_restarts",
    help: "Starts after a crash since the supervisor started",
    labelNames: ["daemon"],
    registers,
    collect() {
      this.reset();
      for (const daemon of supervisor.status().daemons) this.set({ daemon: daemon.name }, daemon.restarts);
    },
  });
  const looping = new Gauge({
    name: "tog_supervisor_crash_looping",
    help: "1 while a daemon crashes again and again",
    registers,
    collect() {
      this.set(supervisor.status().crashLooping ? 1 : 0);
    },
  });
  void [running, restarts, looping];
}
