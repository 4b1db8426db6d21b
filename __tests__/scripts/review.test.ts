/** What a plan does to the bakers, from plans in the form of `terraform show -json`. */
import { review, type Plan } from "../../scripts/review";
import { reviewMarkdown, reviewText } from "../../scripts/review-text";

type Values = Record<string, unknown>;
type PlannedChange = NonNullable<Plan["resource_changes"]>[number];

function planned(type: string, actions: string[], before: Values | null, after: Values | null): PlannedChange {
  return { address: `${type}.one`, type, name: "one", mode: "managed", change: { actions, before, after } };
}
const safe = {
  run_as_non_root: true,
  allow_privilege_escalation: false,
  read_only_root_filesystem: true,
  capabilities: [{ drop: ["ALL"] }],
};
function pods(name: string, replicas: number, image = "octez:v1", security: Values = safe, config = "1"): Values {
  return {
    metadata: [{ name, labels: { baker: "alice" }, resource_version: "7" }],
    spec: [
      {
        replicas: String(replicas),
        template: [
          {
            metadata: [{ annotations: { config }, labels: {}, generation: 3 }],
            spec: [{ init_container: [], container: [{ name: "octez-node", image, security_context: [security] }] }],
          },
        ],
      },
    ],
  };
}
const set = "kubernetes_stateful_set_v1";
const reviewed = (...changes: PlannedChange[]) => review({ baker: { resource_changes: changes } }, undefined);
const findings = (...changes: PlannedChange[]) => reviewed(...changes).findings;

test("a rolling update says the order of the pods, the reason and what is at risk", () => {
  expect(findings(planned(set, ["update"], pods("alice-as", 2), pods("alice-as", 2, "octez:v2")))).toEqual([
    {
      baker: "alice",
      risk: "levels",
      text: "alice-as-1, then alice-as-0: each restarts and is ready before the next one ends (new image octez:v2). The master hands over before it ends: 0 levels are expected to be missed, at most 2.",
    },
  ]);
});

test("a pod that is alone signs nothing while it restarts", () => {
  const [finding] = findings(planned(set, ["update"], pods("s", 1), pods("s", 1, "octez:v1", safe, "2")));
  expect(finding).toMatchObject({
    risk: "stops",
    text: expect.stringContaining("s-0 restarts (another configuration)"),
  });
});

test("what changes no template restarts no pod, whatever the provider counts", () => {
  const after = pods("alice-as", 2);
  (after.metadata as Values[])[0] = { name: "alice-as", labels: { baker: "alice" }, resource_version: undefined };
  expect(findings(planned(set, ["update"], pods("alice-as", 2), after))).toEqual([
    { baker: "alice", risk: "none", text: "alice-as changes, and no pod restarts." },
  ]);
});

test("a switch of the flag is one move with its runbook; an end without a successor is an end", () => {
  const ends = planned(set, ["delete"], pods("alice-solo", 1), null);
  const moved = findings(ends, planned(set, ["create"], null, pods("alice-as", 2)));
  expect(moved).toHaveLength(1);
  expect(moved[0]).toMatchObject({
    risk: "stops",
    text: expect.stringContaining("docs/runbooks/switching-the-flag.md"),
  });
  expect(findings(ends)[0]?.text).toBe("alice-solo ends and nothing takes its place. Its disks stay.");
});

test("the gravest comes first: a watermark, a namespace and a cluster that are deleted", () => {
  const watermark = { metadata: [{ name: `wm-${"a".repeat(40)}`, labels: { baker: "alice" } }] };
  const texts = findings(
    planned("kubernetes_secret_v1", ["update"], { metadata: [{ name: "k" }] }, { metadata: [{ name: "k" }] }),
    planned(set, ["update"], pods("alice-as", 2), pods("alice-as", 2, "octez:v2")),
    planned("kubernetes_config_map_v1", ["delete", "create"], watermark, watermark),
    planned("kubernetes_namespace_v1", ["delete"], { metadata: [{ name: "tezos" }] }, null),
    planned("google_container_cluster", ["delete", "create"], { name: "tezos" }, { name: "tezos" }),
  ).map(({ risk, text }) => `${risk} ${text.slice(0, 24)}`);
  expect(texts).toEqual([
    "stops DANGER: the watermark wm",
    "stops DANGER: the namespace te",
    "stops DANGER: the cluster tezo",
    "levels alice-as-1, then alice-a",
    "none The secret k gets a new ",
  ]);
  const file = (...names: string[]) => ({
    metadata: [{ name: "alice-as", labels: { baker: "alice" } }],
    data: { "baker.json": JSON.stringify({ keys: names.map((name) => ({ watermark: name })) }) },
  });
  const rotated = (...after: string[]) =>
    findings(
      planned("kubernetes_config_map_v1", ["delete"], watermark, null),
      planned("kubernetes_config_map_v1", ["update"], file("wm-1", `wm-${"a".repeat(40)}`), file(...after)),
    )[0];
  expect(rotated("wm-1")).toMatchObject({ risk: "none", text: expect.stringContaining("goes with its key") });
  expect(rotated("wm-1", `wm-${"a".repeat(40)}`)).toMatchObject({ risk: "stops" });
  const other = { metadata: [{ name: "settings", labels: { baker: "alice" } }] };
  expect(findings(planned("kubernetes_config_map_v1", ["delete"], other, null))).toEqual([]);
});

