/**
 * `npm run bench -- scenarios [--scenarios pod-kill,drain] [--runs 3] [--block-time 2] [--reuse] [--out
 * docs/failover]`: runs scenarios and adds each run to the result files that `npm run docs` makes docs/failover.md of.
 * `--reuse`: all runs of a scenario in one laboratory, for long series of those that leave nothing behind. `--minutes
 * 5`: no run begins later. Without `--out` nothing is written.
 */
import { readFileSync } from "node:fs";
import { cpus, getPriority, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { Lab } from "../../lab/lab";
import { daemonBundle } from "../../lab/programs";
import { addRun, runOf } from "../../lab/results";
import { scenarios } from "../../lab/scenarios/built-in";
import type { ScenarioReceipt } from "../../lab/scenarios/receipt";
import { calm, runSteps } from "../../lab/scenarios/run";
import type { Scenario } from "../../lab/scenarios/scenario";
import { judged, type Bench, type BenchResult } from "../bench";
import { buildDaemons } from "../../scripts/build";
import { labApi, labApiName } from "../../lab/commands/lab-api";
import { blockTime } from "../../lab/commands/start";

const load = () => Number((loadavg()[0] ?? 0).toFixed(1));
/**
 * Field 41 of a process's status: 2 is SCHED_RR, a laboratory that has precedence over everything else on its machine.
 */
const realTime = () => readFileSync("/proc/self/stat", "utf8").split(") ")[1]?.split(" ")[38] === "2";
const machine = () => {
  const precedence = realTime()
    ? ", before all other work (SCHED_RR)"
    : getPriority() === 0
      ? ""
      : `, priority ${getPriority()}`;
  const api = process.env.KUBEBUILDER_ASSETS ? `, ${labApiName()}` : "";
  return `${cpus().length} cores, Node ${process.versions.node.split(".")[0]}${precedence}${api}`;
};

/** Runs scenarios one after the other, each in a laboratory of its own or, with `reuse`, all runs of one in one. */
class Runner {
  private lab: Lab | undefined;

  constructor(
    private readonly options: { blockMs: number; tog: string; reuse: boolean; out: string },
    private readonly progress: (line: string) => void,
  ) {}

  async stop(): Promise<void> {
    await this.lab?.stop();
    this.lab = undefined;
  }

  /** One run, written to the results where these are wanted. undefined if it could not be measured. */
  async run(scenario: Scenario, label: string): Promise<ScenarioReceipt | undefined> {
    const { out, reuse } = this.options;
    const before = load();
    const date = new Date();
    let receipt: ScenarioReceipt | undefined;
    try {
      receipt = await this.receipt(scenario);
    } catch (error) {
      this.progress(`${label}: not measured: ${(error as Error).message}`);
    }
    if (!reuse || !receipt?.ok) await this.stop();
    if (!receipt) return undefined;
    const { blockSeconds, doubleStartSeconds } = receipt;
    const series = { scenario: scenario.name, blockSeconds, doubleStartSeconds, machine: machine() };
    if (out !== "") addRun(out, series, runOf(receipt, date, [before, load()]));
    const found = [...receipt.problems, ...receipt.violations].map((text) => `\n  ${text}`).join("");
    this.progress(
      `${label}: ${receipt.ok ? "held" : "BROKEN"}, ${receipt.missedLevels} missed, ${receipt.failoverSeconds} s, ` +
        `overlap ${receipt.overlapMs} ms, stalled ${receipt.longestStallMs} ms, load ${before} to ${load()}${found}`,
    );
    return receipt;
  }

  private async receipt(scenario: Scenario): Promise<ScenarioReceipt> {
    const { blockMs, tog } = this.options;
    const { flag, signers, chain } = scenario;
    this.lab ??= await Lab.start({ blockMs, tog, ...labApi(), ...chain, flag, signers });
    await this.lab.ready(120_000);
    await calm(this.lab);
    return runSteps(this.lab, scenario);
  }
}

function resultsOf({ name, goalMissedLevels }: Scenario, receipts: readonly ScenarioReceipt[]): BenchResult[] {
  const most = Math.max(0, ...receipts.map((receipt) => receipt.missedLevels));
  const broken = receipts.filter((receipt) => !receipt.ok).length;
  const metric = `${name}, most missed levels`;
  return [
    { metric: `${name}, runs`, unit: "", value: receipts.length },
    judged(`${name}, runs in which an invariant broke`, "", broken, "<= 0"),
    goalMissedLevels === undefined
      ? { metric, unit: "levels", value: most }
      : judged(metric, "levels", most, `<= ${goalMissedLevels}`),
  ];
}

export const bench: Bench = async (args, progress) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenarios: { type: "string", default: Object.keys(scenarios).join(",") },
      runs: { type: "string", default: "3" },
      "block-time": { type: "string", default: "2" },
      out: { type: "string", default: "" },
      reuse: { type: "boolean", default: false },
      minutes: { type: "string", default: "1000" },
    },
  });
  const names = values.scenarios.split(",");
  const wrong = names.filter((name) => !(name in scenarios));
  if (wrong.length > 0)
    throw new Error(`--scenarios are of ${Object.keys(scenarios).join(", ")}; got ${wrong.join(", ")}`);
  const runs = Number(values.runs);
  const lastMs = performance.now() + Number(values.minutes) * 60_000;
  const { out, reuse } = values;
  const tog = await daemonBundle(buildDaemons);
  const runner = new Runner({ blockMs: blockTime(values["block-time"]), tog, reuse, out }, progress);
  const interrupted = () => void runner.stop().then(() => process.exit(130));
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);

  const results: BenchResult[] = [];
  for (const scenario of names.flatMap((name) => scenarios[name] ?? [])) {
    const receipts: ScenarioReceipt[] = [];
    for (let run = 0; run < runs && performance.now() < lastMs; run++) {
      const receipt = await runner.run(scenario, `${scenario.name} ${run + 1}/${runs}`);
      if (receipt) receipts.push(receipt);
    }
    await runner.stop();
    results.push(...resultsOf(scenario, receipts));
  }
  return results;
};
