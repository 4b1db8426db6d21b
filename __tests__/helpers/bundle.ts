/** One bundle of the daemons for all tests of a run, rebuilt only when a source changed. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join, resolve } from "node:path";
import { buildDaemons } from "../../scripts/build";

const root = resolve(__dirname, "../..");

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? sources(path) : path.endsWith(".ts") ? [path] : [];
  });
}

let built: Promise<string> | undefined;

/** Absolute path of the bundle; inside the checkout, so that koffi resolves from node_modules. */
export function bundlePath(): Promise<string> {
  return (built ??= (async () => {
    const hash = createHash("sha256");
    for (const folder of ["contract", "tezos", "daemons"])
      for (const file of sources(join(root, folder)).sort()) hash.update(readFileSync(file));
    const folder = join(root, ".cache/bundle");
    const file = join(folder, `tog-${hash.digest("hex").slice(0, 16)}.cjs`);
    if (existsSync(file)) return file;
    mkdirSync(folder, { recursive: true });
    const temporary = `${file}.${process.pid}.tmp.cjs`;
    await buildDaemons(temporary);
    renameSync(temporary, file);
    return file;
  })());
}
