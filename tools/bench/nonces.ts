/**
 * `npm run bench -- nonces [SAMPLES]`: from the rename of the nonce file on one pod to the rename of the nonce file on
 * the other, both with a real exposer and importer, on loopback; with a file as bakers have it (50 entries) and with
 * 10,000. The load of the machine is in the figures.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, watch, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import type { BakerFile } from "../../contract/baker-file";
import { ports } from "../../contract/ports";
import { defaultTimings } from "../../contract/timings";
import { nonceFileName, nonceHash, parseStateful, serialise, type SeedNonce } from "../../tezos/nonces";
import { judged, percentile, type Bench, type BenchResult } from "../bench";
import { buildDaemons } from "../../scripts/build";

const chainId = "NetXdQprcVkpaWU";
const fileName = nonceFileName(chainId, "stateful_nonces");
const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

function makeNonce(level: number): SeedNonce {
  const bytes = randomBytes(49);
  const nonce = bytes.subarray(0, 32).toString("hex");
  return {
    nonce,
    hash: nonceHash(nonce),
    block: `BL${[...bytes].map((byte) => alphabet[byte % 58]).join("")}`,
    cycle: 1200,
    level,
    round: 0,
    state: "committed",
  };
}
const now = (): number => Number(process.hrtime.bigint()) / 1e6;

const address = "tz1VSUr8wwNhLAzempoch5d6hLRiTh8Cjcjb";
const baker: BakerFile = {
  version: 1,
  baker: "bench",
  topology: "active-standby",
  network: { name: "mainnet", chainId },
  members: 2,
  otherMembers: 1,
  headMaxAgeSeconds: 240,
  daemons: [{ name: "octez-baker", command: ["octez-baker"] }],
  delegate: address,
  keys: [{ address, alias: "bench", watermark: `wm-${"0".repeat(40)}`, signers: ["home"] }],
  signers: [{ name: "home", endpoints: [{ zone: null, url: "http://127.0.0.1:1" }], deterministic: true }],
  timings: defaultTimings,
};

interface Pod {
  name: string;
  host: string;
  client: string;
}

/** What an elector tells its pod of the members, for the daemons of `pods`. */
const memberRecords = (pods: readonly Pod[]) =>
  pods.map((pod) => ({
    identity: `${pod.name}_u`,
    address: pod.host,
    zone: "",
    ready: true,
    eligible: true,
    reason: "",
    headLevel: null,
    headTimestamp: null,
    noncesMissing: 0,
    daemons: "stopped",
    signersAnswering: 1,
    state: "standby",
  }));

/** Two pods, each with an exposer, an importer and a stand-in of its elector. `close` ends all of it. */
class TwoNoncePods {
  private readonly folder = mkdtempSync(join(tmpdir(), "tog-bench-"));
  private readonly children: ChildProcess[] = [];
  private readonly servers: Server[] = [];
  private readonly stop = new AbortController();
  private readonly from: Pod;
  private readonly to: Pod;
  private renamedAt: number[] = [];

  constructor(private content: readonly SeedNonce[]) {
    const net = `127.${1 + (process.pid % 250)}.${content.length % 250}`;
    const pod = (ordinal: number): Pod => {
      const name = `bench-as-${ordinal}`;
      return { name, host: `${net}.${ordinal + 1}`, client: join(this.folder, name) };
    };
    this.from = pod(0);
    this.to = pod(1);
  }

  async start(bundle: string): Promise<void> {
    writeFileSync(join(this.folder, "nonce-secret"), randomBytes(32).toString("hex"));
    writeFileSync(join(this.folder, "baker.json"), JSON.stringify(baker));
    const pods = [this.from, this.to];
    for (const pod of pods) {
      mkdirSync(pod.client);
      await this.serveElector(pod, JSON.stringify(memberRecords(pods)));
      for (const daemon of ["nonce-exposer", "nonce-importer"]) this.run(bundle, daemon, pod);
    }
    const { signal } = this.stop;
    watch(this.to.client, { signal }, (_event, name) => name === fileName && this.renamedAt.push(now()));
    this.publish();
    await this.arrived(this.content[0]?.hash ?? "");
  }

  /** Adds a nonce on one pod. @returns milliseconds until the other pod's file has it */
  async lag(entry: SeedNonce): Promise<number> {
    this.content = [...this.content, entry];
    this.renamedAt = [];
    const at = this.publish();
    return (await this.arrived(entry.hash)) - at;
  }

