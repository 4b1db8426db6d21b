/** The delegate's baking rights, and the levels that it missed, from the pod's own node. */
import type { Clock } from "./clock";
import { missedLevels } from "./missed-levels";
import { createOctezRpc, type RpcOutcome } from "./octez-rpc";

/** What the node says about our rights. All reject on any failure. */
export interface Rights {
  /** Those of the given levels at which the delegate may bake in round 0 or 1. */
  bakingLevels(levels: readonly number[], signal: AbortSignal): Promise<number[]>;
  /** Minimal seconds between two blocks. */
  blockSeconds(signal: AbortSignal): Promise<number>;
  /**
   * Levels among `from` to `to`, both included, at which the delegate had a right to attest and no block includes it.
   */
  missedLevels(from: number, to: number, signal: AbortSignal): Promise<number>;
}

/** For what nobody waits for, such as the count of missed levels: a busy node answers late. */
const patience = 10;

/** Rounds beyond the second are so rare that no handover waits for them. */
const maxRound = 1;

/** @param url http://ADDRESS:PORT of the node's RPC */
export function createRights(options: {
  url: string;
  clock: Clock;
  delegate: string;
  timeoutMs: number;
}): Rights & { close(): void } {
  const rpc = createOctezRpc(options);
  const { delegate, timeoutMs } = options;
  const must = <T>(outcome: RpcOutcome<T>): T => {
    if (!outcome.ok) throw new Error(`${outcome.kind}: ${outcome.message}`);
    return outcome.value;
  };
  return {
    bakingLevels: async (levels, signal) =>
      must(await rpc.bakingRights({ levels, delegates: [delegate], maxRound, timeoutMs, signal }))
        .filter((right) => right.delegate === delegate && levels.includes(right.level))
        .map((right) => right.level),
    blockSeconds: async (signal) => must(await rpc.constants({ timeoutMs, signal })).minimalBlockDelaySeconds,
    missedLevels: async (from, to, signal) =>
      (await missedLevels(rpc, { delegate, from, to, timeoutMs: patience * timeoutMs, signal })).length,
    close: () => rpc.close(),
  };
}

/** The rights right above the head, which whoever stops octez-baker in order waits for; asked once a head. */
export class NextRights {
  /** Minimal seconds between two blocks, or null where the node has not said. */
  blockSeconds: number | null = null;
  private newest: { level: number; levels: number[] | null; askedAtMs: number } | null = null;

  constructor(
    private readonly o: {
      rights: Rights;
      report: { warn(event: string, reason: string): void };
      requestTimeoutMs: number;
      signal: AbortSignal;
      changed: () => void;
    },
  ) {}

  /** Those of the two levels above `head` at which the delegate may bake; null where the node has not said. */
  above(head: number): readonly number[] | null {
    return this.newest?.level === head ? this.newest.levels : null;
  }

  ask(head: number, now: number): void {
    const { rights, report, requestTimeoutMs, changed } = this.o;
    const before = this.newest;
    if (before?.level === head && (before.levels !== null || now - before.askedAtMs < requestTimeoutMs)) return;
    const mine = (this.newest = { level: head, levels: null as number[] | null, askedAtMs: now });
    const signal = AbortSignal.any([this.o.signal, AbortSignal.timeout(Math.ceil(requestTimeoutMs))]);
    void (async () => {
      try {
        mine.levels = await rights.bakingLevels([head + 1, head + 2], signal);
        this.blockSeconds ??= await rights.blockSeconds(signal).catch(() => null);
        changed();
      } catch (error) {
        report.warn("rights-unknown", error instanceof Error ? error.message : String(error));
      }
    })();
  }
}
