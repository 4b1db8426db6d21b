/**
 * `npm run test:assets -- [--only NAME,..] [--require NAME,..] [--cache DIR] [--keep-build-cache] [--json]`
 *
 * Puts into a cache folder what the heavy suites need: a real Kubernetes control plane (the layout of envtest,
 * KUBEBUILDER_ASSETS) and the real Terraform providers (a filesystem mirror). Each comes from the first source that has
 * it: this machine, the vendor's download, Go from the module proxy of the environment, Debian. A file counts as had
 * only with its SHA-256 in manifest.json, which is checked again at every run; an interrupted run is resumed. What
 * could not be had is named with every reason; the exit code is 1 only where that was asked for by --only or --require.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { assets, sourceName, type Asset } from "./test-assets/assets";
import {
  controlPlaneFolder,
  defaultCache,
  readManifest,
  sha256,
  terraformConfig,
  terraformConfigText,
  unusable,
  writeManifest,
  type AssetRecord,
} from "./test-assets/manifest";
import { attempt, buildFolder, mebibytes, Resumable, versionOf, type Context } from "./test-assets/sources";

export * from "./test-assets/assets";
export * from "./test-assets/manifest";
export * from "./test-assets/sources";

export interface AssetResult {
  name: string;
  state: "kept" | "obtained" | "missing";
  record?: AssetRecord;
  /** Of every source that did not have it, and what was wrong with the file that was there. */
  reasons: string[];
}

/** From the cache, else from the first source that has it. */
export async function obtain(asset: Asset, context: Context): Promise<AssetResult> {
  const { cache, signal, progress } = context;
  const old = readManifest(cache)[asset.name];
  const why = await unusable(cache, old, asset.version);
  if (old && why === undefined) return { name: asset.name, state: "kept", record: old, reasons: [] };
  const reasons = old && why !== undefined ? [`cache: ${why}`] : [];
  if (old) progress(`${asset.name}: ${why}; made anew`);
  for (const source of asset.sources) {
    signal.throwIfAborted();
    const start = performance.now();
    const relative = source.file ?? asset.file;
    const [file, partial] = [join(cache, relative), join(cache, `${relative}.partial`)];
    progress(`${asset.name} ${asset.version}: ${sourceName(source)}`);
    try {
      mkdirSync(dirname(file), { recursive: true });
      await context.attempt(source, asset, partial, context);
      chmodSync(partial, 0o755);
      const version = context.versionOf(asset, partial) ?? asset.version;
      if (version !== asset.version && !source.kind.startsWith("debian"))
        throw new Error(`tells the version ${version}`);
      const record: AssetRecord = {
        file: relative,
        sha256: await sha256(partial),
        bytes: statSync(partial).size,
        wanted: asset.version,
        version,
        source: sourceName(source),
        seconds: Math.round((performance.now() - start) / 100) / 10,
      };
      renameSync(partial, file);
      if (old && old.file !== relative) rmSync(join(cache, old.file), { force: true });
      writeManifest(cache, { ...readManifest(cache), [asset.name]: record });
      return { name: asset.name, state: "obtained", record, reasons };
    } catch (error) {
      signal.throwIfAborted();
      // A torn download stays: it is resumed.
      if (source.kind !== "download") rmSync(partial, { force: true });
      const reason = `${sourceName(source)}: ${error instanceof Error ? error.message : String(error)}`;
      reasons.push(error instanceof Resumable ? `${reason} (resumable)` : reason);
      progress(`  not had: ${reason}`);
    }
  }
  return { name: asset.name, state: "missing", reasons };
}

const lives = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
};

/** One run at a time in a cache folder. @throws Error where another one lives @returns what gives it free */
export function lock(cache: string): () => void {
  const file = join(cache, "lock");
  mkdirSync(cache, { recursive: true });
  try {
    writeFileSync(file, String(process.pid), { flag: "wx" });
  } catch {
    const pid = Number(readFileSync(file, "utf8"));
    if (pid > 0 && lives(pid))
      throw new Error(
        `process ${pid} is at work in ${cache}: wait for it or take another folder with --cache; if it is something else, remove ${file}`,
      );
    writeFileSync(file, String(process.pid));
  }
  return () => rmSync(file, { force: true });
}

