/**
 * The nonce files of a client folder as the exposer, the importer and `tog nonce-importer export` read them. Reading
 * needs no lock: octez-baker replaces them by rename.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  mergeLegacy,
  mergeStateful,
  NonceFileError,
  nonceFiles,
  parseLegacy,
  parseStateful,
  uncovered,
  type LegacyNonce,
  type NonceFileSet,
  type NonceSet,
  type SeedNonce,
} from "../../tezos/nonces";
import { sleep } from "./clock";

export interface ReadNonces extends NonceSet {
  /** Name of the stateful file that octez-baker reads; undefined where there is none yet. */
  file: string | undefined;
  /** Hashes of the nonces in that file: the others lie in files of this chain that octez-baker does not read. */
  inFile: ReadonlySet<string>;
  /** Names of files of other chains, which are left alone. */
  foreign: string[];
  /**
   * What is wrong with the orphaned file, or with one that octez-baker does not read. Its content is left out: no
   * reason to withhold the nonces that are to be revealed.
   */
  damaged: string | undefined;
}

export class BrokenNonceFile extends Error {
  readonly code: NonceFileError["code"];
  constructor(file: string, problem: NonceFileError) {
    super(`${file}: ${problem.code}: ${problem.message}`);
    this.code = problem.code;
  }
}

async function textOf(folder: string, name: string | undefined): Promise<string | undefined> {
  if (name === undefined) return undefined;
  try {
    return await readFile(join(folder, name), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** What the files of one prefix hold. */
async function readSet(folder: string, names: NonceFileSet) {
  const parse = async <T>(name: string | undefined, parser: (text: string) => T): Promise<T | undefined> => {
    const text = await textOf(folder, name);
    if (text === undefined || name === undefined) return undefined;
    try {
      return parser(text);
    } catch (error) {
      if (error instanceof NonceFileError) throw new BrokenNonceFile(name, error);
      throw error;
    }
  };
  const stateful = await parse(names.stateful_nonces, parseStateful);
  let damaged: string | undefined;
  const orphaned =
    (await parse(names.orphaned_nonces, parseLegacy).catch((error: unknown) => {
      if (!(error instanceof BrokenNonceFile)) throw error;
      damaged = error.message;
      return [];
    })) ?? [];
  // Once there is a stateful file, octez-baker has migrated the legacy one: what is in it besides is an orphan, or
  // outdated.
  const legacy: LegacyNonce[] = stateful === undefined ? ((await parse(names.nonces, parseLegacy)) ?? []) : [];
  return { stateful, legacy: mergeLegacy(orphaned, legacy), damaged };
}

async function readOnce(folder: string, chainId: string): Promise<ReadNonces> {
  const { own, others, foreign } = nonceFiles(await readdir(folder), chainId);
  const ours = await readSet(folder, own);
  const sets = [ours];
  for (const names of others)
    sets.push(
      await readSet(folder, names).catch((error: unknown) => {
        if (!(error instanceof BrokenNonceFile)) throw error;
        return { stateful: undefined, legacy: [], damaged: error.message };
      }),
    );
  const stateful = sets.reduce<SeedNonce[]>((all, set) => mergeStateful(all, set.stateful ?? []), []);
  const legacy = sets.reduce<LegacyNonce[]>((all, set) => mergeLegacy(all, set.legacy), []);
  return {
    file: ours.stateful === undefined ? undefined : own.stateful_nonces,
    inFile: new Set(ours.stateful?.map(({ hash }) => hash)),
    foreign,
    damaged: sets.find(({ damaged }) => damaged !== undefined)?.damaged,
    stateful,
    legacy: uncovered(legacy, stateful),
  };
}

/**
 * The nonces of this chain in a client folder; a missing folder or file is empty, a broken file is an error (after two
 * more looks, for writers that do not rename).
 * @throws BrokenNonceFile, or the error of the file system
 */
export async function readNonces(folder: string, chainId: string): Promise<ReadNonces> {
  for (let attempt = 0; ; attempt++) {
    try {
      const read = await readOnce(folder, chainId);
      if (read.damaged === undefined || attempt === 2) return read;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT")
        return { file: undefined, inFile: new Set(), foreign: [], damaged: undefined, stateful: [], legacy: [] };
      if (!(error instanceof BrokenNonceFile) || attempt === 2) throw error;
    }
    await sleep(20);
  }
}

/** SHA-256 of the content, whatever the order or the spaces of the file: what a peer acknowledges. */
export function contentHash(content: NonceSet): string {
  return createHash("sha256")
    .update(JSON.stringify([content.stateful, content.legacy]))
    .digest("hex");
}

/**
 * Changes whenever a nonce file of the folder does: for those who look often. Two replacements within one tick of the
 * file system's clock can look alike, so nobody relies on it for long.
 */
export async function filesSignature(folder: string, chainId: string): Promise<string> {
  try {
    const { own, others } = nonceFiles(await readdir(folder), chainId);
    // The legacy file matters only where there is no stateful one; octez-baker rewrites it beside that.
    const wanted = [own, ...others].flatMap((names) => [names.stateful_nonces ?? names.nonces, names.orphaned_nonces]);
    const parts = await Promise.all(
      wanted.map(async (name) => {
        if (name === undefined) return "";
        const { ino, size, mtimeNs, ctimeNs } = await stat(join(folder, name), { bigint: true });
        return `${name} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
      }),
    );
    return parts.join("|");
  } catch {
    return "";
  }
}
