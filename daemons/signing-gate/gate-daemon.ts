/** The gate's wiring: its files, clients and servers, and what it does until SIGTERM. */
import { setMaxListeners } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { BakerFile } from "../../contract/baker-file";
import type { GateStatus } from "../../contract/status";
import { prepareBls } from "../../tezos/keys";
import { sleep, systemClock as clock } from "../runtime/clock";
import { removeLeftovers, writeDurably } from "../runtime/durable";
import { followConfig, sameKeys } from "../runtime/follow-config";
import { followLeadership } from "../runtime/follow-leadership";
import { serveHttp, type HttpServer } from "../runtime/http-server";
import { createKubeClient } from "../runtime/kube-client";
import type { Log } from "../runtime/log";
import { createRegistry } from "../runtime/metrics";
import { Commitments, type CommitmentsFile } from "./commitments";
import { gateKeys, type GateConfig } from "./config";
import { Gate } from "./gate";
import type { GateOptions } from "./gate-options";
import { Heads } from "./heads";
import { LeadershipView } from "./leadership";
import { limited } from "./limit";
import { lookAtWatermarks } from "./look-at-watermarks";
import { fetchMembers } from "./members";
import { MarksMemory } from "./memory";
import { gateMetrics } from "./metrics";
import { gateRoutes } from "./server";
import { slotFile } from "./slot-file";
import { Upstream } from "./upstream";

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
const watermarkRefusals = [
  "conflict",
  "below-mark",
  "at-or-below-floor",
  "older-epoch",
  "block-repeated",
  "signer-watermark",
];

export class GateDaemon {
  private readonly registry;
  private readonly metrics;
  private readonly kube;
  private readonly leadership;
  private readonly heads;
  private readonly upstream;
  private readonly gate: Gate;
  private refusedByWatermark = 0;
  private health: HttpServer | undefined;
  private memoryProblem: string | null = null;

  private constructor(
    private readonly config: GateConfig,
    private readonly log: Log,
    private readonly signal: AbortSignal,
    private readonly memory: MarksMemory,
    private readonly commitments: Commitments,
  ) {
    const { file, pod, zone, ordinal } = config;
    const { timings } = file;
    const podAddress = config.health.host;
    this.registry = createRegistry(file.baker, pod);
    this.metrics = gateMetrics(this.registry);
    const api = { clock, log, metrics: this.registry, component: "signing-gate", instance: pod };
    this.kube = createKubeClient({ ...config.kube, ...api });
    this.leadership = new LeadershipView(config.identity, () => clock.nowNs());
    this.heads = new Heads({
      ...{ rpc: config.rpc, chainId: file.network.chainId, timings, clock, podAddress },
      members: () => fetchMembers(config.elector, timings.requestTimeoutMs, signal),
    });
    this.upstream = new Upstream({
      ...{ file, zone, ordinal, podAddress, timings, clock, log },
      onAttempt: this.metrics.attempt,
    });
    this.gate = new Gate(this.gateOptions());
    this.metrics.follow(() => this.status());
  }

