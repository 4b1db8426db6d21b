/**
 * `npm run status-table [-- NAME...]`: runs scenarios in laboratories while the real command `baker status --watch --json` looks on, and writes what it said to
 * docs/status.md. Results of earlier runs are kept for the scenarios that are not named. `--seconds N` starts no further scenario after that time.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Lab } from "../lab/lab";
import { daemonBundle } from "../lab/programs";
import { scenarios } from "../lab/scenarios/built-in";
import { runSteps } from "../lab/scenarios/run";
import type { Scenario } from "../lab/scenarios/scenario";
import { buildDaemons } from "./build";
import type { Diagnosis } from "./cockpit/view";

const root = resolve(__dirname, "..");
const resultsFile = join(root, ".cache/status-table.json");
const blockMs = 2000;

interface Row {
  title: string;
  /** Distinct sentences in the order in which they came, levels and seconds as N. */
  sentences: string[];
  /** Distinct warnings, the same way. */
  warnings: string[];
  at: string;
}

/** The same text whatever pod was the master and whenever it was. */
const plain = (text: string, master: string, pods: readonly string[]): string =>
  pods
    .reduce((all, pod) => all.replaceAll(pod, pod === master ? "MASTER" : "OTHER"), text)
    .replace(/tz[1-4][1-9A-HJ-NP-Za-km-z]{33}/g, "KEY")
    .replace(/wm-[0-9a-f]{40}/g, "WATERMARK")
    .replace(/\d+ warnings?/g, "warnings")
    .replace(/\b\d+(\.\d+)?\b/g, "N");

export async function observe(scenario: Scenario, tog: string): Promise<Row> {
  const lab = await Lab.start({
    ...{ blockMs, tog, seed: "status" },
    ...scenario.chain,
    ...{ flag: scenario.flag, signers: scenario.signers },
  });
  try {
    await lab.ready(240_000);
    const master = lab.activePod() ?? "";
    const pods = lab.cluster.bakingMembers().map((member) => member.pod.name);
    const looks: Diagnosis[] = [];
    const child = spawn(process.execPath, ["--import", "tsx", "scripts/baker.ts", "status", "--watch", "0.3", "--json"], {
      cwd: root,
      env: { ...process.env, KUBECONFIG: lab.cluster.kubeconfig },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let line = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (line + chunk.toString()).split("\n");
      line = lines.pop() ?? "";
      for (const text of lines) {
        const seen = JSON.parse(text) as { diagnosis?: Diagnosis; error?: string };
        looks.push(seen.diagnosis ?? { signing: false, sentence: seen.error ?? "", findings: [] });
      }
    });
    await lab.until("the command looks on", () => looks.some(({ signing }) => signing), 60_000);
    looks.length = 0;
    await runSteps(lab, scenario);
    await lab.sleep(1500);
    const gone = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await gone;
    const distinct = (texts: string[]) => [...new Set(texts.map((text) => plain(text, master, pods)))];
    return {
      title: scenario.title,
      sentences: distinct(looks.map(({ sentence }) => sentence)),
      warnings: distinct(
        looks.flatMap(({ findings }) => findings.filter(({ severity }) => severity === "warning").map(({ text }) => text)),
      ),
      at: `${new Date().toISOString().slice(0, 10)}, load ${loadavg()[0]?.toFixed(0)}`,
    };
  } finally {
    await lab.stop();
  }
}

const cell = (texts: readonly string[]) => texts.map((text) => text.replaceAll("|", "\\|")).join("<br>");

function render(rows: Record<string, Row>): string {
  const names = Object.keys(scenarios);
  const missing = names.filter((name) => !rows[name]);
  return [
    "# What `status` says",
    "",
    "Written by `npm run status-table`: each scenario of the laboratory, with blocks every 2 s and everything else scaled, while the real command",
    "`npm run baker -- status --watch --json` looks on through the kubeconfig. Distinct sentences in the order in which they came, from the fault until signing goes on;",
    "`MASTER` signed before, `OTHER` is the other member, `N` a number. Every finding that it knows, planted one by one: `__tests__/scripts/cockpit/view.test.ts`.",
    "Where it says only that MASTER signs, signing went on (a crashed daemon that is back within a second, a fault of the standby that costs nothing yet):",
    "`history`, events and logs have it.",
    "",
    `${cpus().length} cores, Node ${process.version}.`,
    "",
    "| scenario | sentences | warnings | run |",
    "| --- | --- | --- | --- |",
    ...names.flatMap((name) => {
      const row = rows[name];
      return row ? [`| \`${name}\`: ${row.title} | ${cell(row.sentences)} | ${cell(row.warnings)} | ${row.at} |`] : [];
    }),
    "",
    ...(missing.length > 0 ? [`Not run yet: ${missing.join(", ")}.`, ""] : []),
  ].join("\n");
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { seconds: { type: "string", default: "100000" } }, allowPositionals: true });
  const names = positionals.length > 0 ? positionals : Object.keys(scenarios);
  const rows = existsSync(resultsFile) ? (JSON.parse(readFileSync(resultsFile, "utf8")) as Record<string, Row>) : {};
  const tog = await daemonBundle(buildDaemons);
  const write = (): void => {
    mkdirSync(dirname(resultsFile), { recursive: true });
    writeFileSync(resultsFile, JSON.stringify(rows, null, 1));
    writeFileSync(join(root, "docs/status.md"), render(rows));
  };
  write();
  const end = performance.now() + Number(values.seconds) * 1000;
  for (const name of names) {
    const scenario = scenarios[name];
    if (!scenario) throw new Error(`a scenario is one of ${Object.keys(scenarios).join(", ")}; got ${name}`);
    if (performance.now() > end) break;
    try {
      rows[name] = await observe(scenario, tog);
      console.error(`${name}: ${rows[name].sentences.join(" / ")}`);
    } catch (error) {
      console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    write();
  }
}

if (require.main === module)
  main().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
