/**
 * `npm run test:assets -- [--only NAME,..] [--require NAME,..] [--cache DIR] [--keep-build-cache] [--json]`
 *
 * Puts into a cache folder what the heavy suites need: a real Kubernetes control plane (the layout of envtest,
 * KUBEBUILDER_ASSETS) and the real Terraform providers (a filesystem mirror). Each comes from the first source that has
 * it: this machine, the vendor's download, Go from the module proxy of the environment, Debian. A file counts as had
 * only with its SHA-256 in manifest.json, which is checked again at every run; an interrupted run is resumed. What
 * could not be had is named with every reason; the exit code is 1 only where that was asked for by --only or --require.
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { basename, delimiter, dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";

export const versions = {
  kubernetes: "1.36.3",
  etcd: "3.6.16",
  kwok: "0.8.0",
  containerd: "2.4.2",
  "provider-kubernetes": "2.38.0",
  "provider-helm": "3.1.1",
  "provider-google": "6.50.0",
};
const arch = process.arch === "arm64" ? "arm64" : "amd64";
const unit = process.platform === "linux" ? `linux_${arch}` : `${process.platform}_${arch}`;

export type Source = {
  /** Where the file is put, relative to the cache folder, if not in the asset's own place. */
  file?: string;
} & (
  | { kind: "present"; paths: string[] }
  /**
   * `sums`: URL of a file that holds the SHA-256, alone or as `sum  name` lines. `member`: the file wanted of a
   * .tar.gz.
   */
  | { kind: "download"; url: string; sums?: string; member?: string }
  | { kind: "go"; module: string; version: string; command: string; ldflags?: string }
  /** A file of a binary package, unpacked without installing it. The version may be another one. */
  | { kind: "debian"; package: string; path: string }
  /**
   * Kubernetes as Debian packs its sources, made with a packaged Go: enough for elections, it lacks policy/v1 and
   * pod-security admission.
   */
  | { kind: "debian-source"; package: string; version: string; go: string }
);

export interface Asset {
  name: string;
  version: string;
  file: string;
  /** Says what is lost without it. */
  use: string;
  /** How the program tells its version; absent for plugins, which tell it to Terraform only. */
  tells?: { args: string[]; pattern: RegExp };
  sources: Source[];
}

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

export interface AssetResult {
  name: string;
  state: "kept" | "obtained" | "missing";
  record?: AssetRecord;
  /** Of every source that did not have it, and what was wrong with the file that was there. */
  reasons: string[];
}

/** A build that the next run can take up where it stopped: the build cache is worth keeping. */
export class Resumable extends Error {}

export const defaultCache = (env: NodeJS.ProcessEnv = process.env): string =>
  join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tezos-on-gke-cdktf", "assets");
/** The folder for KUBEBUILDER_ASSETS. */
export const controlPlaneFolder = (cache: string): string => join(cache, "bin");
/** The file for TF_CLI_CONFIG_FILE. */
export const terraformConfig = (cache: string): string => join(cache, "terraform.tfrc");

/** Terraform takes providers from the mirror and from nowhere else. `cdktf deploy` then needs --skip-provider-lock. */
export const terraformConfigText = (cache: string): string =>
  `disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = "${join(cache, "mirror")}"\n  }\n}\n`;

// What there is to have

const binary = (name: string): string => join("bin", name);

function kubernetes(name: string, use: string): Asset {
  const version = versions.kubernetes;
  const [major, minor] = version.split(".");
  const tell = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];
  const ldflags = (v: string, at: string[]) =>
    at
      .map(
        (p) =>
          `-X ${p}.gitVersion=v${v} -X ${p}.gitMajor=${major} -X ${p}.gitMinor=${minor} -X ${p}.gitTreeState=clean`,
      )
      .join(" ");
  const url = `https://dl.k8s.io/release/v${version}/bin/linux/${arch}/${name}`;
  return {
    name,
    version,
    use,
    file: binary(name),
    tells:
      name === "kubectl"
        ? { args: ["version", "--client"], pattern: /Client Version:.*?v(\d+\.\d+\.\d+)/ }
        : { args: ["--version"], pattern: /Kubernetes v(\S+)/ },
    sources: [
      { kind: "present", paths: onPath(name) },
      { kind: "download", url, sums: `${url}.sha256` },
      {
        kind: "go",
        module: "k8s.io/kubernetes",
        version: `v${version}`,
        command: `k8s.io/kubernetes/cmd/${name}`,
        ldflags: ldflags(version, tell),
      },
      {
        kind: "debian-source",
        package: "kubernetes",
        version: "v1.20.2",
        go: "golang-1.19",
      },
    ],
  };
}

