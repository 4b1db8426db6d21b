/**
 * Memory, start time and idle CPU of every daemon: one baking pod's daemons as processes, beside an embedded API, a node with 50 peers and a head
 * every 6 s, and a signer. Options: --seconds N (of CPU measurement, default 20), --starts N (default 5), --only NAME,NAME, --node FILE (another Node.js).
 */
import { spawn, type ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { keyHashHex } from "../../contract/addresses";
import { bakerFileSchema } from "../../contract/baker-file";
import { secretFiles } from "../../contract/env";
import { daemonNames, nodeOptions, type DaemonName } from "../../contract/images";
import { labels } from "../../contract/names";
import { networks } from "../../contract/networks";
import { ports } from "../../contract/ports";
import { defaultTimings } from "../../contract/timings";
import { KubeApi } from "../../lab/kube-api";
import { encodeBase58 } from "../../tezos/base58";
import { judged, percentile, type Bench, type BenchResult } from "../bench";
import { buildDaemons } from "../build";

const goals = { rss: "<= 60", start: "<= 200", cpu: "<= 0.3" } as const;
const healthPort: Partial<Record<DaemonName, number>> = {
  elector: ports.elector,
  sidecar: ports.sidecar,
  "baker-supervisor": ports.supervisor,
  "signing-gate": ports.gateHealth,
  "nonce-exposer": ports.nonceExposer,
  "nonce-importer": ports.nonceImporter,
};
const address = "tz1KqTpEZ7Yob7QbPE4Hy4Wo8fHG8LhKxZSx";
const { chainId } = networks.shadownet;
const now = (): number => performance.now();
const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

const listen = (server: Server, host: string, port: number): Promise<void> =>
  new Promise((done, fail) => server.once("error", fail).listen(port, host, done));

/** Answers what the daemons ask; a head every 6 s. */
function fakeNode(): { listener: RequestListener; stop: () => void } {
  const streams = new Set<ServerResponse>();
  const hash = (level: number): string => encodeBase58("blockHash", createHash("sha256").update(String(level)).digest());
  let level = 1000;
  const head = () => ({
    hash: hash(level),
    level,
    proto: 25,
    predecessor: hash(level - 1),
    timestamp: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
    fitness: ["02", level.toString(16).padStart(8, "0"), "", "ffffffff", "00000000"],
  });
  let shown = head();
  const timer = setInterval(() => {
    level++;
    shown = head();
    for (const stream of streams) stream.write(JSON.stringify(shown) + "\n");
  }, 6000);
  const peers = Array.from({ length: 50 }, (_, i) => ({
    incoming: i % 2 === 0,
    peer_id: `id${i}`.padEnd(30, "x"),
    id_point: { addr: `::ffff:10.0.0.${i}`, port: 9732 },
    remote_socket_port: 9732,
    announced_version: { chain_name: "TEZOS_SHADOWNET", distributed_db_version: 2, p2p_version: 1 },
    private: false,
    local_metadata: { disable_mempool: false, private_node: false },
    remote_metadata: { disable_mempool: false, private_node: false },
  }));
  const answers: Record<string, () => unknown> = {
    "/chains/main/blocks/head/header": () => ({ ...shown, chain_id: chainId }),
    "/network/connections": () => peers,
    "/chains/main/chain_id": () => chainId,
    "/chains/main/is_bootstrapped": () => ({ bootstrapped: true, sync_state: "synced" }),
    "/chains/main/blocks/head/context/constants": () => ({
      ...{ blocks_per_cycle: 14400, blocks_per_commitment: 112, nonce_revelation_threshold: 400, consensus_rights_delay: 2 },
      ...{ minimal_block_delay: "6", delay_increment_per_round: "3" },
    }),
    "/chains/main/blocks/head/helpers/current_level": () => ({
      ...{ level, level_position: level - 1, cycle: 0, cycle_position: level - 1, expected_commitment: false },
    }),
    "/chains/main/blocks/head/helpers/baking_rights": () => [],
    [`/chains/main/blocks/head/context/delegates/${address}/participation`]: () => ({ missed_slots: 0, missed_levels: 0 }),
  };
  return {
    stop: () => clearInterval(timer),
    listener: (request, response) => {
      const path = (request.url ?? "").split("?")[0] ?? "";
      if (path.startsWith("/monitor/heads")) {
        response.writeHead(200).write(JSON.stringify(shown) + "\n");
        streams.add(response);
        response.on("close", () => streams.delete(response));
        return;
      }
      const answer = answers[path];
      response.writeHead(answer ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(answer?.() ?? []));
    },
  };
}

/** Milliseconds of CPU that a process has used; its children's too where they have ended. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i] ?? 0), 0) * 10;
}
const rssMb = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;

const accepts = (host: string, port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect({ host, port }, () => (socket.destroy(), done(true)));
    socket.on("error", () => done(false));
  });
const ended = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;
async function end(child: ChildProcess): Promise<void> {
  if (ended(child)) return;
  const gone = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  await gone;
}

export const bench: Bench = async (args, progress) => {
  const option = (name: string): string | undefined => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
  const seconds = Number(option("--seconds") ?? 20);
  const starts = Number(option("--starts") ?? 5);
  const program = option("--node") ?? process.execPath;
  const only = option("--only")?.split(",");
  const wanted = daemonNames.filter((name) => only === undefined || only.includes(name));
  const root = resolve(__dirname, "../..");
  mkdirSync(join(root, ".cache/bench"), { recursive: true });
  const bundle = await buildDaemons(join(root, `.cache/bench/tog-${process.pid}.cjs`));
  const folder = mkdtempSync(join(tmpdir(), "tog-bench-"));
  const host = `127.${100 + ((randomBytes(1)[0] ?? 0) % 100)}.${randomBytes(1)[0]}.${2 + ((randomBytes(1)[0] ?? 0) % 250)}`;
  const results: BenchResult[] = [];
  const children = new Map<DaemonName, ChildProcess>();
  const api = new KubeApi();
  const node = fakeNode();
  const rpc = createServer(node.listener);
  const signer = createServer((_request, response) => response.writeHead(200, { "content-type": "application/json" }).end("{}"));
  try {
    const { url } = await api.start({ host: "127.0.0.1" });
    await listen(rpc, host, ports.octezRpc);
    await listen(signer, host, 6733);
    api.addAdmin("bench", "alice-as-0");
    const kube = join(folder, "kube");
    api.writeKubeDir(kube, "bench", "bakers");
    const watermark = `wm-${keyHashHex(address)}`;
    api.apply("configmaps", "bakers", {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: watermark, labels: { [labels.baker]: "alice" } },
      data: {},
    });
    const paths = Object.fromEntries(["node", "client", "state", "secrets"].map((name) => [name, join(folder, name)]));
    for (const path of Object.values(paths)) mkdirSync(path);
    writeFileSync(join(paths.secrets ?? "", secretFiles.nonceSecret), randomBytes(32).toString("hex"));
    const configFile = join(folder, "baker.json");
    const file = bakerFileSchema.parse({
      version: 1,
      baker: "alice",
      topology: "active-standby",
      network: { name: "shadownet", chainId },
      members: 2,
      otherMembers: 1,
      headMaxAgeSeconds: 240,
      daemons: [{ name: "baker", command: ["sleep", "100000"] }],
      delegate: address,
      keys: [{ address, alias: "alice", watermark, signers: ["home1"] }],
      signers: [{ name: "home1", endpoints: [{ zone: null, url: `http://${host}:6733` }], deterministic: true }],
      timings: defaultTimings,
    });
    writeFileSync(configFile, JSON.stringify(file));
    const env = {
      PATH: process.env.PATH,
      NODE_OPTIONS: nodeOptions,
      ...{ TOG_POD_NAME: "alice-as-0", TOG_POD_UID: "u0", TOG_POD_ADDRESS: host, TOG_LOCAL_ADDRESS: host, TOG_NAMESPACE: "bakers" },
      ...{ TOG_ZONE: "a", TOG_KUBE_URL: url, TOG_KUBE_DIR: kube, TOG_NODE_DIR: paths.node, TOG_CLIENT_DIR: paths.client },
      ...{ TOG_STATE_DIR: paths.state, TOG_SECRETS_DIR: paths.secrets, TOG_CONFIG_FILE: configFile },
    };
    const start = (name: DaemonName): ChildProcess => spawn(program, [bundle, name], { env, stdio: ["ignore", "ignore", "inherit"] });
    /** Until the daemon's port accepts, or an init command has ended well; undefined where it does neither. */
    const started = async (name: DaemonName): Promise<{ ms: number; cpuMs?: number; child: ChildProcess } | undefined> => {
      const from = now();
      const child = start(name);
      const exit = new Promise<number | null>((done) => child.once("exit", done));
      const port = healthPort[name];
      if (port === undefined) {
        const code = await Promise.race([exit, sleep(15_000).then(() => -1)]);
        await end(child);
        return code === 0 ? { ms: now() - from, child } : undefined;
      }
      while (now() - from < 5000 && !ended(child)) {
        if (await accepts(host, port)) return { ms: now() - from, cpuMs: cpuMs(child.pid ?? 0), child };
        await sleep(3);
      }
      await end(child);
      return undefined;
    };

    const [load = 0] = loadavg();
    results.push({ metric: "load of the machine before", unit: `of ${cpus().length} cores`, value: Number(load.toFixed(1)) });
    if (load > cpus().length / 2) progress(`the machine is busy (load ${load.toFixed(1)}): start times and CPU will be too high`);
    const plain: number[] = [];
    for (let i = 0; i < starts; i++) {
      const from = now();
      const child = spawn(program, ["-e", "0"], { stdio: "ignore" });
      await new Promise((done) => child.once("exit", done));
      plain.push(now() - from);
    }
    results.push({ metric: "node -e 0: start and end", unit: "ms", value: Math.round(percentile(plain, 50)) });

    const missing = new Set<DaemonName>();
    for (const name of wanted) {
      progress(`start of ${name}`);
      const times: number[] = [];
      const cpu: number[] = [];
      for (let i = 0; i < starts; i++) {
        const run = await started(name);
        if (!run) break;
        times.push(run.ms);
        cpu.push(run.cpuMs ?? 0);
        await end(run.child);
      }
      if (times.length < starts) {
        missing.add(name);
        results.push({ metric: `${name}: does not start here`, unit: "", value: 0, ok: false });
      } else if (healthPort[name] === undefined)
        results.push({ metric: `${name}: start to end`, unit: "ms", value: Math.round(percentile(times, 50)) });
      else {
        results.push(judged(`${name}: start`, "ms", percentile(times, 50), goals.start));
        results.push({ metric: `${name}: CPU of the start`, unit: "ms", value: percentile(cpu, 50) });
      }
    }

    for (const name of wanted) {
      if (missing.has(name) || healthPort[name] === undefined) continue;
      const run = await started(name);
      if (run) children.set(name, run.child);
    }
    progress("settling for 10 s");
    await sleep(10_000);
    const before = new Map([...children].map(([name, child]) => [name, cpuMs(child.pid ?? 0)]));
    const from = now();
    progress(`idle CPU over ${seconds} s`);
    await sleep(seconds * 1000);
    const elapsed = now() - from;
    for (const [name, child] of children) {
      if (ended(child)) {
        results.push({ metric: `${name}: ended`, unit: "", value: child.exitCode ?? -1, ok: false });
        continue;
      }
      const used = cpuMs(child.pid ?? 0) - (before.get(name) ?? 0);
      results.push(judged(`${name}: memory (RSS)`, "MB", rssMb(child.pid ?? 0), goals.rss));
      results.push(judged(`${name}: idle CPU`, "% of a core", (100 * used) / elapsed, goals.cpu));
    }
    return results;
  } finally {
    for (const child of children.values()) await end(child);
    node.stop();
    await api.dispose();
    for (const server of [rpc, signer])
      await new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      });
    rmSync(bundle, { force: true });
    rmSync(folder, { recursive: true, force: true });
  }
};
