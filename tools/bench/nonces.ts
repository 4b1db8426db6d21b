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

async function measure(
  bundle: string,
  entries: number,
  samples: number,
  pauseMs: number,
  progress: (line: string) => void,
): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), "tog-bench-"));
  const children: ChildProcess[] = [];
  const servers: Server[] = [];
  const stop = new AbortController();
  try {
    writeFileSync(join(folder, "nonce-secret"), randomBytes(32).toString("hex"));
    writeFileSync(join(folder, "baker.json"), JSON.stringify(baker));
    const net = `127.${1 + (process.pid % 250)}.${entries % 250}`;
    const pods = ["bench-as-0", "bench-as-1"].map((name, index) => ({
      name,
      host: `${net}.${index + 1}`,
      client: join(folder, name),
    }));
    const [from, to] = pods;
    if (!from || !to) throw new Error("two pods");
    let content = Array.from({ length: entries }, (_, index) => makeNonce(13_000_000 + index));
    const publish = (): number => {
      const path = join(from.client, fileName);
      writeFileSync(`${path}.next`, serialise(content));
      const at = now();
      renameSync(`${path}.next`, path);
      return at;
    };
    for (const { name, host, client } of pods) {
      mkdirSync(client);
      const members = pods.map((pod) => ({
        ...{
          identity: `${pod.name}_u`,
          address: pod.host,
          zone: "",
          ready: true,
          eligible: true,
          reason: "",
          headLevel: null,
          headTimestamp: null,
        },
        ...{ noncesMissing: 0, daemons: "stopped", signersAnswering: 1, state: "standby" },
      }));
      const server = createServer(
        (request, response) =>
          void response.writeHead(request.url === "/members" ? 200 : 404).end(JSON.stringify(members)),
      );
      await new Promise<void>((resolve) => server.listen(ports.elector, host, resolve));
      servers.push(server);
      const environment = {
        ...{
          PATH: process.env.PATH,
          TOG_POD_NAME: name,
          TOG_POD_UID: "u",
          TOG_POD_ADDRESS: host,
          TOG_LOCAL_ADDRESS: host,
          TOG_NAMESPACE: "bench",
          TOG_ZONE: "",
        },
        ...{
          TOG_KUBE_URL: "http://127.0.0.1:1",
          TOG_KUBE_DIR: folder,
          TOG_NODE_DIR: folder,
          TOG_CLIENT_DIR: client,
          TOG_STATE_DIR: `${client}-state`,
        },
        ...{ TOG_SECRETS_DIR: folder, TOG_CONFIG_FILE: join(folder, "baker.json") },
      };
      for (const daemon of ["nonce-exposer", "nonce-importer"])
        children.push(
          spawn(process.execPath, [bundle, daemon], { env: environment, stdio: ["ignore", "ignore", "inherit"] }),
        );
    }
    publish();
    const target = join(to.client, fileName);
    const has = (hash: string): boolean => {
      try {
        return parseStateful(readFileSync(target, "utf8"), { hashes: false }).some((entry) => entry.hash === hash);
      } catch {
        return false;
      }
    };
    let renamedAt: number[] = [];
    watch(to.client, { signal: stop.signal }, (_event, name) => name === fileName && renamedAt.push(now()));
    const arrived = async (hash: string): Promise<number> => {
      const since = now();
      for (let looked = 0; now() - since < 60_000;) {
        const at = renamedAt[looked];
        if (at !== undefined) {
          looked++;
          if (has(hash)) return at;
        } else await new Promise((resolve) => setTimeout(resolve, 1));
      }
      throw new Error(`a nonce did not arrive within 60 s (${entries} entries)`);
    };
    await arrived(content[0]?.hash ?? "");
    const lags: number[] = [];
    for (let index = 0; index < samples; index++) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      const entry = makeNonce(13_100_000 + index);
      content = [...content, entry];
      renamedAt = [];
      const at = publish();
      lags.push((await arrived(entry.hash)) - at);
      if (index % 50 === 49) progress(`${entries} entries: ${index + 1} of ${samples}`);
    }
    return lags;
  } finally {
    stop.abort();
    await Promise.all(
      children.map(
        (child) =>
          new Promise((resolve) =>
            child.exitCode === null ? child.once("exit", resolve).kill("SIGKILL") : resolve(undefined),
          ),
      ),
    );
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
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
