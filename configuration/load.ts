/** From the folder's variable files, options and context to one validated configuration. */
import { basename } from "node:path";
import { type z } from "zod";
import { ConfigurationError, didYouMean, show, type ConfigurationIssue } from "./errors";
import { crossFieldFindings } from "./rules";
import { configurationSchema, secretsSchema, type Configuration } from "./schema";
import { automaticFiles, cdktfOrder, inFolder, readFile, textLayer, type Handed, type Layer } from "./tfvars";
import { knownKeys, terraformType, variableNames } from "./keys";

export interface Resolved {
  configuration: Configuration;
  /** Top-level key -> file or option that gave it. Keys that are not here have their default. */
  sources: Readonly<Record<string, string>>;
  warnings: readonly string[];
}

export interface ResolveOptions {
  /** Folder of the tfvars files. */
  folder: string;
  handed?: Handed;
  /** cdktf.json's context. */
  context?: Readonly<Record<string, unknown>>;
  /** Folder to read where there is no tfvars file at all; absent: that is an error. */
  exampleFolder?: string;
}

/** Context keys that belong to cdktf itself. */
const contextOfCdktf = /^(cdktf|excludeStackIdFromLogicalIds$|allowSepCharsInLogicalIds$)/;

/** @throws ConfigurationError with everything that is wrong */
export async function resolveConfiguration({
  folder,
  handed,
  context = {},
  exampleFolder,
}: ResolveOptions): Promise<Resolved> {
  const issues: ConfigurationIssue[] = [];
  const warnings: string[] = [];
  const layers: Layer[] = [];
  const take = (layer: Layer | ConfigurationIssue): void =>
    void ("values" in layer ? layers.push(layer) : issues.push(layer));

  // The example is below everything: what little was given changes it.
  const options = handed?.options ?? [];
  const files = automaticFiles(folder);
  let example: string | undefined;
  if (files.length === 0 && !options.some((option) => "varFile" in option)) {
    if (exampleFolder === undefined)
      issues.push({
        path: [],
        source: folder,
        found: "no terraform.tfvars",
        write: "one: cp examples/shadownet/terraform.tfvars . and change it; docs/configuration.md has every key",
      });
    else {
      example = basename(exampleFolder);
      for (const file of automaticFiles(exampleFolder)) take(await readFile(file));
    }
  }
  const own = Object.entries(context).filter(([key]) => !contextOfCdktf.test(key));
  if (own.length > 0) layers.push({ source: "context of cdktf.json", values: Object.fromEntries(own) });
  for (const [key, text] of Object.entries(handed?.environment ?? {}))
    if (variableNames.includes(key)) take(await textLayer(key, text, terraformType(key) === "string", `TF_VAR_${key}`));
    else warnings.push(`TF_VAR_${key} names no variable${suggestion(key, variableNames)}; Terraform ignores it.`);

  const fileLayers = new Map<string, Layer>();
  for (const file of files) {
    const layer = await readFile(file);
    take(layer);
    if ("values" in layer) fileLayers.set(file, layer);
  }
  warnings.push(...orderWarnings(files, fileLayers));
  for (const option of options)
    if ("varFile" in option) take(await readFile(inFolder(folder, option.varFile)));
    else {
      const [, key, text] = /^([^=]+)=(.*)$/s.exec(option.var) ?? [];
      if (key === undefined || text === undefined)
        issues.push({ path: [], source: "--var", found: show(option.var), write: "--var KEY=VALUE" });
      else take(await textLayer(key.trim(), text, terraformType(key.trim()) === "string", `--var ${key.trim()}`));
    }

  if (layers.length === 0 && issues.length > 0) throw new ConfigurationError(issues);
  const values: Record<string, unknown> = {};
  const sources: Record<string, string> = {};
  for (const layer of layers)
    for (const [key, value] of Object.entries(layer.values)) {
      values[key] = value;
      sources[key] = layer.source;
    }
  const checked = check(values);
  // What an unreadable file would have given is not missing.
  const certain = issues.some(({ path }) => path.length === 0)
    ? checked.issues.filter(({ found }) => !/^(nothing|nobody)/.test(found))
    : checked.issues;
  issues.push(...certain.map((issue) => ({ ...issue, source: sources[issue.path[0] ?? ""] })));
  if (issues.length > 0 || !checked.configuration) throw new ConfigurationError(issues);
  const configuration = example === undefined ? checked.configuration : { ...checked.configuration, example };
  return { configuration, sources, warnings: [...warnings, ...checked.warnings] };
}

/**
 * Top-level values as written (a merged tfvars) to a configuration.
 * @throws ConfigurationError with everything that is wrong
 */
export function parseConfiguration(values: Readonly<Record<string, unknown>>): Configuration {
  const { issues, configuration } = check(values);
  if (!configuration) throw new ConfigurationError(issues);
  return configuration;
}

