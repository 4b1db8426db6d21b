/** The cache folder of the assets and its manifest.json, by which a file counts as had. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

export const defaultCache = (env: NodeJS.ProcessEnv = process.env): string =>
  join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tezos-on-gke-cdktf", "assets");
/** The folder for KUBEBUILDER_ASSETS. */
export const controlPlaneFolder = (cache: string): string => join(cache, "bin");
/** The file for TF_CLI_CONFIG_FILE. */
export const terraformConfig = (cache: string): string => join(cache, "terraform.tfrc");

/** Terraform takes providers from the mirror and from nowhere else. `cdktf deploy` then needs --skip-provider-lock. */
export const terraformConfigText = (cache: string): string =>
  `disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = "${join(cache, "mirror")}"\n  }\n}\n`;

/** What manifest.json holds of each asset. */
export interface AssetRecord {
  /** Relative to the cache folder. */
  file: string;
  sha256: string;
  bytes: number;
  /** The version asked for, and the one that was had: they differ for Debian's packages only. */
  wanted: string;
  version: string;
  source: string;
  seconds: number;
}
export type Manifest = Record<string, AssetRecord>;

const manifestFile = (cache: string): string => join(cache, "manifest.json");

/** An unreadable manifest counts as empty: then everything is made anew. */
export function readManifest(cache: string): Manifest {
  try {
    return JSON.parse(readFileSync(manifestFile(cache), "utf8")) as Manifest;
  } catch {
    return {};
  }
}
export function writeManifest(cache: string, manifest: Manifest): void {
  mkdirSync(cache, { recursive: true });
  writeFileSync(`${manifestFile(cache)}.partial`, `${JSON.stringify(manifest, undefined, 2)}\n`);
  renameSync(`${manifestFile(cache)}.partial`, manifestFile(cache));
}
export async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}
/**
 * Why what is recorded cannot be used again, or undefined where the file is there, whole and of the version asked for.
 */
export async function unusable(
  cache: string,
  record: AssetRecord | undefined,
  wanted: string,
): Promise<string | undefined> {
  if (!record) return "not in the cache";
  if (record.wanted !== wanted) return `the cache has ${record.wanted}, wanted is ${wanted}`;
  const file = join(cache, record.file);
  if (!existsSync(file)) return `${record.file} is gone`;
  const { size } = statSync(file);
  if (size !== record.bytes) return `${record.file} has ${size} bytes, recorded are ${record.bytes}`;
  const found = await sha256(file);
  return found === record.sha256 ? undefined : `${record.file} has the SHA-256 ${found}, recorded is ${record.sha256}`;
}
