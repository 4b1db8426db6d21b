/**
 * kube-prometheus-stack rendered by helm from its chart with the values that we give it: each of them is one that this
 * version of the chart knows, and has the effect that it was written for.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { documents, helm, type KubeObject } from "../../helpers/monitoring-kinds";
import { baker } from "../../helpers/synthesized";

/** A folder with the chart and its dependencies, as `helm pull --untar` makes it. */
const chart = process.env.KUBE_PROMETHEUS_STACK_CHART;
const missing =
  helm === undefined
    ? "no helm: npm run test:assets -- --only helm"
    : chart === undefined
      ? "KUBE_PROMETHEUS_STACK_CHART names no chart: helm pull --untar --repo https://prometheus-community.github.io/helm-charts kube-prometheus-stack --version VERSION"
      : undefined;
if (missing !== undefined) console.warn(`skipped: ${missing}`);

type Secret = KubeObject & { data: Record<string, string> };

(missing === undefined ? describe : describe.skip)("kube-prometheus-stack from its chart", () => {
  const monitoring = { kube_prometheus_stack: true, slack_channel: "#bakery" };
  const release = (
    baker(true, { monitoring }).document.resource.helm_release as unknown as Record<
      string,
      { name: string; namespace: string; version: string; values: [string] }
    >
  ).kube_prometheus_stack;
  if (!release) throw new Error("no release");
  const render = (): KubeObject[] => {
    const { name, namespace, values } = release;
    const words = ["template", name, chart ?? "", "-n", namespace, "--kube-version", "1.33", "--values", "-"];
    const { status, stdout, stderr } = spawnSync(helm ?? "", words, {
      ...{ encoding: "utf8", maxBuffer: 1e8, input: values[0] },
    });
    if (status !== 0) throw new Error(stderr);
    return documents(stdout);
  };
  const find = <T extends KubeObject>(objects: KubeObject[], kind: string, name = ""): T => {
    const found = objects.filter((o) => o.kind === kind && o.metadata.name.includes(name));
    expect([kind, name, found.length]).toEqual([kind, name, 1]);
    return found[0] as T;
  };
  const password = (objects: KubeObject[]) => find<Secret>(objects, "Secret", "grafana").data["admin-password"] ?? "";
  const objects = missing === undefined ? render() : [];

  test("it is the version that is pinned", () => {
    const { version } = parse(readFileSync(join(chart ?? "", "Chart.yaml"), "utf8")) as { version: string };
    expect(version).toBe(release.version);
  });

  test("Prometheus takes pod monitors and rules of every namespace, without a label of this release", () => {
    const { spec } = find(objects, "Prometheus");
    for (const kind of ["podMonitor", "serviceMonitor", "rule"])
      expect([kind, spec[`${kind}Selector`], spec[`${kind}NamespaceSelector`]]).toEqual([kind, {}, {}]);
  });

  test("Alertmanager has the configuration of our Secret alone, at the version that knows all of it", () => {
    const { spec } = find(objects, "Alertmanager");
    expect(spec).toMatchObject({ configSecret: "tezos-alert-receivers" });
    // 0.25 is the first that knows Discord, and 0.24 the first that knows Telegram.
    const [major = 0, minor = 0] = String(spec.version).replace(/^v/, "").split(".").map(Number);
    expect(major > 0 || minor >= 25).toBe(true);
    const names = objects.filter(({ kind }) => kind === "Secret").map(({ metadata }) => metadata.name);
    expect(names.filter((name) => name.includes("alertmanager"))).toEqual([]);
  });

  test("Grafana's password is drawn anew for each installation", () => {
    const text = Buffer.from(password(objects), "base64").toString();
    expect(text.length).toBeGreaterThanOrEqual(20);
    expect(password(render())).not.toBe(password(objects));
  });

  test("Grafana finds the dashboard of our chart, in its namespace and by its label", () => {
    const { spec } = find<KubeObject & { spec: { template: { spec: { containers: Container[] } } } }>(
      objects,
      "Deployment",
      "grafana",
    );
    const sidecar = spec.template.spec.containers.find(({ name }) => name === "grafana-sc-dashboard");
    const value = (name: string) => sidecar?.env.find((entry) => entry.name === name)?.value;
    expect(value("NAMESPACE")).toBe("ALL");
    const ours = join(__dirname, "../../../constructs/monitoring/chart");
    const { stdout } = spawnSync(helm ?? "", ["template", "x", ours, "--set", "collector=operator"], {
      ...{ encoding: "utf8", maxBuffer: 1e8 },
    });
    const { metadata } = find<KubeObject & { metadata: { labels: Record<string, string> } }>(
      documents(stdout),
      "ConfigMap",
    );
    expect(metadata.labels[value("LABEL") ?? ""]).toBe(value("LABEL_VALUE"));
  });
});

interface Container {
  name: string;
  env: { name: string; value?: string }[];
}
