/**
 * `npm run status-table [-- NAME...]`: runs scenarios in laboratories while the real command `baker status --watch
 * --json` looks on, and writes what it said to docs/status.md, with the exit codes of all other commands during the
 * fault and after it. Results of earlier runs are kept for the scenarios that are not named. `--seconds N` starts no
 * further scenario after that time; `--out FILE` writes another file; KUBEBUILDER_ASSETS takes a real API server.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Lab } from "../lab/lab";
import { daemonBundle } from "../lab/programs";
import { scenarios } from "../lab/scenarios/built-in";
import { runSteps } from "../lab/scenarios/run";
import type { Scenario } from "../lab/scenarios/scenario";
import { buildDaemons } from "../scripts/build";
import { labApi, labApiName } from "../lab/commands/lab-api";
import { connectCluster } from "../cockpit/connect";
import { cockpit } from "../cockpit/main";
import type { Diagnosis } from "../diagnosis/finding";

const root = resolve(__dirname, "..");
const blockMs = 2000;

interface Row {
  title: string;
  /** Distinct sentences in the order in which they came, levels and seconds as N. */
  sentences: string[];
  /** Distinct warnings, the same way. */
  warnings: string[];
  /** Distinct notes of what is over. */
  notes: string[];
  /** Command line -> exit codes while the fault lasts and at the end. */
  commands: Record<string, readonly [number, number]>;
  at: string;
  /** What the checker and the scenario's invariants said, and missed levels. */
  held: string;
}

/** The same text whatever pod was the master and whenever it was. */
const plain = (text: string, master: string, pods: readonly string[]): string =>
  pods
    .reduce((all, pod) => all.replaceAll(pod, pod === master ? "MASTER" : "OTHER"), text)
    .replace(/tz[1-4][1-9A-HJ-NP-Za-km-z]{33}/g, "KEY")
    .replace(/wm-[0-9a-f]{40}/g, "WATERMARK")
    .replace(/\d+ warnings?/g, "warnings")
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, "TIME")
    .replace(/\b\d+(\.\d+)?\b/g, "N");

/**
 * Runs a command of the cockpit against the laboratory. @throws Error where it says nothing, fails inside or ends with
 * another code than it documents
 */
async function run(lab: Lab, argv: readonly string[]): Promise<{ code: number; out: string }> {
  let [out, err] = ["", ""];
  const code = await cockpit(argv, {
    connect: ({ namespace }) => connectCluster({ kubeconfig: lab.cluster.kubeconfig, namespace }),
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    terminal: false,
  });
  const what = `${argv.join(" ")}: exit code ${code}\n${out}\n${err}`;
  const alone = code === 2 && /^(switchover|drill)/.test(argv[0] ?? "") && /no other member|is solo/.test(err);
  if (
    (![0, 1, 3].includes(code) && !alone) ||
    (out + err).trim() === "" ||
    /\n {4}at |TypeError|undefined/.test(out + err)
  )
    throw new Error(what);
  return { code, out };
}

/** Every command but status, once each. Nothing of it changes anything: what would is a dry run. */
async function runAll(lab: Lab): Promise<Record<string, { code: number; out: string }>> {
  const key = Object.keys(lab.synthesis.bakers[0]?.keys ?? {})[0] ?? "";
  const lines = [
    ...["switchover", "drill", "history", "doctor", "watermark show", "nonces export"],
    `watermark raise --key ${key} --level ${lab.chain.head.level + 1}`,
  ];
  const ran: Record<string, { code: number; out: string }> = {};
  for (const line of lines) ran[line.replace(/ --.*/, "")] = await run(lab, line.split(" "));
  return ran;
}

