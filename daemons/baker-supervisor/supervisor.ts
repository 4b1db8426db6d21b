/**
 * Runs the configured daemons while leadership is valid.
 *
 * Guarantees: nothing runs once CLOCK_MONOTONIC has passed the last validUntilNs, whether or not elector, API and
 * network are alive, as long as this process is scheduled; nothing runs at all when this process is dead; stopping
 * needs no network. Does not guarantee: that a stopped machine stops its daemons in time. The signing gate is for that.
 * States of a daemon: stopped, starting, running, backoff, stopping (contract/status.ts).
 */
import type { BakerFile } from "../../contract/baker-file";
import type { Leadership } from "../../contract/leadership";
import type { SupervisorStatus } from "../../contract/status";
import type { Clock } from "../runtime/clock";
import type { Log } from "../runtime/log";
import { Recent } from "../runtime/recent";
import { DaemonProcess, type KillGroup, type Spawn } from "./daemon-process";
import { HangWatch, type Seen } from "./hang";
import { decide, mayEnd, type SupervisorState, type Verdict } from "./decide";

export interface SupervisorOptions {
  identity: string;
  topology: BakerFile["topology"];
  timings: BakerFile["timings"];
  /** Names and expanded command lines. */
  daemons: readonly { name: string; command: readonly string[] }[];
  prefix: readonly string[];
  spawn: Spawn;
  /** @default the kernel's */
  kill?: KillGroup;
  clock: Clock;
  log: Log;
  /** Before a start: moves broken files aside. Bounded by the caller; its failure does not prevent the start. */
  prepare: () => Promise<void>;
  onChange?: () => void;
}

export class Supervisor {
  readonly state: SupervisorState;
  private daemons: DaemonProcess[];
  /** Of an earlier configuration, being stopped. */
  private retired: DaemonProcess[] = [];
  private verdict: Verdict = { command: "stop-now", reason: "starting", wakeAtMs: 0 };
  private preparing = false;
  private timer: NodeJS.Timeout | undefined;
  private ended: (() => void) | undefined;
  private inEvaluate = false;
  private again = false;
  private readonly recent: Recent;
  private readonly hangs = new HangWatch();
  /** See contract/status.ts. */
  diskUsedRatio: number | undefined;
  /** See contract/status.ts. */
  clientFolderProblem: string | undefined;
  /** See contract/status.ts. */
  keysLeftOut: readonly string[] = [];
  /** Why a program does not start on this pod (start-check.ts). */
  cannotStart: string | undefined = "not checked yet";

  constructor(private readonly o: SupervisorOptions) {
    this.state = {
      topology: o.topology,
      self: o.identity,
      record: null,
      receivedAtMs: 0,
      soloReady: false,
      terminatingSinceMs: null,
    };
    this.recent = new Recent(o.clock);
    this.daemons = this.make(o.daemons);
  }

  private make(list: SupervisorOptions["daemons"]): DaemonProcess[] {
    const { prefix, spawn, kill, clock, log, timings } = this.o;
    const onChange = () => this.evaluate();
    const onCrash = (name: string, how: string) =>
      this.recent.note(`crash ${name}`, `${name} ended by itself (${how})`);
    return list.map(
      ({ name, command }) =>
        new DaemonProcess(name, command, { prefix, spawn, kill, clock, log, timings, onChange, onCrash }),
    );
  }

  get running(): boolean {
    return [...this.daemons, ...this.retired].some((daemon) => daemon.running);
  }

  record(record: Leadership): void {
    this.state.record = record;
    this.state.receivedAtMs = this.o.clock.now();
    this.evaluate();
  }

  /** What gate and sidecar say; undefined where the gate is shut. One daemon bakes in a pod with a gate. */
  saw(told: Pick<Seen, "epoch" | "asked" | "missed"> | undefined): void {
    const [daemon] = this.daemons;
    const expected = told && this.verdict.command === "run" && daemon?.state === "running";
    const run = expected ? { ...told, pid: daemon.pid ?? 0, ranMs: daemon.ranMs } : undefined;
    const verdict = this.hangs.see(run, this.o.timings);
    if (verdict === "asks") daemon?.asks();
    if (verdict === "restart") daemon?.restartHung();
    if (verdict === "helpless") daemon?.giveUp();
  }

  /** The process of the first daemon; null while it does not run. */
  get pid(): number | null {
    const [daemon] = this.daemons;
    return this.verdict.command === "run" && daemon?.state === "running" ? daemon.pid : null;
  }

  /** Ends the present run of each daemon in order, and the next one follows at once. */
  restart(reason: string): void {
    if (this.verdict.command !== "run") return;
    this.o.log.warn("daemons-restarted", reason);
    this.recent.note("restart", `the baking daemons were restarted: ${reason}`);
    for (const daemon of this.daemons) daemon.stopPlanned();
  }

  soloReady(met: boolean): void {
    this.state.soloReady = met;
    this.evaluate();
  }

