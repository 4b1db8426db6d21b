/** The section of docs/failover.md about simulated events, from docs/failover/simulated.json. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Series } from "../results";
import type { EventCost, EventCosts } from "./event-costs";

const laboratoryOf = ({ scenario }: EventCost, laboratory: readonly Series[]): string => {
  const runs = laboratory.find((one) => one.scenario === scenario && one.blockSeconds === 6)?.runs ?? [];
  if (runs.length === 0) return "";
  const missed = runs.map(({ missedLevels }) => missedLevels).sort((a, b) => a - b);
  return `${missed[missed.length >> 1]} (${missed[0]} to ${missed.at(-1)}, ${runs.length} runs, \`${scenario}\`)`;
};

/** @returns nothing where nobody has simulated */
export function simulatedSection(folder: string, laboratory: readonly Series[]): string[] {
  const file = join(folder, "simulated.json");
  if (!existsSync(file)) return [];
  const { date, firstSeed, costs } = JSON.parse(readFileSync(file, "utf8")) as EventCosts;
  const rows = costs.map((cost) => {
    const { missed, wellAfterSeconds: well } = cost;
    const found = cost.findings.length === 0 ? "none" : `**${cost.findings.join(", ")}**`;
    const levels = `${missed.median} | ${missed.mean} | ${missed.p99} | ${missed.worst}`;
    return `| ${cost.event} | ${cost.runs} | ${levels} | ${laboratoryOf(cost, laboratory)} | ${well.median ?? "never"} (${well.p99 ?? "never"}, ${well.worst ?? "never"}) | ${found} |`;
  });
  return [
    "## Simulated, many times",
    "",
    `[The simulation](simulation.md) has the same daemons on virtual time: one event in each run, at another phase of a block each time, seeds from ${firstSeed} on, ${date}. Blocks every 6 s, octez-baker starts in 0.3 to 2 s, the API answers in 1 to 12 ms. These are statistics where the tables above have examples, of simulated machines, networks and disks. The same table again: \`npm run simulate -- --events docs/failover/simulated.json --seed ${firstSeed} --count ${costs[0]?.runs}\`, then \`npm run docs\`.`,
    "",
    "| what happens | runs | missed levels: median | mean | p99 | worst | the laboratory's | s after its end until no level is missed: median (p99, worst) | findings |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
  ];
}
