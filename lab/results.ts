/** Results of scenarios on disk, docs/failover/NAME-BLOCKTIME.json: what docs/failover.md is made of. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { ScenarioReceipt } from "./scenarios/receipt";

const runSchema = z.strictObject({
  /** UTC, to the minute. */
  date: z.string(),
  /** The machine's load average over a minute when the run began and when it ended; its processors are in `machine`. */
  load: z.tuple([z.number(), z.number()]),
  /** All invariants held. */
  ok: z.boolean(),
  missedLevels: z.number(),
  failoverSeconds: z.number(),
  takeoverSeconds: z.number().nullable(),
  tenureSeconds: z.number().nullable(),
  overlapMs: z.number(),
  signatures: z.number(),
  violations: z.array(z.string()),
  problems: z.array(z.string()),
  /** The longest time for which the machine did not run the laboratory. */
  stallMs: z.number(),
  /** Slots of the DAL that could be attested at levels that we attested, and those that we did not name. */
  dal: z.optional(z.strictObject({ attestable: z.number(), lostSlots: z.number(), lostLevels: z.number() })),
});
const seriesSchema = z.strictObject({
  scenario: z.string(),
  blockSeconds: z.number(),
  /** Declared start time D of the doubles. */
  doubleStartSeconds: z.number(),
  machine: z.string(),
  runs: z.array(runSchema),
});
export type Run = z.output<typeof runSchema>;
export type Series = z.output<typeof seriesSchema>;

export const runOf = (receipt: ScenarioReceipt, date: Date, load: [number, number]): Run => ({
  ...{ date: date.toISOString().slice(0, 16) + "Z", load, ok: receipt.ok, missedLevels: receipt.missedLevels },
  ...{
    failoverSeconds: receipt.failoverSeconds,
    takeoverSeconds: receipt.takeoverSeconds,
    tenureSeconds: receipt.tenureSeconds,
  },
  ...{ overlapMs: receipt.overlapMs, signatures: receipt.signatures },
  ...{ violations: receipt.violations, problems: receipt.problems, stallMs: receipt.longestStallMs },
  dal: receipt.dal,
});

const fileOf = (folder: string, scenario: string, blockSeconds: number) =>
  join(folder, `${scenario}-${blockSeconds}s.json`);
const read = (path: string): Series => seriesSchema.parse(JSON.parse(readFileSync(path, "utf8")));

/** All of a folder, by scenario and block time. */
export function readSeries(folder: string): Series[] {
  return readdirSync(folder)
    .filter((name) => /-[\d.]+s\.json$/.test(name))
    .sort()
    .map((name) => read(join(folder, name)));
}

/** Adds a run to the scenario's file. @throws Error where what the file says of its runs is not so for this one */
export function addRun(folder: string, about: Omit<Series, "runs">, run: Run): void {
  mkdirSync(folder, { recursive: true });
  const path = fileOf(folder, about.scenario, about.blockSeconds);
  let series: Series = { ...about, runs: [] };
  try {
    series = read(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const { runs, ...other } = series;
  if (JSON.stringify(other) !== JSON.stringify(about))
    throw new Error(
      `${path} has runs of ${JSON.stringify(other)}; got one of ${JSON.stringify(about)}: give another folder`,
    );
  // A line a run, for whoever reads the difference.
  const lines = [...runs, run].map((entry) => `    ${JSON.stringify(entry)}`).join(",\n");
  const head = JSON.stringify(about, null, 2).slice(0, -2);
  writeFileSync(path, `${head},\n  "runs": [\n${lines}\n  ]\n}\n`);
}
