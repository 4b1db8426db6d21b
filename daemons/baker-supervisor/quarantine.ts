/**
 * Octez does not fsync its small files: after a power loss a high watermark or nonce file may hold anything, and the
 * baker would crash on it for ever. Such a file is moved aside. The signing gate's watermark is the authority for what
 * was signed; nonces come back from the others.
 */
import { link, mkdir, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";

const watermarkFile = /_highwatermarks$/i;
const nonceFile = /nonces$/i;

/** Whether Octez could read it: high watermarks are an object, nonces a list. */
export function isReadable(name: string, content: string): boolean {
  try {
    const value: unknown = JSON.parse(content);
    return nonceFile.test(name)
      ? Array.isArray(value)
      : typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

/** True where a high watermark file is there that Octez could not read. */
export async function brokenWatermarks(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  for (const name of names) {
    if (name.startsWith(".") || !watermarkFile.test(name)) continue;
    const content = await readFile(join(folder, name), "utf8").catch(() => null);
    if (content !== null && !isReadable(name, content)) return true;
  }
  return false;
}

/** Moves what cannot be read to `quarantine/` of the same folder. @returns names of the files that were moved */
export async function quarantineBroken(folder: string, wallMs: number): Promise<string[]> {
  const names = (await readdir(folder)).filter(
    (name) => !name.startsWith(".") && (watermarkFile.test(name) || nonceFile.test(name)),
  );
  const moved: string[] = [];
  for (const name of names) {
    const path = join(folder, name);
    const content = await readFile(path, "utf8").catch(() => null);
    if (content === null || isReadable(name, content)) continue;
    const aside = join(folder, "quarantine", `${name}.${wallMs}`);
    await mkdir(join(folder, "quarantine"), { recursive: true, mode: 0o700 });
    await rename(path, aside);
    // Another process may have repaired it in between: then what was moved is good and goes back, unless a newer one is
    // there already.
    const now = await readFile(aside, "utf8");
    if (now !== content && isReadable(name, now)) {
      await link(aside, path).catch(() => undefined);
      await unlink(aside);
      continue;
    }
    moved.push(name);
  }
  return moved;
}
