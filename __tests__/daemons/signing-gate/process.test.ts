/**
 * The bundled daemon as two real processes: paused between write and forward, killed, and what it serves on its health
 * port.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Leadership } from "../../../contract/leadership";
import { bakerFileSchema, type Signer } from "../../../contract/baker-file";
import { watermarkName } from "../../../contract/names";
import { ports } from "../../../contract/ports";
import { gateStatusSchema, type GateStatus } from "../../../contract/status";
import { serveHttp, type HttpServer } from "../../../daemons/runtime/http-server";
import { testKey } from "../../../lab/doubles/signing-keys";
import { bundlePath } from "../../helpers/bundle";
import { baker, chainName, GateWorld, namespace, post, request } from "../../helpers/gates";

const key = testKey("tz1", "baker");

/**
 * A write may take as long as a process is stopped here on a busy machine; a request to a gate that is no master waits
 * for all of its budget.
 */
const patient = { gateBudgetMs: 6000, markWriteMs: 4000, signerTimeoutMs: 1500 };

/** A pod: the gate as a process, its elector and its node as stubs, on a loopback address of its own. */
class Pod {
  readonly identity: string;
  readonly address: string;
  readonly log: string[] = [];
  private child: ChildProcess | undefined;
  private servers: HttpServer[] = [];
  private record: Leadership;
  private readonly streams = new Set<(line: string) => void>();

