/**
 * `npm run bench -- failover [--runs N] [--block-time 2] [--designs ours,client-go,predecessor,single] [--events
 * switchover,crash,kill,zone,stale] [--svg FILE] [--out FILE]`: seconds from the last signature before an event to the
 * first after it, missed levels, overlap of running daemons and conflicting signatures; ours, our elector with
 * client-go's timings, the predecessor's design and its single replica beside each other in one run, in the laboratory.
 * Where the file of `--out` exists, its measurements are added to.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { dirname } from "node:path";
import { inject } from "../../lab/faults/faults";
import { Lab, type LabOptions } from "../../lab/lab";
import { daemonBundle } from "../../lab/programs";
import { scaleOf, scaleTimings } from "../../lab/scale";
import { failoverGap } from "../../lab/scenarios/receipt";
import { calm } from "../../lab/scenarios/run";
import { defaultTimings } from "../../contract/timings";
import { judged, percentile, type Bench, type BenchResult } from "../bench";
import { buildDaemons } from "../../scripts/build";
import { blockTime } from "../../lab/commands/start";
import { failoverPlot } from "../../lab/failover-plot";

export const designs = ["ours", "client-go", "predecessor", "single"] as const;
export type Design = (typeof designs)[number];
export const happenings = ["switchover", "crash", "kill", "zone", "stale"] as const;
export type Happening = (typeof happenings)[number];

export const texts: Record<Happening, string> = {
  switchover: "planned switchover",
  crash: "baker crash",
  kill: "pod kill",
  zone: "zone loss",
  stale: "stale head",
};
/** Missed levels promised for ours. */
const goals: Record<Happening, number> = { switchover: 1, crash: 1, kill: 2, zone: 2, stale: 3 };
/** Seconds at 6 s blocks for which a stale head lasts. */
const staleSeconds = 90;

export interface Measurement {
  design: Design;
  event: Happening;
  seconds: number;
  missed: number;
  overlapMs: number;
  failedOver: boolean;
  /** The longest time for which the machine did not schedule the laboratory meanwhile. */
  stallMs: number;
}
export interface FailoverReport {
  /** Of the first run. */
  date: string;
  /** The machine's load average over a minute, at each measurement's end. */
  load: number[];
  blockSeconds: number;
  scale: number;
  doubleStartSeconds: number;
  measurements: Measurement[];
  conflicts: Record<string, number>;
}

const options = (design: Design, blockMs: number, tog: string): LabOptions => {
  const scale = scaleOf(blockMs);
  const base: LabOptions = {
    blockMs,
    tog,
    signers: "tunnels",
    flag: design !== "single",
    history: true,
    seed: `bench-${design}`,
  };
  if (design === "client-go")
    return {
      ...base,
      timings: scaleTimings(scale, {
        ...defaultTimings,
        leaseSeconds: 15,
        renewDeadlineSeconds: 10,
        retrySeconds: 2,
        requestTimeoutMs: 2000,
      }),
    };
  return design === "ours" ? base : { ...base, predecessor: true };
};

async function measure(lab: Lab, design: Design, event: Happening): Promise<Measurement> {
  await calm(lab);
  await lab.sleep(Math.random() * lab.options.blockMs);
  const t0 = Date.now();
  const attested = lab.chain.levels.at(-1)?.attestedBy !== null;
  const level = lab.chain.head.level - (attested ? 0 : 1);
  const before = lab.trace.running("octez-baker").map((interval) => interval.pid);
  const ours = design === "ours" || design === "client-go";
  const master = lab.activePod() ?? "";
  const zone = lab.cluster.member(master).zone;
  let end: (() => Promise<void>) | undefined;
  // The predecessor has no switchover: the master is deleted, as in a drain.
  if (event === "switchover") await inject(lab, ours ? "switchover" : "delete-pod");
  if (event === "crash") await inject(lab, "kill-daemon");
  if (event === "kill") await inject(lab, "kill-pod");
  if (event === "zone") end = await inject(lab, "lose-zone", { zone });
  if (event === "stale") end = await inject(lab, "stale-head", { pod: master });
  const changed = () => lab.signatures.some((signature) => signature.atMs > t0 && !before.includes(signature.pid));
  const limit = event === "stale" ? lab.scaled(staleSeconds * 1000) : lab.scaled(120_000) + 15_000;
  let failedOver = true;
  await lab.until("another daemon signs", changed, limit).catch(() => (failedOver = false));
  // One more level, so that the last one is decided.
  await lab.sleep(lab.options.blockMs * 2.2);
  const missed = lab.chain.missedSince(level);
  const gap = failoverGap(lab.signatures, t0);
  const seconds = failedOver
    ? gap.seconds
    : (Date.now() - (lab.signatures.findLast((signature) => signature.atMs < t0 + 50)?.atMs ?? t0)) / 1000;
  const overlapMs = Math.round(lab.trace.overlapMs("octez-baker", t0));
  await end?.();
  return {
    design,
    event,
    seconds: Number(seconds.toFixed(3)),
    missed,
    overlapMs,
    failedOver,
    stallMs: lab.longestStallMs(t0),
  };
}

