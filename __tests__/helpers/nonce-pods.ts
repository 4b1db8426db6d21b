/**
 * Pods of one baker as far as the nonce exchange goes: folders and addresses of their own, real exposer and importer
 * processes, and stand-ins for elector, gate and node.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BakerFile } from "../../contract/baker-file";
import type { Leadership } from "../../contract/leadership";
import { podName, watermarkName } from "../../contract/names";
import { ports } from "../../contract/ports";
import type { NonceStatus } from "../../contract/status";
import { defaultTimings, type Timings } from "../../contract/timings";
import { nonceFileName, nonceHash, parseStateful, serialise, type SeedNonce } from "../../tezos/nonces";
import { bundlePath } from "./bundle";

export const chainId = "NetXdQprcVkpaWU";
export const statefulFile = nonceFileName(chainId, "stateful_nonces");
const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** A nonce of its own for each call; `seed` makes it repeatable. */
export function makeNonce(fields: Partial<SeedNonce> & { seed?: number } = {}): SeedNonce {
  const { seed, ...rest } = fields;
  const bytes = seed === undefined ? randomBytes(32) : Buffer.alloc(32, `nonce ${seed} `);
  const nonce = rest.nonce ?? bytes.toString("hex");
  const block = `BL${[...bytes, ...bytes]
    .slice(0, 49)
    .map((byte) => alphabet[byte % 58])
    .join("")}`;
  return {
    nonce,
    hash: nonceHash(nonce),
    block,
    cycle: 1200,
    level: 13_000_000 + (seed ?? 0),
    round: 0,
    state: "committed",
    ...rest,
  };
}

export const readStateful = (clientDir: string): SeedNonce[] => {
  const path = join(clientDir, statefulFile);
  return existsSync(path) ? parseStateful(readFileSync(path, "utf8")) : [];
};
export const writeStateful = (clientDir: string, entries: readonly SeedNonce[]): void =>
  writeFileSync(join(clientDir, statefulFile), serialise(entries));

export async function until<T>(what: string, probe: () => T | Promise<T>, timeoutMs = 60_000): Promise<NonNullable<T>> {
  const since = process.hrtime.bigint();
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Number(process.hrtime.bigint() - since) / 1e6 > timeoutMs)
      throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export interface ChainState {
  level: number;
  cycle: number;
  /** By level: what `context/nonces/<level>` answers. */
  nonces: Map<number, { hash: string } | { nonce: string }>;
}

export interface NoncePod {
  name: string;
  index: number;
  address: string;
  clientDir: string;
  stateDir: string;
  logs: Record<string, unknown>[];
  commitments: { address: string; level: number; round: number; seedNonceHash: string; atMs: number }[];
  environment: NodeJS.ProcessEnv;
  start(daemons?: ("nonce-exposer" | "nonce-importer")[]): void;
  /** SIGKILL of both daemons. */
  kill(): Promise<void>;
  status(daemon: "exposer" | "importer"): Promise<NonceStatus | undefined>;
  metrics(daemon: "exposer" | "importer"): Promise<string>;
  setNonces(level: Leadership["nonces"]): void;
  pids(): number[];
}

export interface NoncePods {
  pods: NoncePod[];
  folder: string;
  file: BakerFile;
  chain: ChainState;
  close(): Promise<void>;
}

export function bakerFile(
  overrides: { timings?: Partial<Timings>; members?: number; topology?: "solo" | "active-standby" } = {},
): BakerFile {
  const address = "tz1VSUr8wwNhLAzempoch5d6hLRiTh8Cjcjb";
  const topology = overrides.topology ?? "active-standby";
  return {
    version: 1,
    baker: "alice",
    topology,
    network: { name: "mainnet", chainId },
    members: overrides.members ?? (topology === "solo" ? 1 : 2),
    otherMembers: topology === "solo" ? 2 : 1,
    headMaxAgeSeconds: 240,
    daemons: [{ name: "octez-baker", command: ["octez-baker"] }],
    delegate: address,
    keys: [{ address, alias: "alice", watermark: watermarkName(address), signers: ["home"] }],
    signers: [{ name: "home", endpoints: [{ zone: null, url: "http://127.0.0.1:1" }], deterministic: true }],
    timings: { ...defaultTimings, ...overrides.timings },
  };
}

