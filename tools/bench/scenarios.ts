/**
 * `npm run bench -- scenarios [--scenarios pod-kill,drain] [--runs 3] [--block-time 2] [--reuse] [--out
 * docs/failover]`: runs scenarios and adds each run to the result files that `npm run docs` makes docs/failover.md of.
 * `--reuse`: all runs of a scenario in one laboratory, for long series of those that leave nothing behind. `--minutes
 * 5`: no run begins later. Without `--out` nothing is written.
 */
import { readFileSync } from "node:fs";
import { cpus, getPriority, loadavg } from "node:os";
import { Lab } from "../../lab/lab";
import { daemonBundle } from "../../lab/programs";
import { addRun, runOf } from "../../lab/results";
import { scenarios } from "../../lab/scenarios/built-in";
import { calm, runSteps, type ScenarioReceipt } from "../../lab/scenarios/run";
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

export const bench: Bench = async (args, progress) => {
  const value = (name: string, fallback: string): string => args[args.indexOf(name) + 1 || args.length] ?? fallback;
  const names = value("--scenarios", Object.keys(scenarios).join(",")).split(",");
  const wrong = names.filter((name) => !(name in scenarios));
  if (wrong.length > 0)
    throw new Error(`--scenarios are of ${Object.keys(scenarios).join(", ")}; got ${wrong.join(", ")}`);
  const runs = Number(value("--runs", "3"));
  const blockMs = blockTime(value("--block-time", "2"));
  const out = value("--out", "");
  const reuse = args.includes("--reuse");
  const lastMs = performance.now() + Number(value("--minutes", "1000")) * 60_000;
  const tog = await daemonBundle(buildDaemons);
  let lab: Lab | undefined;
  const stop = () => void (lab?.stop() ?? Promise.resolve()).then(() => process.exit(130));
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);

  const one = async (scenario: Scenario): Promise<ScenarioReceipt> => {
    lab ??= await Lab.start({
      blockMs,
      tog,
      ...labApi(),
      ...scenario.chain,
      flag: scenario.flag,
      signers: scenario.signers,
    });
    await lab.ready(120_000);
    await calm(lab);
    return runSteps(lab, scenario);
  };
  const results: BenchResult[] = [];
  for (const scenario of names.flatMap((name) => scenarios[name] ?? [])) {
    const receipts: ScenarioReceipt[] = [];
    for (let run = 0; run < runs && performance.now() < lastMs; run++) {
      const before = load();
      const date = new Date();
      let receipt: ScenarioReceipt | undefined;
      try {
        receipt = await one(scenario);
      } catch (error) {
        progress(`${scenario.name} ${run + 1}/${runs}: not measured: ${(error as Error).message}`);
      }
      if (!reuse || !receipt?.ok) {
        await lab?.stop();
        lab = undefined;
      }
      if (!receipt) continue;
      receipts.push(receipt);
      const { blockSeconds, doubleStartSeconds } = receipt;
      if (out !== "")
        addRun(
          out,
          { scenario: scenario.name, blockSeconds, doubleStartSeconds, machine: machine() },
          runOf(receipt, date, [before, load()]),
        );
      progress(
        `${scenario.name} ${run + 1}/${runs}: ${receipt.ok ? "held" : "BROKEN"}, ${receipt.missedLevels} missed, ${receipt.failoverSeconds} s, overlap ${receipt.overlapMs} ms, stalled ${receipt.longestStallMs} ms, load ${before} to ${load()}${[...receipt.problems, ...receipt.violations].map((text) => `\n  ${text}`).join("")}`,
      );
    }
    await lab?.stop();
    lab = undefined;
    const most = Math.max(0, ...receipts.map((receipt) => receipt.missedLevels));
    results.push(
      { metric: `${scenario.name}, runs`, unit: "", value: receipts.length },
      judged(
        `${scenario.name}, runs in which an invariant broke`,
        "",
        receipts.filter((receipt) => !receipt.ok).length,
        "<= 0",
      ),
      scenario.goalMissedLevels === undefined
        ? { metric: `${scenario.name}, most missed levels`, unit: "levels", value: most }
        : judged(`${scenario.name}, most missed levels`, "levels", most, `<= ${scenario.goalMissedLevels}`),
    );
  }
  return results;
};
