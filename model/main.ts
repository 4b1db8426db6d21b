/**
 * `npm run model`: visits every state of each case and leaves out each rule, but for those that take minutes, which
 * `-- --slow` adds. `-- --only fence` takes one model, `-- --quick` the cases of `npm test`, `-- --json` prints what
 * docs/model-results.json holds, `-- --write` writes it there, `-- --check` compares it. Exit code 1 where anything
 * differs from what it should be.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { holds, needed, resultOfCase, resultOfLeftOut, type Results } from "./results";
import { cases, leftOut } from "./suite";

const file = join(__dirname, "../docs/model-results.json");

function main(flags: readonly string[]): void {
  const only = flags[flags.indexOf("--only") + 1];
  const known = ["--only", only, "--quick", "--slow", "--json", "--write", "--check"];
  const unknown = flags.filter((flag) => !known.includes(flag));
  if (unknown.length > 0)
    throw new Error(
      `the flags are --only MODEL, --quick, --slow, --json, --write and --check, got ${unknown.join(" ")}`,
    );
  const wanted = ({ model, slow }: { model: string; slow?: boolean }) =>
    (!flags.includes("--only") || model === only) && (!slow || flags.includes("--slow"));
  const json = flags.includes("--json");
  const say = (text: string) => (json ? undefined : console.log(text));
  const results: Results = { cases: [], leftOut: [] };
  let failed = false;
  const timed = <T>(work: () => T): [T, string] => {
    const start = performance.now();
    const result = work();
    return [result, `${((performance.now() - start) / 1000).toFixed(1)} s`];
  };
  for (const one of cases.filter((one) => wanted(one) && (one.quick || !flags.includes("--quick")))) {
    const [verdict, time] = timed(() => one.run());
    results.cases.push(resultOfCase(one, verdict));
    failed ||= !holds(verdict);
    say(
      `${holds(verdict) ? "holds " : "BROKEN"} ${one.model}, ${one.name}: ${verdict.states} states, ${verdict.steps} steps, depth ${verdict.depth}, ${time}`,
    );
    for (const line of verdict.violation ? [verdict.violation.property, ...verdict.violation.story] : [])
      say(`         ${line}`);
  }
  for (const one of leftOut.filter(wanted)) {
    const [verdict, time] = timed(() => one.run());
    results.leftOut.push(resultOfLeftOut(one, verdict));
    const found = needed(one, verdict);
    failed ||= !found;
    say(
      `${found ? "found " : "MISSED"} ${one.model} without ${one.rule} "${one.without}": ${verdict.violation?.property ?? "nothing broke"}, ${verdict.states} states, ${time}`,
    );
  }
  if (json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  const before = existsSync(file) ? readFileSync(file, "utf8") : "";
  const kept = before === "" ? { cases: [], leftOut: [] } : (JSON.parse(before) as Results);
  // What was not run now stays.
  const merged: Results = {
    cases: cases.flatMap(({ model, name }) => {
      const is = (one: { model: string; name: string }) => one.model === model && one.name === name;
      return results.cases.find(is) ?? kept.cases.find(is) ?? [];
    }),
    leftOut: leftOut.flatMap(({ model, without }) => {
      const is = (one: { model: string; without: string }) => one.model === model && one.without === without;
      return results.leftOut.find(is) ?? kept.leftOut.find(is) ?? [];
    }),
  };
  const text = `${JSON.stringify(merged, null, 2)}\n`;
  if (flags.includes("--write")) writeFileSync(file, text);
  if (flags.includes("--check") && before !== text) {
    console.error("docs/model-results.json is stale: run npm run model -- --write, then npm run docs");
    failed = true;
  }
  if (failed) process.exitCode = 1;
}

main(process.argv.slice(2));
