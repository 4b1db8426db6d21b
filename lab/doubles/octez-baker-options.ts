/** The command line of `octez-baker`, as strict as Octez is. */
import { fail, parseArguments } from "./common";

export const program = "octez-baker";
const wrong = (message: string): never => fail(program, 1, `Erroneous command line: ${message}`);

export interface Options {
  clientDir: string;
  node: string;
  signer: string | undefined;
  nodeDir: string;
  names: string[];
  keepAlive: boolean;
  callTimeoutMs: number;
}

const globalOptions = {
  options: {
    "--base-dir": "value",
    "--endpoint": "value",
    "--remote-signer": "value",
    "--log-requests": "flag",
    "--chain": "value",
    "--wait": "value",
    "--password-filename": "value",
    "--protocol": "value",
    "--media-type": "value",
    "--better-errors": "flag",
  },
  aliases: {
    "-d": "--base-dir",
    "-E": "--endpoint",
    "-R": "--remote-signer",
    "-l": "--log-requests",
    "-f": "--password-filename",
  },
} as const;
const runOptions = {
  options: {
    "--liquidity-baking-toggle-vote": "value",
    "--dal-node": "value",
    "--without-dal": "flag",
    "--keep-alive": "flag",
    "--remote-calls-timeout": "value",
    "--record-state": "flag",
    "--votefile": "value",
    "--pidfile": "value",
    "--minimal-fees": "value",
    "--state-recorder": "flag",
    "--pre-emptive-forge-time": "value",
    "--operations-pool": "value",
    "--adaptive-issuance-vote": "value",
    "--dal-node-timeout-percentage": "value",
    "--force": "flag",
    "--minimal-nanotez-per-byte": "value",
    "--minimal-nanotez-per-gas-unit": "value",
    "--allow-signing-delay": "flag",
  },
  aliases: {
    "--vote": "--liquidity-baking-toggle-vote",
    "-K": "--keep-alive",
    "-V": "--votefile",
    "-P": "--pidfile",
  },
} as const;

function split(argv: readonly string[], spec: Parameters<typeof parseArguments>[1]) {
  try {
    return parseArguments(argv, spec);
  } catch (error) {
    return wrong((error as Error).message);
  }
}

export function parse(argv: readonly string[]): Options {
  const at = argv.findIndex((word, i) => word === "run" && (argv[i + 1] === "with" || argv[i + 1] === "remotely"));
  if (at < 0) return wrong("Unrecognized command.");
  const local = argv[at + 1] === "with";
  if (local && argv.slice(at, at + 4).join(" ") !== "run with local node") return wrong("Unrecognized command.");
  const global = split(argv.slice(0, at), globalOptions);
  if (global.words.length > 0) return wrong(`unexpected '${global.words.join(" ")}'`);
  const command = split(argv.slice(at + (local ? 4 : 2)), runOptions);
  const vote = command.options.get("--liquidity-baking-toggle-vote")?.[0];
  if (vote === undefined && !command.options.has("--votefile")) return wrong("Missing liquidity baking toggle vote");
  if (vote !== undefined && !["on", "off", "pass"].includes(vote))
    return wrong(`--liquidity-baking-toggle-vote is on, off or pass; got '${vote}'`);
  if (command.options.has("--dal-node") === command.options.has("--without-dal"))
    return wrong("give exactly one of --dal-node and --without-dal");
  const [nodeDir = "", ...names] = local ? command.words : ["", ...command.words];
  if (local && nodeDir === "") return wrong("run with local node needs the node's data directory");
  return {
    clientDir: global.options.get("--base-dir")?.[0] ?? wrong("the double needs -d"),
    node: global.options.get("--endpoint")?.[0] ?? "http://127.0.0.1:8732",
    signer: global.options.get("--remote-signer")?.[0],
    ...{ nodeDir, names, keepAlive: command.options.has("--keep-alive") },
    callTimeoutMs: Number(command.options.get("--remote-calls-timeout")?.[0] ?? "0") * 1000,
  };
}
