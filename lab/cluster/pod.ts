/**
 * A pod as a kubelet runs it: volumes, init containers in order, containers with restart policy Always and back-off,
 * probes, readiness, preStop calls, termination grace. Times of probes and back-off are scaled with the laboratory; the
 * containers' own times are in their configuration.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { randomUUID } from "node:crypto";
import { appendFileSync, mkdirSync } from "node:fs";
import { get } from "node:http";
import { constants } from "node:os";
import { join } from "node:path";
import type { LogEntry } from "../../contract/log";
import { secondsTime } from "../../daemons/runtime/kube";
import { Mounts } from "./mounts";
import type { ContainerSpec, HttpGet, PodTemplate, ProbeSpec } from "./stack";
import { ContainerProcess, sweep } from "./process";

export interface PodOptions {
  name: string;
  namespace: string;
  zone: string;
  address: string;
  /** Loopback address of the pod. */
  local: string;
  template: PodTemplate;
  /** The pod's own folder: volumes that end with it, logs. */
  folder: string;
  /**
   * Volume name -> folder, for claims, config maps, secrets and projected volumes; the rest are empty folders of the
   * pod.
   */
  volumes: Record<string, string>;
  /** Added to each container's environment. */
  env: Record<string, string>;
  /** Maps a command line of the images to one of this machine. */
  resolveCommand: (command: string[]) => string[];
  /** Times 1 = a real kubelet's. */
  scale: number;
  onLog: (entry: LogEntry & { container: string }) => void;
}
export interface PodEvents {
  change: [];
  /** A container's process ended or began, with why. */
  container: [{ container: string; event: "started" | "exited" | "unhealthy" | "backoff"; reason: string }];
  gone: [];
}
type ContainerState = "waiting" | "running" | "backoff" | "terminated";

class Container {
  process: ContainerProcess | undefined;
  state: ContainerState = "waiting";
  ready = false;
  startedUp = false;
  restarts = 0;
  backoffMs = 0;
  /** As a kubelet tells it. */
  lastTerminated: { exitCode: number; reason: string; finishedAt: string } | undefined;
  readonly timers = new Set<NodeJS.Timeout>();
  constructor(readonly spec: ContainerSpec) {}

  clearTimers(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }
}

export class Pod extends EventEmitter<PodEvents> {
  readonly uid = randomUUID();
  readonly containers: Container[];
  phase: "Pending" | "Running" | "Succeeded" | "Failed" | "Terminating" = "Pending";
  readyAtMs: number | undefined;
  paused = false;
  /** True once no process of it is left. */
  ended = false;
  private generation = 0;
  private stopping = false;

  constructor(readonly options: PodOptions) {
    super();
    this.setMaxListeners(50);
    this.containers = options.template.containers.map((spec) => new Container(spec));
    mkdirSync(join(options.folder, "logs"), { recursive: true });
  }

  get name(): string {
    return this.options.name;
  }
  get ready(): boolean {
    return this.phase === "Running" && this.containers.every((container) => container.ready);
  }
  container(name: string): Container | undefined {
    return this.containers.find((container) => container.spec.name === name);
  }

  /** Runs the init containers, then starts the others. Never rejects. */
  async start(): Promise<void> {
    for (const spec of this.options.template.init) {
      this.init = spec.name;
      this.emit("change");
      for (let attempt = 0; !this.stopping; attempt++) {
        const code = await this.runToEnd(spec);
        if (code === 0 || this.stopping) break;
        this.emit("container", { container: spec.name, event: "exited", reason: `init container ended with ${code}` });
        await this.wait(Math.min(300_000, 10_000 * 2 ** attempt) * this.options.scale);
      }
      if (this.stopping) return;
    }
    this.phase = "Running";
    this.init = undefined;
    this.emit("change");
    for (const container of this.containers) {
      // A kubelet starts them one after the other.
      this.startContainer(container);
      await this.wait(20);
    }
  }

