/**
 * `npm run fuzz -- parser [--inputs N] [--seed N]`     10 million signing requests by default
 * `npm run fuzz -- schedules [--count N] [--seed N] [--mild]`   10,000 schedules of gates by default, with the strong
 * adversary unless `--mild`
 * Ends with 1 at the first failure, whose seed or input it prints. Results are recorded in docs/fuzzing.md.
 */
import { parseArgs } from "node:util";
import { fuzzParser } from "../checker/parser-fuzz";
import { describe } from "../checker/schedules/describe";
import { runSchedule } from "../checker/schedules/run-schedule";
import { seedOf, wholeNumber } from "./numbers";

const usage = "usage: npm run fuzz -- parser [--inputs N] [--seed N] | schedules [--count N] [--seed N] [--mild]";

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      inputs: { type: "string" },
      count: { type: "string" },
      seed: { type: "string" },
      mild: { type: "boolean" },
    },
  });
  const seed = seedOf(values);
  const inputs = wholeNumber("--inputs", values.inputs, 1, 10_000_000);
  const count = wholeNumber("--count", values.count, 1, 10_000);
  if (seed === undefined || inputs === undefined || count === undefined) return 2;
  const started = process.hrtime.bigint();
  const seconds = () => (Number(process.hrtime.bigint() - started) / 1e9).toFixed(0);
  if (positionals[0] === "parser") {
    console.error(`seed ${seed}, ${inputs} inputs`);
    const result = await fuzzParser({
      seed,
      inputs,
      progress: (done) => done % 1_000_000 === 0 && console.error(`${done} after ${seconds()} s`),
    });
    console.log(JSON.stringify({ ...result, seconds: Number(seconds()) }, null, 2));
    return result.failure === "" ? 0 : 1;
  }
  if (positionals[0] === "schedules") {
    console.error(`seed ${seed}, ${count} schedules`);
    const total: Record<string, number> = {};
    for (let i = 0; i < count; i++) {
      const result = await runSchedule({ seed: seed + i, strong: values.mild !== true });
      if (result.violations.length > 0 || result.stuck !== "") {
        console.log(describe(result));
        return 1;
      }
      for (const [name, value] of Object.entries(result.counts)) total[name] = (total[name] ?? 0) + value;
      if ((i + 1) % 1000 === 0) console.error(`${i + 1} after ${seconds()} s`);
    }
    console.log(JSON.stringify({ seed, schedules: count, counts: total, seconds: Number(seconds()) }, null, 2));
    return 0;
  }
  console.error(usage);
  return 2;
}

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