  async close(): Promise<void> {
    this.stop.abort();
    for (const child of this.children) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGKILL");
      await ended;
    }
    for (const server of this.servers) {
      server.closeAllConnections();
      server.close();
    }
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  private async serveElector({ host }: Pod, members: string): Promise<void> {
    const server = createServer(
      (request, response) => void response.writeHead(request.url === "/members" ? 200 : 404).end(members),
    );
    await new Promise<void>((done) => server.listen(ports.elector, host, done));
    this.servers.push(server);
  }

  private run(bundle: string, daemon: string, { name, host, client }: Pod): void {
    const env = {
      PATH: process.env.PATH,
      TOG_POD_NAME: name,
      TOG_POD_UID: "u",
      TOG_POD_ADDRESS: host,
      TOG_LOCAL_ADDRESS: host,
      TOG_NAMESPACE: "bench",
      TOG_ZONE: "",
      TOG_KUBE_URL: "http://127.0.0.1:1",
      TOG_KUBE_DIR: this.folder,
      TOG_NODE_DIR: this.folder,
      TOG_CLIENT_DIR: client,
      TOG_STATE_DIR: `${client}-state`,
      TOG_SECRETS_DIR: this.folder,
      TOG_CONFIG_FILE: join(this.folder, "baker.json"),
    };
    this.children.push(spawn(process.execPath, [bundle, daemon], { env, stdio: ["ignore", "ignore", "inherit"] }));
  }

  /** @returns when the file was renamed */
  private publish(): number {
    const path = join(this.from.client, fileName);
    writeFileSync(`${path}.next`, serialise([...this.content]));
    const at = now();
    renameSync(`${path}.next`, path);
    return at;
  }

  private has(hash: string): boolean {
    try {
      const text = readFileSync(join(this.to.client, fileName), "utf8");
      return parseStateful(text, { hashes: false }).some((entry) => entry.hash === hash);
    } catch {
      return false;
    }
  }

  /** @returns when the file that has the nonce was renamed */
  private async arrived(hash: string): Promise<number> {
    const since = now();
    for (let looked = 0; now() - since < 60_000;) {
      const at = this.renamedAt[looked];
      if (at === undefined) {
        await new Promise((done) => setTimeout(done, 1));
        continue;
      }
      looked++;
      if (this.has(hash)) return at;
    }
    throw new Error(`a nonce did not arrive within 60 s (${this.content.length} entries)`);
  }
}

/** The lags of `samples` nonces that are added with pauses to a file of `entries`, in milliseconds. */
async function measure(
  bundle: string,
  entries: number,
  samples: number,
  pauseMs: number,
  progress: (line: string) => void,
): Promise<number[]> {
  const pods = new TwoNoncePods(Array.from({ length: entries }, (_, index) => makeNonce(13_000_000 + index)));
  const lags: number[] = [];
  try {
    await pods.start(bundle);
    for (let index = 0; index < samples; index++) {
      await new Promise((done) => setTimeout(done, pauseMs));
      lags.push(await pods.lag(makeNonce(13_100_000 + index)));
      if (index % 50 === 49) progress(`${entries} entries: ${index + 1} of ${samples}`);
    }
    return lags;
  } finally {
    await pods.close();
  }
}

export const bench: Bench = async (args, progress) => {
  const samples = Number(args[0] ?? 200);
  const bundle = await buildDaemons(join(__dirname, "../../.cache", `bench-nonces-${process.pid}.cjs`));
  try {
    const small = await measure(bundle, 50, samples, 60, progress);
    // Until the way back to the sender and the copies are done, too: a baker commits every few minutes.
    const large = await measure(bundle, 10_000, Math.max(5, Math.ceil(samples / 5)), 2500, progress);
    progress("after half a minute without work");
    const rested = await measure(bundle, 50, 3, 35_000, progress);
    const results: BenchResult[] = [
      judged("lag p50, 50 entries", "ms", percentile(small, 50), "<= 20"),
      judged("lag p99, 50 entries", "ms", percentile(small, 99), "<= 200"),
      judged("lag p99, 10,000 entries", "ms", percentile(large, 99), "<= 500"),
      { metric: "lag p50, 10,000 entries", unit: "ms", value: Number(percentile(large, 50).toPrecision(4)) },
      {
        metric: "lag after the lock's helper has ended, slowest of 3",
        unit: "ms",
        value: Number(Math.max(...rested).toPrecision(4)),
      },
      { metric: "load average", unit: "", value: Number((loadavg()[0] ?? 0).toPrecision(3)) },
    ];
    return results;
  } finally {
    rmSync(bundle, { force: true });
  }
};
