/**
 * Baking pods as real processes: elector and baker-supervisor from the bundle, a strict little baker, and in-process
 * doubles of what answers `/status` in a pod. Each pod reaches the API through a relay of its own that can cut, hang or
 * fail.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keyHashHex } from "../../tezos/addresses";
import type { BakerFile } from "../../contract/baker-file";
import type { Leadership } from "../../contract/leadership";
import type { LogEntry } from "../../contract/log";
import { annotations, leaderLeaseName, memberLeaseName, podName, podOrdinal } from "../../contract/names";
import { ports } from "../../contract/ports";
import type { Receipt } from "../../contract/receipt";
import type { GateStatus, NonceStatus, SidecarStatus } from "../../contract/status";
import { timingsSchema, type Timings } from "../../contract/timings";
import { sleep } from "../../daemons/runtime/clock";
import { bundlePath } from "./bundle";

/** An API server as the suite needs it. */
export interface ElectionSubject {
  url: string;
  /** PEM, where the URL is https. */
  ca?: string;
  namespace: string;
  /** The one baker whose objects and Role are there. @default any name will do */
  baker?: string;
  /** A token with the rights of a baking pod. @param client any name, one per pod */
  token(client: string): string | Promise<string>;
  /** A request of somebody who may do everything; resolves with the parsed answer. */
  admin(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>;
  stop(): Promise<void>;
}

export const electionKey = "tz1KqTpEZ7Yob7QbPE4Hy4Wo8fHG8LhKxZSx";
const key = electionKey;

/** The default timings, k times as fast. */
export function scaledTimings(k: number, changes: Partial<Timings> = {}): Timings {
  const t = timingsSchema.parse({});
  const scaled = Object.fromEntries(
    Object.entries(t).map(([name, value]) => [name, /Seconds$|Ms$/.test(name) ? value / k : value]),
  ) as Timings;
  return timingsSchema.parse({
    ...scaled,
    leaseSeconds: Math.max(1, Math.round(6 / k)),
    stopGraceSeconds: Math.max(0.5, 2 / k),
    ...changes,
  });
}

export type RelayMode = "pass" | "cut" | "hang" | "fail-writes";

/** Between a pod and the API. Plain HTTP towards the pod, whatever the API speaks. */
export class Relay {
  private mode: RelayMode = "pass";
  private readonly sockets = new Set<Socket>();
  private readonly held = new Set<http.ServerResponse>();
  private readonly server: http.Server;
  private readonly agent: http.Agent;
  url = "";

  constructor(private readonly upstream: { url: string; ca?: string }) {
    this.agent = upstream.url.startsWith("https")
      ? new https.Agent({ keepAlive: true, ca: upstream.ca })
      : new http.Agent({ keepAlive: true });
    this.server = http.createServer({ keepAliveTimeout: 90_000 }, (request, response) =>
      this.handle(request, response),
    );
    this.server.on("connection", (socket) => {
      if (this.mode === "cut") return void socket.resetAndDestroy();
      this.sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.sockets.delete(socket));
    });
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    const address = this.server.address();
    this.url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  }

  set(mode: RelayMode): void {
    this.mode = mode;
    if (mode === "cut") for (const socket of this.sockets) socket.resetAndDestroy();
    if (mode !== "hang") for (const response of this.held) response.destroy();
  }

  private handle(request: http.IncomingMessage, response: http.ServerResponse): void {
    if (this.mode === "hang") {
      this.held.add(response);
      response.on("close", () => this.held.delete(response));
      return;
    }
    if (this.mode === "fail-writes" && request.method !== "GET") {
      const body = JSON.stringify({
        kind: "Status",
        apiVersion: "v1",
        status: "Failure",
        reason: "InternalError",
        code: 500,
        message: "etcd",
      });
      request.resume();
      response.writeHead(500, { "content-type": "application/json" }).end(body);
      return;
    }
    const headers = { ...request.headers };
    delete headers.host;
    const module = this.upstream.url.startsWith("https") ? https : http;
    const up = module.request(
      this.upstream.url + (request.url ?? "/"),
      { method: request.method, headers, agent: this.agent },
      (answer) => {
        if (this.mode === "hang") return void up.destroy();
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        response.flushHeaders();
        answer.on("data", (chunk: Buffer) => {
          if (this.mode !== "hang") response.write(chunk);
        });
        answer.on("end", () => response.end());
        answer.on("error", () => response.destroy());
      },
    );
    up.on("error", () => response.destroy());
    response.on("close", () => up.destroy());
    request.pipe(up);
  }

