/**
 * Takes the place of the global timers, of `AbortSignal.timeout` and of `Math.random` while a simulation runs, so that
 * the daemons' own code runs on virtual time. A timer belongs to the process in whose turn it was set: it ticks at the
 * rate of that process's clock, waits while the process is stopped, and dies with it.
 */
import type { Planned, World } from "../checker/schedules/world";

/** A process, as far as timers are concerned. */
export interface Actor {
  /** Seconds of its clock in a second of the world. */
  readonly rate: number;
  deliver(run: () => void): void;
}

type Callback = (...given: unknown[]) => void;

class VirtualTimer {
  private planned: Planned | undefined;
  private over = false;

  constructor(
    private readonly world: World,
    private readonly actor: Actor | undefined,
    private readonly run: () => void,
    private readonly everyMs: number | undefined,
  ) {}

  start(ms: number): this {
    this.planned = this.world.after(ms / (this.actor?.rate ?? 1), () => {
      if (this.actor) this.actor.deliver(() => this.fire());
      else this.fire();
    });
    return this;
  }
  private fire(): void {
    // It may have been cleared while its process was stopped.
    if (this.over) return;
    if (this.everyMs === undefined) this.over = true;
    else this.start(this.everyMs);
    this.run();
  }
  clear(): void {
    this.over = true;
    if (this.planned) this.world.cancel(this.planned);
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  hasRef(): boolean {
    return true;
  }
}

/** As Node does: whole milliseconds, at least one. */
const delayOf = (ms: number | undefined): number => (ms !== undefined && ms >= 1 && ms < 2 ** 31 ? Math.trunc(ms) : 1);

/** @returns puts back what was there */
export function installVirtualTimers(world: World): () => void {
  const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate } = globalThis;
  const real = { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate };
  const { random } = Math;
  const timeoutSignal = Object.getOwnPropertyDescriptor(AbortSignal, "timeout");
  const begin = (callback: Callback, ms: number, given: unknown[], everyMs?: number) =>
    new VirtualTimer(world, world.actor as Actor | undefined, () => callback(...given), everyMs).start(ms);
  const clear = (timer: unknown): void => {
    if (timer instanceof VirtualTimer) timer.clear();
  };
  const virtual = {
    setTimeout: (callback: Callback, ms?: number, ...given: unknown[]) => begin(callback, delayOf(ms), given),
    setInterval: (callback: Callback, ms?: number, ...given: unknown[]) =>
      begin(callback, delayOf(ms), given, delayOf(ms)),
    setImmediate: (callback: Callback, ...given: unknown[]) => begin(callback, 0, given),
    ...{ clearTimeout: clear, clearInterval: clear, clearImmediate: clear },
  };
  Object.assign(globalThis, virtual);
  Math.random = world.random;
  Object.defineProperty(AbortSignal, "timeout", {
    ...timeoutSignal,
    value: (ms: number): AbortSignal => {
      const controller = new AbortController();
      virtual.setTimeout(() => controller.abort(new DOMException("timed out", "TimeoutError")), ms);
      return controller.signal;
    },
  });
  return () => {
    Object.assign(globalThis, real);
    Math.random = random;
    if (timeoutSignal) Object.defineProperty(AbortSignal, "timeout", timeoutSignal);
  };
}
