/**
 * Memory, start time and idle CPU of every daemon: the daemons of two baking pods as processes, beside an embedded API
 * (TLS), a node with 50 peers and a head every 6 s, and a signer. Idle: one pod is the master, both are eligible,
 * nobody signs; counted is everything that daemons and API ask of each other, for the whole process with its threads
 * and its own helper process, and the higher figure of the two pods is told. Not counted: the kubelet's probes.
 * Options: --seconds N (of CPU measurement, default 60), --settle N (default 60), --starts N (default 5), --only
 * NAME,NAME, --node FILE (another Node.js).
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { daemonNames, nodeOptions, type DaemonName } from "../../contract/images";
import { ports } from "../../contract/ports";
import { judged, percentile, type Bench, type BenchResult } from "../bench";
import { buildDaemons } from "../../scripts/build";
import { cpuMs, end, ended, healthPort, now, rssMb, sleep, TwoPods } from "./parts/two-pods";

const goals = { rss: "<= 60", start: "<= 200", cpu: "<= 0.3" } as const;
const root = resolve(__dirname, "../..");
type Progress = (line: string) => void;

function loadBefore(progress: Progress): BenchResult {
  const [load = 0] = loadavg();
  if (load > cpus().length / 2)
    progress(`the machine is busy (load ${load.toFixed(1)}): start times and CPU will be too high`);
  return {
    metric: "load of the machine before",
    unit: `of ${cpus().length} cores`,
    value: Number(load.toFixed(1)),
  };
}

/** What the empty program costs here. */
async function emptyProgram(program: string, starts: number): Promise<BenchResult> {
  const times: number[] = [];
  for (let i = 0; i < starts; i++) {
    const from = now();
    const child = spawn(program, ["-e", "0"], { stdio: "ignore" });
    await new Promise((done) => child.once("exit", done));
    times.push(now() - from);
  }
  return { metric: "node -e 0: start and end", unit: "ms", value: Math.round(percentile(times, 50)) };
}

/** Each daemon alone, `starts` times. `runs` tells whether it can run here. */
async function startOf(world: TwoPods, name: DaemonName, starts: number) {
  const times: number[] = [];
  const cpu: number[] = [];
  const [pod] = world.pods;
  for (let i = 0; pod && i < starts; i++) {
    const run = await world.started(name, pod);
    if (!run)
      return { runs: false, results: [{ metric: `${name}: does not start here`, unit: "", value: 0, ok: false }] };
    times.push(run.ms);
    cpu.push(run.cpuMs ?? 0);
    await end(run.child);
  }
  const median = percentile(times, 50);
  if (healthPort[name] === undefined)
    return { runs: false, results: [{ metric: `${name}: start to end`, unit: "ms", value: Math.round(median) }] };
  const results: BenchResult[] = [
    judged(`${name}: start`, "ms", median, goals.start),
    { metric: `${name}: CPU of the start`, unit: "ms", value: percentile(cpu, 50) },
  ];
  return { runs: true, results };
}

/** The least that any elector needs, as a process that reads the streams of the first pod. */
function startFloor(world: TwoPods): ChildProcess | undefined {
  const [first] = world.pods;
  if (!first) return undefined;
  const streams = [ports.sidecar, ports.supervisor, ports.gateHealth].map(
    (port) => `http://${first.host}:${port}/status?watch=1000`,
  );
  const script = join(__dirname, "parts/elector-floor.ts");
  return world.run(
    ["--import", "tsx", script, world.apiUrl, first.kubeDir, world.namespace, ...streams],
    { PATH: process.env.PATH, NODE_OPTIONS: nodeOptions },
    root,
  );
}

async function sayStates(world: TwoPods, progress: Progress): Promise<void> {
  const states = await Promise.all(
    world.pods.map(async ({ host }) => {
      const answer = await fetch(`http://${host}:${ports.elector}/status`).catch(() => undefined);
      const status = (await answer?.json()) as { leadership: { state: string } | null; eligible: string } | undefined;
      return `${status?.leadership?.state ?? "?"} (${status?.eligible ?? "?"})`;
    }),
  );
  progress(`the pods are ${states.join(" and ")}`);
}

