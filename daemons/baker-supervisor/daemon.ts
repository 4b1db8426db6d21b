/** Wiring of the baker-supervisor: leadership or the conditions of a pod without one, children, files, HTTP. */
import { once } from "node:events";
import { statfs } from "node:fs/promises";
import type { BakerFile } from "../../contract/baker-file";
import { ports } from "../../contract/ports";
import { gateStatusSchema, sidecarStatusSchema } from "../../contract/status";
import { sleep, systemClock as clock } from "../runtime/clock";
import { expandArgs, type DaemonConfig } from "../runtime/config";
import { followConfig, sameKeys } from "../runtime/follow-config";
import { getJson } from "../runtime/http-get";
import { followLeadership } from "../runtime/follow-leadership";
import { serveHttp, type HttpServer } from "../runtime/http-server";
import type { KubeClient } from "../runtime/kube";
import { podKubeClient } from "../runtime/kube-client";
import type { Log } from "../runtime/log";
import { type Counter, createRegistry, type Registry } from "../runtime/metrics";
import { repeat } from "../runtime/repeat";
import { AbsentKeys } from "./absent-keys";
import { spawnGroup } from "./daemon-process";
import { createQuietRestart } from "./quiet-restart";
import { launcher } from "./launch";
import { createMetrics } from "./metrics";
import { brokenWatermarks, quarantineBroken } from "./quarantine";
import { toldBy } from "./hang";
import { SoloStart } from "./solo-start";
import { checkStarts } from "./start-check";
import { Supervisor } from "./supervisor";
import { ClientFolder, writeProblem } from "./writable";

export type Commands = { name: string; command: string[] }[];

/** Names and expanded command lines. @throws Error where one uses a name that is not in the environment */
export const daemonCommands = ({ daemons }: BakerFile, { env }: DaemonConfig): Commands =>
  daemons.map(({ name, command }) => ({ name, command: expandArgs(command, env) }));

/** Used part, 0..1. @throws the error of the file system */
async function diskUsedRatio(folder: string): Promise<number> {
  const { blocks, bavail } = await statfs(folder);
  return blocks > 0 ? 1 - bavail / blocks : 0;
}

export class SupervisorDaemon {
  private readonly supervisor: Supervisor;
  private readonly registry: Registry;
  private readonly quarantined: Counter;
  private readonly over = new AbortController();
  private readonly kube: KubeClient | undefined;
  private readonly solo: SoloStart | undefined;
  private soloWaiting: Promise<void> = Promise.resolve();
  private server: HttpServer | undefined;
  private announced = "";
  private readonly prefix = launcher();
  private readonly clientFolder: ClientFolder;
  private readonly quietRestart: ReturnType<typeof createQuietRestart>;
  private readonly absent: AbsentKeys;

  constructor(
    private readonly config: DaemonConfig,
    private daemons: Commands,
    private readonly log: Log,
    private readonly terminated: AbortSignal,
  ) {
    const { env, file, identity } = config;
    this.registry = createRegistry(file.baker, env.TOG_POD_NAME);
    if (file.topology === "solo") {
      this.kube = podKubeClient(env, { component: "baker-supervisor", log, metrics: this.registry });
      this.solo = new SoloStart(config, log, this.kube);
    }
    this.clientFolder = new ClientFolder(() => writeProblem(env.TOG_CLIENT_DIR));
    this.supervisor = new Supervisor({
      ...{ identity, topology: file.topology, timings: file.timings, daemons, prefix: this.prefix, clock, log },
      spawn: (command) => spawnGroup(this.absent.without(command)),
      onChange: () => this.announce(),
      prepare: () => this.prepare(),
    });
    this.absent = new AbsentKeys(config, () => this.daemons[0]?.command ?? [], this.over.signal);
    const restart = (reason: string) => this.supervisor.restart(reason);
    this.quietRestart = createQuietRestart(config, { clock, log, signal: this.over.signal, restart });
    this.quarantined = createMetrics(this.registry, this.supervisor, () =>
      diskUsedRatio(env.TOG_CLIENT_DIR),
    ).quarantined;
  }