/** `members` pods (default 2), nothing started yet. */
export async function createNoncePods(
  overrides: { timings?: Partial<Timings>; members?: number } = {},
): Promise<NoncePods> {
  const bundle = await bundlePath();
  const folder = mkdtempSync(join(tmpdir(), "tog-nonces-"));
  const file = bakerFile(overrides);
  const chain: ChainState = { level: 13_000_000, cycle: 1200, nonces: new Map() };
  const net = `127.${1 + ((randomBytes(1)[0] ?? 0) % 254)}.${randomBytes(1)[0] ?? 0}`;
  const base = 1 + ((randomBytes(1)[0] ?? 0) % 200);
  const secretsDir = join(folder, "secrets");
  mkdirSync(secretsDir);
  writeFileSync(join(secretsDir, "nonce-secret"), randomBytes(32).toString("hex"));
  writeFileSync(join(folder, "baker.json"), JSON.stringify(file));
  const servers: Server[] = [];
  const pods: NoncePod[] = [];
  const listen = (
    host: string,
    port: number,
    handler: (path: string, response: ServerResponse) => void,
  ): Promise<void> =>
    new Promise((resolve, reject) => {
      const server = createServer((request, response) => handler(request.url ?? "/", response));
      servers.push(server);
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
  const send = (response: ServerResponse, value: unknown): void => void response.end(JSON.stringify(value));

  for (let index = 0; index < file.members; index++) {
    const name = podName("alice", "active-standby", index);
    const address = `${net}.${base + index}`;
    const [clientDir, stateDir] = [join(folder, name, "client"), join(folder, name, "state")];
    mkdirSync(clientDir, { recursive: true });
    mkdirSync(stateDir, { recursive: true });
    let nonces: Leadership["nonces"] = "follow";
    const watchers = new Set<ServerResponse>();
    const leadership = (): Leadership => ({
      holder: "",
      holderIdentity: "",
      self: `${name}_uid-${index}`,
      leaseUid: "lease",
      epoch: 1,
      state: nonces === "final" ? "handing-over" : "standby",
      reason: "test",
      validUntilNs: "0",
      gate: "shut",
      daemons: "stop",
      nonces,
    });
    const commitments: NoncePod["commitments"] = [];
    await listen(address, ports.elector, (path, response) => {
      if (path === "/members")
        return send(
          response,
          pods.map((pod) => ({
            identity: `${pod.name}_uid-${pod.index}`,
            address: pod.address,
            zone: "",
            ready: false,
            eligible: false,
            reason: "",
            headLevel: null,
            headTimestamp: null,
            noncesMissing: 0,
            daemons: "stopped",
            signersAnswering: 0,
            state: "standby",
          })),
        );
      response.write(JSON.stringify(leadership()) + "\n");
      watchers.add(response);
      response.on("close", () => watchers.delete(response));
    });
    await listen(address, ports.gateHealth, (_path, response) => send(response, commitments));
    await listen(address, ports.octezRpc, (path, response) => {
      const level = /\/context\/nonces\/(\d+)$/.exec(path)?.[1];
      if (level !== undefined) return send(response, chain.nonces.get(Number(level)) ?? {});
      if (path.endsWith("/current_level")) return send(response, { level: chain.level, cycle: chain.cycle });
      return send(response, { consensus_rights_delay: 2 });
    });
    const environment: NodeJS.ProcessEnv = {
      PATH: process.env.PATH,
      TOG_POD_NAME: name,
      TOG_POD_UID: `uid-${index}`,
      TOG_POD_ADDRESS: address,
      TOG_LOCAL_ADDRESS: address,
      TOG_NAMESPACE: "test",
      TOG_ZONE: "",
      TOG_KUBE_URL: "http://127.0.0.1:1",
      TOG_KUBE_DIR: folder,
      TOG_NODE_DIR: folder,
      TOG_CLIENT_DIR: clientDir,
      TOG_STATE_DIR: stateDir,
      TOG_SECRETS_DIR: secretsDir,
      TOG_CONFIG_FILE: join(folder, "baker.json"),
    };
    const logs: Record<string, unknown>[] = [];
    const running = new Set<ChildProcess>();
    const url = (daemon: "exposer" | "importer") =>
      `http://${address}:${daemon === "exposer" ? ports.nonceExposer : ports.nonceImporter}`;
    pods.push({
      name,
      index,
      address,
      clientDir,
      stateDir,
      logs,
      commitments,
      environment,
      start(daemons = ["nonce-exposer", "nonce-importer"]) {
        for (const daemon of daemons) {
          const child = spawn(process.execPath, [bundle, daemon], {
            env: environment,
            stdio: ["ignore", "pipe", "pipe"],
          });
          running.add(child);
          child.on("exit", () => running.delete(child));
          let rest = "";
          const take = (chunk: Buffer): void => {
            const lines = (rest + chunk.toString()).split("\n");
            rest = lines.pop() ?? "";
            for (const text of lines)
              logs.push(
                text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : { event: "text", reason: text },
              );
          };
          child.stdout.on("data", take);
          child.stderr.on("data", take);
        }
      },
      async kill() {
        await Promise.all(
          [...running].map(
            (child) =>
              new Promise((resolve) => {
                child.once("exit", resolve);
                child.kill("SIGKILL");
              }),
          ),
        );
      },
      async status(daemon) {
        try {
          return (await (
            await fetch(`${url(daemon)}/status`, { signal: AbortSignal.timeout(1000) })
          ).json()) as NonceStatus;
        } catch {
          return undefined;
        }
      },
      metrics: async (daemon) => (await fetch(`${url(daemon)}/metrics`)).text(),
      setNonces(level) {
        nonces = level;
        for (const response of watchers) response.write(JSON.stringify(leadership()) + "\n");
      },
      pids: () => [...running].map((child) => child.pid ?? 0),
    });
  }
  return {
    pods,
    folder,
    file,
    chain,
    async close() {
      for (const pod of pods) await pod.kill();
      await Promise.all(
        servers.map(
          (server) =>
            new Promise((resolve) => {
              server.close(resolve);
              server.closeAllConnections();
            }),
        ),
      );
      // The importer's writers end when their importer does.
      await new Promise((resolve) => setTimeout(resolve, 50));
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
