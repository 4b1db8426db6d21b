/** The one way in which a daemon writes a file that must survive a crash. */
import { randomBytes } from "node:crypto";
import { closeSync, fchmodSync, fchownSync, fsync, openSync, renameSync, writeFileSync } from "node:fs";
import { readdir, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";

export interface DurableOptions {
  /** @default 0o600 */
  mode?: number;
  uid?: number;
  gid?: number;
}
/** A complete, fsynced temporary file beside its target. */
export interface PreparedFile {
  /** Replaces the target, synchronously: for use under a lock. Durable only after syncFolder(). */
  rename(): void;
  syncFolder(): Promise<void>;
  discard(): Promise<void>;
}

const sync = promisify(fsync);

/**
 * The first half of writeDurably, for callers that rename under a lock. Only the fsync is left to the thread pool: what
 * else there is to do takes microseconds, less than the way there. @throws the error of the file system; no temporary
 * file is left
 */
export async function prepareDurably(
  path: string,
  content: string | Uint8Array,
  options: DurableOptions = {},
): Promise<PreparedFile> {
  // Never a name that was used before: a restarted container has the same pid again, and another one has it at the same
  // time.
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString("hex")}.tmp`);
  const discard = () => unlink(temporary).catch(() => undefined);
  try {
    const file = openSync(temporary, "wx", options.mode ?? 0o600);
    try {
      writeFileSync(file, content);
      if (options.mode !== undefined) fchmodSync(file, options.mode);
      if (options.uid !== undefined && options.gid !== undefined && process.getuid?.() === 0)
        fchownSync(file, options.uid, options.gid);
      await sync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    await discard();
    throw error;
  }
  return { rename: () => renameSync(temporary, path), syncFolder: () => syncFolder(dirname(path)), discard };
}

/** Removes the temporary files that killed writers left in `folder`. For the folder's only writer, when it starts. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (/^\..+\.[0-9a-f]{16}\.tmp$/.test(name)) await unlink(join(folder, name)).catch(() => undefined);
}

export async function syncFolder(path: string): Promise<void> {
  const folder = openSync(path, "r");
  try {
    await sync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * Replaces `path` by `content`: temporary file in the same folder, fsync, rename, fsync of the folder.
 * After a crash at any point the file is complete, old or new.
 * @throws the error of the file system; the old file is then untouched
 */
export async function writeDurably(
  path: string,
  content: string | Uint8Array,
  options: DurableOptions = {},
): Promise<void> {
  const prepared = await prepareDurably(path, content, options);
  try {
    prepared.rename();
  } catch (error) {
    await prepared.discard();
    throw error;
  }
  await prepared.syncFolder();
}
