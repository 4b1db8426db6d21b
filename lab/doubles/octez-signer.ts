/** Double of `octez-signer`: the command line, strictly, around the server of signer-server.ts. */
import { appendFileSync, mkdirSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { publicKeyHash } from "../../tezos/keys";
import { fail, octezSignals, openTrace, parseArguments, readJson, writeJson, type ArgumentSpec } from "./common";
import { clicError, log, unrecognized } from "./octez-output";
import { OctezSigner, type SignerFaults } from "./signer-server";
import { keyOf, type SigningKey } from "./signing-keys";

type PublicKeyValue = string | { locator: string; key: string };
type Named<V = string> = { name: string; value: V }[];
const scheme = "unencrypted:";

/**
 * The keys of a client folder as Octez finds them: from the hash to the alias, from there to both keys. @throws Error
 * where the files do not agree
 */
function keysOf(dir: string): SigningKey[] {
  const read = <V>(name: string): Named<V> => {
    const list = readJson<unknown>(join(dir, name), []);
    const ok = Array.isArray(list) && list.every((entry: object) => Object.keys(entry).sort().join() === "name,value");
    if (!ok) throw new Error(`${name} is no list of name and value`);
    return list as Named<V>;
  };
  const [hashes, publicKeys, secrets] = [
    read<string>("public_key_hashs"),
    read<PublicKeyValue>("public_keys"),
    read<string>("secret_keys"),
  ];
  return hashes.flatMap(({ name, value: hash }) => {
    const secret = secrets.find((entry) => entry.name === name)?.value;
    if (secret === undefined) return [];
    const shown = publicKeys.find((entry) => entry.name === name)?.value;
    if (shown === undefined) throw new Error(`no public key alias named ${name}`);
    if (!secret.startsWith(scheme)) throw new Error("only unencrypted: secret keys are known here.");
    const key = keyOf(secret.slice(scheme.length));
    const locator = typeof shown === "string" ? shown : shown.locator;
    if (
      locator !== scheme + key.publicKey ||
      (typeof shown !== "string" && shown.key !== key.publicKey) ||
      hash !== key.address
    )
      throw new Error(`the files do not agree about ${name}`);
    return [key];
  });
}
const program = "octez-signer";
const usage = `Usage:
  octez-signer [global options] command [command options]
  octez-signer --help (for global options)
  octez-signer [global options] command --help (for command options)
  octez-signer --version (for version information)

To browse the documentation:
  octez-signer [global options] man (for a list of commands)
  octez-signer [global options] man -v 3 (for the full manual)

Global options (must come before the command):
  -d --base-dir <path>: signer data directory
  -A --require-authentication: Require a signature from the caller to sign.
  -f --password-filename <filename>: path to the password filename
`;
/** The global options and those of `launch http signer`, as the manual lists them, and those of the other commands. */
export const signerOptions: Required<ArgumentSpec> = {
  options: {
    ...{ "--base-dir": "value", "--require-authentication": "flag", "--password-filename": "value" },
    ...{ "--pidfile": "value", "--magic-bytes": "value", "--check-high-watermark": "flag" },
    ...{ "--allow-list-known-keys": "flag", "--allow-to-prove-possession": "flag", "--address": "value" },
    ...{ "--port": "value", "--force": "flag", "--name": "value" },
  },
  aliases: {
    ...{ "-d": "--base-dir", "-A": "--require-authentication", "-f": "--password-filename" },
    ...{ "-P": "--pidfile", "-M": "--magic-bytes", "-W": "--check-high-watermark", "-a": "--address" },
    ...{ "-p": "--port" },
  },
};
const stop = (message: string): never => fail(program, 1, `Error: ${message}`);
/** The value of `work`; an error ends the program with its words. */
function orStop<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    return stop(error instanceof Error ? error.message : String(error));
  }
}

interface Command {
  words: string[];
  has(option: string): boolean;
  last(option: string): string | undefined;
  /** The client folder. */
  dir: string;
}
function parsed(argv: readonly string[]): ReturnType<typeof parseArguments> {
  try {
    return parseArguments(argv, signerOptions);
  } catch (error) {
    const [, word] = /^unknown option '(.*)'\.$/.exec((error as Error).message) ?? [];
    process.stderr.write(`${usage}\n`);
    return clicError(word === undefined ? (error as Error).message : `Unexpected command line option ${word}.`);
  }
}
function parse(argv: readonly string[]): Command {
  const { options, words } = parsed(argv);
  const last = (name: string): string | undefined => options.get(name)?.at(-1);
  const dir = last("--base-dir") ?? join(process.env.HOME ?? "/", ".octez-signer");
  return { words, has: (name) => options.has(name), last, dir };
}

