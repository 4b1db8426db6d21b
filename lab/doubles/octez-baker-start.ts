/** What octez-baker does from its command line to its first head, in the order and with the words of version 25.1. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { decodeAddress } from "../../tezos/addresses";
import { lab, readJson, sleep, writeJson } from "./common";
import { argumentOf, type Options } from "./octez-baker-options";
import { call, type NodeClient } from "./node-client";
import type { Key } from "./octez-baker-signer";
import { clicError, log } from "./octez-output";

type Named<V> = { name: string; value: V }[];
const folderFile = <V>({ clientDir }: Options, name: string): Named<V> => readJson(join(clientDir, name), []);

/** The addresses that the command line names; ends the process where one is no name of a key and no address. */
export function namedAddresses(options: Options): string[] {
  const hashes = folderFile<string>(options, "public_key_hashs");
  if (options.names.length === 0) return hashes.map(({ value }) => value);
  return options.names.map((name, i) => {
    const address = hashes.find((entry) => entry.name === name)?.value ?? (decodeAddress(name) ? name : undefined);
    return (
      address ??
      clicError(
        `Erroneous command line argument ${argumentOf(i)} (${name}).\nno public key hash alias named ${name}\n` +
          `cannot read file (Unix.Unix_error(Unix.ENOENT, "open", "${name}"))\n` +
          `Failed to read a b58check_encoding data (Signature.Public_key_hash): "${name}"\nCould not parse input.`,
      )
    );
  });
}

const reasonOf = (error: unknown): string =>
  (error as NodeJS.ErrnoException).code === "ECONNREFUSED" ? "Connection refused (ECONNREFUSED)" : String(error);
const nextDelayMs = (ms: number): number => ms * 1.5;
/** Resolves when the node answers; with --keep-alive it waits for that, at first 1 s, then half as long again. */
export async function untilNode({
  node,
  keepAlive,
  callTimeoutMs,
}: Pick<Options, "node" | "keepAlive" | "callTimeoutMs">): Promise<void> {
  for (let delayMs = 1000; ; delayMs = nextDelayMs(delayMs)) {
    try {
      const { status } = await call(`${node}/chains/main/chain_id`, undefined, callTimeoutMs);
      if (status === 200) return;
      throw new Error(`Unexpected error ${status}`);
    } catch (error) {
      const reason = `Cannot connect to node. ${reasonOf(error)}: ${node}`;
      if (!keepAlive) return clicError(reason);
      const retry = `Retrying in ${(delayMs / 1000).toFixed(2)} seconds...`;
      log("WARN", `agnostic daemon failed to reach the node at ${node}.`, "Error:", `  ${reason}`, retry);
      await sleep(delayMs);
    }
  }
}

/** The protocol's own part of the start, which takes the declared time; ends the process where an option is missing. */
async function startProtocol(options: Options, protocol: string): Promise<void> {
  const { vote, dalNode, withoutDal, clientDir } = options;
  const short = protocol.slice(0, 12);
  log("NOTICE", `starting baker for protocol ${short}`);
  await sleep(lab.startMs);
  log("NOTICE", `baker for protocol ${short} is now running`);
  const voteFile = ["per_block_votes.json", join(clientDir, "per_block_votes.json")].some((path) => existsSync(path));
  if (vote === undefined && !voteFile)
    clicError(
      "Missing liquidity baking toggle vote, please use either the --liquidity-baking-toggle-vote option, or the " +
        "--votefile option or a votes file in the default location: per_block_votes.json in the current working " +
        "directory or in the baker directory.",
    );
  log("NOTICE", `read liquidity baking toggle vote = ${vote ?? "pass"}`);
  if (dalNode !== undefined && withoutDal)
    clicError(
      "'--dal-node <endpoint>' and '--without-dal' are incompatible. Please do not pass '--without-dal' option.",
    );
  if (dalNode === undefined && !withoutDal)
    clicError(
      "Please connect a running DAL node using '--dal-node <endpoint>'. " +
        "If you do not want to run a DAL node, you have to opt-out using '--without-dal'.",
    );
  if (dalNode === undefined)
    log(
      "WARN",
      "No DAL node endpoint has been provided.",
      "Not running a DAL node might result",
      "  in losing a share of the participation rewards.",
      "For instructions on how to",
      "  run a DAL node, please visit",
      "  https://docs.tezos.com/tutorials/join-dal-baker.",
    );
  else await call(`${dalNode}/health`, undefined, 5000).catch(() => dalAway(dalNode));
}
const dalAway = (url: string): void =>
  log(
    "ERROR",
    `The DAL node cannot be reached on endpoint: ${url}.`,
    "Please check",
    "  your DAL node and possibly restart it.",
  );

