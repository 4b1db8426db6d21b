/**
 * `npm start`: says what the configuration at hand would deploy, then opens the laboratory: the synthesized pods as
 * processes of this machine, with a page. `npm start -- --scenario NAME --exit --json` runs one scenario for machines.
 * Ctrl-C leaves no process.
 */
import "../../configuration/node";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Command } from "commander";
import { automaticFiles } from "../../configuration/tfvars";
import { Lab, type LabOptions } from "../lab";
import { findOctez, type Octez } from "../octez/programs";
import { servePage } from "../page-server";
import { daemonBundle } from "../programs";
import { scenarios } from "../scenarios/built-in";
import type { ScenarioReceipt } from "../scenarios/receipt";
import { runScenario, runSteps } from "../scenarios/run";
import { readScenario, type Scenario } from "../scenarios/scenario";
import { buildDaemons } from "../../scripts/build";
import { labApi } from "./lab-api";

interface Options {
  blockTime: number;
  scenario?: string;
  list?: boolean;
  exit?: boolean;
  json?: boolean;
  runs: number;
  port: number;
  demo: boolean;
  keep?: boolean;
  summary: boolean;
  strict?: boolean;
  flag: boolean;
  startTime: number;
  seed?: string;
  history: boolean;
  octez?: string;
}

/** What every laboratory of this command has. */
type Base = Omit<LabOptions, "flag" | "signers"> & { progress: (text: string) => void };

const madeFor = (scenario: Scenario | undefined, options: Options) => ({
  flag: scenario?.flag ?? options.flag,
  signers: scenario?.signers,
});

/** "6", "6s", "0.5" or "200ms" to milliseconds. @throws Error outside of 200 ms to 60 s */
export function blockTime(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s)?$/.exec(text.trim());
  const ms = match ? Number(match[1]) * (match[2] === "ms" ? 1 : 1000) : NaN;
  if (!(ms >= 200 && ms <= 60_000))
    throw new Error(`--block-time is 0.2 to 60 seconds, like "6", "1s" or "200ms"; got "${text}"`);
  return ms;
}

/** Of an option that takes a number: `0x10`, `1e3` and nothing are slips of the keyboard. */
export const numberOption =
  (option: string, what: string, least: number, most: number, form = /^\d+$/) =>
  (text: string): number => {
    const value = form.test(text) ? Number(text) : NaN;
    if (!(value >= least && value <= most))
      throw new Error(`${option} is ${what} from ${least} to ${most}, written in digits; got "${text}"`);
    return value;
  };

const say = (text: string) => console.error(text);

/** Real Octez where it was asked for. @throws Error with what is missing */
function octezOf({ octez: folder }: Options): Octez | undefined {
  const found = folder === undefined ? undefined : findOctez(folder, process.env);
  if (typeof found === "string") throw new Error(`--octez is a folder with the programs of Octez: ${found}`);
  if (found?.warning !== undefined) say(found.warning);
  return found;
}

function receiptText(receipt: ScenarioReceipt): string {
  const { goal } = receipt;
  const seconds = (ms: number) => `${ms < 0 ? "-" : "+"}${(Math.abs(ms) / 1000).toFixed(2)} s`.padStart(10);
  return [
    "",
    `${receipt.ok ? "held" : "BROKEN"}  ${receipt.scenario}: ${receipt.from || "nobody"} -> ${receipt.to || "nobody"}${receipt.cause ? ` (${receipt.cause})` : ""}`,
    ...receipt.timeline.map(
      (entry) =>
        `${seconds(entry.atMs)}  ${entry.pod.padEnd(14)} ${entry.event}${entry.reason ? `: ${entry.reason}` : ""}`,
    ),
    "",
    `missed levels    ${receipt.missedLevels}${goal.missedLevels === null ? "" : ` (goal ${goal.missedLevels})`}`,
    `without signing  ${receipt.failoverSeconds} s; blocks every ${receipt.blockSeconds} s, declared start time of the daemon ${receipt.doubleStartSeconds} s`,
    ...[
      ["another daemon  ", receipt.takeoverSeconds, goal.takeoverSeconds, "after the fault"] as const,
      ["new tenure      ", receipt.tenureSeconds, goal.tenureSeconds, "after the fault's end"] as const,
    ]
      .filter(([, got, most]) => got !== null || most !== null)
      .map(
        ([what, got, most, since]) =>
          `${what} ${got === null ? "none" : `${got} s`} ${since}${most === null ? "" : ` (goal ${most} s)`}`,
      ),
    `overlap          ${receipt.overlapMs} ms; epoch ${receipt.epochs.before} -> ${receipt.epochs.after}`,
    `checker          ${receipt.violations.length === 0 ? `no violation in ${receipt.signatures} signatures` : receipt.violations.join("; ")}`,
    ...(receipt.longestStallMs > 100
      ? [`machine          did not run the laboratory for up to ${receipt.longestStallMs} ms`]
      : []),
    ...receipt.problems.map((problem) => `problem          ${problem}`),
    "",
  ].join("\n");
}

