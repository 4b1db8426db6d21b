/**
 * `npm run mutants [-- NAME...]` plants each deliberate fault of tools/mutants/mutants.ts in a copy of the checkout,
 * runs the tests of its room, and says which faults were found and which survived. Exit code 0 only if every fault was
 * found. With `--schedules N` it runs N randomized schedules of the gate instead of the tests, and prints the seed that
 * found the fault: `npm run fuzz -- schedules --seed SEED --count 1` replays it where the fault is planted. With
 * `--simulations N` it runs N simulations of whole pods: `npm run simulate -- --seed SEED --count 1` replays that one.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Mutant, mutants } from "./mutants/mutants";

const root = resolve(__dirname, "..");

/** The tests of the room of a file, and the randomized schedules for what they run. */
const testsOf = ({ file }: Mutant): string[] => {
  const room = file.split("/").slice(0, 2).join("/");
  return [`__tests__/${room}/`, ...(room === "daemons/signing-gate" ? ["__tests__/lab/checker/"] : [])];
};

/** @throws Error where the text does not occur exactly once */
export function planted(source: string, { name, file, find, replace }: Mutant): string {
  const count = source.split(find).length - 1;
  if (count !== 1)
    throw new Error(`mutant ${name}: its text must occur once in ${file}, got ${count}; bring the list up to date`);
  return source.replace(find, () => replace);
}

/** Copies what git knows or would add; the packages are linked. */
function copyCheckout(): string {
  const copy = mkdtempSync(join(tmpdir(), "mutants-"));
  const listed = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root });
  for (const file of listed.stdout.toString().split("\0").filter(Boolean))
    cpSync(join(root, file), join(copy, file), { recursive: true, force: true });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  return copy;
}

/** Where the fault was found, or undefined. */
type Search = (mutant: Mutant, copy: string) => string | undefined;

const byTests: Search = (mutant, copy) => {
  const jest = join(root, "node_modules/jest/bin/jest.js");
  const run = spawnSync(process.execPath, [jest, "--bail", "--silent", ...testsOf(mutant)], { cwd: copy });
  return run.status === 0 ? undefined : /^FAIL .*/m.exec(run.stderr.toString())?.[0];
};
/** A randomized command of the laboratory, from seed 1 on. */
function randomized(copy: string, count: string, [file = "", ...words]: readonly string[]) {
  const command = ["--import", "tsx", `lab/commands/${file}`, ...words, "--seed", "1", "--count", count];
  const run = spawnSync(process.execPath, command, { cwd: copy, maxBuffer: 2 ** 28 });
  const error = /^\w*Error: .*/m.exec(run.stderr.toString())?.[0];
  return { status: run.status, output: run.stdout.toString(), error };
}
const bySchedules =
  (count: string): Search =>
  (_mutant, copy) => {
    const { status, output, error } = randomized(copy, count, ["fuzz.ts", "schedules"]);
    const violation = /^VIOLATION \S+ \S+/m.exec(output)?.[0] ?? "the healed baker does not sign";
    const seed = /^seed \d+/m.exec(output)?.[0] ?? error ?? "no seed";
    return status === 1 ? `${seed}: ${violation}` : undefined;
  };
const bySimulations =
  (count: string): Search =>
  (_mutant, copy) => {
    const { status, output, error } = randomized(copy, count, ["simulate.ts", "--json"]);
    if (status !== 1) return undefined;
    if (error !== undefined) return error;
    const { seed, findings } = JSON.parse(output) as { seed: number; findings: { code: string }[] };
    return `seed ${seed}: ${findings[0]?.code}`;
  };

function main(argv: readonly string[]): number {
  const { values, positionals: names } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { schedules: { type: "string" }, simulations: { type: "string" } },
  });
  const unknown = names.filter((name) => !mutants.some((mutant) => mutant.name === name));
  if (unknown.length > 0) {
    console.error(`no mutant is called ${unknown.join(", ")}; known: ${mutants.map(({ name }) => name).join(", ")}`);
    return 2;
  }
  const { schedules, simulations } = values;
  const search = simulations ? bySimulations(simulations) : schedules ? bySchedules(schedules) : byTests;
  const chosen = mutants.filter(({ name }) => names.length === 0 || names.includes(name));
  const copy = copyCheckout();
  let survivors = 0;
  try {
    for (const mutant of chosen) {
      const path = join(copy, mutant.file);
      const original = readFileSync(path, "utf8");
      writeFileSync(path, planted(original, mutant));
      const startedMs = Date.now();
      const found = search(mutant, copy);
      writeFileSync(path, original);
      if (found === undefined) survivors++;
      const seconds = Math.round((Date.now() - startedMs) / 1000);
      const verdict = found === undefined ? "SURVIVED" : "found   ";
      console.log(`${verdict} ${mutant.name} (${seconds} s) ${found ?? mutant.breaks}`);
    }
    console.log(`${chosen.length - survivors} found, ${survivors} surviving`);
    return survivors === 0 ? 0 : 1;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

if (require.main === module) process.exitCode = main(process.argv.slice(2));