/** The keys with their names and public keys, and what octez-baker says of them. */
async function takeKeys(options: Options, addresses: readonly string[]): Promise<Key[]> {
  const hashes = folderFile<string>(options, "public_key_hashs");
  const keys = addresses.map((address): Key => {
    const { name } =
      hashes.find((entry) => entry.value === address) ?? clicError(`no keys for the source contract ${address}`);
    return { address, alias: name, tz4: address.startsWith("tz4"), queue: Promise.resolve() };
  });
  await learnPublicKeys(options, keys);
  return keys;
}
export function announceKeys(keys: readonly Key[]): void {
  log("WARN", "the extra-node feature is under development.", "You must not use it in your", "  baking setup.");
  const list = keys.map(({ alias, address }) => `         '${alias}' (${address})`);
  log("NOTICE", "Baker will run with the following", "  keys:", ...list);
}
/** Asks for the public keys that the client's folder does not know, and writes them into it. */
async function learnPublicKeys(options: Options, keys: readonly Key[]): Promise<void> {
  const known = folderFile<string | { locator: string; key: string }>(options, "public_keys");
  let learnt = false;
  for (const { alias, address } of keys) {
    const entry = known.find(({ name }) => name === alias);
    if (entry && typeof entry.value !== "string") continue;
    const { status, text } = await call(
      `${options.signer}/keys/${address}`,
      undefined,
      options.callTimeoutMs || 10_000,
    ).catch((error: unknown) => ({ status: 0, text: String(error) }));
    if (status !== 200)
      clicError(`unable to get the public key of ${alias} (${address}) from ${options.signer}: ${status} ${text}`);
    if (!entry) continue;
    const { public_key: key } = JSON.parse(text) as { public_key: string };
    entry.value = { locator: String(entry.value), key };
    learnt = true;
  }
  if (learnt) writeJson(join(options.clientDir, "public_keys"), known);
}

/**
 * Loads the nonces, asks the node and writes them back without wallet_lock: what somebody wrote meanwhile is lost.
 * @param path of `stateful_nonces`
 */
export async function migrateNonces(path: string, askNode: () => Promise<unknown>): Promise<void> {
  const loaded = readJson<unknown[]>(path, []);
  await askNode();
  if (existsSync(path)) writeJson(path, loaded);
  log("NOTICE", "successfully migrated nonces: legacy nonces are safe to delete");
}

function announceStart(protocol: string, blockSeconds: number): void {
  const forge = 0.15 * blockSeconds;
  const window = blockSeconds - forge;
  process.stdout.write(
    `Node is bootstrapped.\nWaiting for protocol 025-${protocol.slice(0, 8)} to start...\n` +
      `pre-emptive-forge-time optimization set to ${forge.toFixed(6)}s. Operation inclusion window is ` +
      `~${window.toFixed(6)}s. Caution: Setting this too high may result in reduced block proposal rewards.\n` +
      `Baker 25.1 (a double of the laboratory) for ${protocol.slice(0, 12)} started.\n`,
  );
}

/** The start up to "is running", which takes the declared time; ends the process where something is missing. */
export async function startWith(options: Options, addresses: readonly string[], node: NodeClient): Promise<Key[]> {
  const { protocol } = await node.rpc<{ protocol: string }>("/chains/main/blocks/head/header");
  await startProtocol(options, protocol);
  const keys = await takeKeys(options, addresses);
  const constants = await node.rpc<{ minimal_block_delay: string }>("/chains/main/blocks/head/context/constants");
  announceStart(protocol, Number(constants.minimal_block_delay));
  return keys;
}
