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

async function main(): Promise<void> {
  const options = new Command("npm run soak --")
    .option("--bakers <n>", "bakers, two pods each", Number, 6)
    .option("--minutes <n>", "how long", Number, 10)
    .option("--block-time <time>", "seconds between blocks", blockTime, 6000)
    .option("--json", "print the result as JSON")
    .parse()
    .opts<{ bakers: number; minutes: number; blockTime: number; json?: boolean }>();
  const say = (text: string) => console.error(text);
  const lab = await Lab.start({
    ...{ blockMs: options.blockTime, tog: await daemonBundle(buildDaemons), bakers: options.bakers, progress: say },
    ...labApi(),
  });
  let interrupted = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => {
      interrupted = true;
      void lab.stop().then(() => process.exit(130));
    });
  const problems: string[] = [];
  const samples: Sample[] = [];
  const mark = `LAB_RUN=${lab.run}`;
  let transitions = 0;
  try {
    await lab.ready(300_000);
    say(`${options.bakers} bakers sign; ${markedPids(mark).length} processes`);
    const began = performance.now();
    const epochs = new Map([...lab.leases].map(([name, view]) => [name, view.epoch]));
    const levels = new Map([...lab.chains].map(([name, chain]) => [name, chain.head.level]));
    const sample = () => {
      const pids = markedPids(mark);
      const mib: Record<string, number[]> = {};
      for (const pid of pids) (mib[programOf(pid)] ??= []).push(residentMib(pid));
      samples.push({
        minute: Number(((performance.now() - began) / 60_000).toFixed(2)),
        processes: pids.length,
        mib: Object.fromEntries(
          Object.entries(mib).map(([name, values]) => [
            name,
            Math.round(values.reduce((a, b) => a + b, 0) / values.length),
          ]),
        ),
        ownMib: Math.round(process.memoryUsage().rss / 2 ** 20),
      });
    };
    // The first minute is for caches and just-in-time compilation.
    await lab.sleep(Math.min(60_000, options.minutes * 15_000));
    sample();
    while (!interrupted && performance.now() - began < options.minutes * 60_000) {
      await lab.sleep(Math.min(30_000, options.minutes * 6000));
      sample();
      const last = samples.at(-1);
      say(`${last?.minute} min: ${last?.processes} processes, ${JSON.stringify(last?.mib)}`);
    }
    for (const [name, view] of lab.leases) {
      const moved = view.epoch - (epochs.get(name) ?? view.epoch);
      transitions += moved;
      if (moved !== 0) problems.push(`${name} changed hands ${moved} times`);
    }
    let missed = 0;
    for (const [name, chain] of lab.chains) missed += chain.missedSince(levels.get(name) ?? 0);
    const [first, last] = [samples[0], samples.at(-1)];
    for (const [name, after] of Object.entries(last?.mib ?? {})) {
      const before = first?.mib[name] ?? after;
      if (after > before * 1.3 + 10) problems.push(`${name} grew from ${before} to ${after} MiB`);
    }
    if (first && last && last.processes > first.processes + 2)
      problems.push(`${first.processes} processes became ${last.processes}`);
    problems.push(...lab.verdict().map((violation) => `${violation.code}: ${violation.text}`));
    await lab.stop();
    const left = markedPids(mark);
    if (left.length > 0) problems.push(`${left.length} processes are left`);
    const result = {
      ...{
        ok: problems.length === 0,
        bakers: options.bakers,
        pods: options.bakers * 2,
        minutes: options.minutes,
        blockSeconds: options.blockTime / 1000,
      },
      ...{
        transitions,
        missedLevels: missed,
        signatures: lab.signatures.length,
        longestStallMs: lab.longestStallMs(0),
        problems,
        first,
        last,
      },
    };
    console.log(options.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));
    process.exit(result.ok ? 0 : 1);
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