function check(written: Readonly<Record<string, unknown>>): {
  issues: ConfigurationIssue[];
  warnings: string[];
  configuration?: Configuration;
} {
  const { secrets, ...values } = written;
  const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
  const parsed = configurationSchema.safeParse(withoutNulls(given), { reportInput: true });
  const findings = crossFieldFindings(given);
  const hidden = new Set(findings.issues.map(({ path }) => path.join("\n")));
  const issues = [
    ...expressions([], given),
    ...(parsed.error?.issues ?? [])
      .flatMap((issue) => translate(issue, given, []))
      .filter(({ path }) => !hidden.has(path.join("\n"))),
    ...findings.issues,
    ...secretIssues(secrets),
  ];
  return issues.length > 0 || !parsed.success
    ? { issues, warnings: findings.warnings }
    : { issues, warnings: findings.warnings, configuration: { ...parsed.data, given } };
}

/** Shape of `secrets`: keys and types, never a value. */
function secretIssues(secrets: unknown): ConfigurationIssue[] {
  if (secrets === undefined || secrets === null) return [];
  const parsed = secretsSchema.safeParse(withoutNulls(secrets));
  return (parsed.error?.issues ?? [])
    .flatMap((issue) => translate(issue, undefined, ["secrets"]))
    .map((issue) => ({
      ...issue,
      found: issue.found === "nothing" ? "something else (not shown)" : issue.found,
    }));
}

const suggestion = (name: string, known: readonly string[]): string => {
  const near = didYouMean(name, known);
  return near === undefined ? "" : `; did you mean ${near}?`;
};

/** Strings that HCL would have to evaluate: variable files hold values only. */
function expressions(path: readonly string[], value: unknown): ConfigurationIssue[] {
  if (typeof value === "string")
    return /[$%]\{/.test(value)
      ? [
          {
            path,
            found: `an expression, ${show(value)}`,
            write: "a value: variable files know no variables and no functions",
          },
        ]
      : [];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => expressions([...path, key], inner));
}

/** Terraform's null means "not written". */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null)
      .map(([key, inner]) => [key, withoutNulls(inner)]),
  );
}

function at(values: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === "object" && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    values,
  );
}

const kinds: Record<string, string> = {
  string: 'a text in quotes, like "..."',
  number: "a number without quotes",
  int: "a whole number without quotes",
  boolean: "true or false, without quotes",
  array: "a list: [ ... ]",
  object: "a map: { ... }",
  record: "a map: { ... }",
};

/** One zod issue in our words. @param values where `found` is looked up @param prefix of the path */
function translate(issue: z.core.$ZodIssue, values: unknown, prefix: readonly string[]): ConfigurationIssue[] {
  const path = [...prefix, ...issue.path.map(String)];
  const value = at(values, issue.path);
  const found = show(value);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        path: [...path, key],
        found: `a key that does not exist here${suggestion(key, knownKeys(path))}`,
        write: `one of ${knownKeys(path).join(", ")}`,
      }));
    case "invalid_key":
      return issue.issues.map((inner) => ({
        path,
        found: `the name ${JSON.stringify(path.at(-1))}`,
        write: inner.message,
      }));
    case "invalid_type": {
      const block =
        Array.isArray(value) && issue.expected !== "array" && value.length === 1 && typeof value[0] === "object";
      return [
        {
          path,
          found: block ? 'a block; a variable is written with "="' : found,
          write: block ? `${path.at(-1)} = { ... }` : kind(issue.expected),
        },
      ];
    }
    case "invalid_value":
      return [
        {
          path,
          found: `${found}${typeof value === "string" ? suggestion(value, issue.values.map(String)) : ""}`,
          write: issue.values.length === 1 ? show(issue.values[0]) : `one of ${issue.values.map(show).join(", ")}`,
        },
      ];
    case "too_small":
    case "too_big": {
      const [word, bound] = issue.code === "too_small" ? ["least", issue.minimum] : ["most", issue.maximum];
      const items = issue.origin === "array" ? " items" : issue.origin === "string" ? " characters" : "";
      const exclusive =
        issue.inclusive === false
          ? issue.code === "too_small"
            ? `more than ${bound}`
            : `less than ${bound}`
          : `${items ? "" : "a number of "}at ${word} ${bound}${items}`;
      return [{ path, found, write: /^Too (small|big)/.test(issue.message) ? exclusive : issue.message }];
    }
    case "custom":
    case "invalid_format":
    case "invalid_element":
    case "invalid_union":
    case "not_multiple_of":
      return [{ path, found, write: issue.message }];
  }
}

const kind = (expected: string): string => kinds[expected] ?? expected;

/** Keys for which Terraform alone and the cdktf CLI would take different files. */
function orderWarnings(files: readonly string[], layers: ReadonlyMap<string, Layer>): string[] {
  const last = (order: readonly string[], key: string): string | undefined =>
    order.filter((file) => key in (layers.get(file)?.values ?? {})).at(-1);
  const keys = [...new Set([...layers.values()].flatMap((layer) => Object.keys(layer.values)))];
  const other = cdktfOrder(files);
  return keys
    .filter((key) => last(files, key) !== last(other, key))
    .map(
      (key) =>
        `${key} is in ${basename(last(other, key) ?? "")} and in ${basename(last(files, key) ?? "")}: the cdktf CLI reads .auto.tfvars.json last, Terraform by name. Write it into one of them.`,
    );
}