test("new nodes move every pod; a new number of them moves none", () => {
  const pool = (machine: string, count: number) => ({
    name: "bakers",
    node_count: count,
    node_config: [{ machine_type: machine }],
  });
  const change = (after: Values) => findings(planned("google_container_node_pool", ["update"], pool("a", 1), after));
  expect(change(pool("b", 1))[0]).toMatchObject({ baker: null, risk: "levels" });
  expect(change(pool("a", 2))).toEqual([]);
});

test("what somebody changed by hand is named with its values, but for secrets and what counts itself", () => {
  const drifted = (after: Values, sensitive: unknown = false): Plan["resource_drift"] => [
    {
      ...planned("kubernetes_service_v1", ["update"], { spec: [{ port: 1, token: "old" }] }, after),
      change: {
        actions: ["update"],
        before: { spec: [{ port: 1, token: "old" }], metadata: [{ resource_version: "1" }] },
        after,
        after_sensitive: sensitive,
      },
    },
  ];
  const as = (port: number, token: string) => ({ spec: [{ port, token }], metadata: [{ resource_version: "2" }] });
  const back = planned("kubernetes_service_v1", ["update"], as(2, "new"), as(1, "old"));
  const changed = { spec: [{ port: 2, token: "new" }], metadata: [{ resource_version: "2" }] };
  const plan = { resource_changes: [back], resource_drift: drifted(changed, { spec: [{ token: true }] }) };
  expect(review({ baker: plan }, undefined).drift).toEqual([
    "kubernetes_service_v1.one was changed by hand: spec.0.port 1 -> 2; spec.0.token. This deployment sets it as configured.",
  ]);
  expect(review({ baker: { resource_drift: drifted(changed) } }, undefined).drift).toEqual([]);
  // What the deployment leaves as it is was changed by whoever may: Google, Kubernetes, a daemon.
  const label = planned("kubernetes_service_v1", ["update"], as(2, "new"), { ...as(2, "new"), labels: { a: "b" } });
  expect(review({ baker: { ...plan, resource_changes: [label] } }, undefined).drift).toEqual([]);
  const gone = planned("kubernetes_service_v1", ["delete"], {}, null);
  const anew = planned("kubernetes_service_v1", ["create"], null, {});
  expect(review({ baker: { resource_changes: [anew], resource_drift: [gone] } }, undefined).drift).toEqual([
    "kubernetes_service_v1.one was deleted by hand. This deployment makes it anew.",
  ]);
});

test("a container that loses a rule of hardening is named, one that never kept it is not", () => {
  const root = { ...safe, read_only_root_filesystem: false };
  const changed = (before: Values, after: Values) =>
    reviewed(planned(set, ["update"], pods("alice-as", 2, "a", before), pods("alice-as", 2, "a", after))).hardening;
  expect(changed(safe, { ...root, allow_privilege_escalation: true })).toEqual([
    "alice-as: octez-node may gain privileges",
    "alice-as: octez-node writes to its root file system",
  ]);
  expect(changed(root, root)).toEqual([]);
});

test("the cost before is that of the state, the cost after that of the configuration", () => {
  const resources = (machine: string) => [
    { type: "google_container_cluster", name: "c", values: {} },
    {
      type: "google_container_node_pool",
      name: "p",
      values: { node_count: 1, node_locations: ["a", "b"], node_config: [{ machine_type: machine, disk_size_gb: 50 }] },
    },
  ];
  const state = (machine: string) => ({ prior_state: { values: { root_module: { resources: resources(machine) } } } });
  const [, pool] = resources("e2-standard-8");
  const synthesized = { platform: { resource: { google_container_node_pool: { p: pool?.values ?? {} } } }, baker: {} };
  const { cost } = review({ platform: state("e2-standard-4"), baker: {} }, synthesized);
  expect((cost?.after.low ?? 0) - (cost?.before?.low ?? 0)).toBeCloseTo(2 * 98, -1);
  expect(review({ platform: {}, baker: {} }, synthesized).cost?.before).toBeNull();
  expect(review({ baker: {} }, synthesized).cost).toBeNull();
});

test("as text and as Markdown, in which no name breaks the table", () => {
  const named = pods("a|b", 2, "octez:v2");
  const result = review({ baker: { resource_changes: [planned(set, ["update"], pods("a|b", 2), named)] } }, undefined);
  expect(reviewText(result)).toContain("stack baker: 1 to update\n  baker alice (levels at risk): a|b-1, then a|b-0");
  expect(reviewMarkdown(result)).toContain("| alice | levels at risk | a\\|b-1, then a\\|b-0");
  expect(reviewText(reviewed())).toContain("No pod of a baker restarts, and no level is at risk.");
  expect(reviewMarkdown(reviewed())).toContain("stack baker: no change");
});