/** What test:nodes runs its containers with. Debian's is older, and does as well. */
function containerd(name: "containerd" | "containerd-shim-runc-v2" | "ctr", ask: string): Asset {
  const version = versions.containerd;
  const module = "github.com/containerd/containerd/v2";
  const url = `https://github.com/containerd/containerd/releases/download/v${version}/containerd-${version}-linux-${arch}.tar.gz`;
  return {
    name,
    version,
    use: "npm run test:nodes",
    file: binary(name),
    tells: { args: [ask], pattern: /(?:containerd\S*\s+|Version:\s+)v?(\d+\.\d+\.\S+)/ },
    sources: [
      { kind: "present", paths: onPath(name) },
      { kind: "download", url, sums: `${url}.sha256sum`, member: `bin/${name}` },
      {
        kind: "go",
        module,
        version: `v${version}`,
        command: `${module}/cmd/${name}`,
        ldflags: `-X ${module}/version.Version=${version}`,
      },
      { kind: "debian", package: "containerd", path: `usr/bin/${name}` },
    ],
  };
}

function provider(short: "kubernetes" | "helm" | "google", major: string): Asset {
  const version = versions[`provider-${short}`];
  const name = `terraform-provider-${short}`;
  const folder = `registry.terraform.io/hashicorp/${short}`;
  const inFolder = `${folder}/${version}/${unit}/${name}_v${version}`;
  const places = [
    process.env.TF_PLUGIN_CACHE_DIR,
    join(homedir(), ".terraform.d/plugins"),
    "/usr/local/share/terraform/plugins",
  ];
  const binaries = [inFolder, `${inFolder}_x5`];
  const module = `github.com/hashicorp/${name}/${major}`;
  const zip = `${name}_${version}_${unit}.zip`;
  const at = `https://releases.hashicorp.com/${name}/${version}`;
  return {
    name: `provider-${short}`,
    version,
    use: "npm run test:terraform with the real provider",
    file: join("mirror", inFolder),
    sources: [
      { kind: "present", paths: places.flatMap((place) => (place ? binaries.map((file) => join(place, file)) : [])) },
      // The mirror takes the vendor's archive as it is (Terraform's packed layout).
      {
        kind: "download",
        url: `${at}/${zip}`,
        sums: `${at}/${name}_${version}_SHA256SUMS`,
        file: join("mirror", folder, zip),
      },
      {
        kind: "go",
        module,
        version: `v${version}`,
        command: module,
        ldflags: `-X main.version=${version} -X main.Version=${version}`,
      },
    ],
  };
}

