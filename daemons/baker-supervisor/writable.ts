/**
 * Whether the client folder takes new files. octez-baker writes its high watermarks there before it asks for a
 * signature: on a full or read-only disk it asks for none, and nothing else says so.
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** @returns why a new file cannot be written, by the system's code; undefined where it can */
export async function writeProblem(folder: string): Promise<string | undefined> {
  const path = join(folder, ".supervisor-writes");
  try {
    // An old file would be written in its old place, for which a full disk has room.
    await rm(path, { force: true });
    await writeFile(path, "x".repeat(4096), { flag: "wx", mode: 0o600 });
    await rm(path);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}