/**
 * Words for the summary before the laboratory. Of the example it is what the laboratory runs; a configuration of one's
 * own is summarized as it is written.
 */
export const summaryWords = (folder: string, flag: boolean): string[] =>
  automaticFiles(folder).length > 0 ? [] : ["--var", `experimental_active_standby_mode=${flag}`];

function runSummary(flag: boolean): Promise<void> {
  const script = join(__dirname, "../../scripts/summary.ts");
  if (!existsSync(script)) return Promise.resolve();
  return new Promise((done) => {
    const words = summaryWords(process.cwd(), flag);
    if (words.length > 0) say(`The laboratory runs the example with experimental_active_standby_mode = ${flag}:\n`);
    const child = spawn(process.execPath, ["--import", "tsx", script, ...words], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    child.on("exit", () => done());
    child.on("error", () => done());
  });
}

/** Calls `gone` when the npm that runs this has ended without a word to it (SIGKILL). */
function onEndOfNpm(gone: () => void): void {
  const parentOf = (pid: number): number => {
    try {
      // The second field, a name in brackets, may hold spaces.
      return Number(/^.*\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1] ?? 0);
    } catch {
      return 0;
    }
  };
  const isNpm = (pid: number): boolean => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("npm");
    } catch {
      return false;
    }
  };
  // npm, perhaps a shell, and this process.
  const child = [process.pid, process.ppid].find((pid) => isNpm(parentOf(pid)));
  if (process.env.npm_lifecycle_event === undefined || child === undefined) return;
  const npm = parentOf(child);
  setInterval(() => parentOf(child) !== npm && gone(), 500).unref();
}

async function demo(lab: Lab, signal: AbortSignal): Promise<void> {
  const act = async (name: "pod-kill" | "planned-switchover") => {
    const scenario = scenarios[name];
    if (!scenario || signal.aborted) return;
    say(`\n--- ${scenario.title}. ${scenario.explain}\n`);
    try {
      say(receiptText(await runSteps(lab, scenario)));
    } catch (error) {
      if (!signal.aborted) say(String(error));
    }
  };
  await lab.sleep(60_000);
  await act("pod-kill");
  await lab.sleep(20_000);
  await act("planned-switchover");
  if (!signal.aborted) say("The rest is yours: the page has buttons for every fault. Ctrl-C ends everything.");
}

const command = new Command("npm start --")
  .option("--block-time <time>", "seconds between blocks: 6, 1s, 200ms", blockTime, 6000)
  .option("--scenario <name|file>", "run a built-in scenario or one of a YAML file")
  .option("--list", "show the scenarios")
  .option("--exit", "end after the scenario; exit code 0 only if all invariants held")
  .option("--json", "print the receipt as JSON")
  .option("--runs <n>", "repeat the scenario", numberOption("--runs", "a whole number", 1, 10_000), 1)
  .option("--port <port>", "port of the page", numberOption("--port", "a port", 0, 65_535), 8080)
  .option("--no-demo", "no kill and no switchover by itself")
  .option("--no-summary", "do not print what would be deployed")
  .option("--no-flag", "experimental_active_standby_mode off")
  .option("--no-history", "begin as a first installation: signing starts five levels above the head")
  .option(
    "--start-time <seconds>",
    "declared start time of the Octez doubles at 6 s blocks",
    numberOption("--start-time", "a number of seconds", 0, 600, /^\d+(\.\d+)?$/),
    2,
  )
  .option("--octez <folder>", "run the programs of an installed Octez, with a sandbox's chain: docs/real-octez.md")
  .option("--seed <text>", "seed of the chain's rights")
  .option("--keep", "keep the folder with all logs")
  .option("--strict", "a missed goal is a failure too");

function list(json: boolean | undefined): void {
  const rows = Object.values(scenarios);
  if (json)
    console.log(
      JSON.stringify(rows.map(({ name, title, row, goalMissedLevels }) => ({ name, title, row, goalMissedLevels }))),
    );
  else for (const { name, title } of rows) console.log(`${name.padEnd(20)} ${title}`);
}

/** The built-in scenario of this name, or the one of a file. @throws Error where there is neither */
function scenarioOf(name: string): Scenario {
  const scenario = scenarios[name] ?? (existsSync(name) ? readScenario(resolve(name)) : undefined);
  if (!scenario)
    throw new Error(`--scenario is a YAML file or one of: ${Object.keys(scenarios).join(", ")}; got "${name}"`);
  return scenario;
}

