/** What every command of the cockpit is told: which cluster and which baker. */
import { InvalidArgumentError, type Command } from "commander";
import { suggestion } from "../configuration/errors";
import { watermarkName } from "../contract/names";
import { UsageError } from "./cluster";

/** An address or the name of its watermark. @returns the name */
export const keyName = (text: string): string => {
  if (/^wm-[0-9a-f]{40}$/.test(text)) return text;
  try {
    return watermarkName(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
};
export const plainLevel = (text: string): number =>
  plainNumber("a level is written in digits alone, for instance 3200011", /^\d+$/)(text);

/** A number as people write it; "", 0x10 and 1e7 are slips of the keyboard. */
export const plainNumber =
  (what: string, form: RegExp) =>
  (text: string): number => {
    if (!form.test(text) || !Number.isFinite(Number(text))) throw new InvalidArgumentError(`${what}; got "${text}"`);
    return Number(text);
  };

export const plainSeconds = plainNumber(
  "seconds above 0 are written in digits, for instance 90 or 0.5",
  /^(?=.*[1-9])\d+(\.\d+)?$/,
);

export interface Common {
  baker?: string;
  context?: string;
  kubeconfig?: string;
  namespace?: string;
  json?: boolean;
}

/** A subcommand that takes the cluster's options. */
export const clusterCommand = (program: Command, name: string, text: string): Command =>
  program
    .command(name)
    .description(text)
    .option("--context <name>", "context of the kubeconfig (default: that of the configuration in this folder)")
    .option("--kubeconfig <file>", "kubeconfig (default: KUBECONFIG or ~/.kube/config)")
    .option("--namespace <name>", "namespace of the bakers (default: that of the configuration in this folder)");

/** One that is about a single baker. */
export const bakerCommand = (program: Command, name: string, text: string): Command =>
  clusterCommand(program, name, text).option("--baker <name>", "the baker (default: the only one of the namespace)");
/** A group of subcommands, which says so where none of them is named. */
export function commandGroup(program: Command, name: string, text: string): Command {
  const group = program.command(name).description(text).argument("[command]").usage("COMMAND [options]");
  return group
    .allowUnknownOption()
    .allowExcessArguments()
    .action((_first: unknown, _options: unknown, { args }: Command) => {
      const [first = ""] = args;
      const names = group.commands.map((command) => command.name());
      const word = first.startsWith("-") ? "" : first;
      const got = word === "" ? "" : `; got "${word}"`;
      throw new UsageError(`${name}: choose ${names.join(" or ")}${got}${suggestion(word, names)}`);
    });
}
/** One that can also print JSON. */
export const jsonCommand = (program: Command, name: string, text: string): Command =>
  bakerCommand(program, name, text).option("--json", "print one JSON object");
