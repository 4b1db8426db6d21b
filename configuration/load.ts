/** From the folder's variable files, options and context to one validated configuration. */
import { basename } from "node:path";
import { type z } from "zod";
import { decodeAddress } from "../tezos/addresses";
import {
  ConfigurationError,
  didYouMean,
  notShown,
  show,
  showAt,
  showName,
  suggestion,
  type ConfigurationIssue,
} from "./errors";
import { lineOf } from "./lines";
import { crossFieldFindings } from "./rules";
import { configurationSchema, secretsSchema, type Configuration } from "./schema";
import { hostKeyForm, missingSecrets, receiverSecrets, secretForms, secretRevisions, strayBakers } from "./secrets";
import { automaticFiles, cdktfOrder, inFolder, readFile, textLayer, type Handed, type Layer } from "./tfvars";
import { knownKeys, terraformType, variableNames } from "./keys";

export interface Resolved {
  configuration: Configuration;
  /** Top-level key -> file or option that gave it. Keys that are not here have their default. */
  sources: Readonly<Record<string, string>>;
  warnings: readonly string[];
  /** Secrets that a deployment needs and nobody gave; none for an example. */
  missingSecrets: readonly ConfigurationIssue[];
  /** As of `secretRevisions`. Slow on purpose, so only who deploys calls it. */
  secretRevisions(): Readonly<Record<string, number>>;
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
export async function resolveConfiguration(given: ResolveOptions): Promise<Resolved> {
  const { layers, issues, warnings, example } = await readLayers(given);
  if (layers.length === 0 && issues.length > 0) throw new ConfigurationError(issues);
  const values: Record<string, unknown> = {};
  const last = new Map<string, Layer>();
  for (const layer of layers)
    for (const [key, value] of Object.entries(layer.values)) {
      Object.defineProperty(values, key, { value, enumerable: true, configurable: true, writable: true });
      last.set(key, layer);
    }
  const placed = (issue: ConfigurationIssue): ConfigurationIssue => {
    const layer = last.get(issue.path[0] ?? "");
    const line = layer?.text === undefined ? undefined : lineOf(layer.text, issue.path);
    return { ...issue, source: layer && `${layer.source}${line === undefined ? "" : `:${line}`}` };
  };
  const checked = check(
    values,
    last.get("secrets")?.text !== undefined && !last.get("secrets")?.source.endsWith("json"),
  );
  // What an unreadable file would have given is not missing.
  const certain = issues.some(({ path }) => path.length === 0)
    ? checked.issues.filter(({ found }) => !/^(nothing|nobody)/.test(found))
    : checked.issues;
  issues.push(...certain.map(placed));
  if (issues.length > 0 || !checked.configuration) throw new ConfigurationError(issues);
  const { configuration } = checked;
  return {
    configuration: example === undefined ? configuration : { ...configuration, example },
    sources: Object.fromEntries([...last].map(([key, { source }]) => [key, source])),
    warnings: [...warnings, ...checked.warnings, ...strayBakers(configuration, values.secrets)],
    missingSecrets: example === undefined ? missingSecrets(configuration, values.secrets) : [],
    secretRevisions: () => secretRevisions(configuration, values.secrets),
  };
}

/** @throws ConfigurationError where a secret that the configuration needs was not given */
export function requireSecrets({ missingSecrets: missing }: Resolved): void {
  if (missing.length > 0) throw new ConfigurationError(missing);
}

interface Layers {
  layers: Layer[];
  issues: ConfigurationIssue[];
  warnings: string[];
  /** Name of the example that was taken. */
  example: string | undefined;
}

/** Everything that gives values, the lowest first. */
async function readLayers({ folder, handed, context = {}, exampleFolder }: ResolveOptions): Promise<Layers> {
  const issues: ConfigurationIssue[] = [];
  const warnings: string[] = [];
  const layers: Layer[] = [];
  const take = (layer: Layer | ConfigurationIssue): void => {
    if (!("values" in layer)) issues.push(layer);
    else {
      const reserved = reservedNames(layer.values).map((path) => ({ ...reservedName(path), source: layer.source }));
      if (reserved.length > 0) issues.push(...reserved);
      else layers.push(layer);
    }
  };

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
  if (own.length > 0) take({ source: "context of cdktf.json", values: Object.fromEntries(own) });
  for (const [key, text] of Object.entries(handed?.environment ?? {}))
    if (variableNames.includes(key)) take(await textLayer(key, text, terraformType(key) === "string", `TF_VAR_${key}`));
    else
      warnings.push(
        `TF_VAR_${showName(key)} names no variable, and Terraform ignores it${suggestion(key, variableNames) || "."}`,
      );
  const fileLayers = new Map<string, Layer>();
  for (const file of files) {
    const layer = await readFile(file);
    take(layer);
    if ("values" in layer) fileLayers.set(file, layer);
  }
  warnings.push(...orderWarnings(files, fileLayers));
  for (const option of options) take(await optionLayer(option, folder));
  return { layers, issues, warnings, example };
}

async function optionLayer(option: Handed["options"][number], folder: string): Promise<Layer | ConfigurationIssue> {
  if ("varFile" in option) return readFile(inFolder(folder, option.varFile));
  const [, name, text] = /^([^=]+)=(.*)$/s.exec(option.var) ?? [];
  if (name === undefined || text === undefined)
    return { path: [], source: "--var", found: "a text without = (not shown)", write: "--var KEY=VALUE" };
  const key = name.trim();
  return textLayer(key, text, terraformType(key) === "string", `--var ${showName(key)}`);
}

/** Paths of keys that JavaScript keeps for itself, so that their values would be lost. */
function reservedNames(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "__proto__" ? [[...path, key]] : reservedNames(inner, [...path, key]),
  );
}
const reservedName = (path: readonly string[]): ConfigurationIssue => ({
  path,
  found: "the name __proto__",
  write: "another name: this one is reserved",
});

