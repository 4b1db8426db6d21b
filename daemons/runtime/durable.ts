/** The one way in which a daemon writes a file that must survive a crash. */
import { open, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

let serial = 0;

/**
 * Replaces `path` by `content`: temporary file in the same folder, fsync, rename, fsync of the folder.
 * After a crash at any point the file is complete, old or new. `mode` defaults to 0600.
 * @throws the error of the file system; the old file is then untouched
 */
export async function writeDurably(
  path: string,
  content: string | Uint8Array,
  options: { mode?: number; uid?: number; gid?: number } = {},
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${++serial}.tmp`);
  try {
    const file = await open(temporary, "wx", options.mode ?? 0o600);
    try {
      await file.writeFile(content);
      if (options.mode !== undefined) await file.chmod(options.mode);
      if (options.uid !== undefined && options.gid !== undefined && process.getuid?.() === 0) await file.chown(options.uid, options.gid);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
