/**
 * `npm run bench -- synth [--json] [--runs N] [--tests]`: time and memory of one synthesis without the cdktf command,
 * for one baker and for 50, and the type-check; with --tests also the whole test command.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";
import { judged, percentile, type Bench } from "../bench";

const root = resolve(__dirname, "../..");
/** Writes the process's own peak memory (KiB) and processor time (s) to a file when it ends. */
const preload =
  'import { writeFileSync } from "node:fs"; process.on("exit", () => { const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage(); writeFileSync(process.env.BENCH_USAGE_FILE, JSON.stringify([maxRSS, (userCPUTime + systemCPUTime) / 1e6])); });';

/** An address that nobody has: tz1 of a hash of the name. */
const address = (name: string): string =>
  createBase58check(sha256).encode(
    Uint8Array.from([6, 161, 159, ...sha256(new TextEncoder().encode(name)).slice(0, 20)]),
  );

/** A tfvars file for this many bakers. */
export const manyBakers = (count: number): string =>
  JSON.stringify({
    project: "my-tezos-project",
    network: "shadownet",
    experimental_active_standby_mode: true,
    bakers: Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`baker-${i}`, { delegate: address(`baker ${i}`), hot_test_key: true }]),
    ),
  });

interface Measured {
  seconds: number;
  cpuSeconds: number;
  mebibytes: number;
}

/** Seconds of wall clock and of processor, and peak MiB, of `node --import tsx main.ts` in a folder. */
function synth(folder: string): Measured {
  const usage = join(folder, "usage");
  const start = performance.now();
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      "--import",
      pathToFileURL(require.resolve("tsx")).href,
      "--import",
      `data:text/javascript,${encodeURIComponent(preload)}`,
      join(root, "main.ts"),
    ],
    { cwd: folder, encoding: "utf8", env: { ...process.env, BENCH_USAGE_FILE: usage } },
  );
  if (status !== 0) throw new Error(`synth failed: ${stderr}`);
  const seconds = (performance.now() - start) / 1000;
  const [kibibytes, cpuSeconds] = JSON.parse(readFileSync(usage, "utf8")) as [number, number];
  return { seconds, cpuSeconds, mebibytes: kibibytes / 1024 };
}

export const bench: Bench = (args, progress) => {
  const runs = Number(args[args.indexOf("--runs") + 1] ?? 5) || 5;
  const folder = mkdtempSync(join(tmpdir(), "tezos-on-gke-bench-"));
  try {
    const measure = (bakers: number) => {
      writeFileSync(join(folder, "terraform.tfvars.json"), manyBakers(bakers));
      return Array.from({ length: runs }, (_, i) => {
        const result = synth(folder);
        progress(`${bakers} bakers, run ${i + 1}: ${result.seconds.toFixed(2)} s, ${result.mebibytes.toFixed(0)} MiB`);
        return result;
      });
    };
    synthOnce();
    const [one, fifty] = [measure(1), measure(50)];
    const median = (runsOf: readonly Measured[], of: keyof Measured): number =>
      percentile(
        runsOf.map((run) => run[of]),
        50,
      );
    const informative = (metric: string, unit: string, value: number) => ({
      metric,
      unit,
      value: Number(value.toPrecision(4)),
    });
    const results = [
      judged("synth of one baker, median", "s", median(one, "seconds"), "<= 2"),
      informative("its processor time", "s", median(one, "cpuSeconds")),
      judged("peak memory of it", "MiB", Math.max(...one.map(({ mebibytes }) => mebibytes)), "<= 400"),
      informative("synth of 50 bakers, median", "s", median(fifty, "seconds")),
      informative("its processor time with 50 bakers", "s", median(fifty, "cpuSeconds")),
      judged("50 bakers against one", "times", median(fifty, "seconds") / median(one, "seconds"), "<= 3"),
      informative("peak memory of 50 bakers", "MiB", Math.max(...fifty.map(({ mebibytes }) => mebibytes))),
      judged("type-check", "s", timed("npm", ["run", "--silent", "typecheck", "--", "--incremental", "false"]), "<= 8"),
      ...(args.includes("--tests") ? [judged("npm test", "s", timed("npm", ["test", "--silent"]), "<= 90")] : []),
    ];
    return Promise.resolve(results);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }

  /** Fills the file cache and tsx's own. */
  function synthOnce(): void {
    writeFileSync(join(folder, "terraform.tfvars.json"), manyBakers(1));
    synth(folder);
  }
  function timed(command: string, words: string[]): number {
    const start = performance.now();
    const { status, stdout } = spawnSync(command, words, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 26 });
    if (status !== 0) progress(`${command} ${words.join(" ")} failed:\n${stdout.slice(-2000)}`);
    return (performance.now() - start) / 1000;
  }
};