/**
 * What leaves something behind comes late: after a stale head no other voluntary handover follows for a minute and
 * more, so there is one in each laboratory; a member whose daemon has crashed three times in a row takes over as the
 * last resort only.
 */
const order: readonly Happening[] = ["switchover", "kill", "zone", "stale", "crash"];

/** Every event of one design, its runs one after the other. */
async function measureAll(
  lab: Lab,
  design: Design,
  given: { runs: number; events: readonly Happening[] },
  report: FailoverReport,
  progress: (line: string) => void,
): Promise<void> {
  for (const event of order.filter((wanted) => given.events.includes(wanted))) {
    // With one replica a lost zone is Kubernetes' own affair: minutes, and not ours to measure. A stale head has
    // nobody to go to.
    if (design === "single" && (event === "zone" || event === "stale")) continue;
    const runs = event === "stale" ? 1 : given.runs;
    for (let run = 0; run < runs; run++) {
      const name = `${design}, ${texts[event]} ${run + 1}/${runs}`;
      try {
        const measurement = await measure(lab, design, event);
        report.measurements.push(measurement);
        report.load.push(Number((loadavg()[0] ?? 0).toFixed(1)));
        progress(
          `${name}: ${measurement.seconds.toFixed(2)} s, ${measurement.missed} missed, overlap ${measurement.overlapMs} ms${measurement.failedOver ? "" : ", no failover"}, machine stalled ${measurement.stallMs} ms`,
        );
      } catch (error) {
        progress(`${name}: not measured: ${(error as Error).message}`);
      }
    }
  }
  const conflicts = lab
    .verdict()
    .filter(({ code }) => ["two-digests", "two-signatures-of-a-block"].includes(code)).length;
  report.conflicts[design] = (report.conflicts[design] ?? 0) + conflicts;
  if (design === "ours")
    for (const violation of lab.verdict()) progress(`VIOLATION ${violation.code}: ${violation.text}`);
}

export async function runFailover(
  given: {
    runs: number;
    blockMs: number;
    designs: readonly Design[];
    events: readonly Happening[];
    before?: FailoverReport;
  },
  progress: (line: string) => void,
): Promise<FailoverReport> {
  const tog = await daemonBundle(buildDaemons);
  const scale = scaleOf(given.blockMs);
  const report: FailoverReport = given.before ?? {
    ...{ date: new Date().toISOString().slice(0, 10), load: [] },
    ...{ blockSeconds: given.blockMs / 1000, scale, doubleStartSeconds: 2 * scale },
    ...{ measurements: [], conflicts: {} },
  };
  if (report.blockSeconds !== given.blockMs / 1000)
    throw new Error(`the report so far is of blocks every ${report.blockSeconds} s`);
  const labs = new Map<Design, Lab>();
  const stop = () => Promise.all([...labs.values()].map((lab) => lab.stop()));
  const interrupted = () => void stop().then(() => process.exit(130));
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);

  try {
    // Started one after the other; then each waits for blocks most of the time.
    for (const design of given.designs) {
      const lab = await Lab.start(options(design, given.blockMs, tog));
      labs.set(design, lab);
      await lab.ready(240_000);
    }
    await Promise.all([...labs].map(([design, lab]) => measureAll(lab, design, given, report, progress)));
  } finally {
    process.off("SIGINT", interrupted);
    process.off("SIGTERM", interrupted);
    await stop();
  }
  return report;
}