  /**
   * Replaces the list: what has changed or gone is stopped (SIGTERM, grace, SIGKILL), what is new starts when
   * leadership allows.
   */
  configure(list: SupervisorOptions["daemons"]): void {
    const text = (daemon: { name: string; command: readonly string[] }) =>
      JSON.stringify([daemon.name, daemon.command]);
    const kept = this.daemons.filter((old) => list.some((fresh) => text(fresh) === text(old)));
    const gone = this.daemons.filter((old) => !kept.includes(old));
    const fresh = this.make(list.filter((daemon) => !kept.some((old) => text(old) === text(daemon))));
    if (gone.length + fresh.length === 0) return;
    this.o.log.info("configuration-changed", "daemons", {
      stopped: gone.map((d) => d.name),
      started: fresh.map((d) => d.name),
    });
    this.retired.push(...gone.filter((daemon) => daemon.running));
    this.daemons = [...kept, ...fresh];
    for (const daemon of gone) daemon.stopPlanned();
    this.evaluate();
  }

  /** SIGTERM. Resolves when the process may end. */
  terminate(): Promise<void> {
    this.state.terminatingSinceMs ??= this.o.clock.now();
    return new Promise((resolve) => {
      this.ended = resolve;
      this.evaluate();
    });
  }

  /** For the case that the process ends without waiting. */
  killAll(reason: string): void {
    for (const daemon of [...this.daemons, ...this.retired]) daemon.stopNow(reason);
    clearTimeout(this.timer);
  }

  evaluate(): void {
    if (this.inEvaluate) {
      this.again = true;
      return;
    }
    this.inEvaluate = true;
    let wakeAtMs = Infinity;
    do {
      this.again = false;
      const now = this.o.clock.now();
      const before = this.verdict;
      this.verdict = decide(this.state, now, this.o.timings);
      if (before.command !== this.verdict.command || before.reason !== this.verdict.reason)
        this.o.log[before.command === this.verdict.command ? "debug" : "info"]("command", this.verdict.reason, {
          command: this.verdict.command,
          epoch: this.state.record?.epoch ?? null,
        });
      wakeAtMs = Math.min(this.verdict.wakeAtMs, this.apply(now));
    } while (this.again);
    this.inEvaluate = false;
    const now = this.o.clock.now();
    this.o.onChange?.();
    if (this.ended && mayEnd(this.state, this.running, now, this.o.timings)) {
      clearTimeout(this.timer);
      this.ended();
      return;
    }
    clearTimeout(this.timer);
    if (this.ended) wakeAtMs = Math.min(wakeAtMs, now + 100);
    this.timer = setTimeout(() => this.evaluate(), Math.min(5000, Math.max(1, Math.ceil(wakeAtMs - now))));
  }

  /** @returns when a daemon in backoff is due */
  private apply(now: number): number {
    this.retired = this.retired.filter((daemon) => daemon.running);
    const { command, reason } = this.verdict;
    if (command !== "run") {
      for (const daemon of [...this.daemons, ...this.retired])
        if (command === "stop-planned") daemon.stopPlanned();
        else daemon.stopNow(reason);
      return Infinity;
    }
    // A changed daemon and its former self would hold the same keys: one after the other.
    if (this.retired.length > 0) return Infinity;
    const waiting = this.daemons.filter((daemon) => !daemon.running);
    if (waiting.some((daemon) => daemon.startableAtMs <= now)) void this.startDue();
    return Math.min(Infinity, ...waiting.map((daemon) => daemon.startableAtMs).filter((at) => at > now));
  }

  private async startDue(): Promise<void> {
    if (this.preparing) return;
    this.preparing = true;
    try {
      await this.o.prepare();
    } catch (error) {
      this.o.log.error("prepare-failed", error instanceof Error ? error.message : String(error));
    } finally {
      this.preparing = false;
    }
    // Time has passed: whether they may run is decided again, and acted upon in the same turn.
    const now = this.o.clock.now();
    if (decide(this.state, now, this.o.timings).command === "run" && this.retired.every((daemon) => !daemon.running))
      for (const daemon of this.daemons) if (daemon.startableAtMs <= now) daemon.start();
    this.evaluate();
  }

  /** Why the daemons of this pod could not bake, whatever the leadership says. */
  private get fault(): string | undefined {
    const looping = this.daemons.filter((daemon) => daemon.crashLooping);
    if (looping.length > 0)
      return `crash-looping: ${looping.map((daemon) => `${daemon.name} (${daemon.lastExit})`).join(", ")}`;
    return this.running || this.cannotStart === undefined ? undefined : `cannot-start: ${this.cannotStart}`;
  }

  ready(): { ok: boolean; reason: string } {
    return { ok: this.fault === undefined, reason: this.fault ?? "" };
  }

  status(): SupervisorStatus {
    return {
      running: this.running,
      crashLooping: this.fault !== undefined,
      obeys: this.verdict.command === "run" ? "run" : "stop",
      reason: this.fault ?? this.verdict.reason,
      daemons: this.daemons.map(({ name, state, pid, restarts, lastExit }) => ({
        name,
        state,
        pid,
        restarts,
        lastExit,
      })),
      ...(this.diskUsedRatio === undefined ? {} : { diskUsedRatio: this.diskUsedRatio }),
      ...(this.clientFolderProblem === undefined ? {} : { clientFolderProblem: this.clientFolderProblem }),
      ...(this.running && this.keysLeftOut.length > 0 ? { keysLeftOut: [...this.keysLeftOut] } : {}),
      recent: this.recent.list(),
    };
  }
}
