/** The Octez doubles as processes: they refuse what Octez refuses, end as Octez ends, and lock as Octez locks. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleDoubles } from "../../lab/bundle";
import { Chain } from "../../lab/chain/chain";
import { residentMegabytes, tryLock } from "../../lab/doubles/common";

const children: ChildProcess[] = [];
let folder = "";
let program = "";
beforeAll(async () => {
  program = (await bundleDoubles()).doubles;
});
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "doubles-"))));
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

function start(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [program, ...args], {
    env: { PATH: process.env.PATH, LAB_START_MS: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const exit = new Promise<{ code: number | null; errors: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, errors })),
  );
  return { child, exit };
}
const config = (address = "127.0.0.1:0") =>
  start([
    "octez-node",
    "config",
    "init",
    "--data-dir",
    folder,
    "--network",
    "shadownet",
    "--history-mode",
    "rolling",
    "--rpc-addr",
    address,
  ]).exit;
const text = (url: string) =>
  new Promise<string>((resolve, reject) => {
    get(url, { agent: false }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString()));
      response.on("end", () => resolve(body));
    }).on("error", reject);
  });

/** The port that it says it serves on. */
const rpcPort = (child: ReturnType<typeof start>["child"]) =>
  new Promise<string>((resolve) => {
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      const [, port] = /starting RPC server on [^\n]*:(\d+)\n/.exec(output) ?? [];
      if (port !== undefined) resolve(port);
    });
  });

test("octez-node refuses an unknown option with cmdliner's exit code, and a second configuration", async () => {
  await expect(start(["octez-node", "run", "--data-dir", folder, "--frobnicate"]).exit).resolves.toMatchObject({
    code: 124,
    errors: expect.stringContaining("unknown option '--frobnicate'"),
  });
  await expect(config()).resolves.toMatchObject({ code: 0 });
  await expect(config()).resolves.toMatchObject({
    code: 124,
    errors: expect.stringContaining("Pre-existing configuration file"),
  });
});

test("octez-node serves a chain, locks its folder, and ends with 127", async () => {
  const chain = new Chain({
    ...{
      seed: "x",
      chainId: "NetXsqzbfFenSTS",
      protocol: "P",
      // No second block comes while the test runs.
      blockMs: 600_000,
      delegate: "tz1d",
      consensusKey: "tz1d",
      blockShare: 0,
      attestationShare: 1,
    },
    ...{ blocksPerCycle: 8, blocksPerCommitment: 4, revelationBlocks: 6, startLevel: 1001, virtualPeers: 3 },
  });
  chain.start();
  const served = await chain.serve("127.0.0.1");
  try {
    await config();
    const env = { LAB_CHAIN: `127.0.0.1:${served.port}`, LAB_POD: "a-0" };
    const { child, exit } = start(["octez-node", "run", "--data-dir", folder], env);
    const port = await Promise.race([rpcPort(child), exit.then(({ errors }) => Promise.reject(new Error(errors)))]);
    const url = `http://127.0.0.1:${port}`;
    // A node that has not heard of the chain yet answers 503.
    let head = "";
    while (!head.includes("level")) head = await text(`${url}/chains/main/blocks/head/header`);
    expect(JSON.parse(head)).toMatchObject({
      level: 1001,
      hash: chain.head.hash,
      chain_id: "NetXsqzbfFenSTS",
      predecessor: chain.head.header.predecessor,
    });
    expect(JSON.parse(await text(`${url}/network/connections`))).toHaveLength(3);
    expect(JSON.parse(await text(`${url}/chains/main/blocks/head/helpers/current_level?offset=1`))).toMatchObject({
      level: 1002,
      cycle: 125,
      cycle_position: 1,
    });
    await expect(start(["octez-node", "run", "--data-dir", folder], env).exit).resolves.toMatchObject({
      code: 124,
      errors: expect.stringContaining("Data directory is locked"),
    });
    child.kill("SIGTERM");
    await expect(exit).resolves.toMatchObject({ code: 127 });
  } finally {
    served.close();
    chain.stop();
  }
});

test("a second SIGTERM ends octez-accuser at once with 255 or the first has ended it with 127", async () => {
  const { child, exit } = start(["octez-accuser", "-E", "http://127.0.0.1:1", "run", "--keep-alive"]);
  await new Promise((resolve) => child.stderr.once("data", resolve));
  child.kill("SIGTERM");
  child.kill("SIGTERM");
  expect([127, 255]).toContain((await exit).code);
});

test("octez-accuser ends with 1 where its node is away, or lives with --keep-alive", async () => {
  await expect(start(["octez-accuser", "-E", "http://127.0.0.1:1", "run"]).exit).resolves.toMatchObject({
    code: 1,
    errors: expect.stringContaining("Cannot connect to node") as string,
  });
});

test("with the measured memory a double is as large as the program that it stands for", async () => {
  const { child } = start(
    ["octez-baker", "-d", folder, "-E", "http://127.0.0.1:1", "run", "remotely", "--keep-alive"],
    {
      LAB_MEMORY: "measured",
    },
  );
  await new Promise((resolve) => child.stderr.once("data", resolve));
  const [, kilobytes] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8")) ?? [];
  const megabytes = (Number(kilobytes) * 1024) / 1e6;
  const measured = residentMegabytes["octez-baker"] ?? 0;
  expect(megabytes).toBeGreaterThan(0.95 * measured);
  expect(megabytes).toBeLessThan(1.2 * measured);
});

test("the wallet lock is the one that Python's fcntl.lockf takes", async () => {
  const path = join(folder, "wallet_lock");
  writeFileSync(path, "");
  mkdirSync(join(folder, "x"));
  const script = `import fcntl,sys,time\nf=open(${JSON.stringify(path)},"r+")\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint("held",flush=True)\ntime.sleep(20)`;
  const holder = spawn("python3", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });
  children.push(holder);
  const held = await new Promise<boolean>((resolve) => {
    holder.stdout.once("data", () => resolve(true));
    holder.once("error", () => resolve(false));
  });
  // Without Python on this machine there is nobody independent to ask.
  if (!held) return;
  expect(tryLock(path)).toBeUndefined();
  holder.kill("SIGKILL");
  await new Promise((resolve) => holder.once("close", resolve));
  const release = tryLock(path);
  expect(release).toBeDefined();
  release?.();
});
