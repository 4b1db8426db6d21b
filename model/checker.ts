/**
 * An explicit-state model checker: visits every state that a model can reach, in the order of distance, so that the
 * first violation found
 * is a shortest one. Guarantees that each reachable state was looked at, up to a collision of two 64-bit fingerprints
 * (for ten million
 * states less likely than 1 in 100,000).
 */
export interface Model<S> {
  initial: readonly S[];
  /**
   * Calls `step` for each thing that can happen next, with its name and the state after it. States are never changed.
   */
  next(state: S, step: (what: string, state: S) => void): void;
  /** Equal for states that need not be told apart: those with the same future and the same verdicts. */
  key(state: S): string;
  /** The property that does not hold in this state. */
  broken(state: S): string | undefined;
}

export interface Verdict {
  states: number;
  steps: number;
  /** Steps of the longest shortest way. */
  depth: number;
  /** False where `maxStates` ended the search. */
  complete: boolean;
  violation: { property: string; story: string[] } | undefined;
}

/** States by fingerprint, in the order of their discovery, each with the state that led to it. */
class Visited {
  private table = new Uint32Array(1 << 16);
  private high = new Uint32Array(1 << 15);
  private low = new Uint32Array(1 << 15);
  private parents = new Uint32Array(1 << 15);
  size = 0;

  /** The number of a state that was not there before, or -1. */
  add(key: string, parent: number): number {
    const [high, low] = fingerprint(key);
    let slot = this.slotOf(high, low);
    if (this.table[slot] !== 0) return -1;
    if (this.size === this.high.length) {
      this.grow();
      slot = this.slotOf(high, low);
    }
    this.high[this.size] = high;
    this.low[this.size] = low;
    this.parents[this.size] = parent;
    this.table[slot] = ++this.size;
    return this.size - 1;
  }

  has(key: string, number: number): boolean {
    const [high, low] = fingerprint(key);
    return this.high[number] === high && this.low[number] === low;
  }

  parent(number: number): number {
    return this.parents[number] ?? 0;
  }

  private slotOf(high: number, low: number): number {
    const mask = this.table.length - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const number = (this.table[slot] ?? 0) - 1;
      if (number < 0 || (this.high[number] === high && this.low[number] === low)) return slot;
    }
  }

  private grow(): void {
    const twice = (before: Uint32Array) => {
      const after = new Uint32Array(before.length * 2);
      after.set(before);
      return after;
    };
    [this.high, this.low, this.parents] = [twice(this.high), twice(this.low), twice(this.parents)];
    this.table = new Uint32Array(this.table.length * 2);
    for (let number = 0; number < this.size; number++)
      this.table[this.slotOf(this.high[number] ?? 0, this.low[number] ?? 0)] = number + 1;
  }
}

const { imul } = Math;
/** Two 32-bit hashes that depend on every character (after cyrb53). */
function fingerprint(text: string): [number, number] {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = imul(a ^ code, 2654435761);
    a ^= a >>> 15;
    b = imul(b ^ code, 1597334677);
    b ^= b >>> 13;
  }
  a = imul(a ^ (a >>> 16), 2246822507) ^ imul(b ^ (b >>> 13), 3266489909);
  b = imul(b ^ (b >>> 16), 2246822507) ^ imul(a ^ (a >>> 13), 3266489909);
  return [a >>> 0, b >>> 0];
}

/**
 * Breadth first, until everything is visited or a property is broken. @param maxStates ends the search; the verdict
 * is then not complete
 */
export function check<S>(model: Model<S>, maxStates = Infinity): Verdict {
  const visited = new Visited();
  const none = 0xffffffff;
  let layer: { state: S; number: number }[] = [];
  let steps = 0;
  let depth = 0;
  let found: { property: string; number: number } | undefined;
  const reach = (into: typeof layer, state: S, parent: number) => {
    const number = visited.add(model.key(state), parent);
    if (number < 0) return;
    const property = model.broken(state);
    if (property !== undefined) found ??= { property, number };
    into.push({ state, number });
  };
  for (const state of model.initial) reach(layer, state, none);
  while (layer.length > 0 && !found && visited.size < maxStates) {
    const following: typeof layer = [];
    for (const { state, number } of layer) {
      model.next(state, (_, after) => {
        steps++;
        reach(following, after, number);
      });
      if (found || visited.size >= maxStates) break;
    }
    layer = following;
    if (layer.length > 0) depth++;
  }
  return {
    states: visited.size,
    steps,
    depth,
    complete: !found && layer.length === 0,
    violation: found && { property: found.property, story: tell(model, visited, found.number) },
  };
}

/** The names of the steps that lead to a state: only fingerprints are kept, so the way is walked again. */
function tell<S>(model: Model<S>, visited: Visited, last: number): string[] {
  const way: number[] = [];
  for (let number = last; number !== 0xffffffff; number = visited.parent(number)) way.unshift(number);
  let state = model.initial.find((first) => visited.has(model.key(first), way[0] ?? 0));
  const story: string[] = [];
  for (const number of way.slice(1)) {
    const before: S | undefined = state;
    if (before === undefined) break;
    let after: { what: string; state: S } | undefined;
    model.next(before, (what, next) => {
      if (!after && visited.has(model.key(next), number)) after = { what, state: next };
    });
    story.push(after?.what ?? "?");
    state = after?.state;
  }
  return story;
}