export function assets(): Asset[] {
  const { etcd, kwok } = versions;
  const archive = `etcd-v${etcd}-linux-${arch}`;
  const etcdReleases = `https://github.com/etcd-io/etcd/releases/download/v${etcd}`;
  const suites = "npm run test:cluster";
  return [
    {
      name: "etcd",
      version: etcd,
      use: suites,
      file: binary("etcd"),
      tells: { args: ["--version"], pattern: /etcd Version: (\S+)/ },
      sources: [
        { kind: "present", paths: onPath("etcd") },
        {
          kind: "download",
          url: `${etcdReleases}/${archive}.tar.gz`,
          sums: `${etcdReleases}/SHA256SUMS`,
          member: `${archive}/etcd`,
        },
        { kind: "go", module: "go.etcd.io/etcd/server/v3", version: `v${etcd}`, command: "go.etcd.io/etcd/server/v3" },
        { kind: "debian", package: "etcd-server", path: "usr/bin/etcd" },
      ],
    },
    kubernetes("kube-apiserver", suites),
    kubernetes("kube-controller-manager", `${suites}: suites in which pods are made`),
    kubernetes("kube-scheduler", `${suites}: suites in which pods are placed`),
    kubernetes("kubectl", "nothing but a person's convenience"),
    kubernetes("kubelet", "npm run test:nodes"),
    kubernetes("kube-proxy", "npm run test:nodes"),
    containerd("containerd", "--version"),
    containerd("containerd-shim-runc-v2", "-v"),
    containerd("ctr", "--version"),
    {
      name: "kwok",
      version: kwok,
      use: `${suites}: suites in which pods run`,
      file: binary("kwok"),
      tells: { args: ["--version"], pattern: /version v?(\d\S*)/ },
      sources: [
        { kind: "present", paths: onPath("kwok") },
        {
          kind: "download",
          url: `https://github.com/kubernetes-sigs/kwok/releases/download/v${kwok}/kwok-linux-${arch}`,
        },
        {
          kind: "go",
          module: "sigs.k8s.io/kwok",
          version: `v${kwok}`,
          command: "sigs.k8s.io/kwok/cmd/kwok",
          ldflags: `-X sigs.k8s.io/kwok/pkg/consts.Version=v${kwok}`,
        },
      ],
    },
    provider("kubernetes", "v2"),
    provider("helm", "v3"),
    provider("google", "v6"),
  ];
}

function onPath(name: string): string[] {
  const folders = [process.env.KUBEBUILDER_ASSETS, ...(process.env.PATH ?? "").split(delimiter)];
  return [...new Set(folders.flatMap((folder) => (folder ? [join(folder, name)] : [])))];
}

export function sourceName(source: Source): string {
  switch (source.kind) {
    case "present":
      return "this machine";
    case "download":
      return source.url;
    case "go":
      return `go build ${source.command}@${source.version}`;
    case "debian":
      return `Debian package ${source.package}`;
    case "debian-source":
      return `Debian source package ${source.package} with ${source.go}`;
  }
}

// The manifest

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

// Having one asset

export interface Context {
  cache: string;
  signal: AbortSignal;
  progress: (line: string) => void;
  /**
   * Makes `file` (absolute, not there yet) from one source. @throws Error with the reason where that source has it not
   */
  attempt: (source: Source, asset: Asset, file: string, context: Context) => Promise<void>;
  /** The version a program tells, or undefined. */
  versionOf: (asset: Asset, file: string) => string | undefined;
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

// The sources

/**
 * A program that is run to its end or killed with its whole group. `line` sees each line of both outputs. @returns
 * stdout
 */
export function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; signal: AbortSignal; line?: (line: string) => void },
): Promise<string> {
  options.signal.throwIfAborted();
  return new Promise((done, fail) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const kill = () => child.pid !== undefined && process.kill(-child.pid, "SIGKILL");
    options.signal.addEventListener("abort", kill, { once: true });
    const [out, last]: [string[], string[]] = [[], []];
    const take = (line: string) => {
      options.line?.(line);
      if (line.trim() !== "") last.push(line);
      if (last.length > 8) last.shift();
    };
    createInterface(child.stdout).on("line", (line) => (out.push(line), take(line)));
    createInterface(child.stderr).on("line", take);
    child.once("error", (error) => fail(new Error(`${command}: ${error.message}`)));
    child.once("close", (code, signal) => {
      options.signal.removeEventListener("abort", kill);
      if (code === 0) done(out.join("\n"));
      else fail(new Error(`${command} ended with ${signal ?? code}: ${last.join(" | ").slice(-800)}`));
    });
  });
}

/**
 * Downloads `url` to `file`, continuing what a torn download left there. `sum`: the SHA-256 expected.
 * The answer must begin within `answerMs` and must not pause for `stallMs`.
 */
