/** docs/failover.md from the result files that `npm run bench -- scenarios --out docs/failover` wrote. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { failureTable, outsideTheTable } from "../../lab/scenarios/failure-table";
import { defaultTimings } from "../../contract/timings";
import { nodesSection } from "../../lab/nodes/table";
import { readSeries, type Run, type Series } from "../../lab/results";
import { scaleOf } from "../../lab/scale";
import { scenarios } from "../../lab/scenarios/built-in";
import { simulatedSection } from "../../lab/simulation/event-table";
import { historySection, readHistoryRows } from "../../lab/scenarios/history-rows";
import { summaries, type ClientGoReport } from "../bench/client-go";
import { counted, designs, happenings, tableOf, type FailoverReport } from "../bench/failover";
import type { GeneratedDocument } from "../docs";

const folder = resolve(__dirname, "../../docs/failover");

const range = (values: readonly number[], digits: number): string => {
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits));
  return least === most ? `${least}` : `${least} to ${most}`;
};
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 0;
const spread = (values: readonly (number | null)[], goal: number | undefined): string => {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return "";
  const text = `${median(known).toFixed(1)} (${range(known, 1)})`;
  return goal === undefined
    ? text
    : `${text}, goal ${goal.toFixed(1)}${Math.max(...known) > goal ? ": **missed**" : ""}`;
};
/** "48 x 0, 2 x 1" */
const counts = (values: readonly number[]): string =>
  [...new Set(values)]
    .sort((a, b) => a - b)
    .map((value) => `${values.filter((other) => other === value).length} x ${value}`)
    .join(", ");

/**
 * Longer than half a lease without its network and API: what the pods did then is no measurement. Its signatures are
 * checked all the same.
 */
const stoodStill = (series: Series) => (run: Run) =>
  run.stallMs > (defaultTimings.leaseSeconds / 2) * 1000 * scaleOf(series.blockSeconds * 1000);

function row(series: Series): string {
  const scenario = scenarios[series.scenario];
  const { blockSeconds } = series;
  const scale = scaleOf(blockSeconds * 1000);
  const runs = series.runs.filter((run) => !stoodStill(series)(run));
  const discarded = series.runs.length - runs.length;
  const what = `${scenario?.title ?? ""} (\`${series.scenario}\`)`;
  const count = `${runs.length}${discarded === 0 ? "" : `, ${discarded} not counted`}`;
  if (runs.length === 0) return `| ${what} | ${blockSeconds} s | ${count} |  |  |  |  |  |`;
  const precedence = series.machine.split(", ").slice(2).join(", ");
  const missed = runs.map((run) => run.missedLevels);
  const goal = scenario?.goalMissedLevels;
  const broken = runs.filter((run) => !run.ok);
  const violations = series.runs.reduce((sum, run) => sum + run.violations.length, 0);
  const signatures = series.runs.reduce((sum, run) => sum + run.signatures, 0);
  const most = (seconds: number | undefined) => (seconds === undefined ? undefined : seconds * scale);
  const cells = [
    what,
    `${blockSeconds} s`,
    count,
    `${counts(missed)}${goal === undefined ? "" : `; goal <= ${goal}${Math.max(...missed) > goal ? ": **missed**" : ""}`}${dalOf(runs)}`,
    spread(
      runs.map((run) => run.failoverSeconds),
      undefined,
    ),
    [
      spread(
        runs.map((run) => run.takeoverSeconds),
        most(scenario?.goalTakeoverSeconds),
      ),
      ...(scenario?.goalTenureSeconds === undefined
        ? []
        : [
            `new tenure ${spread(
              runs.map((run) => run.tenureSeconds),
              most(scenario.goalTenureSeconds),
            )} after the API's return`,
          ]),
    ].join("; "),
    `${violations === 0 ? "none" : `**${violations}**`} in ${signatures}${broken.length === 0 ? "" : `; **${broken.length} runs broke**: ${broken[0]?.problems.join(", ")}`}`,
    `${[...new Set(runs.map((run) => run.date.slice(0, 10)))].join(", ")}, ${range(
      runs.flatMap((run) => run.load),
      1,
    )}${precedence === "" ? "" : `; ${precedence}`}`,
  ];
  return `| ${cells.join(" | ")} |`;
}

