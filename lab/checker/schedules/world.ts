/**
 * Virtual time and randomness of a schedule. Everything that happens is an event at a virtual time, and every choice is
 * drawn from one seeded generator, so that a seed gives the same history every time.
 */

/** Of the machine, kept where virtual timers take the place of the global ones. */
const settle = setImmediate;

/** Small, fast, good enough: mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Draws from one generator. */
export class Dice {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = randomOf(seed);
  }
  pick<T>(list: readonly T[]): T {
    const item = list[Math.floor(this.random() * list.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }
  chance(p: number): boolean {
    return this.random() < p;
  }
  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }
}

interface Entry {
  at: number;
  serial: number;
  /** Undefined where it is cancelled. */
  run: (() => void) | undefined;
}
/** An event that is still to come. */
export type Planned = Pick<Entry, "at" | "run">;
const isBefore = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.serial < b.serial);

/** A binary heap of events by time, and in the order of their planning where the times are equal. */
class EventHeap {
  private readonly heap: Entry[] = [];

  get first(): Entry | undefined {
    return this.heap[0];
  }
  push(entry: Entry): void {
    const { heap } = this;
    heap.push(entry);
    for (let i = heap.length - 1; i > 0;) {
      const parent = (i - 1) >> 1;
      const a = heap[i];
      const b = heap[parent];
      if (!a || !b || isBefore(b, a)) break;
      heap[i] = b;
      heap[parent] = a;
      i = parent;
    }
  }
  pop(): Entry | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (!top || !last || heap.length === 0) return top;
    heap[0] = last;
    for (let i = 0; ;) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) {
        const a = heap[child];
        const b = heap[least];
        if (a && b && isBefore(a, b)) least = child;
      }
      const a = heap[i];
      const b = heap[least];
      if (least === i || !a || !b) return top;
      heap[i] = b;
      heap[least] = a;
      i = least;
    }
  }
}

export class World extends Dice {
  /** Virtual milliseconds since the schedule began. */
  now = 0;
  /** Events so far. */
  happened = 0;
  /** On whose behalf the present event and all that it causes at once happen, for whoever wants to know. */
  actor: unknown;
  private serial = 0;
  private order = 0;
  private readonly events = new EventHeap();

  /** Place in the common order of the logs: the virtual time, made unique. */
  stamp(): number {
    this.order = Math.max(this.order + 1e-6, this.now);
    return this.order;
  }
  after(ms: number, run: () => void): Planned {
    const entry: Entry = { at: this.now + Math.max(0, ms), serial: ++this.serial, run };
    this.events.push(entry);
    return entry;
  }
  cancel(planned: Planned): void {
    planned.run = undefined;
  }
  /** Runs events up to `untilMs`; between two of them all that the first one caused is settled. */
  async run(untilMs: number): Promise<void> {
    for (;;) {
      const next = this.events.first;
      if (!next || next.at > untilMs) break;
      this.events.pop();
      if (!next.run) continue;
      this.now = next.at;
      this.actor = undefined;
      next.run();
      this.happened++;
      await new Promise((resolve) => settle(resolve));
    }
    this.now = Math.max(this.now, untilMs);
  }
}