  /** Reads what this gate knew when it ended. */
  static async load(config: GateConfig, log: Log, signal: AbortSignal): Promise<GateDaemon> {
    const { file, stateDir } = config;
    setMaxListeners(0, signal);
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    await removeLeftovers(stateDir);
    const addresses = file.keys.map((key) => key.address);
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => null);
    // The disk of another pod on the same machine may be a copy, or one that was torn off: its cells tell nothing.
    const life = boot === null ? null : `${boot.trim()} ${config.uid}`;
    const marks = slotFile(join(stateDir, "marks"));
    const { memory, problem } = await MarksMemory.load(marks, file.network.chainId, addresses, life);
    if (problem !== undefined) log.error("memory-unreadable", problem, { file: "marks" });
    const list = durableFile(join(stateDir, "commitments.json"));
    const { commitments, problem: broken } = await Commitments.load(list);
    if (broken !== undefined) log.warn("commitments-unreadable", broken);
    return new GateDaemon(config, log, signal, memory, commitments);
  }

  private gateOptions(): GateOptions {
    const { config, log, kube, memory, leadership, heads } = this;
    const { file, identity, keys } = config;
    const { baker, timings } = file;
    return {
      ...{
        baker,
        chainId: file.network.chainId,
        identity,
        keys,
        timings,
        clock,
        sleep,
        memory,
        leadership,
        heads,
        log,
      },
      kube: limited(kube, timings.gateBudgetMs, clock),
      signer: this.upstream,
      onCommitment: (commitment) => {
        const written = this.commitments.add({ ...commitment, atMs: clock.wall() });
        this.health?.changed("/commitments");
        return written;
      },
      onDecision: (decision) => {
        if (watermarkRefusals.includes(decision.reason)) this.refusedByWatermark++;
        this.metrics.decision(decision);
      },
      onTrouble: (address, reason, detail) =>
        void kube.emitEvent({
          type: "Warning",
          reason: "WatermarkLost",
          message: `key ${address}: ${reason} ${detail}`.trim(),
          regarding: { kind: "Pod", apiVersion: "v1", name: config.pod, uid: config.uid },
        }),
    };
  }

  private status(): GateStatus {
    const status = this.gate.status();
    return {
      ...status,
      keys: status.keys.map((key) => ({
        ...key,
        signers: this.upstream.having(key.address),
        signersAnswering: this.upstream.answeringWith(key.address),
      })),
      memoryProblem: this.memoryProblem,
      signers: this.upstream.status(),
      signersAnswering: this.upstream.answering(),
      refusedByWatermark: this.refusedByWatermark,
    };
  }

  /** Serves until the signal aborts; what is under way then ends within `gateDrainSeconds`. */
  async run(): Promise<void> {
    const { config, log, gate, upstream, signal, leadership } = this;
    const { file, health } = config;
    const { timings } = file;
    const signing = await serveHttp({ ...config.listen, routes: gateRoutes(gate, upstream), maxConnections: 512 });
    this.health = await this.serveHealth();
    const unfollow = followConfig({
      ...{ path: config.configFile, file, log, registry: this.registry },
      onChange: (changed) => this.configure(changed),
    });
    if (file.keys.some(({ address }) => address.startsWith("tz4"))) setImmediate(prepareBls);
    log.info("listening", "started", { keys: config.keys.length, signers: file.signers.length });
    await Promise.all([
      followLeadership({ host: health.host, timings, onRecord: (record) => leadership.update(record), signal }),
      this.heads.run(signal),
      upstream.run(signal),
      lookAtWatermarks({
        ...{ baker: file, gate, kube: this.kube, memory: this.memory, clock, sleep, podAddress: health.host, signal },
        onFlush: (problem) => {
          if (problem !== null) log.error("memory-write", problem);
          this.memoryProblem = problem;
        },
      }),
    ]);
    unfollow();
    gate.close();
    const drainedMs = clock.now() + timings.gateDrainSeconds * 1000;
    while (gate.status().inFlight > 0 && clock.now() < drainedMs) await sleep(20);
    await Promise.all([signing.close(), this.health.close()]);
    upstream.close();
    this.kube.close();
  }

  private serveHealth(): Promise<HttpServer> {
    return serveHttp({
      ...this.config.health,
      metrics: this.registry,
      status: () => this.status(),
      ready: () => {
        const { open, reason } = this.gate.status();
        return { ok: open, reason };
      },
      documents: { "/commitments": () => this.commitments.all() },
      routes: {},
    });
  }

  /** Signers alone are taken over: whatever else changed comes with a new pod, which reads all of it. */
  private configure(changed: BakerFile): void {
    if (!sameKeys(changed, this.config.file))
      return this.log.info("signers-kept", "other-keys", {
        detail: "this pod ends soon; until then its keys have the signers they had",
      });
    this.gate.configure(gateKeys(changed));
    this.upstream.configure(changed);
    this.log.info("signers", "taken-over", { signers: changed.signers.map((signer) => signer.name) });
  }
}