export async function download(
  url: string,
  file: string,
  options: { sum?: string; answerMs?: number; stallMs?: number; signal: AbortSignal; progress: (line: string) => void },
): Promise<void> {
  const { sum, answerMs = 3000, stallMs = 20_000 } = options;
  const had = existsSync(file) ? statSync(file).size : 0;
  const watch = new AbortController();
  const stop = () => watch.abort(new Error("stopped"));
  options.signal.addEventListener("abort", stop, { once: true });
  let timer = setTimeout(() => watch.abort(new Error(`no answer within ${answerMs} ms`)), answerMs);
  try {
    const headers: Record<string, string> = had > 0 ? { range: `bytes=${had}-` } : {};
    const response = await fetch(url, { headers, signal: watch.signal });
    if (response.status === 416) await response.body?.cancel();
    else {
      if (!response.ok || !response.body) throw new Error(`HTTP ${response.status}`);
      const continued = response.status === 206;
      let [bytes, told] = [continued ? had : 0, performance.now()];
      const total = bytes + Number(response.headers.get("content-length") ?? 0);
      const body = Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
      body.on("data", (chunk: Buffer) => {
        clearTimeout(timer);
        timer = setTimeout(() => watch.abort(new Error(`no byte for ${stallMs} ms`)), stallMs);
        bytes += chunk.length;
        if (performance.now() - told < 10_000) return;
        told = performance.now();
        options.progress(`  ${mebibytes(bytes)} of ${mebibytes(total)} MiB`);
      });
      await pipeline(body, createWriteStream(file, { flags: continued ? "a" : "w" }), { signal: watch.signal });
    }
  } catch (error) {
    if (watch.signal.aborted) throw watch.signal.reason;
    throw error instanceof Error && error.cause instanceof Error ? error.cause : error;
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener("abort", stop);
  }
  if (sum === undefined) return;
  const found = await sha256(file);
  if (found === sum) return;
  rmSync(file);
  if (had > 0) return download(url, file, options);
  throw new Error(`has the SHA-256 ${found}, the vendor says ${sum}`);
}

/** The SHA-256 of `name` in a vendor's file of sums, which holds one alone or `sum  name` lines. */
export function sumOf(text: string, name: string): string | undefined {
  const lines = text.trim().split("\n");
  if (lines.length === 1 && /^[0-9a-f]{64}$/.test(text.trim())) return text.trim();
  return lines.map((line) => /^([0-9a-f]{64})\s+\*?(.+)$/.exec(line.trim())).find((match) => match?.[2] === name)?.[1];
}

/**
 * The go.mod of a module from which the commands of `module` can be built: `go install module@version` refuses modules
 * with replacements. Those by another module are kept, those by a folder of the repository are left out, since what is
 * published beside it is required anyway, except where the requirement is v0.0.0: kubernetes publishes such folders as
 * v0.X.Y beside its v1.X.Y.
 */