export async function observe(scenario: Scenario, tog: string): Promise<Row> {
  const lab = await Lab.start({
    ...{ blockMs, tog, seed: "status" },
    ...labApi(),
    ...scenario.chain,
    ...{ flag: scenario.flag, signers: scenario.signers },
  });
  try {
    await lab.ready(240_000);
    const master = lab.activePod() ?? "";
    const pods = lab.cluster.bakingMembers().map((member) => member.pod.name);
    const looks: Diagnosis[] = [];
    const child = spawn(
      process.execPath,
      ["--import", "tsx", "cockpit/baker.ts", "status", "--watch", "0.3", "--json"],
      {
        cwd: root,
        env: { ...process.env, KUBECONFIG: lab.cluster.kubeconfig },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
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
    // The start of a laboratory is no part of the scenario.
    const known = new Set(looks.flatMap(({ findings }) => findings.map(({ text }) => plain(text, master, pods))));
    looks.length = 0;
    const [receipt, during] = await Promise.all([runSteps(lab, scenario), lab.sleep(blockMs).then(() => runAll(lab))]);
    await lab.sleep(1500);
    const gone = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await gone;
    const after = await runAll(lab);
    // What was exported can be given back: nothing is new to anybody.
    const bundle = join(lab.folder, "nonces.json");
    writeFileSync(bundle, after["nonces export"]?.out ?? "", { mode: 0o600 });
    after["nonces import"] = await run(lab, ["nonces", "import", bundle]);
    const distinct = (texts: string[]) => [...new Set(texts.map((text) => plain(text, master, pods)))];
    const ofSeverity = (wanted: Diagnosis["findings"][number]["severity"]) =>
      distinct(
        looks.flatMap(({ findings }) => findings.filter(({ severity }) => severity === wanted).map(({ text }) => text)),
      ).filter((text) => wanted !== "note" || !known.has(text));
    return {
      title: scenario.title,
      sentences: distinct(looks.map(({ sentence }) => sentence)),
      warnings: ofSeverity("warning"),
      notes: ofSeverity("note"),
      commands: Object.fromEntries(
        Object.entries(after).map(([line, { code }]) => [line, [during[line]?.code ?? code, code] as const]),
      ),
      at: `${new Date().toISOString().slice(0, 10)}, load ${loadavg()[0]?.toFixed(0)}`,
      held: receipt.ok
        ? `held, ${receipt.missedLevels} missed`
        : [...receipt.problems, ...receipt.violations].join("; "),
    };
  } finally {
    await lab.stop();
  }
}

const cell = (texts: readonly string[]) => texts.map((text) => text.replaceAll("|", "\\|")).join("<br>");

function render(rows: Record<string, Row>): string {
  const names = Object.keys(scenarios);
  const missing = names.filter((name) => !rows[name]);
  const commands = [...new Set(Object.values(rows).flatMap((row) => Object.keys(row.commands)))];
  return [
    "# What `status` says",
    "",
    "Written by `npm run status-table`: each scenario of the laboratory, with blocks every 2 s and everything else scaled, while the real command",
    "`npm run baker -- status --watch --json` looks on through the kubeconfig. Distinct sentences in the order in which they came, from the fault until signing goes on;",
    "`MASTER` signed before, `OTHER` is the other member, `N` a number. Every finding that it knows, planted one by one: `__tests__/cockpit/view.test.ts`.",
    "Where MASTER signs, signing went on; the notes name what happened and is over (a crashed daemon that is back within a second).",
    "",
    `${cpus().length} cores, Node ${process.version}, ${labApiName()}.`,
    "",
    "| scenario | sentences | warnings | notes | invariants, run |",
    "| --- | --- | --- | --- | --- |",
    ...names.flatMap((name) => {
      const row = rows[name];
      return row
        ? [
            `| \`${name}\`: ${row.title} | ${cell(row.sentences)} | ${cell(row.warnings)} | ${cell(row.notes)} | ${row.held}; ${row.at} |`,
          ]
        : [];
    }),
    "",
    "## Every other command in every scenario",
    "",
    "Exit codes two seconds after the first fault and at the end of the scenario (one number where they are the same): 0 all is well, 1 an objection, a failed",
    "check or a pod that does not answer, 2 there is no second member to switch to, 3 the cluster was not reached or refused. `switchover` and `watermark raise` without `--yes`; what `nonces export`",
    "wrote was given back to `nonces import` at the end. A command that ended otherwise, said nothing or broke would have failed the run.",
    "",
    `| scenario | ${commands.map((line) => `\`${line}\``).join(" | ")} |`,
    `| --- | ${commands.map(() => "---").join(" | ")} |`,
    ...names.flatMap((name) => {
      const row = rows[name];
      if (!row) return [];
      const codes = commands.map((line) => [...new Set(row.commands[line] ?? [])].join(", ") || "-");
      return [`| \`${name}\` | ${codes.join(" | ")} |`];
    }),
    "",
    ...(missing.length > 0 ? [`Not run yet: ${missing.join(", ")}.`, ""] : []),
  ].join("\n");
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { seconds: { type: "string", default: "100000" }, out: { type: "string", default: "docs/status.md" } },
    allowPositionals: true,
  });
  const outFile = resolve(root, values.out);
  const resultsFile = join(root, ".cache", `${basename(outFile, ".md")}-table.json`);
  const names = positionals.length > 0 ? positionals : Object.keys(scenarios);
  const kept = existsSync(resultsFile)
    ? (JSON.parse(readFileSync(resultsFile, "utf8")) as Record<string, Partial<Row>>)
    : {};
  // Rows of an older form say less than they should.
  const rows = Object.fromEntries(Object.entries(kept).filter(([, row]) => row.notes && row.commands)) as Record<
    string,
    Row
  >;
  const tog = await daemonBundle(buildDaemons);
  const write = (): void => {
    mkdirSync(dirname(resultsFile), { recursive: true });
    writeFileSync(resultsFile, JSON.stringify(rows, null, 1));
    writeFileSync(outFile, render(rows));
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
