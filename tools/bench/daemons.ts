/**
 * Memory, start time and idle CPU of every daemon: the daemons of two baking pods as processes, beside an embedded API
 * (TLS), a node with 50 peers and a head every 6 s, and a signer. Idle: one pod is the master, both are eligible,
 * nobody signs; counted is everything that daemons and API ask of each other, for the whole process with its threads
 * and its own helper process, and the higher figure of the two pods is told. Not counted: the kubelet's probes.
 * Options: --seconds N (of CPU measurement, default 60), --settle N (default 60), --starts N (default 5), --only
 * NAME,NAME, --node FILE (another Node.js).
 */
import { spawn, type ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { keyHashHex } from "../../tezos/addresses";
import { bakerFileSchema } from "../../contract/baker-file";
import { secretFiles } from "../../contract/env";
import { daemonNames, nodeOptions, type DaemonName } from "../../contract/images";
import { labels } from "../../contract/names";
import { networks } from "../../contract/networks";
import { ports } from "../../contract/ports";
import { defaultTimings } from "../../contract/timings";
import { secondsTime } from "../../daemons/runtime/kube";
import { KubeApi } from "../../lab/kube-api";
import { encodeBase58 } from "../../tezos/base58";
import { judged, percentile, type Bench, type BenchResult } from "../bench";
import { buildDaemons } from "../../scripts/build";

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
  const hash = (level: number): string =>
    encodeBase58("blockHash", createHash("sha256").update(String(level)).digest());
  let level = 1000;
  const head = () => ({
    hash: hash(level),
    level,
    proto: 25,
    predecessor: hash(level - 1),
    timestamp: secondsTime(Date.now()),
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
      ...{
        blocks_per_cycle: 14400,
        blocks_per_commitment: 112,
        nonce_revelation_threshold: 400,
        consensus_rights_delay: 2,
      },
      ...{ minimal_block_delay: "6", delay_increment_per_round: "3" },
    }),
    "/chains/main/blocks/head/helpers/current_level": () => ({
      ...{ level, level_position: level - 1, cycle: 0, cycle_position: level - 1, expected_commitment: false },
    }),
    "/chains/main/blocks/head/helpers/baking_rights": () => [],
    [`/chains/main/blocks/head/context/delegates/${address}/participation`]: () => ({
      missed_slots: 0,
      missed_levels: 0,
    }),
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
      response
        .writeHead(answer ? 200 : 404, { "content-type": "application/json" })
        .end(JSON.stringify(answer?.() ?? []));
    },
  };
}

/** The process and those that it started from the same program: not the daemons that a supervisor runs. */
function family(pid: number): number[] {
  const program = (of: number): string => readFileSync(`/proc/${of}/cmdline`, "utf8").split("\0")[1] ?? "";
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean).map(Number),
  );
  return [pid, ...children.filter((child) => program(child) === program(pid))];
}
/** Milliseconds of CPU that a process and its helper have used, all threads. */
const cpuMs = (pid: number): number =>
  family(pid)
    .flatMap((member) => readdirSync(`/proc/${member}/task`).map((task) => `/proc/${member}/task/${task}/schedstat`))
    .reduce((sum, path) => sum + Number(readFileSync(path, "utf8").split(" ")[0]) / 1e6, 0);
