/** docs/metrics.md: the metrics that the daemons export and the events that they log, read from their source. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import ts from "typescript";
import { eventTemplate } from "../../diagnosis/events";
import type { GeneratedDocument } from "../docs";

const root = resolve(__dirname, "../..");

export interface Found {
  /** Name -> kind, labels and help text. */
  metrics: Map<string, { kind: string; labels: string; help: string; daemon: string }>;
  /** "daemon event" -> levels at which it is logged. */
  events: Map<string, Set<string>>;
}

function sources(folder: string): string[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? sources(path) : path.endsWith(".ts") ? [path] : [];
    });
}

/**
 * The texts that an expression can stand for, as far as its literals tell: those of a condition's branches, and the
 * parts of a sum.
 */
function texts(node: ts.Expression | undefined): string[] {
  if (!node) return [];
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isConditionalExpression(node)) return [...texts(node.whenTrue), ...texts(node.whenFalse)];
  if (ts.isParenthesizedExpression(node)) return texts(node.expression);
  return [];
}

function property(node: ts.ObjectLiteralExpression, name: string): ts.Expression | undefined {
  for (const member of node.properties)
    if (ts.isPropertyAssignment(member) && member.name.getText() === name) return member.initializer;
  return undefined;
}

function metric(node: ts.NewExpression | ts.CallExpression, daemon: string, found: Found): void {
  const [first, second] = node.arguments ?? [];
  if (!first) return;
  const literal = ts.isObjectLiteralExpression(first);
  const [name = ""] = texts(literal ? property(first, "name") : first);
  if (!name.startsWith("tog_")) return;
  const labels = literal ? property(first, "labelNames") : undefined;
  found.metrics.set(name, {
    kind: node.expression.getText().toLowerCase(),
    labels:
      labels && ts.isArrayLiteralExpression(labels) ? labels.elements.flatMap((each) => texts(each)).join(", ") : "",
    help: texts(literal ? property(first, "help") : second)[0] ?? "",
    daemon,
  });
}

function event(node: ts.CallExpression, daemon: string, found: Found): void {
  if (!ts.isPropertyAccessExpression(node.expression) || !/\blog$/.test(node.expression.expression.getText())) return;
  const level = node.expression.name.text;
  if (!["debug", "info", "warn", "error"].includes(level)) return;
  for (const name of texts(node.arguments[0])) {
    const key = `${daemon} ${name}`;
    found.events.set(key, (found.events.get(key) ?? new Set()).add(level));
  }
}

/** What a source file of a daemon exports and logs. */
export function collect(daemon: string, text: string, found: Found): void {
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) || ts.isCallExpression(node)) metric(node, daemon, found);
    if (ts.isCallExpression(node)) event(node, daemon, found);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile("source.ts", text, ts.ScriptTarget.Latest, true));
}

/** Of all daemons. */
export function findAll(): Found {
  const found: Found = { metrics: new Map(), events: new Map() };
  for (const path of sources(join(root, "daemons"))) {
    const daemon = relative(join(root, "daemons"), path).split("/")[0] ?? "";
    collect(daemon === "runtime" ? "every daemon" : daemon, readFileSync(path, "utf8"), found);
  }
  return found;
}

function render(): string {
  const found = findAll();
  const cell = (text: string): string => text.replaceAll("|", "\\|");
  return [
    "# Metrics and events",
    "",
    "<!-- Written by `npm run docs` from the source of the daemons. -->",
    "",
    "Every series carries the labels `baker` and `pod`. The ports are in [architecture.md](architecture.md#who-calls-whom), the alerts in",
    "[monitoring.md](monitoring.md). Each daemon serves its metrics at `/metrics`. Labels that a helper adds are not listed.",
    "",
    "## Metrics",
    "",
    "| metric | type | labels | daemon | meaning |",
    "| --- | --- | --- | --- | --- |",
    ...[...found.metrics]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(
        ([name, { kind, labels, help, daemon }]) => `| \`${name}\` | ${kind} | ${labels} | ${daemon} | ${cell(help)} |`,
      ),
    "",
    "## Events",
    "",
    "A daemon writes one JSON object a line, with the fields of `contract/log.ts`. An event whose name is computed is not listed.",
    "What stands in braces is a field of the entry. The laboratory's page shows the same sentences.",
    "",
    "| daemon | event | level | meaning |",
    "| --- | --- | --- | --- |",
    ...[...found.events]
      .map(([key, levels]) => ({
        daemon: key.slice(0, key.lastIndexOf(" ")),
        name: key.slice(key.lastIndexOf(" ") + 1),
        levels,
      }))
      .sort((a, b) => (`${a.daemon} ${a.name}` < `${b.daemon} ${b.name}` ? -1 : 1))
      .map(
        ({ daemon, name, levels }) =>
          `| ${daemon} | \`${name}\` | ${[...levels].sort().join(", ")} | ${cell(eventTemplate(daemon, name) ?? "")} |`,
      ),
    "",
  ].join("\n");
}

export const document: GeneratedDocument = { file: "docs/metrics.md", render };
