/**
 * What the gate adds to a signature: the bundled daemon and the signer as processes of their own, the API embedded
 * here, everything on loopback. Direct and gated requests alternate in one run, and so does a proxy that writes and
 * forwards and does nothing else. `--requests N` (default 1500); `--kube-url URL --kube-dir DIR --namespace NS`
 * measures against a real API server in which the caller may create ConfigMaps.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import * as http from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { bakerFileSchema } from "../../contract/baker-file";
import { env, type PodEnv } from "../../contract/env";
import type { Leadership } from "../../contract/leadership";
import { labels, watermarkDataKey, watermarkName } from "../../contract/names";
import { ports } from "../../contract/ports";
import { gateStatusSchema } from "../../contract/status";
import { noMarks, type Watermark } from "../../contract/watermark";
import { sleep, systemClock } from "../../daemons/runtime/clock";
import { clientFiles } from "../../daemons/hot-keys/client-files";
import { serveHttp } from "../../daemons/runtime/http-server";
import { createKubeClient } from "../../daemons/runtime/kube-client";
import { testKey, type SigningKey } from "../../lab/doubles/octez-signer";
import { KubeApi } from "../../lab/kube-api";
import { expectBase58 } from "../../tezos/base58";
import { encodeVoteRequest } from "../../tezos/signing-request";
import { judged, percentile, type Bench, type BenchResult } from "../bench";
import { buildDaemons } from "../../scripts/build";

const root = resolve(__dirname, "../..");
const chainName = "NetXdQprcVkpaWU";
const chainId = expectBase58("chainId", chainName);
const baker = "bench";
const identity = "bench-as-0_u1";
const signerPort = 6733;
const floorPort = 6734;
const vote = (level: number) =>
  encodeVoteRequest({ tag: 21, chainId, level, round: 0, payloadHash: new Uint8Array(32).fill(7) });

/** One POST over a kept-alive connection, in milliseconds. @throws Error where it was not signed */
function sign(agent: http.Agent, base: string, address: string, bytes: Uint8Array): Promise<number> {
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

/** What no gate can do without: a sync of a small block to this disk, in milliseconds. */
function syncs(count: number): number[] {
  const folder = mkdtempSync(join(tmpdir(), "tog-bench-sync-"));
  const fd = openSync(join(folder, "file"), "w+");
  try {
    const block = Buffer.alloc(1024, 1);
    return Array.from({ length: count }, () => {
      const started = performance.now();
      writeSync(fd, block, 0, block.length, 0);
      fdatasyncSync(fd);
      return performance.now() - started;
    });
  } finally {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
}

interface Run {
  gate: string;
  signer: string;
  /** Writes and forwards, nothing else (gate-floor.ts). */
  floor: string;
  /** One conditional write of a watermark that the gate does not use, in milliseconds. */
  write: () => Promise<number>;
  level: () => number;
  close: () => Promise<void>;
}

/** A gate that is master of `keys`, its signer with `delayMs`, and all that they need. */
async function start(
  keys: readonly SigningKey[],
  delayMs: number,
  args: readonly string[],
  agent: http.Agent,
): Promise<Run> {
  const option = (name: string): string | undefined => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
  const folder = mkdtempSync(join(tmpdir(), "tog-bench-gate-"));
  const address = `127.${50 + Math.floor(Math.random() * 40)}.${Math.floor(Math.random() * 250)}.${1 + Math.floor(Math.random() * 250)}`;
  const children: ChildProcess[] = [];
  const closing: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const child of children) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGKILL");
      await ended;
    }
    for (const end of closing) await end();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    // Where watermarks are.
    const namespace = option("--namespace") ?? "bench";
    let kubeUrl = option("--kube-url");
    let kubeDir = option("--kube-dir");
    if (kubeUrl === undefined || kubeDir === undefined) {
      const api = new KubeApi();
      kubeUrl = (await api.start({ tls: true })).url;
      kubeDir = join(folder, "kube");
      api.addAdmin("token");
      api.writeKubeDir(kubeDir, "token", namespace);
      closing.push(() => api.dispose());
    }
    const kube = createKubeClient({ url: kubeUrl, kubeDir, namespace, clock: systemClock });
    closing.push(() => Promise.resolve(kube.close()));
    for (const key of keys) {
      const record: Watermark = {
        version: 1,
        baker,
        chain: chainName,
        epoch: 0,
        holder: "",
        floor: 0,
        marks: noMarks,
        unfenced: false,
      };
      const name = watermarkName(key.address);
      const data = { [watermarkDataKey]: JSON.stringify(record) };
      const metadata = { name, namespace, labels: { [labels.baker]: baker } };
      const made = await kube.create(
        "configmaps",
        { apiVersion: "v1", kind: "ConfigMap", metadata, data },
        { timeoutMs: 5000 },
      );
      if (!made.ok && made.kind !== "already-exists")
        throw new Error(`the watermark could not be created: ${made.message}`);
      if (made.ok) continue;
      const found = await kube.get("configmaps", name, { timeoutMs: 5000 });
      if (found.ok) await kube.replace("configmaps", { ...found.object, data }, { timeoutMs: 5000 });
    }

    // The elector and the node, as far as the gate asks them.
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
    let level = 1000;
    const elector = await serveHttp({
      host: address,
      port: ports.elector,
      routes: {
        "/leadership": (_request, response) => void response.writeHead(200).write(JSON.stringify(leadership()) + "\n"),
      },
    });
    const node = await serveHttp({
      host: address,
      port: ports.octezRpc,
      routes: {
        // A head an hour behind, so that any level is plausible and one signature follows the other.
        "/chains/main/blocks/head/header": (_request, response) =>
          void response.writeHead(200).end(
            JSON.stringify({
              chain_id: chainName,
              level: 1000,
              timestamp: new Date(systemClock.wall() - 3_600_000 * 24).toISOString(),
            }),
          ),
      },
    });
    closing.push(
      () => elector.close(),
      () => node.close(),
    );

    // The signer.
    const signerDir = join(folder, "signer");
    mkdirSync(signerDir);
    for (const [name, content] of Object.entries(
      clientFiles(new Map(keys.map((key) => [key.address, `unencrypted:${key.secret}`]))),
    ))
      writeFileSync(join(signerDir, name), JSON.stringify(content));
    writeFileSync(join(folder, "faults.json"), JSON.stringify({ delayMs }));
    const signer = `http://${address}:${signerPort}`;
    children.push(
      spawn(
        process.execPath,
        [
          "--import",
          "tsx",
          join(root, "lab/doubles/main.ts"),
          "octez-signer",
          "--base-dir",
          signerDir,
          "launch",
          "http",
          "signer",
          "--address",
          address,
          "--port",
          String(signerPort),
        ],
        {
          cwd: root,
          stdio: ["ignore", "ignore", "inherit"],
          env: { PATH: process.env.PATH, ...(delayMs > 0 ? { LAB_SIGNER_FAULTS: join(folder, "faults.json") } : {}) },
        },
      ),
    );

    // The gate.
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
      keys: keys.map((key) => ({
        address: key.address,
        alias: key.address,
        watermark: watermarkName(key.address),
        signers: ["s"],
      })),
      signers: [{ name: "s", deterministic: true, endpoints: [{ zone: null, url: signer }] }],
      timings: {},
    });
    writeFileSync(join(folder, "baker.json"), JSON.stringify(file));
    const values: PodEnv = {
      ...(Object.fromEntries(Object.keys(env).map((name) => [name, join(folder, name)])) as PodEnv),
      TOG_POD_NAME: "bench-as-0",
      TOG_POD_UID: "u1",
      TOG_POD_ADDRESS: address,
      TOG_LOCAL_ADDRESS: address,
      TOG_NAMESPACE: namespace,
      TOG_ZONE: "",
      TOG_KUBE_URL: kubeUrl,
      TOG_KUBE_DIR: kubeDir,
      TOG_CONFIG_FILE: join(folder, "baker.json"),
    };
    const bundle = await buildDaemons(join(root, `.cache/bench-gate-${process.pid}.cjs`));
    closing.push(() => Promise.resolve(rmSync(bundle, { force: true })));
    children.push(
      spawn(process.execPath, [bundle, "signing-gate"], {
        stdio: ["ignore", "ignore", "inherit"],
        env: { PATH: process.env.PATH, ...values },
      }),
    );
    const status = async () =>
      gateStatusSchema.parse(await (await fetch(`http://${address}:${ports.gateHealth}/status`)).json());
    for (let i = 0; ; i++) {
      const now = await status().catch(() => undefined);
      if (now && now.signersAnswering === 1 && now.keys.every((key) => key.state === "open")) break;
      if (i > 1200) throw new Error(`the gate did not open: ${JSON.stringify(now)}`);
      await sleep(50);
    }
    const spare = {
      apiVersion: "v1",
      kind: "ConfigMap" as const,
      metadata: { name: "spare", namespace },
      data: { n: "0" },
    };
    const made = await kube.create("configmaps", spare, { timeoutMs: 5000 });
    const found = made.ok ? made : await kube.get("configmaps", "spare", { timeoutMs: 5000 });
    if (!found.ok) throw new Error(`the spare watermark could not be created: ${found.message}`);
    let latest = found.object;
    const write = async () => {
      const started = performance.now();
      const written = await kube.replace(
        "configmaps",
        { ...latest, data: { n: String(started) } },
        { timeoutMs: 5000 },
      );
      if (!written.ok) throw new Error(written.message);
      latest = written.object;
      return performance.now() - started;
    };
    const own = await kube.create(
      "configmaps",
      { ...spare, metadata: { name: "floor", namespace } },
      { timeoutMs: 5000 },
    );
    if (!own.ok && own.kind !== "already-exists")
      throw new Error(`the floor's watermark could not be created: ${own.message}`);
    children.push(
      spawn(
        process.execPath,
        [
          ...["--import", "tsx", join(root, "tools/bench/gate-floor.ts"), address, String(floorPort), kubeUrl, kubeDir],
          ...[`/api/v1/namespaces/${namespace}/configmaps/floor`, signer],
        ],
        { cwd: root, stdio: ["ignore", "ignore", "inherit"], env: { PATH: process.env.PATH } },
      ),
    );
    const floor = `http://${address}:${floorPort}`;
    const warm = vote(level);
    for (let i = 0; ; i++) {
      const failed = await sign(agent, floor, keys[0]?.address ?? "", warm).then(
        () => undefined,
        (error: unknown) => String(error),
      );
      if (failed === undefined) break;
      if (i > 200) throw new Error(`the floor does not answer: ${failed}`);
      await sleep(50);
    }
    return { gate: `http://${address}:${ports.gate}`, signer, floor, write, level: () => ++level, close };
  } catch (error) {
    await close();
    throw error;
  }
}

