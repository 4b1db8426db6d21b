/** Terraform's variable files and options: which there are, in which order, and what is in them. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { redact, showName, type ConfigurationIssue } from "./errors";
import { parseJson } from "./json";

/** Top-level keys with their values, and where they come from. */
export interface Layer {
  source: string;
  values: Record<string, unknown>;
  /** The file's text, to find lines in it. */
  text?: string;
}

/** Files that Terraform loads by itself, later ones win. Absolute paths. */
export function automaticFiles(folder: string): string[] {
  const named = ["terraform.tfvars", "terraform.tfvars.json"].filter((name) => existsSync(join(folder, name)));
  const automatic = readdirSync(folder)
    .filter((name) => name.endsWith(".auto.tfvars") || name.endsWith(".auto.tfvars.json"))
    .sort();
  return [...named, ...automatic].map((name) => join(folder, name));
}

/** The same files in the order of the cdktf CLI, which puts all *.auto.tfvars before all *.auto.tfvars.json. */
export function cdktfOrder(files: readonly string[]): string[] {
  const rank = (file: string): number =>
    /\.auto\.tfvars$/.test(file) ? 1 : /\.auto\.tfvars\.json$/.test(file) ? 2 : 0;
  return [...files].sort((a, b) => rank(a) - rank(b));
}

const syntax =
  'KEY = VALUE lines, like network = "shadownet"; quotes around texts, none around numbers, true and false';

/** Reads one file; the source is its base name. A problem with the file as a whole becomes one issue. */
export async function readFile(file: string): Promise<Layer | ConfigurationIssue> {
  const source = basename(file);
  const fail = (found: string, write: string): ConfigurationIssue => ({ path: [], source, found, write });
  if (!existsSync(file)) return fail(`no file ${file}`, "the path of a file with variables, or leave the option out");
  if (!statSync(file).isFile()) return fail(`${file}, which is no file`, "the path of a file with variables");
  const content = readFileSync(file, "utf8").replace(/^\uFEFF/, "");
  const isJson = file.endsWith(".json");
  if (!isJson && (content.match(/\/\*/g)?.length ?? 0) > (content.match(/\*\//g)?.length ?? 0))
    return fail("a comment that begins with /* and never ends", "*/ at its end, or # before each line");
  if (!isJson && /^\s*variable\s+"/m.test(content))
    return fail("declarations of variables", `values only, like those of examples/: ${syntax}`);
  let values: unknown;
  try {
    values = isJson && content.trim() !== "" ? parseJson(content) : await parseHcl(source, content);
  } catch (error) {
    const [, key, first] = /argument "(\w+)" was already set at \S+?:(\d+),/.exec(errorText(error)) ?? [];
    if (!isJson && key !== undefined) return fail(`${key} twice, first in line ${first}`, `${key} once`);
    return fail(
      `not readable as ${isJson ? "JSON" : "HCL"}: ${errorText(error)}`,
      isJson ? 'one JSON object, like {"network": "shadownet"}' : syntax,
    );
  }
  if (typeof values !== "object" || values === null || Array.isArray(values))
    return fail("JSON that is no object", 'one JSON object, like {"network": "shadownet"}');
  if (Object.keys(values).length === 0)
    return fail("an empty file", "at least one value, or delete the file; examples/ has complete ones");
  return { source, values: values as Record<string, unknown>, text: content };
}

/** What the parser says, without the names and texts that it quotes. */
const errorText = (error: unknown): string =>
  redact(error instanceof Error ? error.message : String(error))
    .replace(/"([^"=]*)"/g, (_, name: string) => (/^[a-z_]{1,20}$/.test(name) ? `"${showName(name)}"` : '"..."'))
    .replace(/^parse config: \[(.*)\]$/s, "$1")
    .trim();

/** In HCL an expression or a reference comes back as "${...}"; the rules refuse it, as Terraform does. */
const parseHcl = async (name: string, content: string): Promise<unknown> => {
  if (content.trim() === "") return {};
  // Its import compiles and starts a WebAssembly program, which takes half a second that most commands do not need.
  const { parse } = await import("@cdktf/hcl2json");
  return parse(name, content);
};

/**
 * The value of a `--var KEY=TEXT` or TF_VAR_KEY, as Terraform reads it: a variable of type string takes the text
 * itself, every other an expression.
 */
export async function parseText(text: string, isString: boolean): Promise<unknown> {
  if (isString) return text;
  const parsed = (await parseHcl("value", `value = ${text}\n`)) as Record<string, unknown>;
  if (Object.keys(parsed).join() !== "value") throw new Error("more than one value");
  return parsed.value;
}

/** What the wrapper hands on to synth, in Terraform's order; `secrets` as the path of a file only. */
export interface Handed {
  /** TF_VAR_*: below the files. */
  environment: Record<string, string>;
  /** --var and --var-file, in their order: above the files. Paths are absolute or relative to the folder. */
  options: ({ var: string } | { varFile: string })[];
  /** Of the secrets in both: synth is told these instead. */
  secretRevisions?: Readonly<Record<string, number>>;
}

/** One layer for a text that may not parse. */
export async function textLayer(
  key: string,
  text: string,
  isString: boolean,
  source: string,
): Promise<Layer | ConfigurationIssue> {
  try {
    return { source, values: { [key]: await parseText(text, isString) } };
  } catch (error) {
    return {
      path: [key],
      source,
      found: key === "secrets" ? "not readable as a value (not shown)" : `not readable as a value: ${errorText(error)}`,
      write: `${key}=VALUE; texts inside lists and maps in quotes`,
    };
  }
}

/** Name of the environment variable in which the wrapper hands these to synth. */
export const handedName = "TEZOS_ON_GKE_VARIABLES";
export const readHanded = (environment: Readonly<Record<string, string | undefined>>): Handed | undefined => {
  const text = environment[handedName];
  if (text === undefined) return undefined;
  return JSON.parse(text) as Handed;
};

export const inFolder = (folder: string, path: string): string => resolve(folder, path);