const rssMb = (pid: number): number =>
  family(pid).reduce(
    (sum, member) =>
      sum + Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${member}/status`, "utf8"))?.[1] ?? 0) / 1024,
    0,
  );

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
  const seconds = Number(option("--seconds") ?? 60);
  const settle = Number(option("--settle") ?? 60);
  const starts = Number(option("--starts") ?? 5);
  const program = option("--node") ?? process.execPath;
  const only = option("--only")?.split(",");
  // hot-keys wants secret keys, and is over before anything runs.
  const wanted = daemonNames.filter((name) => name !== "hot-keys" && (only === undefined || only.includes(name)));
  const root = resolve(__dirname, "../..");
  mkdirSync(join(root, ".cache/bench"), { recursive: true });
  const bundle = await buildDaemons(join(root, `.cache/bench/tog-${process.pid}.cjs`));
  const folder = mkdtempSync(join(tmpdir(), "tog-bench-"));
  const network = `127.${100 + ((randomBytes(1)[0] ?? 0) % 100)}.${randomBytes(1)[0]}`;
  const results: BenchResult[] = [];
  const children: { name: DaemonName; child: ChildProcess; cpuMs: number }[] = [];
  const others: ChildProcess[] = [];
  const api = new KubeApi();
  const node = fakeNode();
  const nodes = [1, 2].map((last) => ({ host: `${network}.${last}`, rpc: createServer(node.listener) }));
  const signer = createServer((_request, response) =>
    response.writeHead(200, { "content-type": "application/json" }).end("{}"),
  );
  try {
    const { url } = await api.start({ host: "127.0.0.1" });
    for (const { host, rpc } of nodes) await listen(rpc, host, ports.octezRpc);
    await listen(signer, `${network}.1`, 6733);
    const watermark = `wm-${keyHashHex(address)}`;
    api.apply("configmaps", "bakers", {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: watermark, labels: { [labels.baker]: "alice" } },
      data: {},
    });
    const secret = randomBytes(32).toString("hex");
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
      signers: [{ name: "home1", endpoints: [{ zone: null, url: `http://${network}.1:6733` }], deterministic: true }],
      timings: defaultTimings,
    });
    writeFileSync(configFile, JSON.stringify(file));
    const pods = nodes.map(({ host }, i) => {
      const pod = `alice-as-${i}`;
      const [kube = "", nodeDir, client, state, secrets = ""] = ["kube", "node", "client", "state", "secrets"].map(
        (name) => join(folder, pod, name),
      );
      for (const path of [kube, nodeDir, client, state, secrets]) mkdirSync(path ?? "", { recursive: true });
      api.addAdmin(`token-${i}`, pod);
      api.writeKubeDir(kube, `token-${i}`, "bakers");
      writeFileSync(join(secrets, secretFiles.nonceSecret), secret);
      const env = {
        PATH: process.env.PATH,
        NODE_OPTIONS: nodeOptions,
        ...{
          TOG_POD_NAME: pod,
          TOG_POD_UID: `u${i}`,
          TOG_POD_ADDRESS: host,
          TOG_LOCAL_ADDRESS: host,
          TOG_NAMESPACE: "bakers",
        },
        ...{ TOG_ZONE: "a", TOG_KUBE_URL: url, TOG_KUBE_DIR: kube, TOG_NODE_DIR: nodeDir, TOG_CLIENT_DIR: client },
        ...{ TOG_STATE_DIR: state, TOG_SECRETS_DIR: secrets, TOG_CONFIG_FILE: configFile },
      };
      return {
        host,
        kube,
        start: (name: DaemonName) => spawn(program, [bundle, name], { env, stdio: ["ignore", "ignore", "inherit"] }),
      };
    });
    /** Until the daemon's port accepts, or an init command has ended well; undefined where it does neither. */
    const started = async (
      name: DaemonName,
      ordinal = 0,
    ): Promise<{ ms: number; cpuMs?: number; child: ChildProcess } | undefined> => {
      const pod = pods[ordinal];
      if (!pod) return undefined;
      const from = now();
      const child = pod.start(name);
      const exit = new Promise<number | null>((done) => child.once("exit", done));
      const port = healthPort[name];
      if (port === undefined) {
        const code = await Promise.race([exit, sleep(15_000).then(() => -1)]);
        await end(child);
        return code === 0 ? { ms: now() - from, child } : undefined;
      }
      while (now() - from < 5000 && !ended(child)) {
        if (await accepts(pod.host, port)) return { ms: now() - from, cpuMs: cpuMs(child.pid ?? 0), child };
        await sleep(3);
      }
      await end(child);
      return undefined;
    };

    const [load = 0] = loadavg();
    results.push({
      metric: "load of the machine before",
      unit: `of ${cpus().length} cores`,
      value: Number(load.toFixed(1)),
    });
    if (load > cpus().length / 2)
      progress(`the machine is busy (load ${load.toFixed(1)}): start times and CPU will be too high`);
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

    for (const ordinal of pods.keys())
      for (const name of wanted) {
        if (missing.has(name) || healthPort[name] === undefined) continue;
        const run = await started(name, ordinal);
        if (run) children.push({ name, child: run.child, cpuMs: 0 });
      }
    // It reads the streams of the others.
    const first = pods[0];
    const floor =
      first && only === undefined
        ? spawn(
            program,
            [
              ...["--import", "tsx", join(root, "tools/bench/parts/elector-floor.ts"), url, first.kube, "bakers"],
              ...[ports.sidecar, ports.supervisor, ports.gateHealth].map(
                (port) => `http://${first.host}:${port}/status?watch=1000`,
              ),
            ],
            {
              cwd: root,
              env: { PATH: process.env.PATH, NODE_OPTIONS: nodeOptions },
              stdio: ["ignore", "ignore", "inherit"],
            },
          )
        : undefined;
    if (floor) others.push(floor);
    progress(`settling for ${settle} s`);
    await sleep(settle * 1000);
    const states = await Promise.all(
      pods.map(async ({ host }) => {
        const answer = await fetch(`http://${host}:${ports.elector}/status`).catch(() => undefined);
        const status = (await answer?.json()) as { leadership: { state: string } | null; eligible: string } | undefined;
        return `${status?.leadership?.state ?? "?"} (${status?.eligible ?? "?"})`;
      }),
    );
    progress(`the pods are ${states.join(" and ")}`);
    for (const entry of children) if (!ended(entry.child)) entry.cpuMs = cpuMs(entry.child.pid ?? 0);
    const floorBefore = floor ? cpuMs(floor.pid ?? 0) : 0;
    const from = now();
    progress(`idle CPU over ${seconds} s`);
    await sleep(seconds * 1000);
    const elapsed = now() - from;
    if (floor)
      results.push({
        metric: "an elector's renewals, watches and streams without an elector: idle CPU",
        unit: "% of a core",
        value: ended(floor) ? NaN : Number(((100 * (cpuMs(floor.pid ?? 0) - floorBefore)) / elapsed).toPrecision(4)),
      });
    for (const name of wanted) {
      const mine = children.filter((entry) => entry.name === name);
      const gone = mine.find(({ child }) => ended(child));
      if (gone) results.push({ metric: `${name}: ended`, unit: "", value: gone.child.exitCode ?? -1, ok: false });
      if (gone || mine.length === 0) continue;
      const used = Math.max(...mine.map(({ child, cpuMs: before }) => cpuMs(child.pid ?? 0) - before));
      results.push(
        judged(`${name}: memory (RSS)`, "MB", Math.max(...mine.map(({ child }) => rssMb(child.pid ?? 0))), goals.rss),
      );
      results.push(judged(`${name}: idle CPU`, "% of a core", (100 * used) / elapsed, goals.cpu));
    }
    return results;
  } finally {
    for (const child of [...children.map((entry) => entry.child), ...others]) await end(child);
    node.stop();
    await api.dispose();
    for (const server of [...nodes.map(({ rpc }) => rpc), signer])
      await new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      });
    rmSync(bundle, { force: true });
    rmSync(folder, { recursive: true, force: true });
  }
};