export const bench: Bench = async (args, progress) => {
  const requests = args.includes("--requests") ? Number(args[args.indexOf("--requests") + 1]) : 1500;
  const real = args.includes("--kube-url");
  const agent = new http.Agent({ keepAlive: true });
  const results: BenchResult[] = [];
  const informative = (metric: string, value: number) =>
    results.push({ metric, unit: "ms", value: Number(value.toPrecision(4)) });
  const one = [testKey("tz1", "bench")];
  const address = one[0]?.address ?? "";
  progress("added latency, one key");
  let run = await start(one, 0, args, agent);
  try {
    const added: number[] = [];
    const least: number[] = [];
    const direct: number[] = [];
    const writes: number[] = [];
    for (let i = -200; i < requests; i++) {
      const bytes = vote(run.level());
      const straight = await sign(agent, run.signer, address, bytes);
      const gated = await sign(agent, run.gate, address, bytes);
      const floor = await sign(agent, run.floor, address, bytes);
      if (i < 0) continue;
      if (i % 5 === 0) writes.push(await run.write());
      direct.push(straight);
      added.push(gated - straight);
      least.push(floor - straight);
    }
    const synced = syncs(300);
    for (const p of [50, 99] as const) {
      informative(`a conditional write by itself, p${p}`, percentile(writes, p));
      informative(`a sync to this disk by itself, p${p}`, percentile(synced, p));
    }
    for (const p of [50, 99] as const)
      informative(`added by a proxy that only writes and forwards, p${p}`, percentile(least, p));
    const what = real ? "real API server" : "embedded API";
    informative("direct, p50", percentile(direct, 50));
    informative("direct, p99", percentile(direct, 99));
    results.push(judged(`added by the gate, p50 (${what})`, "ms", percentile(added, 50), real ? "<= 4" : "<= 2"));
    results.push(judged(`added by the gate, p99 (${what})`, "ms", percentile(added, 99), real ? "<= 12" : "<= 10"));
  } finally {
    await run.close();
  }
  progress("100 keys at once, a signer that takes 5 ms");
  const keys = Array.from({ length: 100 }, (_, i) => testKey("tz1", `bench ${i}`));
  run = await start(keys, 5, args, agent);
  try {
    const rounds: number[] = [];
    for (let i = 0; i < 12; i++) {
      const bytes = vote(run.level());
      const started = performance.now();
      await Promise.all(keys.map((key) => sign(agent, run.gate, key.address, bytes)));
      if (i >= 2) rounds.push(performance.now() - started);
    }
    informative("100 keys at once, all answered, p50", percentile(rounds, 50));
    results.push(judged("100 keys at once, all answered, slowest of 10 blocks", "ms", Math.max(...rounds), "<= 500"));
  } finally {
    await run.close();
    agent.destroy();
  }
  return results;
};
