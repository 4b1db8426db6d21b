/** What is installed for monitoring, by cluster and configuration. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { baker } from "../../helpers/synthesized";

type Release = { chart: string; values: string[]; repository?: string; version?: string };
/** Those of monitoring: the signer link has one of its own. */
const releases = (changes: Parameters<typeof baker>[1]) => {
  const all = (baker(true, changes).document.resource.helm_release ?? {}) as unknown as Record<string, Release>;
  return Object.fromEntries(Object.entries(all).filter(([id]) => id !== "tezos-signer-budgets"));
};
const values = (release: Release | undefined) => JSON.parse(release?.values[0] ?? "{}") as Record<string, unknown>;
const existing = { cluster: { existing: { context: "kind" } }, project: undefined, zones: ["z1", "z2"] };

test("on GKE the chart serves Google's managed Prometheus, from a relative path", () => {
  const { monitoring } = releases({});
  expect(monitoring?.chart).toMatch(/^\.\/assets\//);
  expect(values(monitoring)).toEqual({ collector: "google", bakersNamespace: "tezos", runbooksUrl: "docs/runbooks" });
});

const receivers = {
  Slack: { slack_channel: "#bakery" },
  Telegram: { telegram_chat_id: -1001234567890 },
  Discord: { discord: true },
  "e-mail": {
    ...{ emails: ["a@example.org"], email_from: "b@example.org" },
    ...{ smtp_host: "smtp.example.org:587", smtp_user: "b" },
  },
};
type Receiver = Record<string, string | object[]> & { name: string };
interface AlertmanagerConfiguration {
  global: Record<string, string>;
  route: { receiver: string; routes: { receiver: string }[] };
  receivers: Receiver[];
}
/** The Secret that Alertmanager reads, and its file as Terraform writes it where each secret is `value`. */
function configurationOf(changes: Parameters<typeof baker>[1], id: "alertmanager" | "alert_receivers", value = "it's") {
  const secret = baker(true, changes).document.resource.kubernetes_secret_v1?.[id] as
    { data?: Record<string, string>; data_wo: Record<string, string>; data_wo_revision: string } | undefined;
  const text = (secret?.data ?? secret?.data_wo)?.["alertmanager.yaml"] ?? "";
  const written = text.replace(/\$\{jsonencode\([\w.]+\)\}/g, () => JSON.stringify(value));
  return { secret, text, configuration: () => JSON.parse(written) as AlertmanagerConfiguration };
}

test("without a receiver nothing configures Google's Alertmanager", () => {
  expect(baker(true, {}).json).not.toContain("alertmanager.yaml");
});

test.each<[keyof typeof receivers, string, string, object]>([
  ["Slack", "slack_webhook_url", "slack_configs", { channel: "#bakery", api_url: "it's" }],
  ["Telegram", "telegram_bot_token", "telegram_configs", { chat_id: -1001234567890, bot_token: "it's" }],
  ["Discord", "discord_webhook_url", "discord_configs", { webhook_url: "it's" }],
  ["e-mail", "smtp_password", "email_configs", { to: "a@example.org" }],
])("%s is told, and its secret is a reference to the ephemeral variable, never a value", (name, secret, kind, has) => {
  for (const [monitoring, id] of [
    [receivers[name], "alertmanager"],
    [{ ...receivers[name], kube_prometheus_stack: true }, "alert_receivers"],
  ] as const) {
    const { text, secret: object, configuration } = configurationOf({ monitoring }, id);
    expect(text).toContain(`:\${jsonencode(var.secrets.${secret})}`);
    expect(object?.data).toBeUndefined();
    expect(object?.data_wo_revision).toContain(`local.secret_revisions["${secret}"]`);
    const [people] = configuration().receivers;
    expect(Object.keys(people ?? {}).sort()).toEqual([kind, "name"].sort());
    expect(people?.[kind]).toEqual([expect.objectContaining({ send_resolved: true, ...has })]);
    // Outside of what Terraform writes only, nothing refers to it.
    const rest = baker(true, { monitoring }).json.split(JSON.stringify(text)).join("");
    expect(rest.match(new RegExp(`var\\.secrets\\.${secret}`, "g"))).toHaveLength(1);
    expect(rest).toContain(`secrets.${secret} is missing`);
  }
});

test("a secret with quotes in it breaks nothing", () => {
  const { configuration } = configurationOf({ monitoring: receivers["e-mail"] }, "alertmanager", 'a"b\\c');
  expect(configuration().global.smtp_auth_password).toBe('a"b\\c');
});

test("what is not secret is written again, too, where it has changed", () => {
  const revision = (monitoring: object) => configurationOf({ monitoring }, "alertmanager").secret?.data_wo_revision;
  expect(revision({ telegram_chat_id: 1 })).toBe(revision({ telegram_chat_id: 1 }));
  expect(revision({ telegram_chat_id: 1 })).not.toBe(revision({ telegram_chat_id: 2 }));
});

test("an operator stack of its own is pinned, reads its configuration from our Secret, and comes before our chart", () => {
  const found = releases({ monitoring: { kube_prometheus_stack: true, slack_channel: "#bakery" } });
  expect(found.kube_prometheus_stack).toMatchObject({
    chart: "kube-prometheus-stack",
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/) as string,
  });
  expect(values(found.kube_prometheus_stack).alertmanager).toEqual({
    alertmanagerSpec: { useExistingSecret: true, configSecret: "tezos-alert-receivers" },
  });
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
  const { route, receivers: all } = configurationOf(
    { monitoring: { kube_prometheus_stack: true } },
    "alert_receivers",
  ).configuration();
  // The stack's own defaults route to a receiver that our list replaces: its routes must be replaced, too.
  expect(route.routes.length).toBeGreaterThan(0);
  const names = all.map(({ name }) => name);
  for (const { receiver } of [route, ...route.routes]) expect(names).toContain(receiver);
  expect(all.filter((receiver) => Object.keys(receiver).length > 1)).toEqual([]);
});

/** AMTOOL names another one. 0.25 is the first that knows Discord. */
const amtool = process.env.AMTOOL ?? "amtool";
const checks = spawnSync(amtool, ["--version"]).status === 0;
if (!checks)
  console.warn("skipped: Alertmanager's own check: amtool is not installed (apt-get install prometheus-alertmanager)");
(checks ? test : test.skip).each([
  ["nobody", {}],
  ...Object.entries(receivers),
  ["all of them", Object.assign({}, ...Object.values(receivers)) as object],
])("Alertmanager takes the configuration for %s", (_name, monitoring) => {
  const changes = { monitoring: { kube_prometheus_stack: true, ...monitoring } };
  const { configuration } = configurationOf(changes, "alert_receivers", "https://example.org/secret");
  const folder = mkdtempSync(join(tmpdir(), "tog-am-"));
  writeFileSync(join(folder, "alertmanager.yaml"), JSON.stringify(configuration()));
  const { status, stdout, stderr } = spawnSync(amtool, ["check-config", join(folder, "alertmanager.yaml")], {
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
