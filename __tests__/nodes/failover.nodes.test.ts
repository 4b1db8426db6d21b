/**
 * The images, the manifests and the daemons on two real kubelets: what each event costs. The checker judges every
 * signature; how many levels were missed is told and not judged here. TOG_NODES: "short", "usual" (the default),
 * "containers" (each one killed and hung, both twice), "all", or names of cases. TOG_NODES_RECORD: a file for the table
 * in docs/failover.md. TOG_NODES=planned: nothing but planned handovers, TOG_NODES_ROUNDS (10) at each phase of a
 * block, and there a missed level is a failure.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { cases as everyCase, containersForm, plannedCases, shortForm, usualForm } from "../../lab/nodes/cases";
import { NodesCluster } from "../../lab/nodes/cluster";
import { calm, measure, type Row, stateOf } from "../../lab/nodes/measure";
import { recordOf } from "../../lab/nodes/results";
import { missingForNodes } from "../../lab/nodes/shell";

const missing = missingForNodes();
if (missing !== undefined) console.warn(`skipped: ${missing}`);
const asked = process.env.TOG_NODES ?? "usual";
const onlyPlanned = asked === "planned";
const cases = onlyPlanned ? plannedCases(Number(process.env.TOG_NODES_ROUNDS ?? "10")) : everyCase;
const all = cases.map(({ name }) => name);
const forms: Partial<Record<string, readonly string[]>> = {
  ...{ all, planned: all, short: shortForm, usual: usualForm, containers: containersForm },
};
const names = forms[asked] ?? asked.split(",");
const unknown = names.filter((name) => !cases.some((one) => one.name === name));
if (unknown.length > 0)
  throw new Error(
    `TOG_NODES takes short, usual, containers, all, planned or names of ${cases.map(({ name }) => name).join(", ")}; got ${asked}`,
  );
const say = (text: string): void => void process.stdout.write(`  ${text}\n`);

(missing === undefined ? describe : describe.skip)("two real kubelets", () => {
  let cluster: NodesCluster;
  /** 0 until the pods were ready: then nothing else can be measured. */
  let readySeconds = 0;
  const rows: Row[] = [];

  beforeAll(async () => {
    cluster = await NodesCluster.start(say);
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.once(signal, () => void cluster.stop().finally(() => process.exit(130)));
  }, 600_000);
  /** After each row: a run that is stopped has told what it saw. */
  const write = async (): Promise<void> => {
    const file = resolve(process.env.TOG_NODES_RECORD ?? join(__dirname, "../../.cache/nodes.json"));
    const record = await recordOf(rows, readySeconds, cluster.record.signed.length);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify(record, null, 2)}\n`);
  };
  afterAll(async () => {
    await cluster?.stop();
  }, 120_000);

  test("both pods become ready, and the leader signs", async () => {
    const began = performance.now();
    await cluster.deploy();
    await calm(cluster, 180_000);
    readySeconds = Math.round((performance.now() - began) / 100) / 10;
    say(`ready and signing after ${readySeconds} s\n${stateOf(cluster)}`);
    expect(cluster.bakingPods.map(({ name }) => name).sort()).toEqual(["alice-as-0", "alice-as-1"]);
    expect(new Set(cluster.bakingPods.map(({ node }) => node)).size).toBe(2);
    const restarted = cluster.bakingPods.flatMap(({ containers }) => containers.filter(({ restarts }) => restarts > 0));
    expect(restarted).toEqual([]);
    expect(cluster.verdict()).toEqual([]);
    expect(cluster.record.signed.length).toBeGreaterThan(0);
  }, 240_000);

  test.each(cases.filter(({ name }) => names.includes(name)).map((one) => [one.name, one] as const))(
    "%s",
    async (_name, one) => {
      if (readySeconds === 0) throw new Error("the pods were never ready");
      const { found, ...row } = await measure(cluster, one);
      rows.push(row);
      await write();
      const next = row.nextHolderSeconds === null ? "the same holder" : `next holder after ${row.nextHolderSeconds} s`;
      say(`${row.name}: ${next}, ${row.missedLevels} missed, ${row.violations} violations; ${row.note}`);
      expect(found).toEqual([]);
      if (onlyPlanned) expect(row).toMatchObject({ missedLevels: 0 });
    },
    900_000,
  );
});
