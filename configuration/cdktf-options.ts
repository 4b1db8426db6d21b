/**
 * The cdktf command gives --var and --var-file to Terraform but not to synth, puts tfvars files above --var, and drops
 * --context. A value that would be ignored must not pass unseen: synth looks at the command line of the cdktf process
 * above it, as far as the system shows it.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { ConfigurationError, showName, type ConfigurationIssue } from "./errors";
import { resolveConfiguration, type ResolveOptions, type Resolved } from "./load";
import { type Handed } from "./tfvars";

/** --var, --var-file and --context of an argument list; cdktf (yargs) takes `--var a=1 b=2` as two. */
export function optionsOf(argv: readonly string[]): { options: Handed["options"]; contexts: string[] } {
  const options: Handed["options"] = [];
  const contexts: string[] = [];
  let current = "";
  for (const argument of argv) {
    const [, name = "", value] = /^--?([a-z-]+)(?:=(.*))?$/s.exec(argument) ?? [];
    const text = name === "" ? argument : value;
    if (name !== "") current = name;
    if (text === undefined) continue;
    if (current === "var") options.push({ var: text });
    else if (current === "var-file") options.push({ varFile: text });
    else if (current === "c" || current === "context") contexts.push(text);
    else if (name !== "") current = "";
  }
  return { options, contexts };
}

export interface CdktfProcess {
  argv: string[];
  /**
   * Its TF_VAR_secrets, which it gives to Terraform but takes out of the environment of synth. `null` if it has none;
   * undefined where the system does not show the environment of a process.
   */
  secrets: string | null | undefined;
}

/** The nearest cdktf process above this one; undefined where there is none or the system does not tell. */
export function cdktfProcess(pid: number): CdktfProcess | undefined {
  for (let current = pid, depth = 0; current > 1 && depth < 6; depth++) {
    const found = ancestor(current);
    if (!found) return undefined;
    const at = found.argv.findIndex((word) => /(^|\/)cdktf$/.test(word));
    if (at >= 0) return { argv: found.argv.slice(at + 1), secrets: secretsOf(current) };
    current = found.parent;
  }
  return undefined;
}

function secretsOf(pid: number): string | null | undefined {
  try {
    const name = "TF_VAR_secrets=";
    const entries = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
    return entries.find((entry) => entry.startsWith(name))?.slice(name.length) ?? null;
  } catch {
    return undefined;
  }
}

function ancestor(pid: number): { parent: number; argv: string[] } | undefined {
  try {
    if (existsSync("/proc/self/stat")) {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      return { parent, argv: readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1) };
    }
    const [, parent, command] =
      /^\s*(\d+)\s+(.*)$/s.exec(
        execFileSync("ps", ["-o", "ppid=,command=", "-p", String(pid)], { encoding: "utf8", timeout: 2000 }),
      ) ?? [];
    return parent === undefined || command === undefined
      ? undefined
      : { parent: Number(parent), argv: command.trim().split(/\s+/) };
  } catch {
    return undefined;
  }
}

/**
 * Refuses options of the cdktf command that would change nothing.
 * @returns the configuration with those options, for the secrets among them
 * @throws ConfigurationError with the way to give them
 */
export async function refuseIgnoredOptions(
  argv: readonly string[],
  resolved: Resolved,
  options: ResolveOptions,
): Promise<Resolved> {
  const { options: handed, contexts } = optionsOf(argv);
  const issues: ConfigurationIssue[] = contexts.map((text) => ({
    path: [text.split("=")[0] ?? text],
    source: "--context",
    found: "an option that the cdktf command ignores",
    write: `it into terraform.tfvars or into "context" of cdktf.json, or use npm run diff|deploy -- --var ${showName(text.split("=")[0] ?? "")}=...`,
  }));
  let other = resolved;
  if (handed.length > 0) {
    other = (await resolveConfiguration({
      ...options,
      handed: { environment: options.handed?.environment ?? {}, options: handed },
    })) satisfies Resolved;
    const [mine, theirs] = [resolved.configuration.given ?? {}, other.configuration.given ?? {}];
    for (const key of new Set([...Object.keys(mine), ...Object.keys(theirs)]))
      if (JSON.stringify(mine[key]) !== JSON.stringify(theirs[key]))
        issues.push({
          path: [key],
          ...(other.sources[key] === undefined ? {} : { source: other.sources[key] }),
          found: "a value that the cdktf command gives to Terraform only, so that it would be ignored",
          write: `it into terraform.tfvars, or use npm run diff|deploy with the same option: npm run deploy -- --var ${key}=...`,
        });
  }
  if (issues.length > 0) throw new ConfigurationError(issues);
  return other;
}
