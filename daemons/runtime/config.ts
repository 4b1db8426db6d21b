/**
 * Reads and checks a daemon's environment and its JSON file: all errors at once, exit 1. The only reader of process.env
 * in the daemons.
 */
import { readFileSync } from "node:fs";
import { isAbsolute } from "node:path";
import { en } from "zod/locales";
import * as z from "zod/mini";
import { bakerFileSchema, memberPods, type BakerFile } from "../../contract/baker-file";
import { env, type EnvName, type PodEnv } from "../../contract/env";

// zod/mini, a quarter of zod's size, says only "Invalid input" by itself.
z.config(en());

export interface DaemonConfig {
  env: PodEnv;
  file: BakerFile;
  /** `<pod>_<uid>` */
  identity: string;
}

/** Every mistake of an environment and of the file that it names; `config` only where there is none. */
export function parseConfig(
  variables: Readonly<Record<string, string | undefined>>,
  read: (path: string) => string = (path) => readFileSync(path, "utf8"),
): { config: DaemonConfig; errors: [] } | { config?: undefined; errors: string[] } {
  const errors: string[] = [];
  for (const name of Object.keys(variables))
    if (name.startsWith("TOG_") && !(name in env))
      errors.push(`${name}: unknown name; the names are ${Object.keys(env).join(", ")}`);
  const values = {} as PodEnv;
  for (const [name, rule] of Object.entries(env) as [EnvName, (typeof env)[EnvName]][]) {
    const value = variables[name];
    if (value === undefined || (rule.required && value === ""))
      errors.push(`${name}: must be set (${rule.text}), got ${value === undefined ? "nothing" : '""'}`);
    else if (rule.path && !isAbsolute(value))
      errors.push(`${name}: must be an absolute path (${rule.text}), got "${value}"`);
    else values[name] = value;
  }
  if (values.TOG_KUBE_URL !== undefined && !/^https?:\/\/[^/]+$/.test(values.TOG_KUBE_URL))
    errors.push(`TOG_KUBE_URL: must be http(s)://HOST[:PORT], got "${values.TOG_KUBE_URL}"`);
  let file: BakerFile | undefined;
  if (values.TOG_CONFIG_FILE !== undefined) {
    try {
      const parsed = bakerFileSchema.safeParse(JSON.parse(read(values.TOG_CONFIG_FILE)));
      if (parsed.success) file = parsed.data;
      else
        for (const issue of parsed.error.issues)
          errors.push(`${values.TOG_CONFIG_FILE}: ${issue.path.join(".") || "(file)"}: ${issue.message}`);
    } catch (error) {
      errors.push(
        `TOG_CONFIG_FILE: must name a readable JSON file, got "${values.TOG_CONFIG_FILE}": ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
  const pods = file && memberPods(file);
  const pod = values.TOG_POD_NAME;
  if (pod !== undefined && !(pods ? pods.includes(pod) : /-\d+$/.test(pod)))
    errors.push(`TOG_POD_NAME: must be a pod of the baker (${pods?.join(", ") ?? "like alice-as-0"}), got "${pod}"`);
  if (errors.length > 0 || !file) return { errors };
  return { config: { env: values, file, identity: `${values.TOG_POD_NAME}_${values.TOG_POD_UID}` }, errors: [] };
}

/** The configuration of this process; prints every mistake as a log line and exits with 1 where there is one. */
export function loadConfig(daemon: string): DaemonConfig {
  const result = parseConfig(process.env);
  if (result.config) return result.config;
  for (const reason of result.errors)
    console.log(
      JSON.stringify({
        atMs: new Date().getTime(),
        level: "error",
        pod: process.env.TOG_POD_NAME ?? "",
        daemon,
        event: "configuration",
        reason,
      }),
    );
  process.exit(1);
}

/** Process that is told of this one's beats (images/tog-init); NaN where nobody asks for them. */
export const beatPid = (): number => Number(process.env.BEAT_PID ?? NaN);

/** Expands `$(TOG_...)` in a command line. @throws Error for a name that is not in the environment */
export function expandArgs(args: readonly string[], values: PodEnv): string[] {
  return args.map((arg) =>
    arg.replace(/\$\((\w+)\)/g, (whole, name: string) => {
      const value = (values as Record<string, string | undefined>)[name];
      if (value === undefined)
        throw new Error(
          `a command line may use $(NAME) for ${Object.keys(values).join(", ")}; got ${whole} in "${arg}"`,
        );
      return value;
    }),
  );
}