  constructor(
    private readonly world: GateWorld,
    private readonly name: string,
    ordinal: number,
  ) {
    this.identity = `${name}_u1`;
    this.address = `127.${100 + Math.floor(Math.random() * 100)}.${(process.pid >> 8) & 0xff}.${((process.pid & 0x3f) << 2) + ordinal + 1}`;
    this.record = this.leadership(0, 0, "shut");
  }
  private leadership(epoch: number, validMs: number, gate: "open" | "shut"): Leadership {
    const validUntilNs = gate === "open" ? String(process.hrtime.bigint() + BigInt(validMs) * 1_000_000n) : "0";
    const state = gate === "open" ? "active" : "standby";
    return {
      holder: this.name,
      holderIdentity: this.identity,
      self: this.identity,
      leaseUid: "l",
      epoch,
      state,
      reason: "",
      validUntilNs,
      gate,
      daemons: "run",
      nonces: "follow",
    };
  }
  lead(epoch: number, validMs: number): void {
    this.record = this.leadership(epoch, validMs, "open");
    for (const send of this.streams) send(JSON.stringify(this.record) + "\n");
  }
  private get folder(): string {
    return join(this.world.folder, this.identity);
  }
  signer = (name: string, ...urls: string[]): Signer => ({
    name,
    deterministic: true,
    endpoints: urls.map((url) => ({ zone: null, url })),
  });
  /**
   * Writes the configuration as a ConfigMap volume does: its files are links into a folder that is exchanged. A text is
   * written as it is.
   */
  publish(content: Signer[] | string): void {
    const config = join(this.folder, "config");
    const text =
      typeof content === "string"
        ? content
        : JSON.stringify(
            bakerFileSchema.parse({
              version: 1,
              baker,
              topology: "active-standby",
              network: { name: "mainnet", chainId: chainName },
              members: 2,
              otherMembers: 1,
              headMaxAgeSeconds: 240,
              daemons: [{ name: "baker", command: ["true"] }],
              delegate: key.address,
              keys: [
                {
                  address: key.address,
                  alias: "k",
                  watermark: watermarkName(key.address),
                  signers: content.map(({ name }) => name),
                },
              ],
              signers: content,
              timings: patient,
            }),
          );
    const version = `..${++this.published}`;
    mkdirSync(join(config, version), { recursive: true });
    writeFileSync(join(config, version, "baker.json"), text);
    symlinkSync(version, join(config, "..data_tmp"));
    renameSync(join(config, "..data_tmp"), join(config, "..data"));
    if (!existsSync(join(config, "baker.json"))) symlinkSync("..data/baker.json", join(config, "baker.json"));
  }
  private published = 0;
  async start(): Promise<void> {
    const { world, folder } = this;
    await world.admit(`token-${this.identity}`, this.identity);
    world.front.writeKubeDir(join(folder, "kube"), `token-${this.identity}`, namespace);
    mkdirSync(join(folder, "state"), { recursive: true });
    this.publish([this.signer("s", ...world.urls)]);
    this.servers = [
      await serveHttp({
        host: this.address,
        port: ports.elector,
        routes: {
          "/leadership": (asked, response) => {
            response.writeHead(200, { "content-type": "application/json" });
            const send = (line: string) => void response.write(line);
            send(JSON.stringify(this.record) + "\n");
            this.streams.add(send);
            asked.on("close", () => this.streams.delete(send));
          },
          "/members": (_asked, response) => void response.writeHead(200).end("[]"),
        },
      }),
      await serveHttp({
        host: this.address,
        port: ports.octezRpc,
        routes: {
          "/chains/main/blocks/head/header": (_asked, response) =>
            void response
              .writeHead(200)
              .end(JSON.stringify({ chain_id: chainName, level: 1000, timestamp: new Date().toISOString() })),
        },
      }),
    ];
    await this.launch();
  }
  async launch(): Promise<void> {
    const { folder } = this;
    const child = spawn(process.execPath, [await bundlePath(), "signing-gate"], {
      stdio: ["ignore", "pipe", "inherit"],
      env: {
        PATH: process.env.PATH,
        TOG_POD_NAME: this.name,
        TOG_POD_UID: "u1",
        TOG_POD_ADDRESS: this.address,
        TOG_LOCAL_ADDRESS: this.address,
        TOG_NAMESPACE: namespace,
        TOG_ZONE: "",
        TOG_KUBE_URL: this.world.apiUrl,
        TOG_KUBE_DIR: join(folder, "kube"),
        TOG_NODE_DIR: join(folder, "node"),
        TOG_CLIENT_DIR: join(folder, "client"),
        TOG_STATE_DIR: join(folder, "state"),
        TOG_SECRETS_DIR: join(folder, "secrets"),
        TOG_CONFIG_FILE: join(folder, "config/baker.json"),
      },
    });
    this.child = child;
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      this.log.push(...lines);
    });
    await this.until(async () => (await this.status()).signersAnswering === 1);
  }
  async until(done: () => Promise<boolean>): Promise<void> {
    for (let i = 0; ; i++) {
      if (await done().catch(() => false)) return;
      if (i > 600) throw new Error(`still waiting; the log says\n${this.log.slice(-20).join("\n")}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  async status(): Promise<GateStatus> {
    return gateStatusSchema.parse(await (await fetch(`http://${this.address}:${ports.gateHealth}/status`)).json());
  }
  get health(): string {
    return `http://${this.address}:${ports.gateHealth}`;
  }
  sign(bytes: Uint8Array) {
    return post(`http://${this.address}:${ports.gate}`, key.address, bytes);
  }
  signal(name: NodeJS.Signals): void {
    this.child?.kill(name);
  }
  /** Exit code, or the signal that ended it. */
  async ended(): Promise<number | string | null> {
    const { child } = this;
    if (!child) return null;
    if (child.exitCode === null && child.signalCode === null)
      await new Promise((resolve) => child.once("exit", resolve));
    return child.exitCode ?? child.signalCode;
  }
  async close(): Promise<void> {
    this.signal("SIGCONT");
    this.signal("SIGKILL");
    await this.ended();
    for (const server of this.servers) await server.close();
  }
}

let world: GateWorld;
let pods: Pod[] = [];
beforeEach(async () => {
  world = await new GateWorld([key]).start([{}, {}]);
  pods = [new Pod(world, "alice-as-0", 0), new Pod(world, "alice-as-1", 1)];
  await Promise.all(pods.map((pod) => pod.start()));
});
afterEach(async () => {
  const violations = world.violations();
  for (const pod of pods) await pod.close();
  await world.close();
  expect(violations).toEqual([]);
});

test.each([
  ["its leadership has run out meanwhile: it refuses", 3000, false],
  ["it still believes to be master: its late forward conflicts with nothing", 60_000, true],
])(
  "a gate that is stopped between write and forward, and goes on after another took over; %s",
  async (_text, validMs, forwards) => {
    const [a, b] = pods as [Pod, Pod];
    a.lead(1, 60_000);
    await a.until(async () => (await a.status()).open);
    expect((await a.sign(request("attestation", 1001, 0, 1))).status).toBe(200);

    // The write is committed and its answer under way when the process stops.
    world.front.addFault({
      match: { client: a.identity, verbs: ["update"] },
      times: 1,
      effect: { kind: "latency", ms: 150, after: true },
    });
    const stopped = new Promise<void>((resolve) => {
      world.onCommit = (commit) => {
        if (commit.record?.marks.attestation?.level !== 1002) return;
        world.onCommit = () => undefined;
        a.signal("SIGSTOP");
        resolve();
      };
    });
    a.lead(1, validMs);
    const over = performance.now() + validMs;
    const pending = a.sign(request("attestation", 1002, 0, 1));
    await stopped;
    b.lead(2, 60_000);
    await b.until(async () => (await b.status()).open);
    expect(await b.sign(request("attestation", 1002, 0, 2))).toMatchObject({ status: 409, reason: "conflict" });
    expect((await b.sign(request("attestation", 1003, 0, 2))).status).toBe(200);
    // Longer than the API keeps its answer back; or until the leadership has run out.
    await new Promise((resolve) => setTimeout(resolve, forwards ? 200 : over - performance.now() + 100));
    a.signal("SIGCONT");
    const answer = await pending;
    expect(answer.status).toBe(forwards ? 200 : 503);
    expect(
      world.signed.filter((entry) => entry.bytes === Buffer.from(request("attestation", 1002, 0, 1)).toString("hex"))
        .length,
    ).toBe(forwards ? 1 : 0);
    expect((await a.sign(request("attestation", 1003, 0, 1))).status).toBe(503);
  },
);

test("a changed list of signers is taken over without a restart and without a failed request; a broken one changes nothing and shows", async () => {
  const [a] = pods as [Pod];
  const [first = "", second = ""] = world.urls;
  const [s1, s2] = [a.signer("s1", first), a.signer("s2", second)];
  const metrics = async () => (await fetch(`${a.health}/metrics`)).text();
  const names = async () => (await a.status()).signers.map(({ name, answers }) => `${name} ${answers}`);
  a.lead(1, 60_000);
  await a.until(async () => (await a.status()).open);
  // Votes all the while, one after the other, each answered.
  let [round, busy] = [0, true];
  const answers: number[] = [];
  const voting = (async () => {
    while (busy) answers.push((await a.sign(request("attestation", 1001, ++round, 1))).status);
  })();
  /** The list of signers has become this one, and votes went on. */
  const becomes = async (...list: string[]) => {
    await a.until(async () => (await names()).join() === list.join());
    const [from, signed] = [answers.length, world.signed.length];
    await a.until(() => Promise.resolve(answers.length > from + 3));
    return new Set(world.signed.slice(signed + 1).map(({ signer }) => signer));
  };
  try {
    // Neither endpoint of the list at start is in this one: both are asked anew.
    a.publish([s1]);
    expect(await becomes("s1 true")).toEqual(new Set(["s1"]));
    a.publish([s1, s2]);
    expect(await becomes("s1 true", "s2 true")).toEqual(new Set(["s1"]));
    await world.signers[0]?.close();
    expect(await becomes("s1 false", "s2 true")).toEqual(new Set(["s2"]));
    a.publish([s2]);
    await becomes("s2 true");
    expect(await metrics()).not.toMatch(/tog_gate_endpoint_up\{signer="s1"/);
    expect(await metrics()).toMatch(/tog_config_rejected\{[^}]*\} 0/);
    for (const broken of ["{", "{}"]) {
      a.publish(broken);
      await a.until(async () => /tog_config_rejected\{[^}]*\} 1/.test(await metrics()));
      expect(await becomes("s2 true")).toEqual(new Set(["s2"]));
    }
    a.publish([s2]);
    await a.until(async () => /tog_config_rejected\{[^}]*\} 0/.test(await metrics()));
  } finally {
    busy = false;
    await voting;
  }
  expect(answers.filter((status) => status !== 200)).toEqual([]);
});

