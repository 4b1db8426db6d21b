/**
 * The sidecar against a node that tells the truth, lies, hangs or is not there: over real sockets, with accelerated
 * timings.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ports } from "../../../contract/ports";
import { sidecarStatusSchema, type SidecarStatus } from "../../../contract/status";
import { systemClock } from "../../../daemons/runtime/clock";
import { createLog } from "../../../daemons/runtime/log";
import { createOctezRpc } from "../../../daemons/runtime/octez-rpc";
import { runSidecar } from "../../../daemons/sidecar/run";
import { solidBakerFile } from "../../helpers/baker-file";
import { bundlePath } from "../../helpers/bundle";
import { headJson, startTestNode, testChainId, type Lie, type TestNode } from "../../helpers/octez-node";
import { answerVotes, mainnetAnswers } from "../../helpers/votes";
import { eventually } from "../../suites/kube-suite";

const file = (ineligibleSeconds: number, headMaxAgeSeconds = 240) =>
  solidBakerFile({ headMaxAgeSeconds, timings: { ineligibleSeconds } });

const fetchText = (url: string): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    }).on("error", reject);
  });

interface Running {
  url: string;
  lines: Record<string, unknown>[];
  status(): Promise<SidecarStatus>;
  code(path: "/live" | "/ready"): Promise<{ status: number; reason: string }>;
  stop(): Promise<void>;
}
/** Polls every 100 ms: ineligibleSeconds 0.6. */
async function startSidecar(url: string, headMaxAgeSeconds = 240): Promise<Running> {
  const stop = new AbortController();
  const lines: Record<string, unknown>[] = [];
  const log = createLog(
    "alice-solo-0",
    "sidecar",
    (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  );
  const rpc = createOctezRpc({ url, clock: systemClock });
  let done: Promise<void> = Promise.resolve();
  const port = await new Promise<number>((resolve) => {
    done = runSidecar({
      ...{
        file: file(0.6, headMaxAgeSeconds),
        pod: "alice-solo-0",
        host: "127.0.0.1",
        port: 0,
        rpc,
        dal: undefined,
        log,
        clock: systemClock,
      },
      signal: stop.signal,
      onListening: resolve,
    });
  });
  const base = `http://127.0.0.1:${port}`;
  const status = async () => sidecarStatusSchema.parse(JSON.parse((await fetchText(`${base}/status`)).text));
  return {
    url: base,
    lines,
    status,
    code: async (path) => {
      const { status: code, text } = await fetchText(base + path);
      return { status: code, reason: (JSON.parse(text) as { reason: string }).reason };
    },
    stop: () => (stop.abort(), done),
  };
}
/** A machine that stops for a moment gives the node no answer in time: the reason may change before it is the last. */
async function until(
  ...[sidecar, path, status, reason = /^/, ms = 60_000]: [Running, "/live" | "/ready", number, RegExp?, number?]
): Promise<void> {
  const end = systemClock.now() + ms;
  for (;;) {
    const got = await sidecar.code(path);
    if (got.status === status && reason.test(got.reason)) return;
    if (systemClock.now() > end) throw new Error(`${path} is still ${got.status} (${got.reason}) after ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
async function untilLevel(sidecar: Running, level: number): Promise<void> {
  const end = systemClock.now() + 60_000;
  while ((await sidecar.status()).head?.level !== level) {
    if (systemClock.now() > end) throw new Error(`the head is not ${level}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

let node: TestNode;
let sidecar: Running;
beforeEach(async () => {
  node = await startTestNode({ timestampMs: systemClock.wall() - 2000 });
});
afterEach(async () => {
  await sidecar.stop();
  await node.stop();
});

test("a healthy node is live and ready, and its status says all that it knows", async () => {
  sidecar = await startSidecar(node.url);
  await until(sidecar, "/ready", 200);
  await until(sidecar, "/live", 200);
  await eventually("the stream", () => node.streams === 1);
  const status = await sidecar.status();
  expect(status).toMatchObject({
    live: true,
    reason: status.ready ? "" : status.reason,
    connections: 3,
    chainId: testChainId,
    syncState: "synced",
  });
  const { text } = await fetchText(`${sidecar.url}/metrics`);
  expect(text).toMatch(/tog_sidecar_ready\{baker="alice",pod="alice-solo-0"\} [01]/);
  expect(text).toMatch(/tog_sidecar_connections\{[^}]*\} 3/);
});

test("its status tells the protocols once the node has told them", async () => {
  answerVotes(node.lies, mainnetAnswers);
  sidecar = await startSidecar(node.url);
  await until(sidecar, "/ready", 200);
  const end = systemClock.now() + 60_000;
  while (!(await sidecar.status()).protocols && systemClock.now() < end)
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect((await sidecar.status()).protocols).toMatchObject({
    running: { known: true },
    proposal: { period: "promotion" },
  });
});

test("a new head is known through the stream before the next poll", async () => {
  sidecar = await startSidecar(node.url);
  await eventually("the stream", () => node.streams === 1);
  node.lies.set("/chains/main/blocks/head/header", "hang");
  node.show(1001, systemClock.wall());
  await untilLevel(sidecar, 1001);
});

test("without a stream the polls follow the head", async () => {
  node.lies.set("/monitor/heads/main", { status: 500, text: "" });
  sidecar = await startSidecar(node.url);
  await until(sidecar, "/ready", 200);
  node.show(1007, systemClock.wall(), { quiet: true });
  await untilLevel(sidecar, 1007);
});

test("a head that stands still becomes too old, and the next one mends it", async () => {
  sidecar = await startSidecar(node.url, 3.2);
  await until(sidecar, "/ready", 200);
  await until(sidecar, "/ready", 503, /^head-too-old: the head \(level 1000\) is \d+\.\d s old/);
  await until(sidecar, "/live", 200);
  await eventually("it is in the log", () =>
    sidecar.lines.some((line) => String(line.reason).startsWith("head-too-old")),
  );
  node.show(1001, systemClock.wall());
  await until(sidecar, "/ready", 200);
});

test.each<[string, (node: TestNode) => void, RegExp]>([
  [
    "answers HTML",
    (n) => n.lies.set("*", { text: "<html>gateway</html>" }),
    /^not-understood: header: no JSON: "<html>/,
  ],
  ["answers another JSON", (n) => n.lies.set("*", { text: '{"level":"high"}' }), /^not-understood: header: /],
  ["answers 500", (n) => n.lies.set("*", { status: 500, text: "" }), /^not-understood: header: HTTP 500/],
  ["hangs", (n) => n.lies.set("*", "hang"), /^no-answer: header: /],
  ["drips", (n) => n.lies.set("*", "drip"), /^no-answer: header: /],
  [
    "sends without end",
    (n) => n.lies.set("*", "huge"),
    /^(not-understood: header: an answer of more than|no-answer: header)/,
  ],
  ["resets", (n) => n.lies.set("*", "cut"), /^unreachable: header: /],
  ["is of another chain", (n) => void (n.chainId = "NetXdQprcVkpaWU"), /^wrong-chain: /],
  [
    "is in the future",
    (n) => n.show(1001, systemClock.wall() + 60_000),
    /^head-in-future: the head's time is \d+\.\d s ahead/,
  ],
  ["is long ago", (n) => n.show(1001, systemClock.wall() - 300_000), /^head-too-old: /],
  [
    "has no time",
    (n) => n.lies.set("*", { text: JSON.stringify({ ...headJson(1, 0), timestamp: "now", chain_id: testChainId }) }),
    /^not-understood/,
  ],
])("a node that %s is not ready, and the reason is said", async (_what, lie, reason) => {
  sidecar = await startSidecar(node.url);
  await until(sidecar, "/ready", 200);
  lie(node);
  node.cutStreams();
  await until(sidecar, "/ready", 503, reason);
});

test.each<[string, Lie]>([
  ["HTML", { text: "<html></html>" }],
  ["an object", { text: "{}" }],
  ["peers without identity", { text: "[1,2,3]" }],
  ["silence", "hang"],
])("%s instead of connections is not live, while the head stays ready", async (_what, lie) => {
  sidecar = await startSidecar(node.url);
  await until(sidecar, "/live", 200);
  node.lies.set("/network/connections", lie);
  await until(sidecar, "/live", 503, /^(not-understood|no-answer): connections: /);
  await until(sidecar, "/ready", 200);
});

test("a node without connections is not live; the first connection makes it live", async () => {
  node.connections = 0;
  sidecar = await startSidecar(node.url);
  await until(sidecar, "/live", 503, /./);
  node.connections = 1;
  await until(sidecar, "/live", 200);
});

test("a node that is not there yet is awaited, one that dies is noticed, one that comes back is believed", async () => {
  const { port } = node;
  await node.stop();
  sidecar = await startSidecar(`http://127.0.0.1:${port}`);
  await until(sidecar, "/ready", 503, /^(unreachable|no-answer): header/);
  node = await startTestNode({ port, timestampMs: systemClock.wall() });
  await until(sidecar, "/ready", 200);
  await node.stop();
  await until(sidecar, "/ready", 503, /^unreachable: header: /);
  node = await startTestNode({ port, timestampMs: systemClock.wall() });
  await until(sidecar, "/ready", 200);
});

describe("as a process", () => {
  const folder = mkdtempSync(join(tmpdir(), "tog-sidecar-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const host = `127.${110 + (process.pid % 100)}.${1 + Math.floor(Math.random() * 250)}.${1 + Math.floor(Math.random() * 250)}`;

  test("it serves at its contract's port, ends on SIGTERM with 0, and refuses a wrong environment with 1", async () => {
    writeFileSync(join(folder, "baker.json"), JSON.stringify(file(6)));
    const paths = {
      TOG_KUBE_DIR: folder,
      TOG_NODE_DIR: folder,
      TOG_CLIENT_DIR: folder,
      TOG_STATE_DIR: folder,
      TOG_SECRETS_DIR: folder,
    };
    const env = {
      ...{
        ...paths,
        TOG_POD_NAME: "alice-solo-0",
        TOG_POD_UID: "u",
        TOG_POD_ADDRESS: host,
        TOG_LOCAL_ADDRESS: host,
        TOG_NAMESPACE: "b",
      },
      ...{ TOG_ZONE: "", TOG_KUBE_URL: "https://127.0.0.1:1", TOG_CONFIG_FILE: join(folder, "baker.json") },
    };
    const bundle = await bundlePath();
    const run = (variables: NodeJS.ProcessEnv) => {
      const child = spawn(process.execPath, [bundle, "sidecar"], {
        env: variables,
        stdio: ["ignore", "pipe", "inherit"],
      });
      let output = "";
      child.stdout.on("data", (data: Buffer) => (output += data.toString()));
      const exit = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
      return { child, exit, output: () => output };
    };
    sidecar = await startSidecar(node.url);
    const truth = await startTestNode({ host, port: ports.octezRpc, timestampMs: systemClock.wall() });
    const good = run(env);
    await eventually("it listens", () => good.output().includes('"listening"'));
    await eventually("it is ready", () => good.output().includes("node-ready"));
    expect((await fetchText(`http://${host}:${ports.sidecar}/ready`)).status).toBe(200);
    good.child.kill("SIGTERM");
    expect(await good.exit).toBe(0);
    const bad = run({ ...env, TOG_POD_NAME: "alice", TOG_CONFIG_FILE: "/nonexistent", TOG_SPELLING: "1" });
    expect(await bad.exit).toBe(1);
    expect(bad.output().trim().split("\n")).toHaveLength(3);
    await truth.stop();
  });
});
