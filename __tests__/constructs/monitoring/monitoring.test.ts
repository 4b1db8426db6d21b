/** What is installed for monitoring, by cluster and configuration. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { baker } from "../../helpers/synthesized";

type Release = { chart: string; values: string[]; repository?: string; version?: string };
const releases = (changes: Parameters<typeof baker>[1]) =>
  (baker(true, changes).document.resource.helm_release ?? {}) as unknown as Record<string, Release>;
const values = (release: Release | undefined) => JSON.parse(release?.values[0] ?? "{}") as Record<string, unknown>;
const existing = { cluster: { existing: { context: "kind" } }, project: undefined, zones: ["z1", "z2"] };

test("on GKE the chart serves Google's managed Prometheus, from a relative path", () => {
  const { monitoring } = releases({});
  expect(monitoring?.chart).toMatch(/^\.\/assets\//);
  expect(values(monitoring)).toEqual({ collector: "google", bakersNamespace: "tezos", runbooksUrl: "docs/runbooks" });
});

test("without Slack and e-mail nothing configures an alert receiver", () => {
  expect(baker(true, {}).json).not.toContain("api_url");
});

test("the Slack webhook is a reference to the sensitive variable, never a value", () => {
  const { document, json } = baker(true, { monitoring: { slack_channel: "#bakery" } });
  const secret = document.resource.kubernetes_secret_v1?.alertmanager as
    { data_wo: Record<string, string> } | undefined;
  expect(secret?.data_wo["alertmanager.yaml"]).toContain('"api_url":"${var.secrets.slack_webhook_url}"');
  expect(json).not.toContain("hooks.slack.com");
});

test("an operator stack of its own is pinned, reads its secrets from files, and comes before our chart", () => {
  const found = releases({ monitoring: { kube_prometheus_stack: true, slack_channel: "#bakery" } });
  expect(found.kube_prometheus_stack).toMatchObject({
    chart: "kube-prometheus-stack",
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/) as string,
  });
  expect(found.kube_prometheus_stack?.values[0]).toContain("/etc/alertmanager/secrets/tezos-alert-receivers/slack-url");
  expect(found.kube_prometheus_stack?.values[0]).not.toContain("var.secrets");
  expect(values(found.monitoring).collector).toBe("operator");
  // The chart's own default is a password that everybody knows; an empty one is drawn.
  expect(values(found.kube_prometheus_stack).grafana).toMatchObject({ adminPassword: "" });
});

test("on an existing cluster nothing is installed that it might not understand", () => {
  expect(releases(existing)).toEqual({});
  expect(Object.keys(releases({ ...existing, monitoring: { kube_prometheus_stack: true } }))).toEqual([
    "kube_prometheus_stack",
    "monitoring",
  ]);
});

test("monitoring can be off", () => {
  expect(releases({ monitoring: { enabled: false } })).toEqual({});
});

test("what Alertmanager is given is whole: every route has its receiver, and nobody is told where nothing is configured", () => {
  const { kube_prometheus_stack } = releases({ monitoring: { kube_prometheus_stack: true } });
  const { alertmanager } = values(kube_prometheus_stack) as {
    alertmanager: {
      config: { route: { receiver: string; routes: { receiver: string }[] }; receivers: { name: string }[] };
    };
  };
  const { route, receivers } = alertmanager.config;
  // The stack's own defaults route to a receiver that our list replaces: its routes must be replaced, too.
  expect(route.routes.length).toBeGreaterThan(0);
  const names = receivers.map(({ name }) => name);
  for (const { receiver } of [route, ...route.routes]) expect(names).toContain(receiver);
  expect(receivers.filter((receiver) => Object.keys(receiver).length > 1)).toEqual([]);
});

const amtool = spawnSync("amtool", ["--version"]).status === 0;
if (!amtool)
  console.warn("skipped: Alertmanager's own check: amtool is not installed (apt-get install prometheus-alertmanager)");
(amtool ? test : test.skip).each([
  ["nobody", {}],
  ["Slack", { slack_channel: "#bakery" }],
  [
    "e-mail",
    { emails: ["a@example.org"], email_from: "b@example.org", smtp_host: "smtp.example.org:587", smtp_user: "b" },
  ],
])("Alertmanager takes the configuration for %s", (_name, monitoring) => {
  const { kube_prometheus_stack } = releases({ monitoring: { kube_prometheus_stack: true, ...monitoring } });
  const { alertmanager } = values(kube_prometheus_stack) as { alertmanager: { config: object } };
  const folder = mkdtempSync(join(tmpdir(), "tog-am-"));
  writeFileSync(join(folder, "alertmanager.yaml"), JSON.stringify(alertmanager.config));
  const { status, stdout, stderr } = spawnSync("amtool", ["check-config", join(folder, "alertmanager.yaml")], {
    encoding: "utf8",
  });
  rmSync(folder, { recursive: true });
  expect({ status, text: status === 0 ? "" : stdout + stderr }).toEqual({ status: 0, text: "" });
});

test("what is scraped are ports of a baking pod, by name", () => {
  const template = readFileSync(join(__dirname, "../../../constructs/monitoring/chart/templates/collect.yaml"), "utf8");
  const scraped = /\$ports := list ([^}]*)}}/.exec(template)?.[1]?.match(/[a-z-]+/g) ?? [];
  expect(scraped.length).toBeGreaterThan(5);
  const named = new Set(
    JSON.stringify(baker(true, {}).document).match(/(?<="container_port":\d+,"name":")[a-z0-9-]+(?=")/g),
  );
  for (const port of scraped) expect(named).toContain(port);
});

const helm = spawnSync("helm", ["version"]).status === 0;
if (!helm) console.warn("skipped: the chart's templates: helm is not installed");
(helm ? test : test.skip).each([
  ["google", "PodMonitoring", "Rules", "monitoring.googleapis.com/v1"],
  ["operator", "PodMonitor", "PrometheusRule", "monitoring.coreos.com/v1"],
])(
  "helm renders the chart for %s: the collector, the rules with links, the dashboard",
  (collector, monitor, rules, apiVersion) => {
    const chart = join(__dirname, "../../../constructs/monitoring/chart");
    const set = ["--set", `collector=${collector},runbooksUrl=https://example.org/runbooks`];
    expect(spawnSync("helm", ["lint", "--strict", chart, ...set]).status).toBe(0);
    const { stdout } = spawnSync("helm", ["template", "x", chart, ...set], { encoding: "utf8", maxBuffer: 1e8 });
    const objects = parseAllDocuments(stdout).map(
      (document) => document.toJSON() as { kind: string; apiVersion: string; spec: never; data: never },
    );
    expect(objects.map(({ kind }) => kind).sort()).toEqual(["ConfigMap", monitor, rules].sort());
    const rule = objects.find(({ kind }) => kind === rules) as unknown as {
      apiVersion: string;
      spec: { groups: { rules: { annotations: { runbook_url: string } }[] }[] };
    };
    expect(rule.apiVersion).toBe(apiVersion);
    for (const { annotations } of rule.spec.groups.flatMap((group) => group.rules))
      expect(annotations.runbook_url).toMatch(/^https:\/\/example\.org\/runbooks\/[a-z-]+\.md/);
    const map = objects.find(({ kind }) => kind === "ConfigMap") as unknown as { data: Record<string, string> };
    expect((JSON.parse(map.data["tezos-bakers.json"] ?? "{}") as { title: string }).title).toBe("Tezos bakers");
  },
);
