/** The summary says what was synthesized, and its prices agree with Google's list. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { estimate, machinePrice } from "../../scripts/cost";
import { summaryOf, summaryText } from "../../scripts/summary";

const folder = mkdtempSync(join(tmpdir(), "tog-summary-"));
afterAll(() => rmSync(folder, { recursive: true }));
const flag = (value: boolean) => ({ environment: {}, options: [{ var: `experimental_active_standby_mode=${value}` }] });

test("the summary of an example names mode, zones, resources, pods, containers and cost", async () => {
  const summary = await summaryOf(resolve(__dirname, "../../examples/shadownet"), flag(true), join(folder, "on"));
  expect(summary).toMatchObject({
    mode: "active-standby",
    example: null,
    network: "shadownet",
    zones: ["us-central1-b", "us-central1-f"],
  });
  expect(summary.pods).toEqual([expect.objectContaining({ baker: "alice", workload: "alice-as", replicas: 2 })]);
  expect(summary.pods[0]?.containers).toEqual(
    expect.arrayContaining(["octez-node", "sidecar", "elector", "baker", "signing-gate"]),
  );
  expect(summary.stacks.baker).toMatchObject({ kubernetes_stateful_set_v1: 1 });
  expect(summary.cost?.low).toBeGreaterThan(300);
  const text = summaryText(summary);
  for (const part of [
    "active-standby: each baker has 2 baking nodes in 2 zones",
    "alice-as",
    "signing-gate",
    "USD a month",
    "stack platform",
  ])
    expect(text).toContain(part);
});

test("an empty folder gives the example's summary with a notice; an existing cluster costs nothing of ours", async () => {
  const empty = await summaryOf(mkdtempSync(join(folder, "empty-")), flag(false), join(folder, "off"));
  expect(empty).toMatchObject({ example: "shadownet", mode: "solo" });
  expect(summaryText(empty)).toMatch(/^There is no terraform\.tfvars here: this is the example "shadownet"/);
  expect(empty.pods[0]?.containers).not.toContain("elector");
  const existing = await summaryOf(
    resolve(__dirname, "../../examples/existing-cluster"),
    flag(false),
    join(folder, "existing"),
  );
  expect(existing).toMatchObject({ cost: null, cluster: { existing: "kind-tezos" } });
  expect(Object.keys(existing.stacks)).toEqual(["baker"]);
});

test("a signer by URL is named with its URL", async () => {
  const bakers = `bakers={ alice = { delegate = "tz1VSUr8wwNhLAzempoch5d6hLRiTh8Cjcjb", signers = { office = { url = "http://10.8.0.5:6732" } } } }`;
  const handed = { environment: {}, options: [{ var: bakers }] };
  const summary = await summaryOf(resolve(__dirname, "../../examples/shadownet"), handed, join(folder, "url"));
  expect(summary.pods[0]?.signs).toBe("remote signer office (http://10.8.0.5:6732)");
});

test("machine prices are those of the list; an unknown machine type is said, not guessed", () => {
  expect(machinePrice("e2-standard-4")).toBeCloseTo(98, 0);
  expect(machinePrice("n2-standard-4")).toBeCloseTo(113.5, 0);
  expect(machinePrice("t2d-standard-4")).toBeCloseTo(123.5, 0);
  expect(machinePrice("c4-highmem-4")).toBeUndefined();
  const quantities = {
    machineType: "c4-highmem-4",
    nodes: 2,
    bootDisk: { type: "pd-balanced", gib: 50 },
    disks: [],
    loadBalancers: 0,
    dalNodes: 0,
  };
  expect(estimate(quantities).unknown).toEqual(["machine type c4-highmem-4"]);
});
