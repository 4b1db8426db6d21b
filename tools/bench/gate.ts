/**
 * What the gate adds to a signature: the bundled daemon and the signer as processes of their own, the API embedded
 * here, everything on loopback. Direct and gated requests alternate in one run, and so does a proxy that writes and
 * forwards and does nothing else. `--requests N` (default 1500); `--kube-url URL --kube-dir DIR --namespace NS`
 * measures against a real API server in which the caller may create ConfigMaps.
 */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import * as http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { testKey } from "../../lab/doubles/signing-keys";
import { judged, percentile, type Bench, type BenchResult } from "../bench";
import { GateWorld, sign, vote } from "./parts/gate-world";

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

const figure = (metric: string, value: number): BenchResult => ({
  metric,
  unit: "ms",
  value: Number(value.toPrecision(4)),
});

/** Direct, gated and floor requests in turn, one key. */
async function addedLatency(world: GateWorld, agent: http.Agent, address: string, requests: number, real: boolean) {
  const times = { added: [] as number[], least: [] as number[], direct: [] as number[], writes: [] as number[] };
  for (let i = -200; i < requests; i++) {
    const bytes = vote(world.level());
    const straight = await sign(agent, world.signer, address, bytes);
    const gated = await sign(agent, world.gate, address, bytes);
    const floor = await sign(agent, world.floor, address, bytes);
    // The first 200 warm everything up.
    if (i < 0) continue;
    if (i % 5 === 0) times.writes.push(await world.write());
    times.direct.push(straight);
    times.added.push(gated - straight);
    times.least.push(floor - straight);
  }
  const synced = syncs(300);
  const what = real ? "real API server" : "embedded API";
  return [
    ...([50, 99] as const).flatMap((p) => [
      figure(`a conditional write by itself, p${p}`, percentile(times.writes, p)),
      figure(`a sync to this disk by itself, p${p}`, percentile(synced, p)),
      figure(`added by a proxy that only writes and forwards, p${p}`, percentile(times.least, p)),
      figure(`direct, p${p}`, percentile(times.direct, p)),
    ]),
    judged(`added by the gate, p50 (${what})`, "ms", percentile(times.added, 50), real ? "<= 4" : "<= 2"),
    judged(`added by the gate, p99 (${what})`, "ms", percentile(times.added, 99), real ? "<= 12" : "<= 10"),
  ];
}

/** All keys ask at once, as at each block. */
async function allAtOnce(world: GateWorld, agent: http.Agent, addresses: readonly string[]): Promise<BenchResult[]> {
  const rounds: number[] = [];
  for (let i = 0; i < 12; i++) {
    const bytes = vote(world.level());
    const started = performance.now();
    await Promise.all(addresses.map((address) => sign(agent, world.gate, address, bytes)));
    if (i >= 2) rounds.push(performance.now() - started);
  }
  return [
    figure("100 keys at once, all answered, p50", percentile(rounds, 50)),
    judged("100 keys at once, all answered, slowest of 10 blocks", "ms", Math.max(...rounds), "<= 500"),
  ];
}

export const bench: Bench = async (args, progress) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      requests: { type: "string", default: "1500" },
      "kube-url": { type: "string" },
      "kube-dir": { type: "string" },
      namespace: { type: "string", default: "bench" },
    },
  });
  const { "kube-url": url, "kube-dir": kubeDir, namespace, requests } = values;
  const api = url !== undefined && kubeDir !== undefined ? { url, kubeDir } : undefined;
  const agent = new http.Agent({ keepAlive: true });
  const results: BenchResult[] = [];
  const measure = async (
    count: number,
    signerDelayMs: number,
    run: (world: GateWorld, addresses: string[]) => Promise<BenchResult[]>,
  ) => {
    const keys = Array.from({ length: count }, (_, i) => testKey("tz1", `bench ${i}`));
    const world = await GateWorld.start({ keys, signerDelayMs, namespace, api, agent });
    try {
      results.push(
        ...(await run(
          world,
          keys.map((key) => key.address),
        )),
      );
    } finally {
      await world.close();
    }
  };
  try {
    progress("added latency, one key");
    await measure(1, 0, (world, [address = ""]) =>
      addedLatency(world, agent, address, Number(requests), api !== undefined),
    );
    progress("100 keys at once, a signer that takes 5 ms");
    await measure(100, 5, (world, addresses) => allAtOnce(world, agent, addresses));
  } finally {
    agent.destroy();
  }
  return results;
};
