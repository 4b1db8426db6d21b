/** What is in the cache: name, version, files with their SHA-256, how it was had. Verified before every re-use. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface AssetRecord {
  version: string;
  source: string;
  seconds: number;
  /** Path relative to the cache folder -> lowercase hex SHA-256. */
  files: Record<string, string>;
  bytes: number;
}
export type Manifest = Record<string, AssetRecord>;

const path = (cache: string): string => join(cache, "manifest.json");

/** An unreadable manifest counts as empty: everything is checked or made anew. */
export function readManifest(cache: string): Manifest {
  try {
    return JSON.parse(readFileSync(path(cache), "utf8")) as Manifest;
  } catch {
    return {};
  }
}
export function writeManifest(cache: string, manifest: Manifest): void {
  mkdirSync(dirname(path(cache)), { recursive: true });
  const temporary = `${path(cache)}.${process.pid}.tmp`;
  writeFileSync(temporary, JSON.stringify(manifest, undefined, 2));
  renameSync(temporary, path(cache));
}

export function sha256(file: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const hash = createHash("sha256");
    createReadStream(file)
      .on("data", (data) => hash.update(data))
      .on("error", reject)
      .on("end", () => resolve(hash.digest("hex")));
  });
}

/** Why a recorded asset cannot be used again, or undefined where every file is there and unchanged. */
export async function unusable(cache: string, record: AssetRecord | undefined, version: string): Promise<string | undefined> {
  if (!record) return "not in the cache";
  if (record.version !== version) return `the cache has ${record.version}`;
  for (const [file, expected] of Object.entries(record.files)) {
    if (!existsSync(join(cache, file))) return `${file} is gone`;
    const found = await sha256(join(cache, file));
    if (found !== expected) return `${file} has the checksum ${found.slice(0, 12)}, recorded is ${expected.slice(0, 12)}`;
  }
  return undefined;
}