/**
 * Top-level values as written (a merged tfvars) to a configuration.
 * @throws ConfigurationError with everything that is wrong
 */
export function parseConfiguration(values: Readonly<Record<string, unknown>>): Configuration {
  const { issues, configuration } = check(values);
  if (!configuration) throw new ConfigurationError(issues);
  return configuration;
}

/** @param hclSecrets `secrets` are HCL, where a text without quotes is an expression */
function check(
  written: Readonly<Record<string, unknown>>,
  hclSecrets = false,
): {
  issues: ConfigurationIssue[];
  warnings: string[];
  configuration?: Configuration;
} {
  const { secrets, ...values } = written;
  const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
  const parsed = configurationSchema.safeParse(withoutNulls(given), { reportInput: true });
  const findings = crossFieldFindings(given);
  const unknown = new Set(
    (parsed.error?.issues ?? []).flatMap((issue) =>
      issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key].join("\n")) : [],
    ),
  );
  const unquoted = expressions([], given).filter(({ path }) => !unknown.has(path.join("\n")));
  // One cause, one error.
  const hidden = new Set([...findings.issues, ...unquoted].map(({ path }) => path.join("\n")));
  const issues = [
    ...unquoted,
    ...(parsed.error?.issues ?? [])
      // A value of another type breaks more rules of the same key.
      .filter((issue, _, all) => issue.code === "invalid_type" || !all.some((other) => isWrongType(other, issue)))
      .flatMap((issue) => translate(issue, given, []))
      .filter(({ path }) => !hidden.has(path.join("\n"))),
    ...findings.issues,
    ...secretIssues(secrets),
    ...secretForms(secrets),
    ...hostKeyForm(given.signer_link, secrets),
    ...receiverSecrets(given.monitoring, secrets),
    ...(hclSecrets ? expressions(["secrets"], secrets) : []),
  ];
  return issues.length > 0 || !parsed.success
    ? { issues, warnings: findings.warnings }
    : { issues, warnings: findings.warnings, configuration: { ...parsed.data, given } };
}

