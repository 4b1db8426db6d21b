/**
 * `npm run soak -- --bakers 6 --minutes 10`: many bakers, two pods each, in one laboratory. Shows that every lease is
 * kept, that no process is left and that memory stays flat. Exit code 0 only if all of it holds.
 */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { Lab } from "../lab";
import { markedPids } from "../cluster/process";
import { daemonBundle } from "../programs";
import { buildDaemons } from "../../scripts/build";
import { labApi } from "./lab-api";
import { blockTime } from "./start";

/** Resident memory of a process in MiB; 0 where it is gone. */
function residentMib(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
/** Name of the daemon or double behind a pid. */
function programOf(pid: number): string {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    const at = words.findIndex((word) => /\/(tog|doubles)-[0-9a-f]+\.cjs$/.test(word));
    return at < 0 ? (words[0] ?? "") : (words[at + 1] ?? "");
  } catch {
    return "";
  }
}

interface Sample {
  minute: number;
  processes: number;
  mib: Record<string, number>;
  ownMib: number;
}
/** Processes and memory of a laboratory whose processes carry `mark`. */
function sampleOf(mark: string, beganMs: number): Sample {
  const pids = markedPids(mark);
  const mib: Record<string, number[]> = {};
  for (const pid of pids) (mib[programOf(pid)] ??= []).push(residentMib(pid));
  const mean = (values: number[]) => Math.round(values.reduce((a, b) => a + b, 0) / values.length);
  return {
    minute: Number(((performance.now() - beganMs) / 60_000).toFixed(2)),
    processes: pids.length,
    mib: Object.fromEntries(Object.entries(mib).map(([name, values]) => [name, mean(values)])),
    ownMib: Math.round(process.memoryUsage().rss / 2 ** 20),
  };
}

/** What grew between two samples. */
function growth(first: Sample, last: Sample): string[] {
  const grown = Object.entries(last.mib)
    .map(([name, after]) => ({ name, before: first.mib[name] ?? after, after }))
    .filter(({ before, after }) => after > before * 1.3 + 10)
    .map(({ name, before, after }) => `${name} grew from ${before} to ${after} MiB`);
  if (last.processes > first.processes + 2) grown.push(`${first.processes} processes became ${last.processes}`);
  return grown;
}

/** Looks at a running laboratory for some minutes, then ends it. */
async function observe(lab: Lab, minutes: number, say: (text: string) => void, interrupted: () => boolean) {
  const mark = `LAB_RUN=${lab.run}`;
  const began = performance.now();
  const epochs = new Map([...lab.leases].map(([name, view]) => [name, view.epoch]));
  const levels = new Map([...lab.chains].map(([name, chain]) => [name, chain.head.level]));
  // The first minute is for caches and just-in-time compilation.
  await lab.sleep(Math.min(60_000, minutes * 15_000));
  const first = sampleOf(mark, began);
  let last = first;
  while (!interrupted() && performance.now() - began < minutes * 60_000) {
    await lab.sleep(Math.min(30_000, minutes * 6000));
    last = sampleOf(mark, began);
    say(`${last.minute} min: ${last.processes} processes, ${JSON.stringify(last.mib)}`);
  }
  const moves = [...lab.leases].map(([name, view]) => ({ name, times: view.epoch - (epochs.get(name) ?? view.epoch) }));
  const missed = [...lab.chains].map(([name, chain]) => chain.missedSince(levels.get(name) ?? 0));
  const problems = [
    ...moves.filter(({ times }) => times !== 0).map(({ name, times }) => `${name} changed hands ${times} times`),
    ...growth(first, last),
    ...lab.verdict().map((violation) => `${violation.code}: ${violation.text}`),
  ];
  await lab.stop();
  const left = markedPids(mark);
  if (left.length > 0) problems.push(`${left.length} processes are left`);
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
  return {
    transitions: sum(moves.map(({ times }) => times)),
    missedLevels: sum(missed),
    signatures: lab.signatures.length,
    longestStallMs: lab.longestStallMs(0),
    ...{ problems, first, last },
  };
}

async function main(): Promise<void> {
  const {
    bakers,
    minutes,
    blockTime: blockMs,
    json,
  } = new Command("npm run soak --")
    .option("--bakers <n>", "bakers, two pods each", Number, 6)
    .option("--minutes <n>", "how long", Number, 10)
    .option("--block-time <time>", "seconds between blocks", blockTime, 6000)
    .option("--json", "print the result as JSON")
    .parse()
    .opts<{ bakers: number; minutes: number; blockTime: number; json?: boolean }>();
  const say = (text: string) => console.error(text);
  const tog = await daemonBundle(buildDaemons);
  const lab = await Lab.start({ blockMs, tog, bakers, progress: say, ...labApi() });
  let interrupted = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => {
      interrupted = true;
      void lab.stop().then(() => process.exit(130));
    });
  try {
    await lab.ready(300_000);
    say(`${bakers} bakers sign; ${markedPids(`LAB_RUN=${lab.run}`).length} processes`);
    const shown = await observe(lab, minutes, say, () => interrupted);
    const ok = shown.problems.length === 0;
    const result = { ok, bakers, pods: bakers * 2, minutes, blockSeconds: blockMs / 1000, ...shown };
    console.log(json ? JSON.stringify(result) : JSON.stringify(result, null, 2));
    process.exit(ok ? 0 : 1);
  } catch (error) {
    await lab.stop();
    if (!interrupted) throw error;
  }
}
if (require.main === module)
  main().catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