export function wrapperModule(goMod: string, module: string, version: string): string {
  const replacements: string[] = [];
  const rule = /^\s*(?:replace\s+)?(\S+)(?:\s+v\S+)?\s+=>\s+(\S+)(?:\s+(v\S+))?\s*(?:\/\/.*)?$/gm;
  for (const [, from = "", to = "", at] of goMod.matchAll(rule)) {
    if (!to.startsWith(".")) replacements.push(`${from} => ${to} ${at}`);
    else if (new RegExp(`^\\s*(?:require\\s+)?${from.replaceAll(".", "\\.")}\\s+v0\\.0\\.0\\b`, "m").test(goMod))
      replacements.push(`${from} => ${from} ${version.replace(/^v\d+/, "v0")}`);
  }
  const go = /^go\s+(\S+)/m.exec(goMod)?.[1] ?? "1.21";
  return [
    `module assets`,
    ``,
    `go ${go}`,
    ``,
    `require ${module} ${version}`,
    ...replacements.map((line) => `replace ${line}`),
    ``,
  ].join("\n");
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(bytes < 2 ** 23 ? 1 : 0);
const buildFolder = (cache: string): string => join(cache, "build");

/** Says every 15 s that the work goes on, and how far it is. */
async function reporting<T>(progress: (line: string) => void, how: () => string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const timer = setInterval(() => progress(`  ${Math.round((performance.now() - start) / 1000)} s: ${how()}`), 15_000);
  return work().finally(() => clearInterval(timer));
}

async function goBuild(
  source: Source & { kind: "go" },
  file: string,
  { cache, signal, progress }: Context,
): Promise<void> {
  const build = buildFolder(cache);
  const folder = join(build, source.module.replaceAll("/", "_"));
  mkdirSync(join(folder, "download"), { recursive: true });
  const env = {
    ...process.env,
    GOCACHE: join(build, "gocache"),
    GOMODCACHE: join(build, "gomod"),
    GOFLAGS: "-p=2 -mod=mod -modcacherw -buildvcs=false",
    GOWORK: "off",
    CGO_ENABLED: "0",
  };
  let [modules, packages, last] = [0, 0, ""];
  const line = (said: string) => {
    if (said.startsWith("go: downloading")) modules++;
    // -v makes the Go tool name each package that it compiled.
    else if (/^[a-z0-9_.-]+(\/[\w.~-]+)+$/i.test(said)) packages++;
    last = said.slice(0, 80);
  };
  const how = () => `${modules} modules downloaded, ${packages} packages compiled, last ${last}`;
  writeFileSync(join(folder, "download/go.mod"), "module download\n");
  const asked = ["mod", "download", "-json", `${source.module}@${source.version}`];
  const answer = await run("go", asked, { cwd: join(folder, "download"), env, signal, line }).catch((error: Error) => {
    throw new Error(/"Error": "(.*?)"/.exec(error.message)?.[1]?.replaceAll("\\n\\t", "; ") ?? error.message);
  });
  const { GoMod } = JSON.parse(answer) as { GoMod: string };
  writeFileSync(join(folder, "go.mod"), wrapperModule(readFileSync(GoMod, "utf8"), source.module, source.version));
  const args = ["build", "-v", "-trimpath", "-ldflags", `-s -w ${source.ldflags ?? ""}`, "-o", file, source.command];
  const compile = () => run("nice", ["-n", "19", "go", ...args], { cwd: folder, env, signal, line });
  await reporting(progress, how, compile).catch((error: Error) => {
    throw new Resumable(error.message);
  });
}

/** Unpacks binary packages below `folder` without installing them. */
async function unpackDebian(packages: string[], folder: string, signal: AbortSignal): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await run("apt-get", ["download", "-q", ...packages], { cwd: folder, signal });
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".deb")))
    await run("dpkg-deb", ["-x", join(folder, file), folder], { signal });
}

/** /etc/apt's sources as sources of source packages. */
export const sourceLines = (text: string): string =>
  text.replace(/^deb(?=\s)/gm, "deb-src").replace(/^Types:.*$/gm, "Types: deb-src");