/** What was lost of the DAL beyond the missed levels, where it was looked at. */
function dalOf(runs: readonly Run[]): string {
  const known = runs.flatMap(({ dal }) => dal ?? []);
  if (known.length === 0) return "";
  const sum = (of: (dal: NonNullable<Run["dal"]>) => number) => known.reduce((total, dal) => total + of(dal), 0);
  const [lost, all] = [sum(({ lostSlots }) => lostSlots), sum(({ attestable }) => attestable)];
  return `; DAL: ${lost} of ${all} slots lost beside them (levels: ${counts(known.map(({ lostLevels }) => lostLevels))})`;
}

const head = [
  "| what happens | blocks | runs | missed levels | s without a signature | s until another daemon is ready | violations | date, load |",
  "| --- | --- | --- | --- | --- | --- | --- | --- |",
];

/** The rows of one line of the failure table. */
const section =
  (all: readonly Series[]) =>
  ({ row: title, goal }: { row: string; goal: string }): string[] => {
    const names = Object.values(scenarios)
      .filter((scenario) => scenario.row === title)
      .map(({ name }) => name);
    const of = names.flatMap((name) =>
      all.filter((series) => series.scenario === name).sort((a, b) => b.blockSeconds - a.blockSeconds),
    );
    const without = names.filter((name) => !all.some((series) => series.scenario === name));
    return [
      `### ${title}`,
      "",
      `Goal: ${goal}.`,
      "",
      ...(of.length === 0 ? [] : [...head, ...of.map(row), ""]),
      ...(without.length === 0 ? [] : [`Not measured: ${without.join(", ")}.`, ""]),
    ];
  };

function beside(report: FailoverReport): string[] {
  const counts = designs
    .flatMap((design) =>
      happenings.map(
        (event) => report.measurements.filter((entry) => entry.design === design && entry.event === event).length,
      ),
    )
    .filter((runs) => runs > 0);
  const conflicts = Object.entries(report.conflicts).map(([design, number]) => `${design} ${number}`);
  return [
    "## Beside others",
    "",
    `Median seconds from the last signature before to the first after, and the most missed levels; ${range(counts, 0)} runs each, blocks every ${report.blockSeconds} s, declared start time of the daemon ${report.doubleStartSeconds.toFixed(2)} s, all timings of all designs scaled alike; ${report.date}, load ${range(report.load, 1)}. client-go is our elector with its default timings (15/10/2 s); the predecessor is its elector (10/5/2.5 s), 5 s loop and nonce copy every 120 s; single is its pod with one replica. Conflicting signatures found by the checker: ${conflicts.join(", ")}.`,
    "",
    tableOf(report),
    "",
    "![Time without a signature](images/failover.svg)",
    "",
  ];
}

function besideHistory(): string[] {
  const path = join(folder, "history.json");
  if (!existsSync(path)) return [];
  return historySection(Object.keys(scenarios), readHistoryRows(readFileSync(path, "utf8")));
}

/** The real client-go elector: docs/failover/client-go.json, nothing where nobody has measured. */
function besideClientGo(): string[] {
  const file = join(folder, "client-go.json");
  if (!existsSync(file)) return [];
  const report = JSON.parse(readFileSync(file, "utf8")) as ClientGoReport;
  const rows = summaries(report).map(({ elector, timings, fault, seconds }) => {
    const middle = median(seconds).toFixed(2);
    return `| ${timings} s | ${fault === "kill" ? "killed" : "frozen"} | ${elector} | ${seconds.length} | ${middle} | ${range(seconds, 2)} |`;
  });
  return [
    "### The elector alone, beside Kubernetes' own",
    "",
    `Seconds from the end of the holder until another member holds the lease: Kubernetes' client-go elector as real processes, and ours, at the same moment, each on an API of its own. Timings are lease duration, renewal deadline and retry period; 15/10/2 s are client-go's defaults. ${report.date}, load ${range(report.load, 1)}. A killed holder of ours has no time to release the lease either; what ours does beyond this, handing over and shutting the gate, is above.`,
    "",
    "| timings | holder | elector | runs | median | least to most |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
  ];
}