export const usage =
  "usage: npm run test:assets -- [--only NAME,..] [--require NAME,..] [--cache DIR] [--keep-build-cache] [--json]\n" +
  `NAME is one of ${assets()
    .map(({ name }) => name)
    .join(", ")}, or a group: control-plane, nodes, providers`;

/** Names of a comma list, groups resolved. @throws Error naming what is unknown */
export function named(text: string | undefined): string[] {
  const all = assets().map(({ name }) => name);
  const groups: Record<string, string[]> = {
    "control-plane": ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"],
    nodes: ["kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr"],
    providers: all.filter((name) => name.startsWith("provider-")),
  };
  const names = (text ?? "").split(",").flatMap((name) => (name === "" ? [] : (groups[name] ?? [name])));
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Error(`got ${unknown.join(", ")}\n${usage}`);
  return names;
}

/** What was asked for by name and could not be had. */
export const unmet = (results: readonly AssetResult[], needed: readonly string[]): string[] =>
  needed.filter((name) => !results.some((result) => result.name === name && result.state !== "missing"));

export function summary(results: readonly AssetResult[]): string[] {
  return results.flatMap(({ name, state, record, reasons }) => {
    if (record) {
      const how = state === "kept" ? "kept    " : "obtained";
      const version = record.version === record.wanted ? record.version : `${record.version} (wanted ${record.wanted})`;
      return [
        `${how} ${name.padEnd(24)} ${version.padEnd(8)} ${mebibytes(record.bytes).padStart(5)} MiB ${String(record.seconds).padStart(6)} s  ${record.source}`,
      ];
    }
    const use = assets().find((asset) => asset.name === name)?.use;
    return [`MISSING  ${name.padEnd(24)} needed by: ${use}`, ...reasons.map((reason) => `           ${reason}`)];
  });
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
  const [only, required] = [named(values.only), named(values.require)];
  const cache = resolve(values.cache ?? defaultCache());
  const unlock = lock(cache);
  const stopped = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => stopped.abort(new Error(`stopped by ${signal}; the next run goes on from here`)));
  const progress = (line: string) => console.error(line);
  try {
    const context: Context = { cache, signal: stopped.signal, progress, attempt, versionOf };
    const results: AssetResult[] = [];
    for (const asset of assets())
      if (only.length === 0 || only.includes(asset.name)) results.push(await obtain(asset, context));
    const resumable = results.filter(
      ({ state, reasons }) => state === "missing" && reasons.some((reason) => reason.endsWith("(resumable)")),
    );
    if (resumable.length > 0)
      progress(`build cache kept for ${resumable.map(({ name }) => name).join(", ")}: ${buildFolder(cache)}`);
    else if (!values["keep-build-cache"]) rmSync(buildFolder(cache), { recursive: true, force: true });
    const had = Object.keys(readManifest(cache));
    const providers = had.some((name) => name.startsWith("provider-"));
    if (providers) writeFileSync(terraformConfig(cache), terraformConfigText(cache));
    const exports = {
      ...(had.includes("kube-apiserver") && had.includes("etcd")
        ? { KUBEBUILDER_ASSETS: controlPlaneFolder(cache) }
        : {}),
      ...(providers ? { TF_CLI_CONFIG_FILE: terraformConfig(cache) } : {}),
    };
    if (values.json) console.log(JSON.stringify({ cache, exports, results }, undefined, 2));
    else {
      for (const line of summary(results)) console.log(line);
      for (const [name, value] of Object.entries(exports)) console.log(`export ${name}=${value}`);
    }
    if (unmet(results, [...only, ...required]).length > 0) process.exitCode = 1;
  } finally {
    unlock();
  }
}

if (require.main === module)
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 2;
  });