interface Running {
  name: string;
  child: ChildProcess;
  cpuMs: number;
}

/** Memory and CPU of what runs, the higher figure of the two pods. */
function resting(name: DaemonName, mine: readonly Running[], elapsedMs: number): BenchResult[] {
  const gone = mine.find(({ child }) => ended(child));
  if (gone) return [{ metric: `${name}: ended`, unit: "", value: gone.child.exitCode ?? -1, ok: false }];
  if (mine.length === 0) return [];
  const used = Math.max(...mine.map(({ child, cpuMs: before }) => cpuMs(child.pid ?? 0) - before));
  const rss = Math.max(...mine.map(({ child }) => rssMb(child.pid ?? 0)));
  return [
    judged(`${name}: memory (RSS)`, "MB", rss, goals.rss),
    judged(`${name}: idle CPU`, "% of a core", (100 * used) / elapsedMs, goals.cpu),
  ];
}

async function idle(
  world: TwoPods,
  names: readonly DaemonName[],
  { floor: withFloor, settle, seconds }: { floor: boolean; settle: number; seconds: number },
  progress: Progress,
): Promise<BenchResult[]> {
  const running: Running[] = [];
  for (const pod of world.pods)
    for (const name of names) {
      const run = await world.started(name, pod);
      if (run) running.push({ name, child: run.child, cpuMs: 0 });
    }
  const floor = withFloor ? startFloor(world) : undefined;
  if (floor) running.push({ name: "floor", child: floor, cpuMs: 0 });
  progress(`settling for ${settle} s`);
  await sleep(settle * 1000);
  await sayStates(world, progress);
  for (const entry of running) if (!ended(entry.child)) entry.cpuMs = cpuMs(entry.child.pid ?? 0);
  const from = now();
  progress(`idle CPU over ${seconds} s`);
  await sleep(seconds * 1000);
  const elapsed = now() - from;
  const floors = running
    .filter(({ name }) => name === "floor")
    .map(({ child, cpuMs: before }) => ({
      metric: "an elector's renewals, watches and streams without an elector: idle CPU",
      unit: "% of a core",
      value: ended(child) ? NaN : Number(((100 * (cpuMs(child.pid ?? 0) - before)) / elapsed).toPrecision(4)),
    }));
  const daemons = names.flatMap((name) =>
    resting(
      name,
      running.filter((entry) => entry.name === name),
      elapsed,
    ),
  );
  return [...floors, ...daemons];
}

const number = { type: "string", default: "60" } as const;

export const bench: Bench = async (args, progress) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: number,
      settle: number,
      starts: { type: "string", default: "5" },
      node: { type: "string", default: process.execPath },
      only: { type: "string" },
    },
  });
  const [seconds, settle, starts] = [values.seconds, values.settle, values.starts].map(Number) as [
    number,
    number,
    number,
  ];
  const only = values.only?.split(",");
  // hot-keys wants secret keys, and is over before anything runs.
  const wanted = daemonNames.filter((name) => name !== "hot-keys" && (only === undefined || only.includes(name)));
  mkdirSync(join(root, ".cache/bench"), { recursive: true });
  const bundle = await buildDaemons(join(root, `.cache/bench/tog-${process.pid}.cjs`));
  const world = await TwoPods.start(values.node, bundle);
  try {
    const results = [loadBefore(progress), await emptyProgram(values.node, starts)];
    const staying: DaemonName[] = [];
    for (const name of wanted) {
      progress(`start of ${name}`);
      const start = await startOf(world, name, starts);
      results.push(...start.results);
      if (start.runs) staying.push(name);
    }
    results.push(...(await idle(world, staying, { floor: only === undefined, settle, seconds }, progress)));
    return results;
  } finally {
    await world.close();
    rmSync(bundle, { force: true });
  }
};