async function debianSource(
  source: Source & { kind: "debian-source" },
  asset: Asset,
  file: string,
  { cache, signal, progress }: Context,
): Promise<void> {
  const folder = join(buildFolder(cache), `debian-${source.package}`);
  const tree = join(folder, "src/k8s.io", source.package);
  if (!existsSync(join(folder, "ready"))) {
    mkdirSync(join(folder, "lists/partial"), { recursive: true });
    mkdirSync(join(folder, "sources"), { recursive: true });
    const parts = readdirSync("/etc/apt/sources.list.d").filter((name) => /\.(list|sources)$/.test(name));
    for (const path of ["/etc/apt/sources.list", ...parts.map((name) => join("/etc/apt/sources.list.d", name))])
      if (existsSync(path))
        writeFileSync(join(folder, "sources", basename(path)), sourceLines(readFileSync(path, "utf8")));
    const settings = [
      "Dir::Etc::sourcelist=/dev/null",
      `Dir::Etc::sourceparts=${join(folder, "sources")}`,
      `Dir::State::lists=${join(folder, "lists")}`,
    ];
    const options = settings.flatMap((setting) => ["-o", setting]);
    await run("apt-get", ["update", "-q", ...options], { signal });
    await run("apt-get", ["source", "-q", "--download-only", ...options, source.package], { cwd: folder, signal });
    await unpackDebian([`${source.go}-go`, `${source.go}-src`], join(folder, "go"), signal);
    const archive = readdirSync(folder).find((name) => name.includes(".orig.tar"));
    if (!archive) throw new Error(`the source package ${source.package} has no .orig.tar`);
    mkdirSync(tree, { recursive: true });
    await run("tar", ["-xf", join(folder, archive), "-C", tree, "--strip-components=1"], { signal });
    // The makefile copies single files by `rsync -pc FROM TO`; it is not installed everywhere.
    mkdirSync(join(folder, "tools"), { recursive: true });
    writeFileSync(join(folder, "tools/rsync"), '#!/bin/sh\nexec cp -p "$2" "$3"\n', { mode: 0o755 });
    writeFileSync(join(folder, "ready"), "");
  }
  const goroot = join(folder, "go/usr/lib", source.go.replace("golang", "go"));
  const env = {
    ...process.env,
    PATH: [join(goroot, "bin"), process.env.PATH, join(folder, "tools")].join(delimiter),
    HOME: folder,
    GOPATH: folder,
    GO111MODULE: "off",
    GOFLAGS: "-p=2",
    CGO_ENABLED: "0",
    GOCACHE: join(buildFolder(cache), "gocache-debian"),
  };
  const [major, minor] = source.version.replace("v", "").split(".");
  const at = "k8s.io/component-base/version";
  const names = `-X ${at}.gitVersion=${source.version} -X ${at}.gitMajor=${major} -X ${at}.gitMinor=${minor}`;
  const ldflags = `-s -w ${names} ${names.replaceAll(at, `k8s.io/${source.package}/vendor/${at}`)}`;
  let last = "";
  const options = { cwd: tree, env, signal, line: (said: string) => void (last = said.slice(0, 100)) };
  const make = async () => {
    // Its makefile generates sources that the package lacks.
    await run("nice", ["-n", "19", "make", "generated_files"], options);
    await run(
      "nice",
      ["-n", "19", "go", "build", "-v", "-trimpath", "-ldflags", ldflags, "-o", file, `./cmd/${asset.name}`],
      options,
    );
  };
  await reporting(progress, () => last, make).catch((error: Error) => {
    throw new Resumable(error.message);
  });
}

export const attempt: Context["attempt"] = async (source, asset, file, context) => {
  const { cache, signal, progress } = context;
  switch (source.kind) {
    case "present": {
      const found = source.paths.filter((path) => existsSync(path) && resolve(path) !== join(cache, asset.file));
      if (found.length === 0) throw new Error("not there");
      const told = found.map((path) => ({ path, version: context.versionOf(asset, path) ?? asset.version }));
      const right = told.find(({ version }) => version === asset.version);
      if (!right) throw new Error(told.map(({ path, version }) => `${path} is ${version}`).join(", "));
      copyFileSync(right.path, file);
      return;
    }
    case "download": {
      const options = { signal, progress };
      let sum: string | undefined;
      if (source.sums !== undefined) {
        const sums = join(cache, `${asset.name}.sums`);
        await download(source.sums, sums, options);
        sum = sumOf(readFileSync(sums, "utf8"), basename(source.url));
        rmSync(sums);
        if (sum === undefined) throw new Error(`${source.sums} has no SHA-256 of ${basename(source.url)}`);
      }
      if (source.member === undefined) return download(source.url, file, { ...options, sum });
      const archive = `${file}.tar.gz`;
      await download(source.url, archive, { ...options, sum });
      await run("tar", ["-xzf", archive, "-C", dirname(file), `--transform=s|.*|${basename(file)}|`, source.member], {
        signal,
      });
      rmSync(archive);
      return;
    }
    case "go":
      return goBuild(source, file, context);
    case "debian": {
      const folder = join(buildFolder(cache), source.package);
      await unpackDebian([source.package], folder, signal);
      copyFileSync(join(folder, source.path), file);
      return;
    }
    case "debian-source":
      return debianSource(source, asset, file, context);
  }
};

export const versionOf: Context["versionOf"] = (asset, file) => {
  if (!asset.tells) return undefined;
  try {
    const said = execFileSync(file, asset.tells.args, {
      encoding: "utf8",
      timeout: 20_000,
      stdio: ["ignore", "pipe", "pipe"],
    });
    return asset.tells.pattern.exec(said)?.[1]?.replace(/^v/, "") ?? `unknown (${said.slice(0, 80).trim()})`;
  } catch (error) {
    throw new Error(`does not run: ${error instanceof Error ? error.message : String(error)}`);
  }
};

// The command

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
