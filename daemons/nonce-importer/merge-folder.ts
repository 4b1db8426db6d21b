/**
 * Merges nonces into a client folder beside a running octez-baker.
 *
 * Guarantees: no update of the baker is lost (the new files are prepared without the lock, and renamed under it only if
 * the old ones are byte for byte those that were merged); each file is complete, old or new, at any moment; the lock is
 * held for two reads and two renames, never across the network; owner and mode stay; "written" and "unchanged" mean
 * durable. A torn stateful file is moved aside, never read as an empty one, and what is whole in it is kept; one that
 * is whole but not understood (a newer octez-baker's) is an error, and nothing is written. Only names that octez-baker
 * reads are written; files of this chain with another prefix are merged into them. `_orphaned_nonces` is never
 * written: octez-baker makes it from the legacy file when it starts.
 */
import { linkSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { lstat, open } from "node:fs/promises";
import { join } from "node:path";
import {
  legacyPairs,
  mergeLegacy,
  mergeSets,
  mergeStateful,
  NonceFileError,
  nonceFileName,
  nonceFiles,
  parseLegacy,
  parseStateful,
  retain,
  salvage,
  serialise,
  uncovered,
  type LegacyNonce,
  type NonceSet,
  type SeedNonce,
} from "../../tezos/nonces";
import type { Clock } from "../runtime/clock";
import { prepareDurably, syncFolder, type PreparedFile } from "../runtime/durable";
import { takeWalletLock, type HeldLock } from "./lock";

export interface MergeJob {
  clientDir: string;
  chainId: string;
  /** Checked by the caller, hashes included. */
  remote: NonceSet;
  /** Undefined: unknown, nothing is too old. */
  currentCycle: number | undefined;
  keepCycles: number;
  lockHoldMs: number;
  lockWaitMs: number;
}
export interface MergeResult {
  outcome: "written" | "unchanged" | "busy";
  reason: string;
  added: number;
  advanced: number;
  /** Name of the broken file that was moved aside. */
  quarantined: string | null;
  heldMs: number;
  attempts: number;
}

interface OneFile {
  name: string;
  bytes: Buffer | undefined;
}
interface Base {
  stateful: OneFile;
  legacy: OneFile;
  /** Of this chain, by names that octez-baker does not read: what they hold belongs into those that it does. */
  others: { stateful: OneFile; legacy: OneFile }[];
}
interface Plan {
  added: number;
  advanced: number;
  broken: OneFile[];
  writes: { file: OneFile; text: string }[];
}

const optimisticAttempts = 4;

// Synchronous, because it also runs under the lock: each turn through the event loop would lengthen the hold on a busy
// machine.
function bytesOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function readBase(job: MergeJob): Base {
  const { others } = nonceFiles(readdirSync(job.clientDir), job.chainId);
  const read = (name = ""): OneFile => ({ name, bytes: name === "" ? undefined : bytesOf(join(job.clientDir, name)) });
  return {
    stateful: read(nonceFileName(job.chainId, "stateful_nonces")),
    legacy: read(nonceFileName(job.chainId, "nonces")),
    others: others.map((names) => ({ stateful: read(names.stateful_nonces), legacy: read(names.nonces) })),
  };
}

const same = (a: OneFile, b: OneFile): boolean =>
  a.name === b.name && (a.bytes === undefined || b.bytes === undefined ? a.bytes === b.bytes : a.bytes.equals(b.bytes));

/**
 * Pure: what has to be written where, for a base as it was read. @throws NonceFileError for entries that are not
 * understood
 */
export function plan(job: Pick<MergeJob, "remote" | "currentCycle" | "keepCycles">, base: Base): Plan {
  const broken: OneFile[] = [];
  const own = [base.stateful, base.legacy];
  const parse = <T>(file: OneFile, parser: (text: string) => T, rescue: (text: string) => T, none: T): T => {
    if (file.bytes === undefined) return none;
    const text = file.bytes.toString("utf8");
    try {
      return parser(text);
    } catch (error) {
      if (!(error instanceof NonceFileError)) throw error;
      // Whole entries that we do not understand are a newer octez-baker's: nothing is put in their place.
      if (error.code === "field" && own.includes(file)) throw error;
      if (error.code === "field") return none;
      // One that octez-baker does not read may still be on its way into the folder: it stays where it is.
      if (own.includes(file)) broken.push(file);
      return rescue(text);
    }
  };
  // A local entry whose hash does not fit is the exposer's alarm; it is no reason to rewrite the baker's file.
  const local = parse<SeedNonce[]>(base.stateful, (text) => parseStateful(text, { hashes: false }), salvage, []);
  const localLegacy = parse<LegacyNonce[]>(base.legacy, parseLegacy, () => [], []);
  const elsewhere: NonceSet = { stateful: [], legacy: [] };
  for (const { stateful, legacy } of base.others) {
    const read = (text: string) => parseStateful(text);
    elsewhere.stateful = mergeStateful(elsewhere.stateful, parse<SeedNonce[]>(stateful, read, salvage, []));
    // As octez-baker does: a legacy file beside a stateful one is only its echo.
    if (stateful.bytes === undefined)
      elsewhere.legacy = mergeLegacy(
        elsewhere.legacy,
        parse<LegacyNonce[]>(legacy, parseLegacy, () => [], []),
      );
  }
  const remote = mergeSets(job.remote, elsewhere);
  const before = new Map(local.map((entry) => [entry.hash, entry]));
  const merged = mergeStateful(local, retain(remote.stateful, job.currentCycle, job.keepCycles));
  const kept = retain(merged, job.currentCycle, job.keepCycles);
  const keptHashes = new Set(kept.map((entry) => entry.hash));
  const outdated = new Set(merged.filter((entry) => !keptHashes.has(entry.hash)).map((entry) => entry.nonce));
  let added = 0;
  let advanced = 0;
  for (const entry of kept) {
    const old = before.get(entry.hash);
    if (old === undefined) added++;
    else if (old !== entry && JSON.stringify(old) !== JSON.stringify(entry)) advanced++;
  }
  const wantedLegacy = mergeLegacy(
    uncovered(mergeLegacy(localLegacy, remote.legacy), merged).filter((pair) => !outdated.has(pair.nonce)),
    legacyPairs(kept),
  );
  const pairs = new Set(localLegacy.map(({ block, nonce }) => `${block} ${nonce}`));
  const missesLegacy = wantedLegacy.some(({ block, nonce }) => !pairs.has(`${block} ${nonce}`));
  const writes: Plan["writes"] = [];
  // Outdated entries alone are no reason to write.
  if (added + advanced > 0 || broken.includes(base.stateful))
    writes.push({ file: base.stateful, text: serialise(kept) });
  if (missesLegacy || broken.includes(base.legacy)) writes.push({ file: base.legacy, text: serialise(wantedLegacy) });
  return { added, advanced, broken, writes };
}

async function prepare(job: MergeJob, made: Plan): Promise<PreparedFile[]> {
  const prepared: PreparedFile[] = [];
  try {
    for (const { file, text } of made.writes) {
      const path = join(job.clientDir, file.name);
      const old = file.bytes === undefined ? undefined : await lstat(path).catch(() => undefined);
      prepared.push(
        await prepareDurably(
          path,
          text,
          old ? { mode: old.mode & 0o7777, uid: old.uid, gid: old.gid } : { mode: 0o600 },
        ),
      );
    }
    return prepared;
  } catch (error) {
    await Promise.all(prepared.map((file) => file.discard()));
    throw error;
  }
}

async function fsyncFile(path: string): Promise<void> {
  const file = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  try {
    await file?.sync();
  } finally {
    await file?.close();
  }
}

/** @throws the error of the file system; the files are then as they were */
export async function mergeIntoFolder(
  job: MergeJob,
  clock: Clock,
  /** Called with true before the lock is asked for, with false once it is given back. */
  onLock: (wanted: boolean) => void = () => undefined,
): Promise<MergeResult> {
  const take = (): Promise<HeldLock | undefined> => {
    onLock(true);
    return takeWalletLock(job.clientDir, job.lockWaitMs, clock);
  };
  const result: MergeResult = {
    outcome: "busy",
    reason: "",
    added: 0,
    advanced: 0,
    quarantined: null,
    heldMs: 0,
    attempts: 0,
  };
  let preparationMs = 0;
  while (result.attempts <= optimisticAttempts) {
    result.attempts++;
    // The baker writes faster than we prepare: the last attempt does all of it under the lock, if that fits.
    const underLock = result.attempts > optimisticAttempts;
    if (underLock && preparationMs > job.lockHoldMs / 2)
      return { ...result, reason: "the files change faster than they can be merged" };
    let lock = underLock ? await take() : undefined;
    if (underLock && !lock) return { ...result, reason: `wallet_lock was held by another for ${job.lockWaitMs} ms` };
    let lockedAtMs = clock.now();
    let prepared: PreparedFile[] = [];
    try {
      const startedMs = clock.now();
      const base = readBase(job);
      const made = plan(job, base);
      if (made.writes.length === 0 && made.broken.length === 0) {
        lock?.release();
        for (const { name } of [base.stateful, base.legacy]) await fsyncFile(join(job.clientDir, name));
        await syncFolder(job.clientDir);
        return { ...result, outcome: "unchanged", reason: "nothing new" };
      }
      prepared = await prepare(job, made);
      preparationMs = clock.now() - startedMs;
      if (!lock) {
        lock = await take();
        lockedAtMs = clock.now();
        if (!lock) return { ...result, reason: `wallet_lock was held by another for ${job.lockWaitMs} ms` };
        const now = readBase(job);
        if (!same(now.stateful, base.stateful) || !same(now.legacy, base.legacy)) continue;
      }
      if (clock.now() - lockedAtMs > job.lockHoldMs) {
        result.reason = `${job.lockHoldMs} ms of lock were not enough`;
        continue;
      }
      for (const file of made.broken) result.quarantined = quarantine(job.clientDir, file, made.writes, clock);
      for (const file of prepared) file.rename();
      prepared = [];
      lock.release();
      onLock(false);
      result.heldMs = clock.now() - lockedAtMs;
      await syncFolder(job.clientDir);
      return { ...result, outcome: "written", reason: "merged", added: made.added, advanced: made.advanced };
    } finally {
      if (lock) result.heldMs = Math.max(result.heldMs, clock.now() - lockedAtMs);
      lock?.release();
      onLock(false);
      await Promise.all(prepared.map((file) => file.discard()));
    }
  }
  return { ...result, reason: result.reason || "the files changed under each attempt" };
}

/** Keeps a second name for the broken file, of which a rename that follows takes the first one; or its only one. */
function quarantine(folder: string, file: OneFile, writes: Plan["writes"], clock: Clock): string {
  const { name } = file;
  const aside = `${name}.broken-${clock.wall()}`;
  if (!writes.some((write) => write.file === file)) {
    renameSync(join(folder, name), join(folder, aside));
    return aside;
  }
  try {
    linkSync(join(folder, name), join(folder, aside));
  } catch {
    // A file system without hard links.
    renameSync(join(folder, name), join(folder, aside));
  }
  return aside;
}
