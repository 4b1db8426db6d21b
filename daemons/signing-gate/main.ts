/**
 * signing-gate: every signature of the baking pod passes here.
 *
 * Guarantees S1-S3 and S5-S7 (gate.ts) for every key; listens for the baker on the loopback address only; decides
 * nothing about who is master. Does not guarantee an answer: without the Kubernetes API, without leadership or without
 * a signer it refuses, inside its budget.
 */
import { setMaxListeners } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { watermarkName } from "../../contract/names";
import type { GateStatus } from "../../contract/status";
import { prepareBls } from "../../tezos/keys";
import { sleep, systemClock, untilBeat } from "../runtime/clock";
import { loadConfig } from "../runtime/config";
import { removeLeftovers, writeDurably } from "../runtime/durable";
import { serveHttp } from "../runtime/http-server";
import { followConfig } from "../runtime/follow-config";
import { followLeadership } from "../runtime/follow-leadership";
import { createKubeClient } from "../runtime/kube-client";
import { runDaemon } from "../runtime/lifecycle";
import { createLog, type Log } from "../runtime/log";
import { createRegistry } from "../runtime/metrics";
import { Commitments, type CommitmentsFile } from "./commitments";
import { gateConfig, gateKeys, type GateConfig } from "./config";
import { fetchMembers } from "./members";
import { Gate } from "./gate";
import { Heads } from "./heads";
import { LeadershipView } from "./leadership";
import { limited } from "./limit";
import { MarksMemory } from "./memory";
import { gateMetrics } from "./metrics";
import { gateRoutes } from "./server";
import { slotFile } from "./slot-file";
import { Upstream } from "./upstream";

export function main(): Promise<void> {
  const config = gateConfig(loadConfig("signing-gate"));
  const log = createLog(config.pod, "signing-gate");
  return runDaemon(log, (signal) => run(config, log, signal));
}

function durableFile(path: string): CommitmentsFile {
  return {
    read: () =>
      readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      }),
    write: (content) => writeDurably(path, content),
  };
}

/** Refusals that mean: somebody has signed, or may have signed, this or something higher. */
const watermarkRefusals = ["conflict", "below-mark", "at-or-below-floor", "older-epoch", "block-repeated"];

async function run(config: GateConfig, log: Log, signal: AbortSignal): Promise<void> {
  const { file, identity } = config;
  setMaxListeners(0, signal);
  const { timings } = file;
  const clock = systemClock;
  const chainId = file.network.chainId;
  await mkdir(config.stateDir, { recursive: true, mode: 0o700 });
  await removeLeftovers(config.stateDir);
  const addresses = file.keys.map((key) => key.address);
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => null);
  const { memory, problem } = await MarksMemory.load(
    slotFile(join(config.stateDir, "marks")),
    chainId,
    addresses,
    boot,
  );
  if (problem !== undefined) log.error("memory-unreadable", problem, { file: "marks" });
  const { commitments, problem: broken } = await Commitments.load(
    durableFile(join(config.stateDir, "commitments.json")),
  );
  if (broken !== undefined) log.warn("commitments-unreadable", broken);

  const registry = createRegistry(file.baker, config.pod);
  const metrics = gateMetrics(registry);
  const kube = createKubeClient({
    ...config.kube,
    clock,
    log,
    metrics: registry,
    component: "signing-gate",
    instance: config.pod,
  });
  const leadership = new LeadershipView(identity, () => clock.nowNs());
  const heads = new Heads({
    rpc: config.rpc,
    chainId,
    timings,
    clock,
    members: () => fetchMembers(config.elector, timings.requestTimeoutMs, signal),
    podAddress: config.health.host,
  });
  const upstream = new Upstream({
    ...{ file, zone: config.zone, ordinal: config.ordinal, podAddress: config.health.host, timings, clock, log },
    onAttempt: metrics.attempt,
  });
  let refusedByWatermark = 0;
  const gate = new Gate({
    baker: file.baker,
    chainId,
    identity,
    keys: config.keys,
    timings,
    clock,
    sleep,
    kube: limited(kube, timings.gateBudgetMs, clock),
    memory,
    leadership,
    heads,
    signer: upstream,
    log,
    onCommitment: (commitment) => {
      const written = commitments.add({ ...commitment, atMs: clock.wall() });
      health.changed("/commitments");
      return written;
    },
    onDecision: (decision) => {
      if (watermarkRefusals.includes(decision.reason)) refusedByWatermark++;
      metrics.decision(decision);
    },
    onTrouble: (address, reason, detail) =>
      void kube.emitEvent({
        type: "Warning",
        reason: "WatermarkLost",
        message: `key ${address}: ${reason} ${detail}`.trim(),
        regarding: { kind: "Pod", apiVersion: "v1", name: config.pod, uid: config.uid },
      }),
  });
  const status = (): GateStatus => ({
    ...gate.status(),
    signers: upstream.status(),
    signersAnswering: upstream.answering(),
    refusedByWatermark,
  });
  metrics.follow(status);

  const signing = await serveHttp({ ...config.listen, routes: gateRoutes(gate, upstream), maxConnections: 512 });
  const health = await serveHttp({
    ...config.health,
    metrics: registry,
    status,
    ready: () => {
      const { open, reason } = gate.status();
      return { ok: open, reason };
    },
    documents: { "/commitments": () => commitments.all() },
    routes: {},
  });
  // Signers alone are taken over here: whatever else changed comes with a new pod, which reads all of it.
  const unfollow = followConfig({
    ...{ path: config.configFile, file, log, registry },
    onChange: (changed) => {
      if (changed.keys.length !== addresses.length || changed.keys.some((key) => !addresses.includes(key.address)))
        return log.info("signers-kept", "other-keys", {
          detail: "this pod ends soon; until then its keys have the signers they had",
        });
      gate.configure(gateKeys(changed));
      upstream.configure(changed);
      log.info("signers", "taken-over", { signers: changed.signers.map((signer) => signer.name) });
    },
  });
  if (addresses.some((address) => address.startsWith("tz4"))) setImmediate(prepareBls);
  log.info("listening", "started", { keys: config.keys.length, signers: file.signers.length });

  // The highest marks are seen in standby too: what tells a rewound watermark from a good one when this pod takes over.
  const looking = (async () => {
    while (!signal.aborted) {
      for (const { address } of file.keys) {
        const outcome = await kube.get("configmaps", watermarkName(address), {
          timeoutMs: timings.requestTimeoutMs,
          signal,
        });
        if (outcome.ok) gate.onSeen(address, outcome.object);
        else if (outcome.kind === "not-found") gate.onSeen(address, undefined);
        else break;
      }
      await memory.flush().catch((error: unknown) => log.error("memory-write", String(error)));
      await sleep(untilBeat(clock, 2000 * timings.memberRenewSeconds, config.health.host), signal);
    }
  })();
  await Promise.all([
    followLeadership({ host: config.health.host, timings, onRecord: (record) => leadership.update(record), signal }),
    heads.run(signal),
    upstream.run(signal),
    looking,
  ]);
  unfollow();
  gate.close();
  const drainedMs = clock.now() + timings.gateDrainSeconds * 1000;
  while (gate.status().inFlight > 0 && clock.now() < drainedMs) await sleep(20);
  await Promise.all([signing.close(), health.close()]);
  upstream.close();
  kube.close();
}
