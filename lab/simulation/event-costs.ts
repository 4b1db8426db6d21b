/**
 * What one event costs a baker that is well, over many simulated runs: the table in docs/failover.md beside the
 * laboratory's few real ones.
 */
import { sentenceOf, type Fault } from "./faults";
import { simulate } from "./simulate";
import { nameOf } from "./stage";
import { spreadOf, type Spread } from "./statistics";

type Event = Omit<Fault, "atMs">;

/** By the laboratory's scenario for the same event, if it has one. */
const events: readonly { scenario: string | null; event: Event }[] = [
  { scenario: "planned-switchover", event: { kind: "operator-moves", pod: "other", forMs: 0 } },
  { scenario: "drain", event: { kind: "pod-evicted", pod: "baking", forMs: 2000 } },
  { scenario: "pod-kill", event: { kind: "machine-ends", pod: "baking", forMs: 5000 } },
  { scenario: "node-loss", event: { kind: "machine-ends", pod: "baking", forMs: 60_000 } },
  { scenario: "elector-kill", event: { kind: "elector-ends", pod: "baking", forMs: 1000 } },
  { scenario: "gate-kill", event: { kind: "gate-ends", pod: "baking", forMs: 1000 } },
  { scenario: "baker-container", event: { kind: "supervisor-ends", pod: "baking", forMs: 1000 } },
  { scenario: "baker-crash", event: { kind: "baker-ends", pod: "baking", forMs: 0 } },
  { scenario: "baker-hang", event: { kind: "baker-hangs", pod: "baking", forMs: 0 } },
  { scenario: null, event: { kind: "elector-stops", pod: "baking", forMs: 20_000 } },
  { scenario: null, event: { kind: "gate-stops", pod: "baking", forMs: 20_000 } },
  { scenario: "paused-pod", event: { kind: "machine-stops", pod: "baking", forMs: 30_000 } },
  { scenario: "split-brain", event: { kind: "api-silent", pod: "baking", forMs: 30_000 } },
  { scenario: "api-blip", event: { kind: "api-down", pod: 0, forMs: 2000 } },
  { scenario: "api-outage", event: { kind: "api-down", pod: 0, forMs: 12_000 } },
  { scenario: "api-outage", event: { kind: "api-down", pod: 0, forMs: 60_000 } },
  { scenario: "stale-head", event: { kind: "node-behind", pod: "baking", forMs: 60_000 } },
  { scenario: "node-crash", event: { kind: "node-down", pod: "baking", forMs: 5000 } },
  { scenario: "no-signer", event: { kind: "signers-away", pod: "baking", forMs: 30_000 } },
  { scenario: "watermark-lost", event: { kind: "watermark-deleted", pod: 0, forMs: 12_000 } },
  { scenario: "watermark-restored", event: { kind: "watermark-restored", pod: 0, forMs: 0 } },
  { scenario: null, event: { kind: "lease-deleted", pod: 0, forMs: 0 } },
];

export interface EventCost {
  scenario: string | null;
  event: string;
  runs: number;
  /** Levels that the chain lacks an attestation of; over all runs. */
  missed: Spread & { mean: number };
  /** Seconds from the end of the event until no level is missed any more, of the runs in which that came. */
  wellAfterSeconds: Spread;
  /** What a judge found, and the seed. */
  findings: string[];
}
export interface EventCosts {
  date: string;
  firstSeed: number;
  costs: EventCost[];
}

/** A baker is well long before; and every phase of a block of 6 s is struck. */
const atMs = (seed: number): number => 40_000 + ((seed * 787) % 6000);

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

/** `seed` to `seed + runs - 1` of each event. */
export async function eventCosts(seed: number, runs: number, progress: (line: string) => void): Promise<EventCost[]> {
  const costs: EventCost[] = [];
  for (const { scenario, event } of events) {
    const missed: number[] = [];
    const well: number[] = [];
    const findings: string[] = [];
    for (let i = 0; i < runs; i++) {
      const result = await simulate({ seed: seed + i, plan: [{ ...event, atMs: atMs(seed + i) }] });
      missed.push(result.missedLevels);
      if (result.healedMs !== null) well.push(rounded(result.healedMs / 1000, 1));
      findings.push(...result.findings.map(({ code }) => `${code} (seed ${seed + i})`));
    }
    const mean = rounded(missed.reduce((sum, one) => sum + one, 0) / runs, 2);
    const cost: EventCost = {
      ...{ scenario, event: sentenceOf({ ...event, atMs: 0 }, nameOf), runs, missed: { mean, ...spreadOf(missed) } },
      wellAfterSeconds: spreadOf(well),
      findings,
    };
    progress(`${cost.event}: ${JSON.stringify(cost.missed)}, ${findings.length} findings`);
    costs.push(cost);
  }
  return costs;
}
