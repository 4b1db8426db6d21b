/**
 * `npm run simulate [-- --seed N] [--count N] [--json] [--story] [--sabotage NAME]`     100 simulations by default
 * `npm run simulate -- --events FILE [--count N]`     what each single event costs, for the table in docs/failover.md
 * Ends with 1 at the first seed at which a judge finds something: it leaves out faults as long as the same is found,
 * and tells the story of what is left. `--seed N --count 1 --story` tells the story of any seed. docs/simulation.md
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { eventCosts, type EventCosts } from "../simulation/event-costs";
import { sabotages, type Sabotage } from "../simulation/sabotage";
import { shrink } from "../simulation/shrink";
import { simulate, type SimulationResult } from "../simulation/simulate";
import { spreadOf } from "../simulation/statistics";
import { tell } from "../simulation/tell";
import { seedOf, wholeNumber } from "./numbers";

/** What many runs say together. */
class Summary {
  private readonly healed: number[] = [];
  private readonly counts: Record<string, number> = {};
  private virtualMs = 0;
  private missed = 0;
  private levels = 0;
  private runs = 0;
  private readonly began = process.cpuUsage();

  add({ healedMs, counts, virtualMs, missedLevels, levels }: SimulationResult): void {
    this.runs++;
    if (healedMs !== null) this.healed.push(healedMs);
    for (const [name, value] of Object.entries(counts)) this.counts[name] = (this.counts[name] ?? 0) + value;
    this.virtualMs += virtualMs;
    this.missed += missedLevels;
    this.levels += levels;
  }
  of(seed: number): object {
    const { user, system } = process.cpuUsage(this.began);
    const cpuSeconds = (user + system) / 1e6;
    return {
      ...{ seed, simulations: this.runs, counts: this.counts, levels: this.levels, missedLevels: this.missed },
      wellAfterSeconds: spreadOf(this.healed.map((ms) => Math.round(ms) / 1000)),
      virtualSeconds: Math.round(this.virtualMs / 1000),
      cpuSeconds: Math.round(cpuSeconds),
      timesRealTime: Math.round(this.virtualMs / 1000 / cpuSeconds),
    };
  }
}

async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      seed: { type: "string" },
      count: { type: "string" },
      json: { type: "boolean" },
      story: { type: "boolean" },
      sabotage: { type: "string" },
      events: { type: "string" },
    },
  });
  const { sabotage } = values;
  if (sabotage !== undefined && !(sabotage in sabotages)) {
    console.error(`--sabotage must be one of ${Object.keys(sabotages).join(", ")}; got ${sabotage}`);
    return 2;
  }
  const seed = seedOf(values);
  const count = wholeNumber("--count", values.count, 1, 100);
  if (seed === undefined || count === undefined) return 2;
  console.error(`seed ${seed}, ${count} simulations`);
  if (values.events !== undefined) {
    const costs = await eventCosts(seed, count, (line) => console.error(line));
    const report: EventCosts = { date: new Date().toISOString().slice(0, 10), firstSeed: seed, costs };
    writeFileSync(values.events, `${JSON.stringify(report, null, 2)}\n`);
    return costs.some(({ findings }) => findings.length > 0) ? 1 : 0;
  }
  const summary = new Summary();
  for (let i = 0; i < count; i++) {
    const options = { seed: seed + i, ...(sabotage === undefined ? {} : { sabotage: sabotage as Sabotage }) };
    const result = await simulate(options);
    summary.add(result);
    if (result.findings.length > 0) {
      console.error(`seed ${options.seed}: ${result.findings[0]?.code}; looking for the fewest faults that do`);
      const least = await shrink(options, result);
      console.log(values.json ? JSON.stringify(least) : tell(least));
      return 1;
    }
    if (values.story) console.log(tell(result));
    if ((i + 1) % 1000 === 0) console.error(JSON.stringify(summary.of(seed)));
  }
  console.log(JSON.stringify(summary.of(seed), null, 2));
  return 0;
}

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
