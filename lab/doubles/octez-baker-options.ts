/** The command line of octez-baker 25.1, and how it refuses one. */
import { existsSync } from "node:fs";
import { ushuaia } from "../../tezos/protocols";
import { parseArguments, type ArgumentSpec } from "./common";
import { clicError, clientOptions, unrecognized } from "./octez-output";

export const program = "octez-baker";

export interface Options {
  clientDir: string;
  node: string;
  signer: string | undefined;
  nodeDir: string;
  /** Names or addresses as they were given. */
  names: string[];
  keepAlive: boolean;
  callTimeoutMs: number;
  /** Undefined where no vote and no file of votes is given: octez-baker notices once it runs. */
  vote: string | undefined;
  dalNode: string | undefined;
  withoutDal: boolean;
}

/** The options of `run with local node` and `run remotely`, as the manual lists them. */
export const bakerOptions: Required<ArgumentSpec> = {
  options: {
    ...{ "--pidfile": "value", "--node-version-check-bypass": "flag", "--node-version-allowed": "value" },
    ...{ "--minimal-fees": "value", "--minimal-nanotez-per-gas-unit": "value" },
    ...{ "--minimal-nanotez-per-byte": "value", "--force-apply-from-round": "value", "--keep-alive": "flag" },
    ...{ "--liquidity-baking-toggle-vote": "value", "--votefile": "value", "--operations-pool": "value" },
    ...{ "--dal-node": "value", "--without-dal": "flag", "--record-state": "flag" },
    ...{ "--pre-emptive-forge-time": "value", "--remote-calls-timeout": "value" },
    ...{ "--allow-signing-delay": "flag", "--extra-node": "value" },
  },
  aliases: { "-P": "--pidfile", "-K": "--keep-alive", "-V": "--votefile" },
};
/** Protocols that a baker of v25.1 knows. */
export const knownProtocols: readonly string[] = [ushuaia.hash];
const votes = ["on", "off", "pass"];

const unexpected = (error: unknown): never =>
  clicError((error as Error).message.replace(/^unknown option '(.*)'\.$/, (_, word: string) => unexpectedOption(word)));
const unexpectedOption = (word: string): string => `Unexpected command line option ${word}.`;

/** What follows the command: known options, and every other word, of whatever form, in its place. */
function wordsOf(argv: readonly string[]): { options: Map<string, string[]>; words: string[] } {
  const known: string[] = [];
  const words: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    const name = bakerOptions.aliases[word] ?? word;
    const kind = bakerOptions.options[name.split("=")[0] ?? ""];
    if (kind === undefined) words.push(word);
    else {
      known.push(word);
      if (kind === "value" && !word.includes("=") && argv[i + 1] !== undefined) known.push(argv[++i] ?? "");
    }
  }
  return { options: parseArguments(known, bakerOptions).options, words };
}

/** @throws never; ends the process as octez-baker does */
export function parse(argv: readonly string[]): Options {
  const at = argv.findIndex((word, i) => word === "run" && (argv[i + 1] === "with" || argv[i + 1] === "remotely"));
  const local = argv[at + 1] === "with";
  if (at < 0 || (local && argv.slice(at, at + 4).join(" ") !== "run with local node")) return unrecognized();
  try {
    const global = parseArguments(argv.slice(0, at), clientOptions);
    const one = (name: string) => global.options.get(name)?.at(-1);
    if (global.words.length > 0) return unrecognized();
    const protocol = one("--protocol");
    if (protocol !== undefined && !knownProtocols.includes(protocol))
      return clicError(
        `Wrong value for command line option --protocol.\nValue ${protocol} does not correspond to any known protocol.`,
      );
    const rest = argv.slice(at + (local ? 4 : 2));
    if (rest.includes("--help") || (local && rest.length === 0))
      return clicError(
        "Unterminated command, here are possible completions.\n" +
          `  run ${local ? "with local node <node_data_path>" : "remotely"} [<baker>...]`,
      );
    const command = wordsOf(rest);
    return {
      clientDir: one("--base-dir") ?? clicError("the double needs -d"),
      node: one("--endpoint") ?? "http://127.0.0.1:8732",
      signer: one("--remote-signer"),
      ...optionsOf(command.options),
      ...placesOf(command.words, local),
    };
  } catch (error) {
    return unexpected(error);
  }
}
function placesOf(words: string[], local: boolean): Pick<Options, "nodeDir" | "names"> {
  if (!local) return { nodeDir: "", names: words };
  const [nodeDir = "", ...names] = words;
  if (!existsSync(nodeDir))
    clicError(`Erroneous command line argument 5 (${nodeDir}).\nDirectory doesn't exist: '${nodeDir}'`);
  return { nodeDir, names };
}
function optionsOf(options: Map<string, string[]>) {
  const one = (name: string) => options.get(name)?.at(-1);
  const vote = one("--liquidity-baking-toggle-vote");
  if (vote !== undefined && !votes.includes(vote))
    clicError(
      "Wrong value for command line option --liquidity-baking-toggle-vote.\n" +
        `unexpected vote: ${vote}, expected either "on", "off", or "pass".`,
    );
  return {
    vote: vote ?? (options.has("--votefile") ? "pass" : undefined),
    dalNode: one("--dal-node"),
    withoutDal: options.has("--without-dal"),
    keepAlive: options.has("--keep-alive"),
    callTimeoutMs: Number(one("--remote-calls-timeout") ?? "0") * 1000,
  };
}

/** Position of a baker's name in `run with local node DIR NAME...`, as octez-baker counts. */
export const argumentOf = (index: number): number => 6 + index;
