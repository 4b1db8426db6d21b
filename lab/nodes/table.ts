/** The section of docs/failover.md about real nodes. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Series } from "../results";
import type { Row } from "./measure";
import type { NodesRecord } from "./results";

const seconds = (value: number | null, otherwise: string): string => (value === null ? otherwise : value.toFixed(1));
/** Levels: none for what was planned; for a loss one in the middle, two at worst. */
const goals: Record<Row["kind"], number | undefined> = { planned: 0, loss: 2, other: undefined };
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

function rowOf(row: Row, laboratory: readonly Series[]): string {
  const goal = goals[row.kind];
  const runs = laboratory.find(({ scenario, blockSeconds }) => scenario === row.scenario && blockSeconds === 6)?.runs;
  const beside = runs?.map(({ missedLevels }) => missedLevels) ?? [];
  const cells = [
    `${row.event}${row.atSeconds === null ? "" : `, ${row.atSeconds} s after a block`}`,
    seconds(row.nextHolderSeconds, "the same holder"),
    seconds(row.signsSeconds, ""),
    `${row.missedLevels}${goal !== undefined && row.missedLevels > goal ? `; goal <= ${goal}: **missed**` : ""}`,
    beside.length === 0 ? "" : `${median(beside)} (most ${Math.max(...beside)}; \`${row.scenario}\`)`,
    row.violations === 0 ? "none" : `**${row.violations}**`,
    row.load?.toFixed(0) ?? "",
    row.note,
  ];
  return `| ${cells.join(" | ")} |`;
}

/** What a form of the suite has measured; undefined where nobody has. */
function recordIn(folder: string, name: string): NodesRecord | undefined {
  const file = join(folder, name);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as NodesRecord) : undefined;
}

/** Planned handovers by the phase of the block at which they were asked for, from docs/failover/nodes-planned.json. */
function plannedSection(folder: string): string[] {
  const record = recordIn(folder, "nodes-planned.json");
  if (!record) return [];
  const { date, rows, signatures } = record;
  const phases = [...new Set(rows.map(({ atSeconds }) => atSeconds))];
  const kinds = [...new Set(rows.map(({ event }) => event))];
  const lines = phases.flatMap((at) =>
    kinds.flatMap((event) => {
      const these = rows.filter((row) => row.atSeconds === at && row.event === event);
      if (these.length === 0) return [];
      const lost = these.filter(({ missedLevels }) => missedLevels > 0);
      const waits = these.map(({ nextHolderSeconds }) => nextHolderSeconds ?? 0);
      const violations = these.reduce((sum, row) => sum + row.violations, 0);
      const loads = these.map(({ load }) => load ?? 0);
      const cells = [
        ...[`${at} s after a block: ${event}`, these.length],
        lost.length === 0
          ? "0 in each"
          : `**${lost.map(({ missedLevels }) => missedLevels).join(", ")}**, 0 in the others`,
        `${median(waits).toFixed(1)} (${Math.min(...waits).toFixed(1)} to ${Math.max(...waits).toFixed(1)})`,
        violations === 0 ? "none" : `**${violations}**`,
        `${Math.min(...loads).toFixed(0)} to ${Math.max(...loads).toFixed(0)}`,
      ];
      return [`| ${cells.join(" | ")} |`];
    }),
  );
  return [
    `### Planned handovers at each phase of a block`,
    "",
    `\`TOG_NODES=planned npm run test:nodes\`, where a missed level is a failure: ${rows.length} of them, ${date}, ${signatures ?? "all"} signatures judged. The cockpit's command takes a second or two to start.`,
    "",
    "| asked for | runs | missed levels | s until the next holder | violations | load |",
    "| --- | --- | --- | --- | --- | --- |",
    ...lines,
    "",
  ];
}

const head = [
  "| what happens | s until the next holder | s until it signs | missed levels | the laboratory's | violations | load | seen |",
  "| --- | --- | --- | --- | --- | --- | --- | --- |",
];
const lossesOf = ({ rows }: NodesRecord): string => {
  const losses = rows.filter(({ kind }) => kind === "loss").map(({ missedLevels }) => missedLevels);
  return `median ${median(losses)}, most ${Math.max(...losses)} (goal 1 and 2)`;
};

/** Every container, each killed and hung twice, from docs/failover/nodes-containers.json. */
function containersSection(folder: string, laboratory: readonly Series[]): string[] {
  const record = recordIn(folder, "nodes-containers.json");
  if (!record) return [];
  return [
    "### Each container of the leader, killed and hung, twice",
    "",
    `\`TOG_NODES=containers npm run test:nodes\`, ${record.date}, ${record.signatures ?? "all"} signatures judged. The second time comes within ten minutes of the first, for which a kubelet would let a container wait before it starts it again. Missed levels: ${lossesOf(record)}.`,
    "",
    ...[...head, ...record.rows.map((row) => rowOf(row, laboratory))],
    "",
  ];
}

/** @param file docs/failover/nodes.json @returns nothing where nobody has measured */
export function nodesSection(folder: string, laboratory: readonly Series[]): string[] {
  const record = recordIn(folder, "nodes.json");
  if (!record) return [];
  const planned = record.rows.filter(({ kind }) => kind === "planned").map(({ missedLevels }) => missedLevels);
  const versions = Object.entries(record.versions).map(([name, version]) => `${name} ${version}`);
  return [
    "## On real nodes",
    "",
    `\`npm run test:nodes\`: the published images' recipe and the objects of \`npm run manifests\` on two real kubelets, with enforced network policies, real file systems and a signer at home behind OpenSSH. Octez is the laboratory's doubles, and the images' bases are stand-ins. Blocks every 6 s, start time 2 s; ${record.date}, ${versions.join(", ")}, ${record.machine}. One run a row, one after the other on the same cluster.`,
    "",
    `From the first object until both pods were ready and the baker signed: ${record.readySeconds.toFixed(0)} s. Missed levels: planned events ${planned.join(", ")} (goal 0 each); losses: ${lossesOf(record)}. The checker judged ${record.signatures ?? "every one of the"} signatures. Load is the machine's over a minute at the end of the row; above its number of cores other work shared it.`,
    "",
    ...[...head, ...record.rows.map((row) => rowOf(row, laboratory))],
    "",
    ...plannedSection(folder),
    ...containersSection(folder, laboratory),
  ];
}
