/** A process of a pod: nothing reaches it once it has ended, and nothing while it is stopped. */
import type { DiskUser } from "../checker/schedules/block-disk";
import type { Clock } from "../../daemons/runtime/clock";
import type { World } from "../checker/schedules/world";
import type { Actor } from "./virtual-timers";

/** The clocks of one machine. */
export interface MachineClock {
  /** Seconds of the monotonic clock in a second of the world. */
  readonly rate: number;
  /** What the monotonic clock shows when the world begins. */
  readonly startMs: number;
  /** How far the wall clock is ahead. */
  wallSkewMs: number;
}

/** The wall clock of the world when it begins. */
export const worldBeganMs = Date.UTC(2026, 0, 1);

export class Process implements Actor, DiskUser {
  alive = true;
  stopped = false;
  /** When it went on after its last stop. */
  resumedAtMs = -Infinity;
  readonly clock: Clock;
  private held: (() => void)[] = [];

  constructor(
    readonly name: string,
    readonly world: World,
    private readonly machine: MachineClock,
  ) {
    const now = () => machine.startMs + world.now * machine.rate;
    this.clock = {
      now,
      nowNs: () => BigInt(Math.round(now() * 1e6)),
      wall: () => Math.round(worldBeganMs + world.now + machine.wallSkewMs),
    };
  }

  get rate(): number {
    return this.machine.rate;
  }
  /** A time of this process's monotonic clock, as the world counts. */
  worldMs(clockMs: number): number {
    return (clockMs - this.machine.startMs) / this.machine.rate;
  }

  /**
   * Something arrives at this process. An event is the turn of one process only: what it causes is settled after it, on
   * behalf of that process, and another one has its own turn.
   */
  deliver(run: () => void): void {
    const { actor } = this.world;
    if (!this.alive) return;
    if (this.stopped) this.held.push(run);
    else if (actor !== undefined && actor !== this) this.later(0, run);
    else {
      this.world.actor = this;
      run();
    }
  }
  /** Something arrives at this process later. */
  later(ms: number, run: () => void): void {
    this.world.after(ms, () => this.deliver(run));
  }

  end(): void {
    this.alive = false;
    this.held = [];
  }
  stop(): void {
    this.stopped = true;
  }
  resume(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.resumedAtMs = this.world.now;
    for (const run of this.held.splice(0)) this.later(0, run);
  }
}