/** The laboratories of this process, which end with it. */
class Running {
  readonly labs = new Set<Lab>();
  private readonly abort = new AbortController();

  constructor() {
    process.on("SIGINT", () => this.end(130));
    process.on("SIGTERM", () => this.end(143));
    process.on("SIGHUP", () => this.end(129));
    onEndOfNpm(() => this.end(137));
    process.on("uncaughtException", (error) => {
      console.error(error);
      this.end(1);
    });
  }

  /** Aborted when this process is to end. */
  get signal(): AbortSignal {
    return this.abort.signal;
  }

  private end(code: number): void {
    if (this.signal.aborted) process.exit(code);
    this.abort.abort();
    void Promise.allSettled([...this.labs].map((lab) => lab.stop())).then(() => process.exit(code));
  }
}

/** Runs the scenario as often as was asked, each time in a new laboratory, and ends the process. */
async function runAndExit(scenario: Scenario, base: Base, options: Options, running: Running): Promise<void> {
  const receipts: ScenarioReceipt[] = [];
  for (let run = 0; run < options.runs && !running.signal.aborted; run++) {
    const receipt = await runScenario(scenario, base, (lab) => running.labs.add(lab));
    running.labs.clear();
    receipts.push(receipt);
    if (!options.json) console.log(receiptText(receipt));
  }
  const ok = receipts.every((receipt) => receipt.ok);
  if (options.json)
    console.log(JSON.stringify(options.runs === 1 ? receipts[0] : { scenario: scenario.name, ok, runs: receipts }));
  if (running.signal.aborted) return;
  process.exit(ok && (!options.strict || receipts.every((receipt) => receipt.goal.met)) ? 0 : 1);
}

/** Opens a laboratory with its page; it stays until somebody ends it. */
async function open(scenario: Scenario | undefined, base: Base, options: Options, running: Running): Promise<void> {
  const { progress, octez } = base;
  const lab = await Lab.start({ ...base, ...madeFor(scenario, options), ...scenario?.chain });
  running.labs.add(lab);
  const page = await servePage(lab, { port: options.port, scenarios });
  await lab.podsReady();
  progress(`ready${lab.options.flag ? "; a first election waits for the length of a lease" : ""}\n`);
  say(
    `\nThe laboratory is open: ${page.url}\n${octez ? `Octez ${octez.version}, a sandbox's chain` : "Shadownet example"}, flag ${lab.options.flag ? "on" : "off"}, a block every ${options.blockTime / 1000} s. Ctrl-C ends everything.\nThe operator's commands in another terminal: KUBECONFIG=${lab.cluster.kubeconfig} npm run baker -- status --context laboratory --namespace ${lab.cluster.namespace}\n`,
  );
  await lab.ready();
  progress(`${lab.activePod() ?? "nobody"} signs\n`);
  if (scenario) {
    const receipt = await runSteps(lab, scenario);
    console.log(options.json ? JSON.stringify(receipt) : receiptText(receipt));
  } else if (options.demo && lab.options.flag) {
    say("In a minute the master's pod is killed, then the mastership is moved as planned.");
    await demo(lab, running.signal);
  }
  await new Promise(() => undefined);
}

/** Writes what is under way, and since when: over one line of a terminal, or one line each for machines. */
function progressLine(machine: boolean): (text: string) => void {
  const began = performance.now();
  const elapsed = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
  const tty = process.stderr.isTTY && !machine;
  return (text) => void process.stderr.write(tty ? `\r\x1b[K${elapsed()}  ${text}` : `${elapsed()}  ${text}\n`);
}

async function main(): Promise<void> {
  const options = command.parse().opts<Options>();
  if (options.list) return list(options.json);
  const scenario = options.scenario === undefined ? undefined : scenarioOf(options.scenario);
  const octez = octezOf(options);
  const machine = options.json === true || options.exit === true;
  const prepared = Promise.all([
    daemonBundle(buildDaemons),
    Lab.prepare({ blockMs: options.blockTime, ...madeFor(scenario, options) }),
  ]);
  // Reported where it is awaited.
  prepared.catch(() => undefined);
  if (options.summary && !machine) await runSummary(madeFor(scenario, options).flag);

  const running = new Running();
  const progress = progressLine(machine);
  progress("bundling the daemons, synthesizing the stacks");
  const [tog] = await prepared;
  const base = {
    blockMs: options.blockTime,
    tog,
    doubleStartMs: options.startTime * 1000,
    ...{ seed: options.seed, keep: options.keep, history: options.history },
    ...labApi(),
    octez,
    progress,
  };
  if (scenario && options.exit) await runAndExit(scenario, base, options, running);
  else await open(scenario, base, options, running);
}

if (require.main === module)
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  });