  async stop(): Promise<void> {
    this.agent.destroy();
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }
}

/** What the doubles of a pod answer. */
export interface PodFacts {
  ready: boolean;
  headOffset: number;
  signersAnswering: number;
  noncesMissing: number;
  dalWell: boolean;
  /** Baking rights that the node tells, by level. */
  rights: number[];
  tenureLost: GateStatus["tenureLost"];
  /** Counters of gate and sidecar: attestations that the gate was asked for, and that the chain misses. */
  attestations: { asked: number; missed: number };
  /** Keys whose public keys no signer has shown to the gate. */
  absentKeys: string[];
}

const leases = (namespace: string): string => `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;

/**
 * Whether a living process (no zombie) of this number has `folder` in its command line: a pid may long belong to
 * another process.
 */
export function isOurs(pid: number, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder);
  } catch {
    return false;
  }
}

const bakerSource = `
const { appendFileSync } = require("node:fs");
const [, , log, pod, crash] = process.argv;
if (!log || !pod || process.argv.length > 5) { console.error("usage: LOG POD [CRASH]"); process.exit(2); }
const beat = () => appendFileSync(log, process.hrtime.bigint() / 1000n + " " + process.pid + " " + pod + "\\n");
// Before the first beat, which tells the tests that it runs.
let terms = 0;
process.on("SIGTERM", () => { if (++terms > 1) process.exit(255); setTimeout(() => { beat(); process.exit(127); }, 60); });
beat();
if (crash) setTimeout(() => process.exit(1), Number(crash));
setInterval(beat, 10);
`;

export interface Entry extends LogEntry {
  uid: string;
}

export class Pod {
  readonly address: string;
  readonly folder: string;
  readonly facts: PodFacts = {
    ready: true,
    headOffset: 0,
    dalWell: true,
    signersAnswering: 1,
    noncesMissing: 0,
    rights: [],
    tenureLost: null,
    attestations: { asked: 0, missed: 0 },
    absentKeys: [],
  };
  readonly relay: Relay;
  elector: ChildProcess | undefined;
  supervisor: ChildProcess | undefined;
  private servers: http.Server[] = [];

  constructor(
    private readonly cluster: Cluster,
    readonly name: string,
    readonly uid: string,
  ) {
    this.address = `127.${64 + (cluster.salt % 100)}.${process.pid % 250}.${++cluster.addresses}`;
    this.folder = join(cluster.folder, `${name}-${uid.slice(0, 8)}`);
    this.relay = new Relay(cluster.subject);
  }

  get identity(): string {
    return `${this.name}_${this.uid}`;
  }

  async start(daemons: ("elector" | "baker-supervisor")[] = ["elector", "baker-supervisor"]): Promise<void> {
    for (const part of ["node", "client", "state", "secrets", "kube", "config"])
      mkdirSync(join(this.folder, part), { recursive: true });
    writeFileSync(
      join(this.folder, "kube/token"),
      await this.cluster.subject.token(`${this.name}-${this.uid.slice(0, 8)}`),
    );
    writeFileSync(join(this.folder, "kube/ca.crt"), this.cluster.subject.ca ?? "");
    writeFileSync(join(this.folder, "kube/namespace"), this.cluster.subject.namespace);
    this.writeFile();
    await this.relay.start();
    await this.serveDoubles();
    for (const daemon of daemons) this.run(daemon);
  }

  writeFile(): void {
    writeFileSync(join(this.folder, "config/baker.json"), JSON.stringify(this.cluster.file()));
  }

  get env(): Record<string, string> {
    const at = (part: string) => join(this.folder, part);
    return {
      TOG_POD_NAME: this.name,
      TOG_POD_UID: this.uid,
      TOG_POD_ADDRESS: this.address,
      TOG_LOCAL_ADDRESS: this.address,
      TOG_NAMESPACE: this.cluster.subject.namespace,
      TOG_ZONE: "",
      TOG_KUBE_URL: this.relay.url,
      TOG_KUBE_DIR: at("kube"),
      TOG_NODE_DIR: at("node"),
      TOG_CLIENT_DIR: at("client"),
      TOG_STATE_DIR: at("state"),
      TOG_SECRETS_DIR: at("secrets"),
      TOG_CONFIG_FILE: at("config/baker.json"),
    };
  }

  /** @param path PATH of the process */
  run(daemon: "elector" | "baker-supervisor" | "topology-guard", path = process.env.PATH): ChildProcess {
    const child = spawn(process.execPath, [this.cluster.bundle, daemon], {
      env: { PATH: path, ...this.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.cluster.children.add(child);
    let rest = "";
    child.stdout.setEncoding("utf8");
    child.stdout.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        try {
          this.cluster.log.push({ ...(JSON.parse(line) as LogEntry), uid: this.uid });
        } catch {
          this.cluster.noise.push(`${this.name}: ${line}`);
        }
      }
    });
    child.stderr.on("data", (text: Buffer) => this.cluster.noise.push(`${this.name}: ${text.toString()}`));
    child.once("exit", () => this.cluster.children.delete(child));
    if (daemon === "elector") this.elector = child;
    else if (daemon === "baker-supervisor") this.supervisor = child;
    return child;
  }

  /** GET of a path of one of this pod's daemons; null where it does not answer in time. */
  get(port: number, path: string, timeoutMs = 500): Promise<unknown> {
    return new Promise((resolve) => {
      const request = http.get({ host: this.address, port, path, agent: false, timeout: timeoutMs }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => {
          try {
            resolve(response.statusCode === 200 ? JSON.parse(text) : null);
          } catch {
            resolve(null);
          }
        });
        response.on("error", () => resolve(null));
      });
      request.on("timeout", () => request.destroy());
      request.on("error", () => resolve(null));
    });
  }
  leadership(): Promise<Leadership | null> {
    return this.get(ports.elector, "/leadership") as Promise<Leadership | null>;
  }
  /** Of the elector's next answer. */
  async epoch(): Promise<number> {
    let epoch: number | undefined;
    await this.cluster.until("the elector answers", async () => {
      epoch = (await this.leadership())?.epoch;
      return epoch !== undefined;
    });
    return epoch ?? NaN;
  }

  private async serveDoubles(): Promise<void> {
    const level = () => this.cluster.headLevel() + this.facts.headOffset;
    const answers: Record<number, (url: URL) => unknown> = {
      [ports.sidecar]: (): SidecarStatus => ({
        live: true,
        liveReason: "",
        ready: this.facts.ready,
        reason: "",
        connections: 9,
        head: { level: level(), round: 0, hash: "BL", timestamp: "2026-01-01T00:00:00Z", ageSeconds: 1 },
        chainId: null,
        syncState: null,
        missedAttestations: this.facts.attestations.missed,
        dal: {
          ...{ well: this.facts.dalWell, reason: this.facts.dalWell ? "" : "dal-silent: it hangs", health: null },
          ...{ peers: 7, levelsBehind: 0, restarts: 0, attestedSlots: 0, attestableSlots: 0, sufficient: true },
        },
      }),
      [ports.gateHealth]: async (): Promise<GateStatus> => {
        const record = await this.leadership();
        return {
          open: record?.gate === "open",
          reason: "",
          inFlight: 0,
          epoch: record?.epoch ?? 0,
          keys: this.cluster.file().keys.map(({ address }) => ({
            address,
            state: record?.gate === "open" ? "open" : "closed",
            reason: "",
            floor: 0,
            highestLevel: level(),
            lastAttestation: record?.gate === "open" ? { level: level(), round: 0 } : null,
            signers: this.facts.absentKeys.includes(address) ? 0 : 1,
          })),
          signers: [],
          signersAnswering: this.facts.signersAnswering,
          attestationsAsked: this.facts.attestations.asked,
          tenureLost: this.facts.tenureLost,
        };
      },
      [ports.nonceExposer]: async (): Promise<NonceStatus> => ({
        missing: this.facts.noncesMissing,
        committed: 0,
        local: 0,
        replicated: 0,
        revealed: 0,
        reconciled: true,
        reason: "",
        peers: [],
        finalPushed: (await this.leadership())?.nonces === "final",
      }),
      [ports.octezRpc]: (url): unknown =>
        url.pathname.endsWith("/constants")
          ? {
              blocks_per_cycle: 14_400,
              blocks_per_commitment: 112,
              nonce_revelation_threshold: 400,
              minimal_block_delay: "6",
              delay_increment_per_round: "3",
              consensus_rights_delay: 2,
            }
          : url.searchParams
              .getAll("level")
              .map(Number)
              .filter((at) => this.facts.rights.includes(at))
              .map((at) => ({ level: at, delegate: key, round: 0 })),
    };
    answers[ports.nonceImporter] = answers[ports.nonceExposer] ?? (() => ({}));
    for (const [port, answer] of Object.entries(answers)) {
      const server = http.createServer((request, response) => {
        void Promise.resolve(answer(new URL(request.url ?? "/", "http://pod"))).then((body) =>
          response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body)),
        );
      });
      await new Promise<void>((resolve, reject) =>
        server.once("error", reject).listen(Number(port), this.address, resolve),
      );
      this.servers.push(server);
    }
  }

  /** Pids of bakers that have beaten and live. */
  bakers(): number[] {
    const pids = new Set<number>();
    for (const line of this.cluster.beats()) if (line.pod === this.identity) pids.add(line.pid);
    return [...pids].filter((pid) => isOurs(pid, this.cluster.folder));
  }

  /** To every process of the pod at once. */
  signal(name: NodeJS.Signals): void {
    for (const pid of [this.elector?.pid, this.supervisor?.pid, ...this.bakers()]) {
      if (pid === undefined) continue;
      try {
        process.kill(pid, name);
      } catch {
        // It is gone already.
      }
    }
  }

  async exited(): Promise<void> {
    for (const child of [this.elector, this.supervisor])
      if (child && this.cluster.children.has(child))
        await new Promise<void>((resolve) => child.once("exit", () => resolve()));
  }

  /** Takes the doubles away, too: nothing of the pod answers any more. */
  async down(): Promise<void> {
    for (const server of this.servers.splice(0))
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    await this.relay.stop();
  }

  /** As a kubelet ends a pod: the baker's container gets SIGTERM, the elector its preStop call first. */
  async terminate(): Promise<void> {
    this.supervisor?.kill("SIGTERM");
    await this.get(ports.preStop, "/handed-over", 20_000);
    this.elector?.kill("SIGTERM");
    await this.exited();
    await this.down();
  }
}

export interface Beat {
  atMs: number;
  pid: number;
  pod: string;
}

export class Cluster {
  readonly salt = randomBytes(2).readUInt16BE(0);
  readonly baker: string;
  readonly folder = mkdtempSync(join(tmpdir(), "tog-election-"));
  readonly log: Entry[] = [];
  readonly noise: string[] = [];
  readonly children = new Set<ChildProcess>();
  readonly pods: Pod[] = [];
  addresses = 0;
  bundle = "";
  timings: Timings;
  /** What differs from the usual file. */
  changes: Partial<BakerFile> = {};
  private readonly startedAt = process.hrtime.bigint();

  constructor(
    readonly subject: ElectionSubject,
    readonly k: number,
    timings?: Timings,
  ) {
    this.timings = timings ?? scaledTimings(k);
    this.baker = subject.baker ?? `b${randomBytes(4).toString("hex")}`;
  }

  file(): BakerFile {
    return {
      version: 1,
      baker: this.baker,
      topology: "active-standby",
      network: { name: "shadownet", chainId: "NetXsqzbfFenSTS" },
      members: 2,
      otherMembers: 1,
      headMaxAgeSeconds: 240,
      daemons: [
        {
          name: "octez-baker",
          command: [process.execPath, join(this.folder, "baker.cjs"), this.beatFile, "$(TOG_POD_NAME)_$(TOG_POD_UID)"],
        },
      ],
      delegate: key,
      keys: [{ address: key, alias: "baker", watermark: `wm-${keyHashHex(key)}`, signers: ["home"] }],
      signers: [{ name: "home", endpoints: [{ zone: null, url: "http://127.0.0.1:1" }], deterministic: true }],
      timings: this.timings,
      ...this.changes,
    };
  }
  get beatFile(): string {
    return join(this.folder, "beats");
  }
  get leasePath(): string {
    return `${leases(this.subject.namespace)}/${leaderLeaseName(this.baker)}`;
  }
  get watermarkPath(): string {
    return `/api/v1/namespaces/${this.subject.namespace}/configmaps`;
  }
  headLevel(): number {
    return 1000 + Math.floor((Number(process.hrtime.bigint() - this.startedAt) / 1e6 / 6000) * this.k);
  }

  /** Makes the watermark and `count` pods, and starts them. */
  async start(count = 2): Promise<this> {
    this.bundle = await bundlePath();
    writeFileSync(join(this.folder, "baker.cjs"), bakerSource);
    writeFileSync(this.beatFile, "");
    await this.setWatermark();
    // A baker of an earlier case leaves its leases.
    for (const name of [leaderLeaseName(this.baker), memberLeaseName(this.baker, 0), memberLeaseName(this.baker, 1)])
      await this.subject.admin("DELETE", `${leases(this.subject.namespace)}/${name}`);
    await Promise.all(Array.from({ length: count }, (_, ordinal) => this.add(ordinal)));
    return this;
  }

  /** Writes the watermark's record, or an empty object of its name. */
  async setWatermark(record?: unknown): Promise<void> {
    const name = `wm-${keyHashHex(key)}`;
    const body = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, labels: { baker: this.baker } },
      data: record === undefined ? {} : { watermark: JSON.stringify(record) },
    };
    const made = await this.subject.admin("POST", this.watermarkPath, body);
    if (made.kind === "Status") await this.subject.admin("PUT", `${this.watermarkPath}/${name}`, body);
  }

  async add(ordinal: number, daemons?: Parameters<Pod["start"]>[0]): Promise<Pod> {
    const pod = new Pod(this, podName(this.baker, this.changes.topology ?? "active-standby", ordinal), randomUUID());
    this.pods.push(pod);
    await pod.start(daemons);
    return pod;
  }

  /** The pod that runs now by its own elector's word, or undefined. */
  async master(among: readonly Pod[] = this.pods): Promise<Pod | undefined> {
    for (const pod of among) {
      const record = await pod.leadership();
      if (record?.state === "active" && record.holderIdentity === pod.identity) return pod;
    }
    return undefined;
  }

  /** Until `pod` (or any of them) is active and its baker beats. */
  async running(among: readonly Pod[] = this.pods, timeoutMs = 30_000): Promise<Pod> {
    return this.until(
      `one of ${among.map((pod) => pod.name).join(", ")} runs`,
      async () => {
        const pod = await this.master(among);
        const last = this.beats().at(-1);
        return pod && last?.pod === pod.identity && this.nowMs() - last.atMs < 60 ? pod : undefined;
      },
      timeoutMs,
    );
  }

  async until<T>(
    what: string,
    look: () => Promise<T | undefined | false> | T | undefined | false,
    timeoutMs = 30_000,
  ): Promise<T> {
    const end = this.nowMs() + timeoutMs;
    for (;;) {
      const found = await look();
      if (found) return found;
      if (this.nowMs() > end) throw new Error(`not within ${timeoutMs} ms: ${what}\n${this.story()}`);
      await sleep(20);
    }
  }

  nowMs(): number {
    return Number(process.hrtime.bigint() / 1000n) / 1000;
  }

  /** Every moment at which a baker ran. */
  beats(): Beat[] {
    return readFileSync(this.beatFile, "utf8")
      .split("\n")
      .flatMap((line) => {
        const [at, pid, pod] = line.split(" ");
        return pod === undefined ? [] : [{ atMs: Number(at) / 1000, pid: Number(pid), pod }];
      });
  }

  /** Who ran when, by process. @param pauseMs a silence of this length splits a run: a stopped process does not run */
  runs(pauseMs = Infinity): { pod: string; pid: number; fromMs: number; toMs: number }[] {
    const runs: { pod: string; pid: number; fromMs: number; toMs: number }[] = [];
    for (const { pid, pod, atMs } of this.beats()) {
      const run = runs.findLast((one) => one.pid === pid);
      if (run && atMs - run.toMs < pauseMs) run.toMs = Math.max(run.toMs, atMs);
      else runs.push({ pod, pid, fromMs: atMs, toMs: atMs });
    }
    return runs.sort((a, b) => a.fromMs - b.fromMs);
  }

  /** Milliseconds during which two bakers of different pods existed; with `pauseMs` ran. */
  overlapMs(pauseMs = Infinity): number {
    const runs = this.runs(pauseMs);
    let sum = 0;
    runs.forEach((a, i) =>
      runs.slice(i + 1).forEach((b) => {
        if (a.pod !== b.pod) sum += Math.max(0, Math.min(a.toMs, b.toMs) - Math.max(a.fromMs, b.fromMs));
      }),
    );
    return sum;
  }

  /** The log of who ran when, for people. */
  story(): string {
    const runs = this.runs();
    const zero = runs[0]?.fromMs ?? 0;
    const short = (pod: string) => pod.replace(`${this.baker}-`, "").slice(0, 13);
    const lines = runs.map(
      (r) =>
        `    ${short(r.pod)} pid ${r.pid}: ${((r.fromMs - zero) / 1000).toFixed(3)} s .. ${((r.toMs - zero) / 1000).toFixed(3)} s`,
    );
    const first = this.log[0]?.atMs ?? 0;
    const words = this.log
      .filter((e) =>
        [
          "state",
          "acquired",
          "released",
          "command",
          "handover-step",
          "daemon-killed",
          "failed",
          "forced",
          "configuration",
        ].includes(e.event),
      )
      .map(
        (e) =>
          `    ${((e.atMs - first) / 1000).toFixed(3)} ${short(`${e.pod}_${e.uid}`)} ${e.daemon === "elector" ? "elector" : "supervisor"} ${e.event} ${typeof e.to === "string" ? `${e.to} ` : ""}${typeof e.command === "string" ? `${e.command} ` : ""}${e.reason}`,
      );
    return [
      ...lines,
      `    overlap ${this.overlapMs()} ms`,
      ...(process.env.TOG_TEST_STORY ? words : words.slice(-40)),
      ...this.noise.slice(-5),
    ].join("\n");
  }

  async lease(): Promise<{
    metadata: { uid: string; annotations?: Record<string, string> };
    spec: Record<string, unknown>;
  }> {
    return (await this.subject.admin("GET", this.leasePath)) as never;
  }

  async receipts(): Promise<Receipt[]> {
    return JSON.parse((await this.lease()).metadata.annotations?.[annotations.receipts] ?? "[]") as Receipt[];
  }

  /** An operator's annotation, by read and conditional write. */
  async annotate(name: string, value: string): Promise<void> {
    for (let attempt = 0; attempt < 50; attempt++) {
      const lease = await this.lease();
      lease.metadata.annotations = { ...lease.metadata.annotations, [name]: value };
      const answer = await this.subject.admin("PUT", this.leasePath, lease);
      if (answer.kind === "Lease") return;
    }
    throw new Error("the lease changed under fifty writes");
  }
  prefer(pod: Pod): Promise<void> {
    return this.annotate(annotations.preferredHolder, pod.name);
  }

  other(pod: Pod): Pod {
    const found = this.pods.find((other) => podOrdinal(other.name) !== podOrdinal(pod.name));
    if (!found) throw new Error("there is no other pod");
    return found;
  }

  /** Kills what is left. @returns pids of bakers that outlived their supervisors */
  async stop(): Promise<number[]> {
    for (const pod of this.pods) pod.signal("SIGCONT");
    const ends = [...this.children].map((child) => new Promise<void>((resolve) => child.once("exit", () => resolve())));
    for (const child of this.children) child.kill("SIGKILL");
    await Promise.all(ends);
    const left = (): number[] =>
      [...new Set(this.beats().map((beat) => beat.pid))].filter((pid) => isOurs(pid, this.folder));
    // A baker is told to die with its supervisor, and a busy machine lets it do so later.
    for (const end = this.nowMs() + 10_000; left().length > 0 && this.nowMs() < end;) await sleep(20);
    const leaked = left();
    for (const pid of leaked) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has gone meanwhile.
      }
    }
    for (const pod of this.pods) await pod.down().catch(() => undefined);
    rmSync(this.folder, { recursive: true, force: true });
    return leaked;
  }
}