/** Adds an entry to a file of the client folder. */
function put<V>({ dir, has }: Command, name: string, entry: Named<V>[number]): void {
  const list = readJson<Named<V>>(join(dir, name), []);
  if (!has("--force") && list.some((other) => other.name === entry.name))
    stop(`the ${name} alias ${entry.name} already exists.`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeJson(join(dir, name), [...list.filter((other) => other.name !== entry.name), entry]);
}

function importSecretKey(command: Command): void {
  const [alias = "", uri = ""] = command.words.slice(3);
  if (!uri.startsWith(scheme)) stop("only unencrypted: secret keys are known here.");
  const key = orStop(() => keyOf(uri.slice(scheme.length)));
  put(command, "secret_keys", { name: alias, value: uri });
  put(command, "public_keys", { name: alias, value: { locator: scheme + key.publicKey, key: key.publicKey } });
  put(command, "public_key_hashs", { name: alias, value: key.address });
  process.stdout.write(`Tezos address added: ${key.address}\n`);
}

function addAuthorizedKey(command: Command): void {
  const value = command.words[3] ?? "";
  const hash = publicKeyHash(value) ?? stop(`a public key was expected, got ${value}`);
  put(command, "authorized_keys", { name: command.last("--name") ?? hash, value });
}

/**
 * LAB_SIGNER_LOG names a file that gets every request as a JSON line (`at` is CLOCK_MONOTONIC in milliseconds);
 * LAB_SIGNER_FAULTS a JSON file of SignerFaults (without otherKey), read again at every request.
 */
async function launch({ has, last, dir }: Command): Promise<void> {
  // A byte without 0x is decimal.
  const magicBytes = last("--magic-bytes")
    ?.split(",")
    .map((text) => (Number(text) < 256 ? Number(text) : stop(`a magic byte is a number, got ${text}`)));
  const portText = last("--port") ?? "6732";
  if (!/^\d{1,5}$/.test(portText)) stop(`a port is a number, got ${portText}`);
  const keys = orStop(() => keysOf(dir));
  const trace = openTrace(program);
  const requests = process.env.LAB_SIGNER_LOG;
  const faultsFile = process.env.LAB_SIGNER_FAULTS;
  const faultsNow = (): SignerFaults => (faultsFile === undefined ? {} : readJson<SignerFaults>(faultsFile, {}));
  const signer = new OctezSigner({
    keys,
    requireAuthentication: has("--require-authentication"),
    authorizedKeys: readJson<Named>(join(dir, "authorized_keys"), []).map((entry) => entry.value),
    magicBytes,
    checkHighWatermark: has("--check-high-watermark"),
    allowListKnownKeys: has("--allow-list-known-keys"),
    allowToProvePossession: has("--allow-to-prove-possession"),
    now: () => Number(process.hrtime.bigint()) / 1e6,
    onRequest: (entry) => {
      trace("signature", { ...entry });
      if (requests !== undefined && requests !== "") appendFileSync(requests, JSON.stringify(entry) + "\n");
    },
  });
  if (faultsFile !== undefined) Object.defineProperty(signer, "faults", { get: faultsNow });
  const address = last("--address") ?? "127.0.0.1";
  octezSignals(program, () => signer.close());
  await signer.start(address, Number(portText)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") stop(String(error));
    // octez-signer lives without its port and says nothing.
    setInterval(() => undefined, 60_000);
  });
  log("NOTICE", `accepting HTTP requests on port ${portText}`);
  log("NOTICE", `listening on address: ${isIP(address) === 4 ? `::ffff:${address}` : address}`);
}

/** `launch http signer`, `import secret key`, `add authorized key`. */
export async function main(argv: readonly string[]): Promise<void> {
  const command = parse(argv);
  const { words } = command;
  const name = words.slice(0, 3).join(" ");
  if (name === "import secret key" && words.length === 5) return importSecretKey(command);
  if (name === "add authorized key" && words.length === 4) return addAuthorizedKey(command);
  if (name === "launch http signer" && words.length === 3) return launch(command);
  if (words.length === 0) return void process.stdout.write(`${usage}\n`);
  return unrecognized();
}
