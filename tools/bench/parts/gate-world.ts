/**
 * What the benchmark of the gate measures: the bundled gate as master of its keys, the signer as a process of its own,
 * a proxy that only writes and forwards (gate-floor.ts), and what the gate asks: elector, node, Kubernetes API.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { bakerFileSchema } from "../../../contract/baker-file";
import { env, type PodEnv } from "../../../contract/env";
import type { Leadership } from "../../../contract/leadership";
import { labels, watermarkDataKey, watermarkName } from "../../../contract/names";
import { ports } from "../../../contract/ports";
import { gateStatusSchema } from "../../../contract/status";
import { noMarks, type Watermark } from "../../../contract/watermark";
import { clientFiles } from "../../../daemons/hot-keys/client-files";
import { sleep, systemClock } from "../../../daemons/runtime/clock";
import { serveHttp } from "../../../daemons/runtime/http-server";
import { createKubeClient } from "../../../daemons/runtime/kube-client";
import type { SigningKey } from "../../../lab/doubles/signing-keys";
import { KubeApi } from "../../../lab/kube-api";
import { buildDaemons } from "../../../scripts/build";
import { expectBase58 } from "../../../tezos/base58";
import { encodeVoteRequest } from "../../../tezos/signing-request";

const root = resolve(__dirname, "../../..");
const chainName = "NetXdQprcVkpaWU";
const chainId = expectBase58("chainId", chainName);
const baker = "bench";
const identity = "bench-as-0_u1";
const signerPort = 6733;
const floorPort = 6734;
export const vote = (level: number) =>
  encodeVoteRequest({ tag: 21, chainId, level, round: 0, payloadHash: new Uint8Array(32).fill(7) });

/** One POST over a kept-alive connection, in milliseconds. @throws Error where it was not signed */
export function sign(agent: http.Agent, base: string, address: string, bytes: Uint8Array): Promise<number> {
  const body = JSON.stringify(Buffer.from(bytes).toString("hex"));
  const started = performance.now();
  return new Promise((done, failed) => {
    const request = http.request(
      `${base}/keys/${address}`,
      { agent, method: "POST", headers: { "content-type": "application/json", "content-length": body.length } },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () =>
          response.statusCode === 200
            ? done(performance.now() - started)
            : failed(new Error(`HTTP ${response.statusCode ?? 0} ${text}`)),
        );
      },
    );
    request.on("error", failed);
    request.end(body);
  });
}

type Kube = ReturnType<typeof createKubeClient>;
const withTimeout = { timeoutMs: 5000 };

/** The object of that name, made with `data` or overwritten with it. */
async function configMap(kube: Kube, namespace: string, name: string, data: Record<string, string>) {
  const metadata = { name, namespace, labels: { [labels.baker]: baker } };
  const made = await kube.create("configmaps", { apiVersion: "v1", kind: "ConfigMap", metadata, data }, withTimeout);
  if (made.ok) return made.object;
  const found = await kube.get("configmaps", name, withTimeout);
  if (!found.ok) throw new Error(`the ConfigMap ${name} could not be created: ${made.message}; ${found.message}`);
  const replaced = await kube.replace("configmaps", { ...found.object, data }, withTimeout);
  if (!replaced.ok) throw new Error(`the ConfigMap ${name} could not be written: ${replaced.message}`);
  return replaced.object;
}

const emptyWatermark: Watermark = {
  version: 1,
  baker,
  chain: chainName,
  epoch: 0,
  holder: "",
  floor: 0,
  marks: noMarks,
  unfenced: false,
};

export interface GateWorldOptions {
  keys: readonly SigningKey[];
  /** How long the signer takes for a signature. */
  signerDelayMs: number;
  namespace: string;
  /** A real API server, and the folder of `token` and `ca.crt`. @default an embedded one */
  api?: { url: string; kubeDir: string };
  agent: http.Agent;
}