function render(): string {
  const all = existsSync(folder) ? readSeries(folder) : [];
  const comparison = join(folder, "comparison.json");
  const report = existsSync(comparison)
    ? counted(JSON.parse(readFileSync(comparison, "utf8")) as FailoverReport)
    : undefined;
  return [
    "<!-- Written by `npm run docs` from docs/failover/*.json. -->",
    "",
    "# Failover, measured",
    "",
    "What each event costs, in [the laboratory](laboratory.md): the synthesized pods with the real daemons, Octez doubles and a simulated chain. What it cannot show is said there.",
    "",
    "- **Blocks**: 6 s are real time. At other block times every timing of the configuration is scaled alike; processes do not start faster, so seconds there are those of this machine.",
    `- **D**, the start time of octez-baker, is declared: 2 s at 6 s blocks, scaled. Ask your own: \`npm start -- --start-time 8\`. octez-baker 25.1 itself, beside a sandbox node on two shared cores, ran 0.47 to 0.52 s after its start (median 0.48 s with five keys); the rest is room for a slower machine and a larger chain.`,
    "- **The first vote** of octez-baker 25.1 is for the next proposal after its start, never for the head that it finds. Its double voted for that head, too, when the series up to 2026-11-27 were measured. An event after which another daemon is ready in the middle of a round can therefore cost one level more than they say.",
    "- **Missed levels**: our delegate had a right and did not use it, from the fault to the end of the run. `9 x 0, 1 x 1` are ten runs.",
    "- **DAL**: slots that could be attested, at levels that we attested, and that our attestation did not name. Series without it are of before it was looked at.",
    "- **Seconds without a signature**: from the last one before the change of daemon to the first one after it; where none changed, the longest silence. Median, and least to most. Votes come once a block, so an undisturbed baker has nearly a block time.",
    "- **Violations**: what [the checker](../lab/checker/checker.ts) finds in every signature that any signer was asked for and every watermark that the API committed.",
    "- **Not counted**: runs in which the machine did not run the laboratory itself, which is the network and the API of its pods, for longer than half a lease. Their signatures are checked all the same.",
    "- **Load**: of the machine over a minute, least to most. Above its number of processors the machine was shared with other work, and figures are what such a machine gives.",
    "- **Replaced**: a later series takes the place of an earlier one, as a whole; those of a machine with other work on it (loads of 20 to 100), of which some had missed more, were replaced by those of a quieter one, and so were the first accelerated series, with two more laboratories beside them (planned switchover 44 x 0, 5 x 1, 1 x 2; pod kill 19 x 1, 1 x 2, 1 x 3), and a second one of pod kills during which other suites ran (7 x 0, 41 x 1, 1 x 2, 1 x 3, the last one stalled for 0.6 s). A row of one run is an example, not a bound.",
    "",
    `Machine: ${[...new Set(all.map((series) => series.machine))].join("; ")}. To measure yours: \`npm run bench -- scenarios --runs 10 --block-time 6 --reuse --out docs/failover\`, then \`npm run docs\`.`,
    "",
    "## The failure table",
    "",
    ...failureTable.flatMap(section(all)),
    "## Beyond it",
    "",
    ...outsideTheTable.flatMap(section(all)),
    ...nodesSection(folder, all),
    ...simulatedSection(folder, all),
    ...besideHistory(),
    ...(report ? beside(report) : []),
    ...besideClientGo(),
  ].join("\n");
}

export const document: GeneratedDocument = { file: "docs/failover.md", render };
