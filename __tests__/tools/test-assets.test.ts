import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { createHash } from "node:crypto";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as script from "../../tools/test-assets";
import { type Asset, type Context, type Source } from "../../tools/test-assets";

let cache: string;
beforeEach(() => (cache = mkdtempSync(join(tmpdir(), "tog-assets-"))));
afterEach(() => rmSync(cache, { recursive: true, force: true }));
const sum = (text: string | Buffer) => createHash("sha256").update(text).digest("hex");
const never = () => new AbortController().signal;

describe("one asset", () => {
  const go: Source = { kind: "go", module: "m", version: "v1", command: "m/cmd" };
  const vendor: Source = { kind: "download", url: "http://vendor/tool" };
  const debian: Source = { kind: "debian", package: "tool", path: "usr/bin/tool" };
  const asset = (version = "1", sources: Source[] = [vendor, go, debian]): Asset => ({
    name: "tool",
    version,
    use: "u",
    file: "bin/tool",
    sources,
  });
  let tried: string[];
  /** What each kind of source gives; the others refuse. */
  const context = (
    has: Partial<Record<Source["kind"], string>>,
    versionOf: Context["versionOf"] = () => undefined,
  ): Context => ({
    cache,
    signal: never(),
    progress: () => undefined,
    versionOf,
    attempt: (source, _asset, file) => {
      tried.push(source.kind);
      const text = has[source.kind];
      if (text === undefined) return Promise.reject(new Error("refused"));
      writeFileSync(file, text);
      return Promise.resolve();
    },
  });
  const content = () => readFileSync(join(cache, "bin/tool"), "utf8");
  beforeEach(() => (tried = []));

  test("comes from the first source that has it, and the refusals before are named", async () => {
    const result = await script.obtain(asset(), context({ go: "a", debian: "b" }));
    expect(tried).toEqual(["download", "go"]);
    expect(result).toMatchObject({ state: "obtained", reasons: ["http://vendor/tool: refused"] });
    expect(result.record).toMatchObject({ sha256: sum("a"), bytes: 1, source: "go build m/cmd@v1" });
    expect(content()).toBe("a");
    expect(statSync(join(cache, "bin/tool")).mode & 0o111).not.toBe(0);
    expect(existsSync(join(cache, "bin/tool.partial"))).toBe(false);
  });

  test("is kept while its file is whole", async () => {
    await script.obtain(asset(), context({ go: "a" }));
    tried = [];
    expect(await script.obtain(asset(), context({ go: "b" }))).toMatchObject({ state: "kept", reasons: [] });
    expect(tried).toEqual([]);
  });

  test.each([
    ["torn", () => writeFileSync(join(cache, "bin/tool"), "who"), /has 3 bytes, recorded are 5/],
    ["altered", () => writeFileSync(join(cache, "bin/tool"), "whale"), /SHA-256/],
    ["gone", () => rmSync(join(cache, "bin/tool")), /is gone/],
  ])("is made anew where its file is %s, with the reason", async (_how, harm, reason) => {
    await script.obtain(asset(), context({ go: "whole" }));
    harm();
    const result = await script.obtain(asset(), context({ go: "whole" }));
    expect(result.state).toBe("obtained");
    expect(result.reasons[0]).toMatch(reason);
    expect(content()).toBe("whole");
  });

  test("is made anew for another version and where the manifest cannot be read", async () => {
    await script.obtain(asset("1"), context({ go: "a" }));
    expect(await script.obtain(asset("2"), context({ go: "b" }))).toMatchObject({
      state: "obtained",
      record: { wanted: "2" },
    });
    writeFileSync(join(cache, "manifest.json"), '{"tool": {');
    expect(await script.obtain(asset("2"), context({ go: "c" }))).toMatchObject({ state: "obtained" });
    expect(content()).toBe("c");
  });

  test("is missing with every reason where no source has it, and leaves no record", async () => {
    const result = await script.obtain(asset(), context({}));
    expect(result.state).toBe("missing");
    expect(result.reasons).toEqual([
      "http://vendor/tool: refused",
      "go build m/cmd@v1: refused",
      "Debian package tool: refused",
    ]);
    expect(script.readManifest(cache)).toEqual({});
    expect(script.unmet([result], ["tool"])).toEqual(["tool"]);
    expect(script.unmet([result], [])).toEqual([]);
    expect(script.summary([result]).join("\n")).toMatch(/^MISSING {2}tool[^]*Debian package tool: refused$/);
  });

  test("may be of another version from Debian only, and the record says so", async () => {
    const result = await script.obtain(
      asset(),
      context({ go: "a", debian: "b" }, () => "0.9"),
    );
    expect(tried).toEqual(["download", "go", "debian"]);
    expect(result.reasons[1]).toBe("go build m/cmd@v1: tells the version 0.9");
    expect(result.record).toMatchObject({ wanted: "1", version: "0.9" });
    expect(script.summary([result])[0]).toContain("0.9 (wanted 1)");
    expect(await script.obtain(asset(), context({}))).toMatchObject({ state: "kept" });
  });

  test("an interrupted build leaves neither a file that counts nor a refusal, and the next run makes it", async () => {
    const stopped = new AbortController();
    const interrupted = { ...context({}), signal: stopped.signal };
    interrupted.attempt = (_source, _asset, file) => {
      writeFileSync(file, "half");
      stopped.abort(new Error("stopped by SIGTERM"));
      return Promise.reject(new Error("killed"));
    };
    await expect(script.obtain(asset(), interrupted)).rejects.toThrow("stopped by SIGTERM");
    expect(existsSync(join(cache, "bin/tool"))).toBe(false);
    expect(await script.obtain(asset(), context({ go: "whole" }))).toMatchObject({ state: "obtained" });
    expect(content()).toBe("whole");
  });

  test("is taken from this machine in the right version only", async () => {
    for (const name of ["old", "right"]) writeFileSync(join(cache, name), name);
    const paths = ["absent", "old", "right"].map((name) => join(cache, name));
    const versionOf: Context["versionOf"] = (_asset, file) => (file.endsWith("old") ? "0.9" : "1");
    const real = { ...context({}, versionOf), attempt: script.attempt };
    const found = await script.obtain(asset("1", [{ kind: "present", paths }]), real);
    expect(found.state).toBe("obtained");
    expect(content()).toBe("right");
    const none = await script.obtain(asset("2", [{ kind: "present", paths: paths.slice(0, 2) }]), real);
    expect(none.reasons.at(-1)).toBe(`this machine: ${join(cache, "old")} is 0.9`);
  });
});

