/** What is installed for monitoring, by cluster and configuration. */
import { baker } from "../../helpers/synthesized";

type Release = { chart: string; values: string[]; repository?: string; version?: string };
const releases = (changes: Parameters<typeof baker>[1]) =>
  (baker(true, changes).document.resource.helm_release ?? {}) as unknown as Record<string, Release>;
const values = (release: Release | undefined) => JSON.parse(release?.values[0] ?? "{}") as Record<string, unknown>;
const existing = { cluster: { existing: { context: "kind" } }, project: undefined, zones: ["z1", "z2"] };

test("on GKE the chart serves Google's managed Prometheus, from a relative path", () => {
  const { monitoring } = releases({});
  expect(monitoring?.chart).toMatch(/^\.\/assets\//);
  expect(values(monitoring)).toEqual({ collector: "google", bakersNamespace: "tezos" });
});

test("without Slack and e-mail nothing configures an alert receiver", () => {
  expect(baker(true, {}).json).not.toContain("api_url");
});

test("the Slack webhook is a reference to the sensitive variable, never a value", () => {
  const { document, json } = baker(true, { monitoring: { slack_channel: "#bakery" } });
  const secret = document.resource.kubernetes_secret_v1?.alertmanager as { data: Record<string, string> } | undefined;
  expect(secret?.data["alertmanager.yaml"]).toContain('"api_url":"${var.secrets.slack_webhook_url}"');
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