const isWrongType = (other: z.core.$ZodIssue, issue: z.core.$ZodIssue): boolean =>
  other.code === "invalid_type" && other.path.join("\n") === issue.path.join("\n");

/** Shape of `secrets`: keys and types, never a value. */
function secretIssues(secrets: unknown): ConfigurationIssue[] {
  if (secrets === undefined || secrets === null) return [];
  const parsed = secretsSchema.safeParse(withoutNulls(secrets));
  return (parsed.error?.issues ?? [])
    .flatMap((issue) => translate(issue, undefined, ["secrets"]))
    .map(({ path, found, write }) => ({
      // A secret may stand where a name belongs: known names, near misses of them and addresses are shown.
      path: path.map((key, i) => (i === 0 || isNoSecret(key, knownKeys(path.slice(0, i))) ? key : notShown)),
      found: found === "nothing" || found === "(not shown)" ? "something else (not shown)" : found,
      write,
    }));
}

const isNoSecret = (name: string, known: readonly string[]): boolean =>
  didYouMean(name, known) !== undefined || decodeAddress(name) !== undefined;

/** Where a key of a section was written outside of it. */
function sectionOf(key: string, path: readonly string[]): string | undefined {
  const section = path.length > 0 ? undefined : knownKeys([]).find((name) => knownKeys([name]).includes(key));
  return section && `${section} = { ${key} = ... }`;
}

/** Strings that HCL would have to evaluate: variable files hold values only. */
function expressions(path: readonly string[], value: unknown): ConfigurationIssue[] {
  if (typeof value === "string") {
    const word = /^\$\{(?!(?:var|local|data|each|path)\.)([\w.-]+)\}$/.exec(value)?.[1];
    if (!/[$%]\{/.test(value)) return [];
    const shown = showAt(path, word ?? value);
    if (word === undefined)
      return [
        { path, found: `an expression, ${shown}`, write: "a value: variable files know no variables and no functions" },
      ];
    const boolean = /^(yes|on|no|off|true|false)$/i.exec(word)?.[0].toLowerCase();
    const quoted = path[0] === "secrets" ? '"..."' : shown;
    return [
      {
        path,
        found: `${shown === notShown ? "a text (not shown)" : word} without quotes`,
        write:
          boolean === undefined
            ? `quotes around a text: ${quoted}`
            : /^(yes|on|true)$/.test(boolean)
              ? "true"
              : "false",
      },
    ];
  }
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
  const found = showAt(path, value);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key, i) => ({
        path: [...path, key],
        found: `a key that does not exist here${suggestion(key, knownKeys(path))}`,
        write:
          didYouMean(key, knownKeys(path)) ??
          sectionOf(key, path) ??
          (i === 0 ? `one of ${knownKeys(path).join(", ")}` : "a key of docs/configuration.md"),
      }));
    case "invalid_key":
      return issue.issues.map((inner) => ({
        path,
        found: `the name ${showName(path.at(-1) ?? "") === notShown ? notShown : JSON.stringify(path.at(-1))}`,
        write: inner.message,
      }));
    case "invalid_type": {
      const block =
        Array.isArray(value) && issue.expected !== "array" && value.length === 1 && typeof value[0] === "object";
      const words =
        issue.expected === "array" && typeof value === "string" ? value.split(/[\s,]+/).filter(Boolean) : [];
      return [
        {
          path,
          found: block ? 'a list, or a block without "="' : found,
          write: block
            ? `${path.at(-1)} = { ${path.at(-1) === "bakers" ? "NAME = { ... }" : "..."} }`
            : words.length > 0 && found !== notShown
              ? `a list: [${words.map(show).join(", ")}]`
              : kind(issue.expected),
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