test("killed and started again it goes on in its tenure; SIGTERM ends it cleanly; its health port tells all", async () => {
  const [a] = pods as [Pod, Pod];
  a.lead(1, 60_000);
  const seedNonceHash = new Uint8Array(32).fill(3);
  const block = await a.sign(request("block", 1001, 0, 1, { seedNonceHash }));
  expect(block.status).toBe(200);
  a.signal("SIGKILL");
  expect(await a.ended()).toBe("SIGKILL");
  await a.launch();
  await a.until(async () => (await a.status()).open);
  expect((await a.status()).keys[0]).toMatchObject({ state: "open", reason: "raised-already" });
  // The signer is declared deterministic: the same block again gives the same signature.
  expect((await a.sign(request("block", 1001, 0, 1, { seedNonceHash }))).signature).toBe(block.signature);
  expect(await (await fetch(`${a.health}/commitments`)).json()).toMatchObject([
    { level: 1001, round: 0, address: key.address },
  ]);
  const metrics = await (await fetch(`${a.health}/metrics`)).text();
  expect(metrics).toMatch(
    /tog_gate_requests_total\{kind="block",result="signed",reason="deterministic",baker="alice",pod="alice-as-0"\} 1/,
  );
  expect(metrics).toContain("tog_gate_open{");
  expect((await fetch(`${a.health}/live`)).status).toBe(200);
  expect((await fetch(`${a.health}/ready`)).status).toBe(200);
  a.signal("SIGTERM");
  expect(await a.ended()).toBe(0);
  expect(a.log.some((line) => line.includes('"event":"stopped"'))).toBe(true);
});
