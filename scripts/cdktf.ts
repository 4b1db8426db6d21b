/**
 * `npm run synth|diff|deploy|destroy [-- [--only] STACK OPTIONS]`: the cdktf command for both stacks in order, with
 * Terraform's --var, --var-file and TF_VAR_* also known at synth. Other options go to cdktf as they are. `diff` ends
 * with what the plans do to the bakers; with --json or --markdown, that is all that goes to stdout.
 */
import "../configuration/node";
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { ConfigurationError, showName } from "../configuration/errors";
import { terraformType } from "../configuration/keys";
import { requireSecrets, resolveConfiguration, type Resolved } from "../configuration/load";
import { requireTerraform } from "../configuration/terraform-version";
import { handedName, parseText, type Handed } from "../configuration/tfvars";
import { cdktfContext, exampleFolder } from "../configuration/folder";
import { reviewPlans } from "./plan-review";
import { reviewMarkdown, reviewText } from "./review-text";

export const commands = ["synth", "diff", "deploy", "destroy"] as const;
export type Command = (typeof commands)[number];

export interface Request {
  command: Command;
  /** --var and --var-file, in their order. */
  options: Handed["options"];
  stacks: string[];
  /** The form in which a diff is reviewed. */
  review: "text" | "markdown" | "json";
  /** Everything else, for cdktf. */
  others: string[];
}

const usage = `usage: npm run ${commands.join("|")} -- [[--only] platform|baker] [--var KEY=VALUE]... [--var-file FILE]... [options of cdktf]\n       npm run --silent diff -- --json|--markdown: what the plans do to the bakers, alone`;
/** Options of cdktf that are followed by a value. */
const withValue = new Set([
  "--app",
  "-a",
  "--output",
  "-o",
  "--terraform-parallelism",
  "--parallelism",
  "--outputs-file",
  "--log-level",
]);

/** @throws Error with the usage */
export function parseRequest(argv: readonly string[]): Request {
  const [command, ...rest] = argv;
  if (!commands.some((known) => known === command)) throw new Error(`${usage}\ngot ${showName(command ?? "nothing")}`);
  const request: Request = { command: command as Command, options: [], stacks: [], review: "text", others: [] };
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i] as string;
    const [, name, attached] = /^--?(var|var-file)(?:=(.*))?$/s.exec(word) ?? [];
    if (name !== undefined) {
      const value = attached ?? rest[++i];
      if (value === undefined) throw new Error(`${word} wants a value\n${usage}`);
      request.options.push(name === "var" ? { var: value } : { varFile: value });
    } else if (word === "--only") {
      const stack = rest[++i];
      if (stack !== "platform" && stack !== "baker")
        throw new Error(`--only wants platform or baker; got ${showName(stack ?? "nothing")}\n${usage}`);
      request.stacks.push(stack);
    } else if (word === "platform" || word === "baker") request.stacks.push(word);
    else if (command === "diff" && (word === "--json" || word === "--markdown"))
      request.review = word === "--json" ? "json" : "markdown";
    else if (word.startsWith("-")) {
      request.others.push(word);
      if (withValue.has(word) && rest[i + 1] !== undefined) request.others.push(rest[++i] as string);
    } else throw new Error(`the stacks are platform and baker; got ${showName(word)}\n${usage}`);
  }
  return request;
}

/** What was given, with `secrets`: for this process only. */
export const handedOf = (request: Request, environment: Readonly<Record<string, string | undefined>>): Handed => ({
  environment: Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      name.startsWith("TF_VAR_") && value !== undefined ? [[name.slice("TF_VAR_".length), value]] : [],
    ),
  ),
  options: request.options,
});

/** What synth's process is told: no secret, but the files that hold them. @param varFiles as of asVarFiles */
export function handedOn(
  handed: Handed,
  varFiles: readonly string[],
  secretRevisions: Handed["secretRevisions"],
): Handed {
  return {
    secretRevisions,
    environment: Object.fromEntries(Object.entries(handed.environment).filter(([key]) => key !== "secrets")),
    options: handed.options.map((option, i) =>
      "var" in option && /^\s*secrets\s*=/.test(option.var) ? { varFile: varFiles[i] ?? "" } : option,
    ),
  };
}

/**
 * The options as --var-file only, in their order: cdktf puts every --var before the tfvars files, which then win over
 * it.
 * @param write stores a JSON file for one --var and returns its path
 */
export async function asVarFiles(
  options: Handed["options"],
  folder: string,
  write: (content: string, index: number) => string,
): Promise<string[]> {
  const files: string[] = [];
  for (const [index, option] of options.entries()) {
    if ("varFile" in option) {
      files.push(resolve(folder, option.varFile));
      continue;
    }
    const at = option.var.indexOf("=");
    const key = option.var.slice(0, at).trim();
    const text = option.var.slice(at + 1);
    files.push(write(JSON.stringify({ [key]: await parseText(text, terraformType(key) === "string") }), index));
  }
  return files;
}