/** Goals are ours alone; the others are there to compare with. */
export function resultsOf(report: FailoverReport): BenchResult[] {
  const results: BenchResult[] = [
    { metric: "block time", unit: "s", value: report.blockSeconds },
    { metric: "declared start time of the daemon", unit: "s", value: Number(report.doubleStartSeconds.toFixed(3)) },
  ];
  for (const design of designs)
    for (const event of happenings) {
      const of = report.measurements.filter((entry) => entry.design === design && entry.event === event);
      if (of.length === 0) continue;
      const seconds = of.map((entry) => entry.seconds);
      const missed = Math.max(...of.map((entry) => entry.missed));
      const name = `${design}: ${texts[event]}`;
      results.push(
        { metric: `${name}, runs`, unit: "", value: of.length },
        { metric: `${name}, median`, unit: "s", value: percentile(seconds, 50) },
        { metric: `${name}, longest`, unit: "s", value: Math.max(...seconds) },
        {
          metric: `${name}, median in block times`,
          unit: "",
          value: Number((percentile(seconds, 50) / report.blockSeconds).toFixed(2)),
        },
        design === "ours"
          ? judged(`${name}, most missed levels`, "levels", missed, `<= ${goals[event]}`)
          : { metric: `${name}, most missed levels`, unit: "levels", value: missed },
        design === "ours"
          ? judged(`${name}, most overlap`, "ms", Math.max(...of.map((entry) => entry.overlapMs)), "<= 0")
          : { metric: `${name}, most overlap`, unit: "ms", value: Math.max(...of.map((entry) => entry.overlapMs)) },
        { metric: `${name}, runs without failover`, unit: "", value: of.filter((entry) => !entry.failedOver).length },
      );
    }
  for (const [design, conflicts] of Object.entries(report.conflicts))
    results.push(
      design === "ours"
        ? judged(`${design}: conflicting signatures`, "", conflicts, "<= 0")
        : { metric: `${design}: conflicting signatures`, unit: "", value: conflicts },
    );
  return results;
}

/** Without those during which the machine did not run the laboratory for longer than half a lease of ours. */
export const counted = (report: FailoverReport): FailoverReport => ({
  ...report,
  measurements: report.measurements.filter(
    (entry) => entry.stallMs <= (defaultTimings.leaseSeconds / 2) * 1000 * report.scale,
  ),
});

/** Rows are events, columns designs: median seconds / most missed levels. */
export function tableOf(report: FailoverReport): string {
  const shown = designs.filter((design) => report.measurements.some((entry) => entry.design === design));
  const rows = happenings
    .filter((event) => report.measurements.some((entry) => entry.event === event))
    .map((event) => {
      const cells = shown.map((design) => {
        const of = report.measurements.filter((entry) => entry.design === design && entry.event === event);
        if (of.length === 0) return "not run";
        const stuck = of.filter((entry) => !entry.failedOver).length;
        const median = percentile(
          of.map((entry) => entry.seconds),
          50,
        );
        return `${stuck === of.length ? `no failover in ${median.toFixed(0)}` : median.toFixed(2)} s, ${Math.max(...of.map((entry) => entry.missed))} missed`;
      });
      return `| ${texts[event]} | ${cells.join(" | ")} |`;
    });
  return [`| event | ${shown.join(" | ")} |`, `|${" --- |".repeat(shown.length + 1)}`, ...rows].join("\n");
}

export const bench: Bench = async (args, progress) => {
  const value = (name: string, fallback: string): string => {
    const at = args.indexOf(name);
    return at >= 0
      ? (args[at + 1] ?? fallback)
      : (args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? fallback);
  };
  const some = <T extends string>(text: string, all: readonly T[]): T[] => {
    const wrong = text.split(",").filter((word) => !all.includes(word as T));
    if (wrong.length > 0) throw new Error(`one of ${all.join(", ")}; got ${wrong.join(", ")}`);
    return all.filter((word) => text.split(",").includes(word));
  };
  const out = value("--out", "");
  const report = await runFailover(
    {
      before: existsSync(out) ? (JSON.parse(readFileSync(out, "utf8")) as FailoverReport) : undefined,
      runs: Number(value("--runs", "3")),
      blockMs: blockTime(value("--block-time", "2")),
      designs: some(value("--designs", designs.join(",")), designs),
      events: some(value("--events", happenings.join(",")), happenings),
    },
    progress,
  );
  const shown = counted(report);
  progress(`\n${tableOf(shown)}\n`);
  const write = (path: string, text: string) => {
    if (path === "") return;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  write(out, `${JSON.stringify(report, null, 2)}\n`);
  write(value("--svg", ""), failoverPlot(shown, texts));
  return resultsOf(shown);
};
