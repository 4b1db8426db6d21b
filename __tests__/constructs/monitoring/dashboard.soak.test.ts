/**
 * The dashboard's and the alerts' queries against what the daemons of a running laboratory really export.
 * TOG_WRITE_DOCS=1 writes what came back to docs/monitoring.md.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { inject } from "../../../lab/faults/faults";
import { Lab } from "../../../lab/lab";
import { bundlePath } from "../../helpers/bundle";
import { Prometheus, prometheusMissing, type Series } from "../../helpers/prometheus";

const root = resolve(__dirname, "../../..");
const files = join(root, "constructs/monitoring/chart/files");
interface Panel {
  title: string;
  targets: { expr: string }[];
}
const { panels } = JSON.parse(readFileSync(join(files, "dashboard.json"), "utf8")) as { panels: Panel[] };
const rules = (
  parse(readFileSync(join(files, "alerts.yaml"), "utf8")) as { groups: { rules: { alert: string; expr: string }[] }[] }
).groups.flatMap((group) => group.rules);

/** Selectors that have no series in such a run, and why. */
const explained: { selector: RegExp; reason: string }[] = [
  { selector: /^kube_secret_created/, reason: "is exported by kube-state-metrics, which the laboratory has not" },
  {
    selector: /^tog_gate_requests_total\{.*(refused|conflict)/,
    reason: "has no series before the fence has refused something",
  },
];
const why = (selector: string): string | undefined => explained.find((entry) => entry.selector.test(selector))?.reason;
const selectorsOf = (expression: string): string[] => [
  ...new Set(expression.match(/\b(tog|kube)_[a-z_]+(\{[^}]*\})?/g) ?? []),
];
const filled = (expression: string): string => expression.replaceAll("$baker", ".*");

const missing = prometheusMissing();
if (missing !== "") console.warn(`skipped: the dashboard's queries: ${missing}`);
(missing === "" ? test : test.skip)(
  "every query of dashboard and alerts finds series of a running laboratory",
  async () => {
    const lab = await Lab.start({ blockMs: 6000, tog: await bundlePath(), seed: "dashboard", blockShare: 0.5 });
    const prometheus = new Prometheus();
    try {
      await lab.ready(240_000);
      await prometheus.start(lab, join(files, "alerts.yaml"));
      const began = Date.now();
      await lab.sleep(45_000);
      await inject(lab, "switchover", {});
      await lab.sleep(45_000);
      await inject(lab, "kill-pod", {});
      await lab.sleep(75_000);
      const seconds = (Date.now() - began) / 1000;
      const { up, all } = await prometheus.targets();
      expect(up).toBeGreaterThanOrEqual(12);

      const empty: string[] = [];
      const lines: string[] = [];
      const sample = (series: Series[]): string => {
        const [first] = series;
        if (!first) return "";
        const labels = Object.entries(first.metric)
          .filter(([name]) => !["__name__", "instance", "job"].includes(name))
          .map(([name, value]) => `${name}=${value}`)
          .join(" ");
        return `${labels} → ${Number(Number(first.values.at(-1)?.[1]).toPrecision(5))}`;
      };
      const row = (cells: string[]) =>
        lines.push(`| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
      for (const { title, targets } of panels)
        for (const { expr } of targets) {
          const series = await prometheus.range(filled(expr), seconds);
          const reason = selectorsOf(expr).map(why).find(Boolean);
          if (series.length === 0 && reason === undefined) empty.push(`${title}: ${expr}`);
          row([
            title,
            `\`${expr}\``,
            String(series.length),
            series.length === 0 ? `${reason}` : `\`${sample(series)}\``,
          ]);
        }
      const dashboard = lines.splice(0);
      for (const { alert, expr } of rules) {
        const found: string[] = [];
        for (const selector of selectorsOf(expr)) {
          const series = await prometheus.range(`count(${selector})`, seconds);
          if (series.length === 0 && why(selector) === undefined) empty.push(`${alert}: ${selector}`);
          found.push(
            series.length === 0
              ? `\`${selector}\` ${why(selector)}`
              : `\`${selector}\` ${series[0]?.values.at(-1)?.[1]}`,
          );
        }
        const states = (await prometheus.range(`ALERTS{alertname="${alert}"}`, seconds)).map(
          ({ metric }) => metric.alertstate ?? "",
        );
        row([alert, found.join("; "), [...new Set(states)].sort().join(", ") || "quiet"]);
      }
      if (process.env.TOG_WRITE_DOCS === "1") {
        const text = [
          `A laboratory with blocks every 6 s for ${Math.round(seconds)} s, with a planned switchover after 45 s and the master's pod killed after 90 s, scraped every 5 s by Debian's Prometheus: ${up} of ${all} targets up at the end. ${new Date().toISOString().slice(0, 10)}, ${cpus().length} cores, Node ${process.version}, load ${loadavg()[0]?.toFixed(0)}.`,
          "",
          "| panel | query | series | one of them, last value |",
          "| --- | --- | --- | --- |",
          ...dashboard,
          "",
          "| alert | series of its selectors | in this run |",
          "| --- | --- | --- |",
          ...lines,
        ].join("\n");
        const path = join(root, "docs/monitoring.md");
        const whole = readFileSync(path, "utf8");
        writeFileSync(
          path,
          whole.replace(
            /(<!-- measured -->\n)[^]*(<!-- \/measured -->)/,
            (_all, open: string, close: string) => `${open}\n${text}\n\n${close}`,
          ),
        );
      }
      expect(empty).toEqual([]);
    } finally {
      await prometheus.stop();
      await lab.stop();
    }
  },
);