/** Everything runs after `start`; `close` ends all of it. */
export class GateWorld {
  readonly signer: string;
  readonly gate: string;
  /** The proxy that writes and forwards, nothing else. */
  readonly floor: string;
  private readonly folder = mkdtempSync(join(tmpdir(), "tog-bench-gate-"));
  private readonly address = `127.${[0, 1, 2].map(() => 50 + Math.floor(Math.random() * 40)).join(".")}`;
  private readonly children: ChildProcess[] = [];
  private readonly closing: (() => Promise<void> | void)[] = [];
  private lastLevel = 1000;
  private spare?: { kube: Kube; object: Awaited<ReturnType<typeof configMap>> };

  private constructor(private readonly options: GateWorldOptions) {
    this.signer = `http://${this.address}:${signerPort}`;
    this.gate = `http://${this.address}:${ports.gate}`;
    this.floor = `http://${this.address}:${floorPort}`;
  }

  static async start(options: GateWorldOptions): Promise<GateWorld> {
    const world = new GateWorld(options);
    try {
      const api = options.api ?? (await world.embeddedApi());
      await world.createObjects(api);
      await world.serveElectorAndNode();
      world.startSigner();
      await world.startGate(api);
      await world.startFloor(api);
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  level(): number {
    return ++this.lastLevel;
  }

  /** One conditional write of an object that the gate does not use, in milliseconds. */
  async write(): Promise<number> {
    if (!this.spare) throw new Error("not started");
    const started = performance.now();
    const next = { ...this.spare.object, data: { n: String(started) } };
    const written = await this.spare.kube.replace("configmaps", next, withTimeout);
    if (!written.ok) throw new Error(written.message);
    this.spare.object = written.object;
    return performance.now() - started;
  }

  async close(): Promise<void> {
    for (const child of this.children) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGKILL");
      await ended;
    }
    for (const end of this.closing) await end();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private run(words: readonly string[], environment: NodeJS.ProcessEnv): void {
    this.children.push(
      spawn(process.execPath, words, {
        cwd: root,
        stdio: ["ignore", "ignore", "inherit"],
        env: { PATH: process.env.PATH, ...environment },
      }),
    );
  }

  private async embeddedApi(): Promise<{ url: string; kubeDir: string }> {
    const api = new KubeApi();
    this.closing.push(() => api.dispose());
    const { url } = await api.start({ tls: true });
    const kubeDir = join(this.folder, "kube");
    api.addAdmin("token");
    api.writeKubeDir(kubeDir, "token", this.options.namespace);
    return { url, kubeDir };
  }

  private async createObjects({ url, kubeDir }: { url: string; kubeDir: string }): Promise<void> {
    const { namespace, keys } = this.options;
    const kube = createKubeClient({ url, kubeDir, namespace, clock: systemClock });
    this.closing.push(() => kube.close());
    const data = { [watermarkDataKey]: JSON.stringify(emptyWatermark) };
    for (const key of keys) await configMap(kube, namespace, watermarkName(key.address), data);
    await configMap(kube, namespace, "floor", {});
    this.spare = { kube, object: await configMap(kube, namespace, "spare", { n: "0" }) };
  }

  /** The elector and the node, as far as the gate asks them. */
  private async serveElectorAndNode(): Promise<void> {
    const leadership = (): Leadership => ({
      holder: "bench-as-0",
      holderIdentity: identity,
      self: identity,
      leaseUid: "l",
      epoch: 1,
      state: "active",
      reason: "",
      validUntilNs: String(process.hrtime.bigint() + 600_000_000_000n),
      gate: "open",
      daemons: "run",
      nonces: "follow",
    });
    // A head a day old, so that any level is plausible and one signature follows the other.
    const head = {
      chain_id: chainName,
      level: 1000,
      timestamp: new Date(systemClock.wall() - 86_400_000).toISOString(),
    };
    const elector = await serveHttp({
      host: this.address,
      port: ports.elector,
      routes: {
        "/leadership": (_request, response) => void response.writeHead(200).write(JSON.stringify(leadership()) + "\n"),
      },
    });
    this.closing.push(() => elector.close());
    const node = await serveHttp({
      host: this.address,
      port: ports.octezRpc,
      routes: {
        "/chains/main/blocks/head/header": (_request, response) =>
          void response.writeHead(200).end(JSON.stringify(head)),
      },
    });
    this.closing.push(() => node.close());
  }

  private startSigner(): void {
    const { keys, signerDelayMs } = this.options;
    const folder = join(this.folder, "signer");
    mkdirSync(folder);
    const secrets = new Map(keys.map((key) => [key.address, `unencrypted:${key.secret}`]));
    for (const [name, content] of Object.entries(clientFiles(secrets)))
      writeFileSync(join(folder, name), JSON.stringify(content));
    const faults = join(this.folder, "faults.json");
    writeFileSync(faults, JSON.stringify({ delayMs: signerDelayMs }));
    this.run(
      [
        ...["--import", "tsx", join(root, "lab/doubles/main.ts"), "octez-signer", "--base-dir", folder],
        ...["launch", "http", "signer", "--address", this.address, "--port", String(signerPort)],
      ],
      signerDelayMs > 0 ? { LAB_SIGNER_FAULTS: faults } : {},
    );
  }

  private async startGate(api: { url: string; kubeDir: string }): Promise<void> {
    const { keys, namespace } = this.options;
    const file = bakerFileSchema.parse({
      version: 1,
      baker,
      topology: "active-standby",
      network: { name: "mainnet", chainId: chainName },
      members: 2,
      otherMembers: 1,
      headMaxAgeSeconds: 240,
      daemons: [{ name: "baker", command: ["true"] }],
      delegate: keys[0]?.address,
      keys: keys.map(({ address }) => ({ address, alias: address, watermark: watermarkName(address), signers: ["s"] })),
      signers: [{ name: "s", deterministic: true, endpoints: [{ zone: null, url: this.signer }] }],
      timings: {},
    });
    const configFile = join(this.folder, "baker.json");
    writeFileSync(configFile, JSON.stringify(file));
    const values: PodEnv = {
      ...(Object.fromEntries(Object.keys(env).map((name) => [name, join(this.folder, name)])) as PodEnv),
      TOG_POD_NAME: "bench-as-0",
      TOG_POD_UID: "u1",
      TOG_POD_ADDRESS: this.address,
      TOG_LOCAL_ADDRESS: this.address,
      TOG_NAMESPACE: namespace,
      TOG_ZONE: "",
      TOG_KUBE_URL: api.url,
      TOG_KUBE_DIR: api.kubeDir,
      TOG_CONFIG_FILE: configFile,
    };
    const bundle = await buildDaemons(join(root, `.cache/bench-gate-${process.pid}.cjs`));
    this.closing.push(() => rmSync(bundle, { force: true }));
    this.run([bundle, "signing-gate"], values);
    await until("the gate did not open", 60_000, async () => {
      const answer = await fetch(`http://${this.address}:${ports.gateHealth}/status`);
      const status = gateStatusSchema.parse(await answer.json());
      if (status.signersAnswering !== 1 || status.keys.some((key) => key.state !== "open"))
        throw new Error(JSON.stringify(status));
    });
  }

  private async startFloor({ url, kubeDir }: { url: string; kubeDir: string }): Promise<void> {
    const { namespace, keys, agent } = this.options;
    this.run(
      [
        ...["--import", "tsx", join(__dirname, "gate-floor.ts"), this.address, String(floorPort), url, kubeDir],
        ...[`/api/v1/namespaces/${namespace}/configmaps/floor`, this.signer],
      ],
      {},
    );
    const bytes = vote(this.lastLevel);
    await until("the proxy that only writes and forwards did not answer", 10_000, () =>
      sign(agent, this.floor, keys[0]?.address ?? "", bytes),
    );
  }
}

/** Tries again until `attempt` succeeds. @throws Error with the last failure after `withinMs` */
async function until(failure: string, withinMs: number, attempt: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const reason = await attempt().then(() => undefined, String);
    if (reason === undefined) return;
    if (performance.now() > deadline) throw new Error(`${failure}: ${reason}`);
    await sleep(50);
  }
}
