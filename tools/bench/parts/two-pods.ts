/** The daemons of two baking pods as processes, beside an embedded API (TLS), a node with 50 peers and a signer. */
import { spawn, type ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bakerFileSchema } from "../../../contract/baker-file";
import { secretFiles } from "../../../contract/env";
import { nodeOptions, type DaemonName } from "../../../contract/images";
import { labels } from "../../../contract/names";
import { networks } from "../../../contract/networks";
import { ports } from "../../../contract/ports";
import { defaultTimings } from "../../../contract/timings";
import { secondsTime } from "../../../daemons/runtime/kube";
import { KubeApi } from "../../../lab/kube-api";
import { keyHashHex } from "../../../tezos/addresses";
import { encodeBase58 } from "../../../tezos/base58";

/** Where a daemon that stays answers; the others end by themselves. */
export const healthPort: Partial<Record<DaemonName, number>> = {
  elector: ports.elector,
  sidecar: ports.sidecar,
  "baker-supervisor": ports.supervisor,
  "signing-gate": ports.gateHealth,
  "nonce-exposer": ports.nonceExposer,
  "nonce-importer": ports.nonceImporter,
};
const address = "tz1KqTpEZ7Yob7QbPE4Hy4Wo8fHG8LhKxZSx";
const { chainId } = networks.shadownet;
export const now = (): number => performance.now();
export const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

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
export const cpuMs = (pid: number): number =>
  family(pid)
    .flatMap((member) => readdirSync(`/proc/${member}/task`).map((task) => `/proc/${member}/task/${task}/schedstat`))
    .reduce((sum, path) => sum + Number(readFileSync(path, "utf8").split(" ")[0]) / 1e6, 0);
export const rssMb = (pid: number): number =>
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
export const ended = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;
export async function end(child: ChildProcess): Promise<void> {
  if (ended(child)) return;
  const gone = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  await gone;
}

export interface BakingPod {
  name: string;
  host: string;
  kubeDir: string;
  env: NodeJS.ProcessEnv;
}

/** What the daemons of two pods ask and read. `close` ends all of it, the daemons that were started too. */
export class TwoPods {
  readonly pods: BakingPod[] = [];
  readonly namespace = "bakers";
  apiUrl = "";
  private readonly folder = mkdtempSync(join(tmpdir(), "tog-bench-"));
  private readonly network = `127.${100 + ((randomBytes(1)[0] ?? 0) % 100)}.${randomBytes(1)[0]}`;
  private readonly api = new KubeApi();
  private readonly node = fakeNode();
  private readonly servers: Server[] = [];
  private readonly children: ChildProcess[] = [];

  private constructor(
    private readonly program: string,
    private readonly bundle: string,
  ) {}

  static async start(program: string, bundle: string): Promise<TwoPods> {
    const world = new TwoPods(program, bundle);
    try {
      await world.prepare();
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /** Starts a program that `close` will end. */
  run(words: readonly string[], environment: NodeJS.ProcessEnv, cwd?: string): ChildProcess {
    const child = spawn(this.program, words, { cwd, env: environment, stdio: ["ignore", "ignore", "inherit"] });
    this.children.push(child);
    return child;
  }

  /** Until the daemon's port accepts, or an init command has ended well; undefined where it does neither. */
  async started(
    name: DaemonName,
    pod: BakingPod,
  ): Promise<{ ms: number; cpuMs?: number; child: ChildProcess } | undefined> {
    const from = now();
    const child = this.run([this.bundle, name], pod.env);
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
  }

  async close(): Promise<void> {
    for (const child of this.children) await end(child);
    this.node.stop();
    await this.api.dispose();
    for (const server of this.servers)
      await new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      });
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async prepare(): Promise<void> {
    this.apiUrl = (await this.api.start({ host: "127.0.0.1" })).url;
    const hosts = [1, 2].map((last) => `${this.network}.${last}`);
    for (const host of hosts) await this.serve(this.node.listener, host, ports.octezRpc);
    const signer: RequestListener = (_request, response) =>
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    await this.serve(signer, `${this.network}.1`, 6733);
    const watermark = `wm-${keyHashHex(address)}`;
    this.api.apply("configmaps", this.namespace, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: watermark, labels: { [labels.baker]: "alice" } },
      data: {},
    });
    const configFile = this.writeBakerFile(watermark);
    const secret = randomBytes(32).toString("hex");
    for (const [ordinal, host] of hosts.entries()) this.pods.push(this.pod(ordinal, host, configFile, secret));
  }

  private async serve(listener: RequestListener, host: string, port: number): Promise<void> {
    const server = createServer(listener);
    await listen(server, host, port);
    this.servers.push(server);
  }

  private writeBakerFile(watermark: string): string {
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
      signers: [
        { name: "home1", endpoints: [{ zone: null, url: `http://${this.network}.1:6733` }], deterministic: true },
      ],
      timings: defaultTimings,
    });
    const path = join(this.folder, "baker.json");
    writeFileSync(path, JSON.stringify(file));
    return path;
  }

  private pod(ordinal: number, host: string, configFile: string, nonceSecret: string): BakingPod {
    const name = `alice-as-${ordinal}`;
    const made = (part: string): string => {
      const path = join(this.folder, name, part);
      mkdirSync(path, { recursive: true });
      return path;
    };
    const kubeDir = made("kube");
    const secrets = made("secrets");
    this.api.addAdmin(`token-${ordinal}`, name);
    this.api.writeKubeDir(kubeDir, `token-${ordinal}`, this.namespace);
    writeFileSync(join(secrets, secretFiles.nonceSecret), nonceSecret);
    const env = {
      PATH: process.env.PATH,
      NODE_OPTIONS: nodeOptions,
      TOG_POD_NAME: name,
      TOG_POD_UID: `u${ordinal}`,
      TOG_POD_ADDRESS: host,
      TOG_LOCAL_ADDRESS: host,
      TOG_NAMESPACE: this.namespace,
      TOG_ZONE: "a",
      TOG_KUBE_URL: this.apiUrl,
      TOG_KUBE_DIR: kubeDir,
      TOG_NODE_DIR: made("node"),
      TOG_CLIENT_DIR: made("client"),
      TOG_STATE_DIR: made("state"),
      TOG_SECRETS_DIR: secrets,
      TOG_CONFIG_FILE: configFile,
    };
    return { name, host, kubeDir, env };
  }
}