describe("a download", () => {
  let server: Server;
  let url: string;
  let ranges: (string | undefined)[];
  const whole = Buffer.from("0123456789".repeat(50));
  const serve = async (listener: RequestListener) => {
    server = createServer(listener);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/tool`;
  };
  const withRanges: RequestListener = (request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    ranges.push(request.headers.range);
    if (from >= whole.length) response.writeHead(416).end();
    else response.writeHead(from > 0 ? 206 : 200, { "content-length": whole.length - from }).end(whole.subarray(from));
  };
  beforeEach(() => (ranges = []));
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  const options = (more: object = {}) => ({ signal: never(), progress: () => undefined, ...more });
  const file = () => join(cache, "tool");

  test("continues a torn file and checks the whole", async () => {
    await serve(withRanges);
    writeFileSync(file(), whole.subarray(0, 123));
    await script.download(url, file(), options({ sum: sum(whole) }));
    expect(ranges).toEqual(["bytes=123-"]);
    expect(readFileSync(file()).equals(whole)).toBe(true);
    await script.download(url, file(), options({ sum: sum(whole) }));
    expect(ranges[1]).toBe("bytes=500-");
    expect(readFileSync(file()).equals(whole)).toBe(true);
  });

  test("begins anew where the torn file was of something else, or the server knows no ranges", async () => {
    await serve(withRanges);
    writeFileSync(file(), "something else");
    await script.download(url, file(), options({ sum: sum(whole) }));
    expect(ranges).toEqual(["bytes=14-", undefined]);
    expect(readFileSync(file()).equals(whole)).toBe(true);
    server.removeAllListeners("request").on("request", (_request, response) => void response.end(whole));
    writeFileSync(file(), whole.subarray(0, 10));
    await script.download(url, file(), options());
    expect(readFileSync(file()).equals(whole)).toBe(true);
  });

  test("refuses what has another checksum and keeps nothing of it", async () => {
    await serve(withRanges);
    await expect(script.download(url, file(), options({ sum: sum("other") }))).rejects.toThrow(/the vendor says/);
    expect(existsSync(file())).toBe(false);
  });

  test("gives up soon where nobody answers, and where an answer stalls keeps what came", async () => {
    await serve((_request, response) => void response);
    await expect(script.download(url, file(), options({ answerMs: 50 }))).rejects.toThrow("no answer within 50 ms");
    server.removeAllListeners("request").on("request", (_request, response) => {
      response.writeHead(200, { "content-length": whole.length });
      response.write(whole.subarray(0, 100));
    });
    await expect(script.download(url, file(), options({ stallMs: 50 }))).rejects.toThrow("no byte for 50 ms");
    expect(readFileSync(file()).equals(whole.subarray(0, 100))).toBe(true);
  });

  test("names a refusal", async () => {
    await serve((_request, response) => void response.writeHead(403).end());
    await expect(script.download(url, file(), options())).rejects.toThrow("HTTP 403");
  });

  test("of an archive gives the file wanted, checked by the vendor's list of sums", async () => {
    const folder = join(cache, "made/tool-v1");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "tool"), "the tool");
    await script.run("tar", ["-czf", join(cache, "a.tar.gz"), "-C", join(cache, "made"), "tool-v1"], {
      signal: never(),
    });
    const archive = readFileSync(join(cache, "a.tar.gz"));
    await serve(
      (request, response) =>
        void response.end(request.url === "/SUMS" ? `${sum("x")}  b\n${sum(archive)}  a.tar.gz\n` : archive),
    );
    const at = url.replace("/tool", "");
    const source: Source = { kind: "download", url: `${at}/a.tar.gz`, sums: `${at}/SUMS`, member: "tool-v1/tool" };
    const asset: Asset = { name: "tool", version: "1", use: "u", file: "bin/tool", sources: [source] };
    const context: Context = {
      cache,
      signal: never(),
      progress: () => undefined,
      versionOf: () => undefined,
      attempt: script.attempt,
    };
    expect((await script.obtain(asset, context)).state).toBe("obtained");
    expect(readFileSync(join(cache, "bin/tool"), "utf8")).toBe("the tool");
  });
});

describe("a wrapper module", () => {
  test("takes unpublished folders of the repository in the version published beside it", () => {
    const goMod =
      "module k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/api v0.0.0\n\tk8s.io/utils v0.0.0-2026\n\tother/m v1.2.3\n)\n\n" +
      "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tother/m => ../m\n\tforked/m v1.0.0 => github.com/f/m v1.0.1\n)\n";
    expect(script.wrapperModule(goMod, "k8s.io/kubernetes", "v1.36.3")).toBe(
      "module assets\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.36.3\n" +
        "replace k8s.io/api => k8s.io/api v0.36.3\nreplace forked/m => github.com/f/m v1.0.1\n",
    );
  });
  test("takes single replacements too", () => {
    expect(script.wrapperModule("module a\ngo 1.24\nreplace b/c => d/e v1.0.0\n", "a", "v1.0.0")).toMatch(
      /^replace b\/c => d\/e v1\.0\.0$/m,
    );
  });
});

test("sums are found alone and in lists", () => {
  const [a, b] = [sum("a"), sum("b")];
  expect(script.sumOf(`${a}\n`, "kubectl")).toBe(a);
  expect(script.sumOf(`${a}  x.zip\n${b} *y.zip\n`, "y.zip")).toBe(b);
  expect(script.sumOf(`${a}  x.zip\n`, "y.zip")).toBeUndefined();
  expect(script.sumOf("<html>", "y.zip")).toBeUndefined();
});

test("a second run in the same folder is refused while the first lives, and takes over from a dead one", () => {
  const unlock = script.lock(cache);
  expect(() => script.lock(cache)).toThrow(`process ${process.pid} is at work`);
  unlock();
  writeFileSync(join(cache, "lock"), "4194999");
  script.lock(cache)();
  expect(existsSync(join(cache, "lock"))).toBe(false);
});

test("names are resolved with their groups, and an unknown one is refused with those there are", () => {
  expect(script.named("kwok,providers")).toEqual(["kwok", "provider-kubernetes", "provider-helm", "provider-google"]);
  expect(script.named(undefined)).toEqual([]);
  expect(() => script.named("etcd,docker")).toThrow(/got docker\nusage:[^]*kube-apiserver/);
});

test("every asset tries this machine, then its vendor, then Go", () => {
  for (const { file, sources } of script.assets()) {
    const kinds = sources.map(({ kind }) => kind);
    // A text is of no use to anybody else, and so not on this machine.
    if (file.endsWith(".yaml")) expect(kinds).toEqual(["download", "module"]);
    else expect(kinds.slice(0, 3)).toEqual(["present", "download", "go"]);
  }
});

test("a program that is stopped takes its children with it", async () => {
  const stopped = new AbortController();
  const file = join(cache, "pid");
  const ended = script.run("sh", ["-c", `sleep 60 & echo $! > ${file}.new && mv ${file}.new ${file}; wait`], {
    signal: stopped.signal,
  });
  while (!existsSync(file)) await new Promise((done) => setTimeout(done, 10));
  stopped.abort();
  await expect(ended).rejects.toThrow("SIGKILL");
  const pid = Number(readFileSync(file, "utf8"));
  const lives = () => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  for (let tries = 0; lives() && tries < 100; tries++) await new Promise((done) => setTimeout(done, 10));
  expect(lives()).toBe(false);
});
