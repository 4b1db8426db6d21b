/**
 * `npm run test:assets -- [--only NAME,..] [--require NAME,..] [--cache DIR] [--keep-build-cache] [--json]`: puts into a cache folder what the heavy suites
 * need: a real Kubernetes control plane and the real Terraform providers. What is there and unchanged is used again. What could not be had is named
 * with every reason; the exit code is 1 where that was asked for by --only or --require.
 */
import { rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { assets, download, run, type Asset, type Context } from "./test-assets/assets";
import { readManifest, sha256, unusable, writeManifest, type AssetRecord } from "./test-assets/manifest";

export interface AssetResult {
  name: string;
  version: string;
  state: "cached" | "obtained" | "unavailable";
  seconds: number;
  mebibytes: number;
  source: string;
  reasons: string[];
}

export const defaultCache = (): string => join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "tezos-on-gke-cdktf/assets");

/** One asset: from the cache, else from the first source that has it. A torn or foreign file is made anew. */
export async function ensure(asset: Asset, context: Context, progress: (line: string) => void): Promise<AssetResult> {
  const { cache } = context;
  const record = readManifest(cache)[asset.name];
  const why = await unusable(cache, record, asset.version);
  const mebibytes = (r: AssetRecord) => Math.round(r.bytes / 2 ** 20);
  if (record && why === undefined)
    return {
      name: asset.name,
      version: asset.version,
      state: "cached",
      seconds: 0,
      mebibytes: mebibytes(record),
      source: record.source,
      reasons: [],
    };
  const reasons: string[] = [];
  for (const source of asset.sources) {
    const start = process.hrtime.bigint();
    progress(`${asset.name} ${asset.version} (${why}): trying ${source.name}`);
    try {
      for (const file of asset.files) rmSync(join(cache, file), { force: true });
      await source.obtain(context);
      const files: Record<string, string> = {};
      let bytes = 0;
      for (const file of asset.files) {
        files[file] = await sha256(join(cache, file));
        bytes += statSync(join(cache, file)).size;
      }
      const seconds = Math.round(Number(process.hrtime.bigint() - start) / 1e8) / 10;
      const made: AssetRecord = { version: asset.version, source: source.name, seconds, files, bytes };
      writeManifest(cache, { ...readManifest(cache), [asset.name]: made });
      return {
        name: asset.name,
        version: asset.version,
        state: "obtained",
        seconds,
        mebibytes: mebibytes(made),
        source: source.name,
        reasons,
      };
    } catch (error) {
      const reason = `${source.name}: ${error instanceof Error ? error.message : String(error)}`;
      reasons.push(reason);
      progress(`  not had: ${reason}`);
    }
  }
  return { name: asset.name, version: asset.version, state: "unavailable", seconds: 0, mebibytes: 0, source: "", reasons };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      require: { type: "string" },
      cache: { type: "string" },
      json: { type: "boolean" },
      "keep-build-cache": { type: "boolean" },
    },
  });
  const known = assets.map((asset) => asset.name);
  const list = (text: string | undefined) => (text === undefined ? [] : text.split(","));
  const unknown = [...list(values.only), ...list(values.require)].filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`--only and --require take names of ${known.join(", ")}; got ${unknown.join(", ")}`);
  const cache = resolve(values.cache ?? defaultCache());
  const wanted = values.only === undefined ? assets : assets.filter((asset) => list(values.only).includes(asset.name));
  const results: AssetResult[] = [];
  for (const asset of wanted) {
    const result = await ensure(asset, { cache, run, download }, (line) => console.error(line));
    results.push(result);
    if (!values.json)
      console.log(
        `${result.state.padEnd(12)}${result.name} ${result.version} ${result.state === "unavailable" ? "" : `${result.mebibytes} MiB ${result.seconds} s ${result.source}`}`,
      );
  }
  if (!values["keep-build-cache"]) rmSync(join(cache, "build"), { recursive: true, force: true });
  if (values.json) console.log(JSON.stringify({ cache, results }));
  else {
    if (results.some((result) => result.name === "kube-apiserver" && result.state !== "unavailable"))
      console.log(`export KUBEBUILDER_ASSETS=${join(cache, "bin")}`);
    if (results.some((result) => result.name.startsWith("provider-") && result.state !== "unavailable"))
      console.log(`export TOG_PROVIDER_MIRROR=${join(cache, "mirror")}`);
  }
  const needed = values.only === undefined ? list(values.require) : [...list(values.only), ...list(values.require)];
  if (results.some((result) => result.state === "unavailable" && needed.includes(result.name))) process.exitCode = 1;
}

if (require.main === module)
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(2);
  });