/** The cdktf command lines of a request. */
export function commandLines(request: Request, existingCluster: boolean, varFiles: readonly string[]): string[][] {
  const all = existingCluster ? ["baker"] : ["platform", "baker"];
  const stacks = request.stacks.length > 0 ? all.filter((stack) => request.stacks.includes(stack)) : all;
  const vars = varFiles.flatMap((file) => ["--var-file", file]);
  switch (request.command) {
    case "synth":
      return [["synth", ...request.others]];
    case "diff":
      return stacks.map((stack) => ["diff", stack, ...vars, ...request.others]);
    case "deploy":
    case "destroy": {
      const alone = stacks.length < all.length ? ["--ignore-missing-stack-dependencies"] : [];
      return [[request.command, ...stacks, ...vars, ...alone, ...request.others]];
    }
  }
}

async function main(argv: string[]): Promise<number> {
  const request = parseRequest(argv);
  const folder = process.cwd();
  const handed = handedOf(request, process.env);
  const lookOnly = request.command === "synth";
  const resolved: Resolved = await resolveConfiguration({
    folder,
    handed,
    context: cdktfContext(folder),
    ...(lookOnly ? { exampleFolder } : {}),
  });
  if (request.command !== "destroy") requireSecrets(resolved);
  const { configuration } = resolved;
  if (!lookOnly) requireTerraform(configuration);
  if (request.stacks.includes("platform") && configuration.cluster)
    throw new Error("cluster.existing is set: there is no stack platform, only baker");
  if (request.command === "destroy" && configuration.deletion_protection)
    throw new Error(
      "deletion_protection is true. Write deletion_protection = false, run npm run deploy, then npm run destroy. Destroying deletes the watermarks too: see docs/runbooks.",
    );
  const temporary = mkdtempSync(join(tmpdir(), "tezos-on-gke-"));
  try {
    chmodSync(temporary, 0o700);
    const varFiles = await asVarFiles(request.options, folder, (content, index) => {
      const file = join(temporary, `var-${index}.tfvars.json`);
      writeFileSync(file, content, { mode: 0o600 });
      return file;
    });
    const toldSynth = handedOn(handed, varFiles, resolved.secretRevisions());
    const startedMs = Date.now();
    const lines = commandLines(request, configuration.cluster !== undefined, varFiles);
    for (const line of lines) {
      const code = await cdktf(line, toldSynth, request.review !== "text");
      if (code === 0) continue;
      if (line[0] === "diff" && line[1] === "baker" && !configuration.cluster)
        console.error(
          "The stack baker reads the cluster that platform makes: its first diff works after `npm run deploy -- platform`.",
        );
      return code;
    }
    if (request.command === "diff")
      await tellReview(
        request,
        lines.map(([, stack = ""]) => stack),
        startedMs,
        configuration.cluster === undefined,
      );
    return 0;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The end of a diff: what the plans do to the bakers. */
async function tellReview(request: Request, stacks: readonly string[], sinceMs: number, ours: boolean): Promise<void> {
  const at = request.others.findIndex((word) => /^(--output|-o)(=|$)/.test(word));
  const [, attached] = /=(.*)/s.exec(request.others[at] ?? "") ?? [];
  const outdir = resolve(at < 0 ? "cdktf.out" : (attached ?? request.others[at + 1] ?? ""));
  const review = await reviewPlans(outdir, stacks, sinceMs, ours);
  if (review === undefined) throw new Error(`no plan is left in ${outdir}: it cannot be reviewed`);
  const forms = {
    text: reviewText,
    markdown: reviewMarkdown,
    json: (one: object) => JSON.stringify(one, null, 2) + "\n",
  };
  process.stdout.write(forms[request.review](review));
}

/**
 * Runs the cdktf command of node_modules and gives its exit code. Ctrl-C reaches it through the process group.
 * @param aside its output goes to stderr
 */
function cdktf(line: readonly string[], handed: Handed, aside: boolean): Promise<number> {
  const program = join(dirname(require.resolve("cdktf-cli/package.json")), "bundle/bin/cdktf");
  const child = spawn(process.execPath, ["--no-deprecation", program, ...line], {
    stdio: aside ? ["inherit", 2, 2] : "inherit",
    env: { ...process.env, CHECKPOINT_DISABLE: "1", [handedName]: JSON.stringify(handed) },
  });
  const ignore = (): void => undefined;
  process.on("SIGINT", ignore);
  return new Promise((done, fail) => {
    child.once("error", fail);
    child.once("exit", (code) => {
      process.off("SIGINT", ignore);
      done(code ?? 1);
    });
  });
}

if (require.main === module)
  main(process.argv.slice(2)).then(
    (code) => void (process.exitCode = code),
    (error: unknown) => {
      console.error(error instanceof ConfigurationError || error instanceof Error ? error.message : error);
      process.exitCode = 1;
    },
  );