  /** Until this process may end after SIGTERM. */
  async run(): Promise<void> {
    const { config, log, supervisor, terminated, registry } = this;
    const { env, file } = config;
    const { signal } = this.over;
    const server = (this.server = await serveHttp({
      ...{ host: env.TOG_POD_ADDRESS, port: ports.supervisor, routes: {}, metrics: registry },
      status: () => supervisor.status(),
      ready: () => supervisor.ready(),
    }));
    // However this process ends, its children end with it; here without waiting for the kernel.
    process.on("exit", () => supervisor.killAll("supervisor-ends"));
    const unfollow = followConfig({
      ...{ path: env.TOG_CONFIG_FILE, file, log, registry },
      onChange: (changed) => {
        if (!sameKeys(changed, file))
          return log.info("daemons-kept", "other-keys", {
            detail: "this pod ends soon; its client folder has no other keys than those of its start",
          });
        this.daemons = daemonCommands(changed, config);
        supervisor.configure(this.daemons);
        void this.checkStarts();
      },
    });
    log.info("started", config.identity, { port: server.port });
    const following = this.solo ? this.waitForSolo(this.solo) : this.followElector(signal);
    supervisor.evaluate();
    // The daemons of a master come first, and show by themselves that they start.
    const checks = sleep(1000 * file.timings.retrySeconds, signal).then(() =>
      repeat(signal, 10_000 * file.timings.retrySeconds, async () => {
        if (supervisor.cannotStart !== undefined) await this.checkStarts();
      }),
    );
    // The end waits for neither of these two: a disk that hangs would hold it up.
    void repeat(signal, 10_000 * file.timings.retrySeconds, async () => {
      supervisor.diskUsedRatio = await diskUsedRatio(env.TOG_CLIENT_DIR).catch(() => undefined);
    });
    const looks = repeat(signal, 500 * file.timings.retrySeconds, () => this.lookAround());
    void repeat(signal, 2000 * file.timings.retrySeconds, () => this.checkClientFolder());
    if (!terminated.aborted) await once(terminated, "abort");
    await supervisor.terminate();
    await this.solo?.leave(signal);
    this.over.abort();
    unfollow();
    await Promise.all([following, this.soloWaiting, checks, looks]);
    this.quietRestart.close();
    this.kube?.close();
    await server.close();
  }

  private async checkClientFolder(): Promise<void> {
    const problem = await this.clientFolder.problem(5000 * this.config.file.timings.retrySeconds);
    if (problem === this.supervisor.clientFolderProblem) return;
    if (problem !== undefined) this.log.error("client-folder-not-written", problem);
    this.supervisor.clientFolderProblem = problem;
    this.announce();
  }

  /** Where gate or sidecar do not answer, nothing is known, and nothing changes. */
  private async lookAround(): Promise<void> {
    const { env, file } = this.config;
    const keysAbsent = this.absent.addresses.length > 0;
    if (!this.supervisor.running || (this.solo && !file.dal && !keysAbsent)) return;
    const options = { timeoutMs: file.timings.requestTimeoutMs, signal: this.over.signal };
    const status = (port: number) => getJson(`http://${env.TOG_POD_ADDRESS}:${port}/status`, options);
    const asked = this.solo ? [ports.sidecar] : [ports.sidecar, ports.gateHealth];
    const answers = await Promise.all(asked.map(status)).catch(() => undefined);
    const sidecar = sidecarStatusSchema.safeParse(answers?.[0]).data;
    const gate = this.solo ? undefined : gateStatusSchema.safeParse(answers?.[1]).data;
    if (!sidecar || !(gate || this.solo)) return;
    if (gate) this.supervisor.saw(toldBy(gate, sidecar));
    const came = keysAbsent && (await this.absent.someCame());
    this.quietRestart.look(this.supervisor.pid, sidecar, gate?.open === false ? null : gate, came);
  }

  private async checkStarts(): Promise<void> {
    const { supervisor } = this;
    const fault = supervisor.running ? undefined : await checkStarts(this.daemons, this.prefix, spawnGroup);
    if (fault !== undefined && fault !== supervisor.cannotStart) this.log.error("daemon-cannot-start", fault);
    supervisor.cannotStart = fault;
    this.announce();
  }

  private announce(): void {
    const text = JSON.stringify(this.supervisor.status());
    if (text !== this.announced) this.server?.changed("/status");
    this.announced = text;
  }

  private followElector(signal: AbortSignal): Promise<void> {
    return followLeadership({
      host: this.config.env.TOG_POD_ADDRESS,
      timings: this.config.file.timings,
      onRecord: (record) => this.supervisor.record(record),
      onDrop: (reason) => this.log.debug("leadership-stream", reason),
      signal,
    });
  }

  private waitForSolo(solo: SoloStart): Promise<void> {
    this.supervisor.soloReady(false);
    return (this.soloWaiting = solo.wait(AbortSignal.any([this.over.signal, this.terminated])).then(async (met) => {
      if (!met) return;
      await this.setBrokenAside();
      this.supervisor.soloReady(true);
    }));
  }

  /** Before a start of the daemons. */
  private async prepare(): Promise<void> {
    // Without a gate a broken high watermark file is no empty one: the start conditions hold again, and set it aside.
    if (this.solo && (await brokenWatermarks(this.config.env.TOG_CLIENT_DIR))) void this.waitForSolo(this.solo);
    else await this.setBrokenAside();
    await this.absent.look();
    const keysLeftOut = this.absent.addresses;
    if (keysLeftOut.length > 0)
      this.log.error("keys-left-out", "no signer has shown their public keys", { addresses: keysLeftOut.join(" ") });
    this.supervisor.keysLeftOut = keysLeftOut;
    this.announce();
  }

  private async setBrokenAside(): Promise<void> {
    for (const name of await quarantineBroken(this.config.env.TOG_CLIENT_DIR, clock.wall())) {
      this.quarantined.inc();
      this.log.error("quarantined", "not-parsable", { file: name });
    }
  }
}
