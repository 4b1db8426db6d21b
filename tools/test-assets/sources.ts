/** How an asset is had from each kind of source: copied, downloaded, built with Go, unpacked from a Debian package. */
import { execFileSync, spawn } from "node:child_process";
import {
  copyFileSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Asset, Source } from "./assets";
import { sha256 } from "./manifest";

/** A build that the next run can take up where it stopped: the build cache is worth keeping. */
export class Resumable extends Error {}

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

export const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(bytes < 2 ** 23 ? 1 : 0);
export const buildFolder = (cache: string): string => join(cache, "build");

/** Says every 15 s that the work goes on, and how far it is. */
async function reporting<T>(progress: (line: string) => void, how: () => string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const timer = setInterval(() => progress(`  ${Math.round((performance.now() - start) / 1000)} s: ${how()}`), 15_000);
  return work().finally(() => clearInterval(timer));
}

const goEnvironment = (cache: string): NodeJS.ProcessEnv => ({
  ...process.env,
  GOCACHE: join(buildFolder(cache), "gocache"),
  GOMODCACHE: join(buildFolder(cache), "gomod"),
  GOFLAGS: "-p=2 -mod=mod -modcacherw -buildvcs=false",
  GOWORK: "off",
  CGO_ENABLED: "0",
});

/** Downloads a module. @returns the path of its go.mod, and its folder */
async function goModule(
  { module, version }: { module: string; version: string },
  { cache, signal }: Pick<Context, "cache" | "signal">,
  line?: (said: string) => void,
): Promise<{ GoMod: string; Dir: string }> {
  const folder = join(buildFolder(cache), module.replaceAll("/", "_"), "download");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "go.mod"), "module download\n");
  const asked = ["mod", "download", "-json", `${module}@${version}`];
  const options = { cwd: folder, env: goEnvironment(cache), signal, line };
  const answer = await run("go", asked, options).catch((error: Error) => {
    throw new Error(/"Error": "(.*?)"/.exec(error.message)?.[1]?.replaceAll("\\n\\t", "; ") ?? error.message);
  });
  return JSON.parse(answer) as { GoMod: string; Dir: string };
}

async function goBuild(
  source: Source & { kind: "go" },
  file: string,
  { cache, signal, progress }: Context,
): Promise<void> {
  const folder = join(buildFolder(cache), source.module.replaceAll("/", "_"));
  const env = goEnvironment(cache);
  let [modules, packages, last] = [0, 0, ""];
  const line = (said: string) => {
    if (said.startsWith("go: downloading")) modules++;
    // -v makes the Go tool name each package that it compiled.
    else if (/^[a-z0-9_.-]+(\/[\w.~-]+)+$/i.test(said)) packages++;
    last = said.slice(0, 80);
  };
  const how = () => `${modules} modules downloaded, ${packages} packages compiled, last ${last}`;
  const { GoMod } = await goModule(source, { cache, signal }, line);
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
    case "module":
      copyFileSync(join((await goModule(source, context)).Dir, source.path), file);
      return;
    case "debian": {
      const folder = join(buildFolder(cache), source.package);
      await unpackDebian([source.package], folder, signal);
      copyFileSync(join(folder, source.path), file);
      return;
    }
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
