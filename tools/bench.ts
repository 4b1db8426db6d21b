/**
 * `npm run bench -- NAME [--json] [OPTIONS]` runs tools/bench/NAME.ts and prints its results beside their goals.
 * A benchmark never fails the process for a missed goal: figures from noisy machines are for people. `--strict` makes
 * it.
 */
import { readdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";

export interface BenchResult {
  metric: string;
  unit: string;
  value: number;
  /** For instance "<= 2"; absent for figures that are only informative. */
  goal?: string;
  ok?: boolean;
}
/** Runs one benchmark. `args` are the words after the name; `progress` writes to stderr. */
export type Bench = (args: readonly string[], progress: (line: string) => void) => Promise<BenchResult[]>;

/** A result with a goal of the form `<= N` or `>= N`, judged. */
export function judged(metric: string, unit: string, value: number, goal: `${"<=" | ">="} ${number}`): BenchResult {
  const bound = Number(goal.slice(3));
  return {
    metric,
    unit,
    value: Number(value.toPrecision(4)),
    goal,
    ok: goal.startsWith("<=") ? value <= bound : value >= bound,
  };
}

/** The nearest-rank percentile (0..100) of a non-empty list. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil((p / 100) * sorted.length) - 1))];
  if (value === undefined) throw new Error("percentile of an empty list");
  return value;
}

async function main(argv: string[]): Promise<void> {
  const folder = join(__dirname, "bench");
  const names = readdirSync(folder)
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -3));
  const [name, ...args] = argv;
  if (name === undefined || !names.includes(name)) {
    console.error(
      `usage: npm run bench -- NAME [--json]\nNAME is one of: ${names.join(", ")}; got ${name ?? "nothing"}`,
    );
    process.exit(2);
  }
  const { bench } = (await import(join(folder, `${name}.ts`))) as { bench: Bench };
  const results = await bench(
    args.filter((arg) => arg !== "--json" && arg !== "--strict"),
    (line) => console.error(line),
  );
  const environment = {
    node: process.version,
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  };
  if (args.includes("--json")) console.log(JSON.stringify({ name, environment, results }));
  else {
    console.log(`${name} (${environment.cores} cores, ${environment.cpu}, Node ${environment.node})`);
    for (const r of results)
      console.log(
        `${r.ok === false ? "MISS" : r.ok ? "ok  " : "    "} ${r.metric}: ${r.value} ${r.unit}${r.goal ? ` (goal ${r.goal})` : ""}`,
      );
  }
  // At once: what a laboratory leaves behind in this process must not hold up its end.
  process.exit(args.includes("--strict") && results.some((r) => r.ok === false) ? 1 : 0);
}

if (require.main === module) void main(process.argv.slice(2));
