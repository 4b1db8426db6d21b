/** Bundles the doubles and the preload, once per change of their sources. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";

const root = resolve(__dirname, "..");

export function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? sourceFiles(path) : /\.(ts|sh)$/.test(entry.name) ? [path] : [];
    })
    .sort();
}
/** Hash of the sources in these folders of the project, and of what else matters. */
export function sourceHash(folders: readonly string[], ...more: string[]): string {
  const hash = createHash("sha256");
  for (const folder of folders)
    for (const file of sourceFiles(join(root, folder))) hash.update(file).update(readFileSync(file));
  for (const text of more) hash.update(text);
  return hash.digest("hex").slice(0, 16);
}
/** In the checkout, so that koffi is found in its node_modules. */
export const cacheFolder = join(root, ".cache/lab");

/** Runs `make(temporary)` and renames, unless `name` is there already. */
export async function cached(name: string, make: (temporary: string) => Promise<void>): Promise<string> {
  const file = join(cacheFolder, name);
  if (existsSync(file)) return file;
  mkdirSync(cacheFolder, { recursive: true });
  const temporary = join(cacheFolder, `tmp-${process.pid}-${name}`);
  await make(temporary);
  renameSync(temporary, file);
  return file;
}

const bundle = (entry: string, outfile: string) =>
  build({
    ...{
      entryPoints: [join(__dirname, entry)],
      outfile,
      bundle: true,
      platform: "node",
      target: "node20",
      format: "cjs",
    },
    ...{ external: ["koffi"], legalComments: "none", logLevel: "warning" },
  });

export async function bundleDoubles(): Promise<{ doubles: string; preload: string }> {
  const hash = sourceHash(["lab/doubles", "lab/chain", "lab/cluster", "contract", "tezos"]);
  const [doubles, preload] = await Promise.all([
    cached(`doubles-${hash}.cjs`, async (file) => void (await bundle("doubles/main.ts", file))),
    cached(`preload-${hash}.cjs`, async (file) => void (await bundle("cluster/preload.ts", file))),
  ]);
  return { doubles, preload };
}