  private wait(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms).unref());
  }

  private runToEnd(spec: ContainerSpec): Promise<number> {
    return new Promise((resolve) => {
      const started = this.spawn(spec, ({ code }) => resolve(code ?? 137));
      this.initProcess = started;
    }).then((code) => {
      this.initProcess = undefined;
      return code as number;
    });
  }
  private initProcess: ContainerProcess | undefined;
  /** Name of the init container whose turn it is; undefined before and after. */
  init: string | undefined;

  private spawn(
    spec: ContainerSpec,
    onExit: (exit: { code: number | null; signal: NodeJS.Signals | null }) => void,
  ): ContainerProcess {
    const { options } = this;
    const env = this.environment(spec);
    const mounts = this.mountsOf(spec);
    const expand = (text: string) =>
      text.replace(/\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)/g, (whole, name?: string) =>
        name === undefined ? "$" : (env[name] ?? whole),
      );
    const command = [...spec.command, ...spec.args].map((word) => expand(mounts.map(word)));
    const log = join(options.folder, "logs", `${spec.name}.log`);
    return new ContainerProcess({
      id: `${this.uid}/${spec.name}/${this.generation++}`,
      command: options.resolveCommand(command),
      env,
      cwd: options.folder,
      onLine: (line, stream) => {
        try {
          appendFileSync(log, line + "\n");
        } catch {
          // Last words of a laboratory whose folder is gone.
          return;
        }
        options.onLog(this.entry(spec.name, line, stream));
      },
      onExit,
    });
  }

  private entry(container: string, line: string, stream: string): LogEntry & { container: string } {
    if (line.startsWith("{"))
      try {
        const entry = JSON.parse(line) as LogEntry;
        if (typeof entry.event === "string")
          return { ...entry, atMs: entry.atMs ?? Date.now(), pod: this.name, container };
      } catch {
        // Not JSON after all.
      }
    // Octez' programs log on standard error whatever it is; what matters of it they tell the laboratory by themselves.
    const octez = /^\w{3} \d\d [\d:.]+ +(NOTICE|WARN|ERROR) │ /.test(line);
    const level = octez ? "debug" : stream === "stderr" ? "warn" : "info";
    return {
      atMs: Date.now(),
      level,
      pod: this.name,
      daemon: container,
      container,
      event: "output",
      reason: line.slice(0, 500),
    };
  }

  private mountsOf(spec: ContainerSpec): Mounts {
    return new Mounts(spec, this.options.folder, this.options.volumes);
  }

  private environment(spec: ContainerSpec): Record<string, string> {
    const { options } = this;
    const fields: Record<string, string> = {
      "metadata.name": this.name,
      "metadata.namespace": options.namespace,
      "metadata.uid": this.uid,
      "status.podIP": options.address,
      "metadata.labels['topology.kubernetes.io/zone']": options.zone,
    };
    const mounts = this.mountsOf(spec);
    const env: Record<string, string> = { ...options.env };
    for (const { name, value, value_from } of spec.env) {
      const text = value_from?.field_ref ? (fields[value_from.field_ref.field_path] ?? "") : (value ?? "");
      const placed = mounts.place(text);
      env[name] = placed.replace(
        /\$\(([A-Za-z_][A-Za-z0-9_]*)\)/g,
        (whole, variable: string) => env[variable] ?? whole,
      );
    }
    if (env.TOG_LOCAL_ADDRESS !== undefined) env.TOG_LOCAL_ADDRESS = options.local;
    return env;
  }

  private startContainer(container: Container): void {
    if (this.stopping || this.ended) return;
    container.state = "running";
    container.startedUp = container.spec.startup_probe === undefined;
    container.ready = container.spec.readiness_probe === undefined && container.startedUp;
    container.process = this.spawn(container.spec, (exit) => this.onExit(container, exit));
    this.emit("container", {
      container: container.spec.name,
      event: "started",
      reason: `restart ${container.restarts}`,
    });
    this.probe(container, container.spec.startup_probe, "startup");
    this.probe(container, container.spec.liveness_probe, "liveness");
    this.probe(container, container.spec.readiness_probe, "readiness");
    this.emit("change");
  }

  private onExit(container: Container, exit: { code: number | null; signal: NodeJS.Signals | null }): void {
    const { scale } = this.options;
    const ranMs = Date.now() - (container.process?.startedAtMs ?? 0);
    container.clearTimers();
    container.process = undefined;
    container.ready = false;
    const exitCode = exit.code ?? 128 + (exit.signal ? constants.signals[exit.signal] : 0);
    const finishedAt = secondsTime(Date.now());
    container.lastTerminated = { exitCode, reason: exitCode === 0 ? "Completed" : "Error", finishedAt };
    container.state = "terminated";
    this.emit("container", {
      container: container.spec.name,
      event: "exited",
      reason: exit.signal ?? `exit ${exit.code}`,
    });
    this.emit("change");
    if (this.stopping || this.ended) return void this.checkEnd();
    // The first restart is immediate; the delay doubles from 10 s to 5 min and is forgotten after 10 min of running.
    if (ranMs > 600_000 * scale) container.backoffMs = 0;
    const delayMs = container.backoffMs;
    container.backoffMs = Math.min(300_000 * scale, delayMs === 0 ? 10_000 * scale : delayMs * 2);
    container.restarts++;
    if (delayMs > 0) {
      container.state = "backoff";
      this.emit("container", { container: container.spec.name, event: "backoff", reason: `${Math.round(delayMs)} ms` });
    }
    const timer = setTimeout(() => this.startContainer(container), delayMs);
    container.timers.add(timer);
  }

  private probe(container: Container, spec: ProbeSpec | undefined, kind: "startup" | "liveness" | "readiness"): void {
    if (!spec?.http_get) return;
    const { scale } = this.options;
    const { process: ofProcess } = container;
    const periodMs = Math.max(200, (spec.period_seconds ?? 10) * 1000 * scale);
    const request = spec.http_get;
    let failures = 0;
    const next = (ms: number) => {
      const timer = setTimeout(() => {
        container.timers.delete(timer);
        void run();
      }, ms);
      timer.unref();
      container.timers.add(timer);
    };
    const run = async () => {
      if (container.process !== ofProcess || !ofProcess || ofProcess.exited || this.ended) return;
      // The kubelet asks for readiness as soon as the startup probe has succeeded.
      if (kind !== "startup" && !container.startedUp)
        return next(kind === "readiness" ? Math.min(periodMs, 300) : periodMs);
      const ok = this.paused || (await this.call(request, (spec.timeout_seconds ?? 1) * 1000));
      if (container.process !== ofProcess) return;
      failures = ok ? 0 : failures + 1;
      const failed = failures >= (spec.failure_threshold ?? 3);
      if (kind === "startup" && ok) {
        container.startedUp = true;
        if (container.spec.readiness_probe === undefined) container.ready = true;
        return this.changed();
      }
      if (kind === "readiness" && (ok || failed) && container.ready !== ok) {
        container.ready = ok;
        this.changed();
      }
      if (kind !== "readiness" && failed && !this.stopping) {
        this.emit("container", {
          container: container.spec.name,
          event: "unhealthy",
          reason: `${kind} probe ${request.path} failed ${failures} times`,
        });
        void this.terminate(container);
        return;
      }
      next(periodMs);
    };
    // A real kubelet waits up to a period; ready pods in seconds are the point here.
    next(kind === "liveness" ? periodMs : Math.min(periodMs, 300));
  }
  private changed(): void {
    if (this.ready && this.readyAtMs === undefined) this.readyAtMs = Date.now();
    if (!this.ready) this.readyAtMs = undefined;
    this.emit("change");
  }

  private call({ path, port }: HttpGet, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const request = get(
        { host: this.options.address, port: Number(port), path, agent: false, timeout: timeoutMs },
        (response) => {
          response.resume();
          response.on("end", () => resolve((response.statusCode ?? 500) < 400));
          response.on("error", () => resolve(false));
        },
      );
      const timer = setTimeout(() => request.destroy(), timeoutMs).unref();
      request.on("close", () => clearTimeout(timer));
      request.on("error", () => resolve(false));
    });
  }

  /** preStop, SIGTERM, grace, SIGKILL for one container. */
  private async terminate(container: Container): Promise<void> {
    const ofProcess = container.process;
    const graceMs = this.options.template.graceSeconds * 1000;
    const deadline = setTimeout(() => ofProcess?.kill(), graceMs).unref();
    for (const hook of container.spec.lifecycle?.pre_stop ?? [])
      if (hook.http_get && ofProcess && !ofProcess.exited) await this.call(hook.http_get, graceMs);
    ofProcess?.signal("SIGTERM");
    while (ofProcess && !ofProcess.exited) await this.wait(20);
    clearTimeout(deadline);
  }

  /** As `kubectl delete pod`. */
  async delete(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    this.phase = "Terminating";
    this.initProcess?.kill();
    for (const container of this.containers) container.clearTimers();
    this.emit("change");
    await Promise.all(this.containers.map((container) => this.terminate(container)));
    this.end();
  }
  /** Every process at once, as by a power cut; the pod does not come back by itself. */
  kill(): void {
    this.stopping = true;
    this.initProcess?.kill();
    for (const container of this.containers) {
      container.clearTimers();
      container.process?.abandon();
      container.process?.kill();
    }
    this.end();
  }
  private checkEnd(): void {
    if (this.containers.every((container) => container.process === undefined)) this.end();
  }
  private end(): void {
    if (this.ended) return;
    this.ended = true;
    void sweep(`LAB_POD_UID=${this.uid}`);
    this.emit("change");
    this.emit("gone");
  }

  /** As `kubectl exec`: a further process of a running container. @throws Error where it does not run */
  exec(name: string, words: readonly string[]): ChildProcessWithoutNullStreams {
    const container = this.container(name);
    if (container?.state !== "running") throw new Error(`container ${name} of ${this.name} does not run`);
    const mounts = this.mountsOf(container.spec);
    const [program = "", ...args] = this.options.resolveCommand(words.map((word) => mounts.map(word)));
    return spawn(program, args, { env: this.environment(container.spec), cwd: this.options.folder });
  }

  killContainer(name: string, signal: NodeJS.Signals = "SIGKILL"): void {
    const running = this.container(name)?.process;
    if (signal === "SIGKILL") running?.kill();
    else running?.signal(signal);
  }
  pause(stop: boolean, name?: string): void {
    // The kubelet of a machine that stands still asks nothing; of a container that hangs it gets no answer.
    if (name === undefined) this.paused = stop;
    for (const container of this.containers)
      if (name === undefined || container.spec.name === name) container.process?.pause(stop);
  }
}
