/**
 * The runtime image without a registry: tog.Containerfile on a base made of this machine's libraries, tini and a
 * Node.js 22 from npm (or, without a network, the Node.js at hand). Shown: its start, its user, that a read-only root
 * is enough, and its compressed size.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { daemonCommand, nodeOptions, runAs, togCommand } from "../../contract/images";
import { ports } from "../../contract/ports";
import { systemClock } from "../../daemons/runtime/clock";
import { assemble, nodeBinary } from "../../lab/nodes/images";
import { buildSteps, digestIn, reference, stageContext } from "../../scripts/publish-images";
import { solidBakerFile } from "../helpers/baker-file";
import { startTestNode } from "../helpers/octez-node";
import { eventually } from "../suites/kube-suite";

const maxCompressedMb = 60;

function missing(): string | undefined {
  const programs = ["buildah", "tini", "busybox", "unshare", "chroot", "ldd"].filter(
    (name) => spawnSync("which", [name]).status !== 0,
  );
  if (process.platform !== "linux" || process.arch !== "x64")
    return `needs Linux on x64; this is ${process.platform} on ${process.arch}`;
  if (programs.length > 0)
    return `not installed: ${programs.join(", ")} (apt-get install buildah tini busybox util-linux)`;
  return process.getuid?.() === 0 ? undefined : "needs root (mounts)";
}
const why = missing();
if (why !== undefined) console.log(`skipped: ${why}`);

(why === undefined ? describe : describe.skip)("the runtime image", () => {
  const folder = why === undefined ? mkdtempSync(join(tmpdir(), "tog-image-")) : "";
  const context = join(folder, "context");
  const shared = join(folder, "shared");
  const options = {
    builder: "buildah" as const,
    images: ["runtime"] as const,
    registry: "localhost/bakers",
    tag: "test",
    octez: "docker.io/tezos/tezos-bare:octez-v25.1",
    context,
    push: false,
  };
  const image = reference(options, "runtime");
  const env = { ...process.env, BUILDAH_ISOLATION: "chroot", CONTAINERS_STORAGE_CONF: join(folder, "storage.conf") };
  const buildah = (...args: string[]): string =>
    execFileSync("buildah", args, { env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  const running: ChildProcess[] = [];
  let mounted = "";

  beforeAll(async () => {
    writeFileSync(
      env.CONTAINERS_STORAGE_CONF,
      `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/graph"\nrunroot = "${folder}/run"\n`,
    );
    await stageContext(context);
    mkdirSync(shared, { mode: 0o777 });
    chownSync(shared, runAs, runAs);
    const base = join(folder, "base");
    const busybox = execFileSync("which", ["busybox"], { encoding: "utf8" }).trim();
    assemble(join(base, "root"), {
      ...{ "/usr/local/bin/node": nodeBinary(console.log), "/sbin/tini": "/usr/bin/tini" },
      ...{ "/bin/sh": busybox, "/bin/sleep": busybox, "/bin/date": busybox },
    });
    writeFileSync(join(base, "Containerfile"), "FROM scratch\nCOPY root /\n");
    const [first, last] = buildSteps(options).map((step) => step.command);
    const tag = first?.[first.indexOf("-t") + 1] ?? "";
    buildah("build", "--format", "oci", "--timestamp", "0", "-f", join(base, "Containerfile"), "-t", tag, base);
    execFileSync(last?.[0] ?? "", last?.slice(1), { env, stdio: ["ignore", "pipe", "pipe"] });
    mounted = buildah("mount", buildah("from", "--pull-never", image));
  });
  afterAll(() => {
    for (const child of running) child.kill("SIGKILL");
    spawnSync("buildah", ["rm", "--all"], { env });
    spawnSync("buildah", ["rmi", "--all", "--force"], { env });
    rmSync(folder, { recursive: true, force: true });
  });

  /** As a pod runs it: uid 1000, read-only root, a writable /tmp, processes of its own. */
  const runIn = (command: readonly string[], variables: Record<string, string> = {}) => {
    const script = `set -e; mount --bind ${mounted} ${mounted}; mount --rbind /dev ${mounted}/dev; mount -t proc proc ${mounted}/proc
      mount --bind ${shared} ${mounted}/tmp; mount -o remount,bind,ro ${mounted}; exec chroot --userspec=${runAs}:${runAs} ${mounted} "$@"`;
    const child = spawn(
      "unshare",
      ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", ...command],
      {
        env: { PATH: "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ...variables },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    running.push(child);
    let output = "";
    child.stdout.on("data", (data: Buffer) => (output += data.toString()));
    child.stderr.on("data", (data: Buffer) => (output += data.toString()));
    return {
      child,
      output: () => output,
      exit: new Promise<number | null>((done) => child.once("close", (code) => done(code))),
    };
  };

  test("says whom it runs as and how it starts", () => {
    const { OCIv1 } = JSON.parse(buildah("inspect", "--type", "image", image)) as {
      OCIv1: { config: { User: string; Entrypoint: string[]; Env: string[] } };
    };
    expect(OCIv1.config.User).toBe(`${runAs}:${runAs}`);
    expect(OCIv1.config.Entrypoint).toEqual(togCommand);
    expect(OCIv1.config.Env).toContain(`NODE_OPTIONS=${nodeOptions}`);
  });

  test(`is at most ${maxCompressedMb} MB compressed, and the same content has the same digest`, () => {
    const digests = ["one", "two"].map((name) => {
      const layout = join(folder, name);
      const file = join(folder, `${name}.digest`);
      if (name === "two")
        execFileSync("buildah", buildSteps(options).at(-1)?.command.slice(1), {
          env,
          stdio: ["ignore", "pipe", "pipe"],
        });
      buildah("push", "--digestfile", file, image, `oci:${layout}:test`);
      return digestIn(readFileSync(file, "utf8"), image);
    });
    expect(digests[0]).toBe(digests[1]);
    const blobs = join(folder, "one/blobs/sha256");
    const manifest = readdirSync(blobs)
      .map((name) => readFileSync(join(blobs, name)))
      .filter((blob) => blob.length < 100_000 && blob[0] === 0x7b)
      .map((blob) => JSON.parse(blob.toString()) as { layers?: { size: number }[] })
      .find((blob) => blob.layers);
    const mb = (manifest?.layers ?? []).reduce((sum, layer) => sum + layer.size, 0) / 1e6;
    console.log(
      `compressed: ${mb.toFixed(1)} MB (${(manifest?.layers ?? []).map((layer) => (layer.size / 1e6).toFixed(1)).join(" + ")})`,
    );
    expect(mb).toBeGreaterThan(10);
    expect(mb).toBeLessThanOrEqual(maxCompressedMb);
  });

  test("runs without root, and cannot write its root", async () => {
    const code = `
      const fs = require("fs"); const say = (path) => { try { fs.writeFileSync(path, "x"); return "written"; } catch (e) { return e.code; } };
      console.log(JSON.stringify({ uid: process.getuid(), gid: process.getgid(), version: process.version, usr: say("/usr/local/lib/tog/x"), root: say("/x"), tmp: say("/tmp/x") }));`;
    const { exit, output } = runIn(["/usr/local/bin/node", "-e", code]);
    expect(await exit).toBe(0);
    expect(JSON.parse(output())).toMatchObject({ uid: runAs, gid: runAs, usr: "EROFS", root: "EROFS", tmp: "written" });
  });

  test("has its native module", async () => {
    const { exit, output } = runIn([
      "/usr/local/bin/node",
      "-p",
      'require("/usr/local/lib/tog/node_modules/koffi").load(null).func("int getuid()")()',
    ]);
    expect(await exit).toBe(0);
    expect(output().trim()).toBe(String(runAs));
  });

  test("knows its daemons", async () => {
    const { exit, output } = runIn([...togCommand, "nobody"]);
    expect(await exit).toBe(1);
    expect(output()).toContain("one of elector, sidecar, baker-supervisor");
  });

  test("a daemon starts, serves, and ends on SIGTERM with 0", async () => {
    const host = `127.${110 + (process.pid % 100)}.${1 + Math.floor(Math.random() * 250)}.${1 + Math.floor(Math.random() * 250)}`;
    writeFileSync(join(shared, "baker.json"), JSON.stringify(solidBakerFile()));
    const node = await startTestNode({ host, port: ports.octezRpc, timestampMs: systemClock.wall() });
    const paths = ["KUBE_DIR", "NODE_DIR", "CLIENT_DIR", "STATE_DIR", "SECRETS_DIR"].map((name) => [
      `TOG_${name}`,
      "/tmp",
    ]);
    const { child, exit, output } = runIn([...daemonCommand, "sidecar"], {
      ...(Object.fromEntries(paths) as Record<string, string>),
      ...{
        TOG_POD_NAME: "alice-solo-0",
        TOG_POD_UID: "u",
        TOG_POD_ADDRESS: host,
        TOG_LOCAL_ADDRESS: host,
        TOG_NAMESPACE: "b",
        TOG_ZONE: "",
      },
      ...{ TOG_KUBE_URL: "https://127.0.0.1:1", TOG_CONFIG_FILE: "/tmp/baker.json" },
    });
    await eventually("it is ready", () => output().includes("node-ready"));
    const status = await new Promise<number | undefined>((done, fail) => {
      get(
        { host, port: ports.sidecar, path: "/ready", agent: false },
        (response) => (response.resume(), done(response.statusCode)),
      ).on("error", fail);
    });
    expect(status).toBe(200);
    // tini is process 1 of the namespace: the only child of unshare.
    const tini = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim();
    expect(basename(readFileSync(`/proc/${tini}/cmdline`, "utf8").split("\0")[0] ?? "")).toBe("tini");
    process.kill(Number(tini), "SIGTERM");
    expect(await exit).toBe(0);
    await node.stop();
  });
});
