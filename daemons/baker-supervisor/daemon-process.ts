/** One configured daemon: at most one process group at a time. */
import { spawn, type ChildProcess } from "node:child_process";
import type { daemonStates } from "../../contract/status";
import type { Timings } from "../../contract/timings";
import type { Clock } from "../runtime/clock";
import type { Log } from "../runtime/log";
import { afterCrash, crashLoop, isCrashLooping, type CrashState } from "./decide";

export type DaemonState = (typeof daemonStates)[number];
export type Spawn = (command: readonly string[]) => ChildProcess;
/** @param group process id of its leader. @throws where the group is gone */
export type KillGroup = (group: number, signal: NodeJS.Signals) => void;

/** In its own process group, so that all of it can be killed. */
export const spawnGroup: Spawn = ([file = "", ...args]) =>
  spawn(file, args, { detached: true, stdio: ["ignore", "inherit", "inherit"] });
const killGroup: KillGroup = (group, signal) => void process.kill(-group, signal);

export class DaemonProcess {
  state: DaemonState = "stopped";
  restarts = 0;
  lastExit: string | null = null;
  private child: ChildProcess | null = null;
  private stopping: "planned" | "now" | null = null;
  private grace: NodeJS.Timeout | undefined;
  private crashes: CrashState = { failures: 0 };
  private startedAtMs = 0;
  private hung = false;
  /** It hangs, and a restart did not help. */
  private helpless = false;
  /** How often that was so since a run last worked. */
  private hangs = 0;
  private endedAtMs = -Infinity;
  private nextStartMs = 0;

  /** @param command expanded command line; @param onChange called after each change of state */
  constructor(
    readonly name: string,
    readonly command: readonly string[],
    private readonly o: {
      prefix: readonly string[];
      spawn: Spawn;
      /** @default the kernel's */
      kill?: KillGroup;
      clock: Clock;
      log: Log;
      timings: Timings;
      onChange: () => void;
      onCrash?: (name: string, how: string) => void;
    },
  ) {}

  get running(): boolean {
    return this.child !== null;
  }
  get pid(): number | null {
    return this.child?.pid ?? null;
  }
  get crashLooping(): boolean {
    const since = this.o.clock.now() - (this.running ? this.startedAtMs : this.endedAtMs);
    return this.helpless || isCrashLooping(this.crashes, this.running, since, this.o.timings);
  }
  get ranMs(): number {
    return this.o.clock.now() - this.startedAtMs;
  }
  /** When it may be started; a crash puts it off. */
  get startableAtMs(): number {
    return this.running ? Infinity : this.nextStartMs;
  }

  start(): void {
    if (this.child) return;
    this.crashes = { ...this.crashes, forgotten: !this.crashLooping };
    this.startedAtMs = this.o.clock.now();
    this.stopping = null;
    this.o.log.info("daemon-starting", this.name, { program: this.command[0] });
    const child = this.o.spawn([...this.o.prefix, ...this.command]);
    this.child = child;
    this.state = "running";
    child.once("error", (error) => this.ended(`not started: ${error.message}`));
    child.once("exit", (code, signal) => this.ended(signal ?? String(code)));
    this.o.onChange();
  }

  /** SIGTERM, then after the grace SIGKILL. */
  stopPlanned(): void {
    if (!this.child) return this.calm();
    if (this.stopping) return;
    this.stopping = "planned";
    this.state = "stopping";
    this.o.log.info("daemon-stopping", "planned", { program: this.name, pid: this.pid });
    this.signal("SIGTERM");
    this.grace = setTimeout(() => {
      this.o.log.warn("daemon-stopping", "grace-over", { program: this.name, pid: this.pid });
      this.signal("SIGKILL");
    }, this.o.timings.stopGraceSeconds * 1000);
    this.o.onChange();
  }

  /** SIGKILL of the group, at once. */
  stopNow(reason: string): void {
    if (!this.child) return this.calm();
    if (this.stopping === "now") return;
    this.signal("SIGKILL");
    this.stopping = "now";
    this.state = "stopping";
    clearTimeout(this.grace);
    this.o.log.warn("daemon-killed", reason, { program: this.name, pid: this.pid });
    this.o.onChange();
  }

  /** A run that does nothing although its process lives: another one follows, as after a crash. */
  restartHung(): void {
    if (!this.child || this.stopping) return;
    this.hung = true;
    this.o.log.warn("daemon-killed", "hangs", { program: this.name, pid: this.pid });
    this.signal("SIGKILL");
  }

  /** It has asked for a signature: no hang, and those before it are over. */
  asks(): void {
    this.hangs = 0;
    if (!this.helpless) return;
    this.helpless = false;
    this.crashes = { failures: 0 };
    this.o.onChange();
  }

  /** It hangs again: a crash loop, so that another pod may bake, until it asks or some time after its stop. */
  giveUp(): void {
    if (this.helpless) return;
    this.helpless = true;
    this.crashes = { failures: crashLoop + this.hangs++ };
    this.lastExit = "hung";
    this.o.log.error("daemon-hangs", "restart-did-not-help", { program: this.name, pid: this.pid });
    this.o.onChange();
  }

  private calm(): void {
    if (this.state === "backoff") this.state = "stopped";
  }

  private signal(name: NodeJS.Signals): void {
    const pid = this.child?.pid;
    if (pid === undefined) return;
    try {
      (this.o.kill ?? killGroup)(pid, name);
    } catch {
      // The group is gone; its exit is on the way.
    }
  }

  private ended(exit: string): void {
    if (!this.child) return;
    const { hung, helpless } = this;
    const how = hung ? "hung" : exit;
    this.hung = false;
    // Whatever the daemon has left behind in its group.
    this.signal("SIGKILL");
    clearTimeout(this.grace);
    const now = this.o.clock.now();
    const ranMs = now - this.startedAtMs;
    const stopped = this.stopping;
    this.child = null;
    this.stopping = null;
    // How a stop has ended it says nothing about why it was stopped.
    if (!helpless || !stopped) this.lastExit = how;
    if (!hung) this.helpless = false;
    this.endedAtMs = now;
    if (stopped) {
      this.state = "stopped";
      this.nextStartMs = now;
      // 127 is how Octez answers SIGTERM.
      this.o.log.info("daemon-stopped", stopped, { program: this.name, exit: how, ranMs: Math.round(ranMs) });
    } else {
      const { failures, restartInMs } = afterCrash(this.crashes, helpless ? 0 : ranMs, this.o.timings);
      this.crashes = { failures };
      this.state = "backoff";
      this.nextStartMs = now + restartInMs;
      this.restarts++;
      this.o.onCrash?.(this.name, how);
      this.o.log.error("daemon-crashed", how, {
        program: this.name,
        ranMs: Math.round(ranMs),
        restartInMs: Math.round(restartInMs),
        failures,
      });
    }
    this.o.onChange();
  }
}
