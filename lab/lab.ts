/**
 * A running laboratory: chain, cluster, signers at home, and the record of everything that happened. Starts within
 * seconds, leaves no process: a watchdog that outlives even a SIGKILL of this process ends whatever carries the
 * laboratory's mark.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { leaderLeaseName, watermarkDataKey, watermarkName } from "../contract/names";
import { defaultTimings, type Timings } from "../contract/timings";
import { noMarks, type Watermark } from "../contract/watermark";
import { bundleDoubles } from "./bundle";
import { Chain } from "./chain/chain";
import { toBase58, hash32 } from "./chain/encode";
import type { DelegateKeys } from "./chain/keys";
import { Addresses } from "./cluster/addresses";
import { Cluster } from "./cluster/cluster";
import { type ContainerProcess, killMarked } from "./cluster/process";
import type { SignerFaults } from "./doubles/signer-server";
import { keyOf, provesPossession } from "./doubles/signing-keys";
import { HomeSigners } from "./home-signers";
import { UpstreamKubeApi } from "./kube-api/upstream";
import type { Upstream } from "./kube-api/upstream-client";
import { LabRecord, type LeaseView } from "./lab-record";
import { predecessorStack } from "./predecessor";
import { scaleOf, scaleTimings } from "./scale";
import { Stalls } from "./stalls";
import {
  synthesize,
  type NamedKeys,
  type Rotation,
  type SignerWays,
  type Synthesis,
  type SynthesisOptions,
} from "./synth";
import { TraceServer } from "./trace";
import { startWatchdog } from "./watchdog";

export interface LabOptions {
  /** experimental_active_standby_mode. @default true */
  flag?: boolean;
  blockMs: number;
  /** Bundle of the daemons (scripts/build.ts). */
  tog: string;
  /** Start time of the doubles at 6 s blocks, in milliseconds; scaled. @default 2000 */
  doubleStartMs?: number;
  /** @default "hot" */
  signers?: SignerWays;
  bakers?: number;
  seed?: string;
  /** @default the contract's, scaled */
  timings?: Timings;
  blockShare?: number;
  blocksPerCycle?: number;
  blocksPerCommitment?: number;
  /** The first baker has a next consensus key of this curve, which its signers hold. @default none */
  rotation?: Rotation;
  /** Which of its keys the configuration names at the begin. @default all */
  keys?: NamedKeys;
  /** Watermarks as of a baker that has signed before, instead of those of a first installation. @default true */
  history?: boolean;
  progress?: (text: string) => void;
  /** The predecessor's containers instead of ours, for comparison. */
  predecessor?: boolean;
  /** Keep the folder with all logs. */
  keep?: boolean;
  /** Starts a real API server, which is this laboratory's alone and ends with it. @default the embedded API */
  controlPlane?: () => Promise<Upstream & { stop(): Promise<void> }>;
}
/** With defaults. An option that is undefined is one that was not given. */
export function completeOptions(given: Omit<LabOptions, "tog">) {
  return {
    ...{
      flag: true,
      doubleStartMs: 2000,
      signers: "hot" as SignerWays,
      seed: randomBytes(4).toString("hex"),
      history: true,
    },
    ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as unknown as LabOptions),
  };
}

/** The delegate's own key, as the chain knows it from the begin. */
function ownKey(delegate: string, secrets: Readonly<Record<string, string>>): DelegateKeys {
  const { publicKey } = keyOf((secrets[delegate] ?? "").replace("unencrypted:", ""));
  return { consensus: [{ cycle: 0, address: delegate, publicKey }], companion: [] };
}

export class Lab extends LabRecord {
  readonly scale: number;
  /** A rolling update under way. */
  rolling: Promise<void> | undefined;
  private readonly controller = new AbortController();
  private readonly stalls = new Stalls();
  private endWatchdog: () => Promise<void> = () => Promise.resolve();
  private homes: HomeSigners | undefined;
  private closers: (() => void)[] = [];
  private controlPlane: { stop(): Promise<void> } | undefined;
  private stopped = false;

  private constructor(
    readonly options: LabOptions & { flag: boolean; doubleStartMs: number; signers: SignerWays; seed: string },
    readonly folder: string,
    readonly run: string,
    readonly synthesis: Synthesis,
    readonly addresses: Addresses,
    /** By baker. Each baker has a chain of its own, so that every one has a delegate with rights. */
    readonly chains: Map<string, Chain>,
    trace: TraceServer,
  ) {
    const scale = scaleOf(options.blockMs);
    super(trace, {
      bakers: synthesis.bakers,
      floorPassAfter: (options.timings ?? defaultTimings).floorPassSeconds * 1000 * scale * 0.99,
      predecessor: options.predecessor ?? false,
    });
    this.scale = scale;
  }
  cluster!: Cluster;

  get signal(): AbortSignal {
    return this.controller.signal;
  }
  get baker(): string {
    return this.synthesis.bakers[0]?.name ?? "";
  }
  get chain(): Chain {
    const chain = this.chains.get(this.baker);
    if (!chain) throw new Error("the laboratory has no chain");
    return chain;
  }
  get lease(): LeaseView | undefined {
    return this.leases.get(leaderLeaseName(this.baker));
  }
  /** Milliseconds at 6 s blocks to milliseconds here. */
  scaled(ms: number): number {
    return ms * this.scale;
  }

  /** Synthesis and bundles into their cache, so that a start with the same options finds them there. */
  static async prepare(
    given: Omit<LabOptions, "tog">,
  ): Promise<{ synthesis: Synthesis; programs: { doubles: string; preload: string } }> {
    const options = completeOptions(given);
    const [synthesis, programs] = await Promise.all([
      synthesize(Lab.configuration(options, scaleOf(options.blockMs))),
      bundleDoubles(),
    ]);
    return { synthesis, programs };
  }

  static async start(given: LabOptions): Promise<Lab> {
    if (process.platform !== "linux")
      throw new Error(
        "the laboratory needs Linux: it gives each pod a loopback address and reads /proc; run it in a Linux container",
      );
    const options = completeOptions(given);
    const progress = given.progress ?? (() => undefined);
    progress("synthesizing the stacks");
    const { synthesis: synthesized, programs } = await Lab.prepare(options);
    const synthesis = options.predecessor
      ? { ...synthesized, stack: predecessorStack(synthesized.stack) }
      : synthesized;
    progress("starting the chain");
    const folder = mkdtempSync(join(tmpdir(), "tog-lab-"));
    const run = randomBytes(6).toString("hex");
    const addresses = await Addresses.claim();
    const trace = new TraceServer();
    const chains = new Map(
      synthesis.bakers.map(({ name, delegate, keys }) => [
        name,
        new Chain({
          ...{
            seed: `${options.seed}-${name}`,
            chainId: synthesis.chainId,
            protocol: toBase58("protocol", hash32("Ushuaia")),
          },
          ...{ blockMs: options.blockMs, delegate, consensusKey: delegate, keys: ownKey(delegate, keys) },
          ...{ blockShare: options.blockShare ?? 0.25, attestationShare: 1 },
          ...{ blocksPerCycle: options.blocksPerCycle ?? 32, blocksPerCommitment: options.blocksPerCommitment ?? 4 },
          revelationBlocks: Math.floor(((options.blocksPerCycle ?? 32) * 3) / 4),
          ...{ startLevel: 3_200_001, virtualPeers: 12 },
        }),
      ]),
    );
    const lab = new Lab(options, folder, run, synthesis, addresses, chains, trace);
    try {
      lab.endWatchdog = startWatchdog(run, options.keep ? "" : folder);
      await lab.startAll({ ...programs, tog: options.tog });
      progress("starting the pods");
      return lab;
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  private static configuration(options: Lab["options"], scale: number): SynthesisOptions {
    return {
      flag: options.flag,
      timings: options.timings ?? scaleTimings(scale, defaultTimings),
      headMaxAgeSeconds: Math.max(2, Math.round(240 * scale)),
      ...{ signers: options.signers, bakers: options.bakers, rotation: options.rotation, keys: options.keys },
    };
  }
  /** As an operator does: the changed configuration is synthesized and applied to the running cluster. */
  async switchFlag(flag: boolean): Promise<void> {
    const { stack } = await synthesize({ ...Lab.configuration(this.options, this.scale), flag });
    await this.cluster.apply(stack);
  }
  /** The same with other keys: pods whose template has changed are replaced, one after the other. */
  async deployKeys(keys: NamedKeys): Promise<void> {
    const { stack } = await synthesize({ ...Lab.configuration(this.options, this.scale), keys });
    await this.cluster.deploy(stack, this.signal);
  }
  /** What `octez-client set consensus key` and, for a tz4 key, `set companion key` send. @throws Error as the chain */
  registerNextKeys(): void {
    const next = this.synthesis.bakers[0]?.next;
    if (!next) throw new Error("the laboratory has no next key: start it with a rotation");
    for (const kind of ["consensus", "companion"] as const) {
      const key = next[kind];
      if (!key) continue;
      const proof = key.address.startsWith("tz4") ? provesPossession(key) : undefined;
      const answer = this.chain.registerKey({ kind, publicKey: key.publicKey, proof });
      if ("error" in answer) throw new Error(answer.error);
    }
  }

  private async startAll(programs: { tog: string; doubles: string; preload: string }): Promise<void> {
    const { folder, options, synthesis } = this;
    const tracePath = join(folder, "trace.sock");
    await this.trace.listen(tracePath);
    this.closers.push(this.stalls.watch());
    this.trace.on("line", (line) => this.onTrace(line));
    this.trace.on("end", (interval) =>
      this.note("info", interval.pod, interval.role, "process-ended", `pid ${interval.pid}`),
    );
    for (const [name, chain] of this.chains) {
      chain.start();
      chain.on("decided", (record) => {
        if (record.attestationMissed)
          this.note("warn", "", "chain", "attestation-missed", `level ${record.level}`, {
            level: record.level,
            baker: name,
          });
        if (record.blockMissed)
          this.note("warn", "", "chain", "block-missed", `level ${record.level}`, { level: record.level, baker: name });
      });
    }
    const served = await this.chain.serve(this.addresses.own);
    this.closers.push(() => served.close());
    const endpoints = new Map([[this.baker, { host: served.host, port: served.port }]]);
    for (const [name, chain] of this.chains) {
      if (name === this.baker) continue;
      const other = await chain.serve(this.addresses.own);
      this.closers.push(() => other.close());
      endpoints.set(name, { host: other.host, port: other.port });
    }
    const env = {
      PATH: "/usr/local/bin:/usr/bin:/bin",
      LAB_RUN: this.run,
      LAB_TRACE: tracePath,
      LAB_POD: "home",
      LAB_START_MS: "0",
    };
    const controlPlane = (this.controlPlane = await options.controlPlane?.());
    this.cluster = new Cluster({
      ...{
        stack: synthesis.stack,
        zones: synthesis.zones,
        folder,
        addresses: this.addresses,
        programs,
        scale: this.scale,
        run: this.run,
      },
      chain: (baker) => endpoints.get(baker),
      trace: tracePath,
      doubleStartMs: Math.round(options.doubleStartMs * this.scale),
      snapshotBlock: () => this.chain.head.hash,
      onCommit: (entry) => this.onCommit(entry),
      api: controlPlane && ((onCommit) => new UpstreamKubeApi({ onCommit }, controlPlane)),
    });
    this.cluster.on("log", (entry) => {
      if (entry.level === "debug") return;
      const { level, pod, daemon, event, reason, ...fields } = entry;
      this.note(level, pod, daemon, event, reason, fields);
    });
    this.cluster.on("event", ({ level, pod, event, reason }) => this.note(level, pod, "cluster", event, reason));
    if (options.signers !== "hot") await this.startHomes(programs.doubles, env);
    if (options.history) this.seedWatermarks();
    await this.cluster.start();
  }

  /** As if the bakers had signed up to the head before: otherwise a first installation starts five levels above it. */
  private seedWatermarks(): void {
    for (const { name, keys, next } of this.synthesis.bakers)
      for (const address of Object.keys(keys)) {
        // A next key has never signed.
        if ([next?.consensus.address, next?.companion?.address].includes(address)) continue;
        const record: Watermark = {
          ...{
            version: 1,
            baker: name,
            chain: this.synthesis.chainId,
            epoch: 0,
            holder: "",
            floor: this.chain.head.level,
          },
          ...{ marks: noMarks, unfenced: false },
        };
        const map = this.synthesis.stack.configMaps.find((entry) => entry.name === watermarkName(address));
        if (map) map.data = { [watermarkDataKey]: JSON.stringify(record) };
      }
  }

  private async startHomes(doubles: string, env: Record<string, string>): Promise<void> {
    const note: ConstructorParameters<typeof HomeSigners>[0]["note"] = (level, signer, event, reason) =>
      this.note(level, signer, "octez-signer", event, reason);
    this.homes = new HomeSigners({ run: this.run, folder: this.folder, doubles, env, note });
    for (const signer of ["home1", "home2"]) {
      const host = this.addresses.take();
      const keys = this.synthesis.bakers.flatMap(({ keys: all }) => Object.entries(all));
      await this.homes.start(signer, keys, host);
      this.cluster.network.homeSigners.set(signer, { host, port: 6732 });
    }
  }
  /** What is wrong with a signer at home from its next request on; undefined: nothing. */
  signerFaults(signer: string, what: SignerFaults | undefined): void {
    this.homes?.setFaults(signer, what);
  }
  /** The program of a signer at home ends, and nothing listens there any more. @returns what starts it again */
  signerDown(signer: string): () => Promise<void> {
    const { homes } = this;
    if (!homes?.process(signer)) throw new Error(`there is no signer ${signer} outside of the cluster`);
    homes.process(signer)?.kill();
    return () => homes.startAgain(signer);
  }
  /** The process of a signer at home. */
  home(signer: string): ContainerProcess | undefined {
    return this.homes?.process(signer);
  }
  /** The longest time, in milliseconds, for which the laboratory itself was not scheduled or busy since `fromMs`. */
  longestStallMs(fromMs: number): number {
    return this.stalls.longestMs(fromMs);
  }

  /** Resolves when `test` is true; looks at every event and every 20 ms. @throws Error with `what` after `timeoutMs` */
  async until(what: string, test: () => boolean, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!test()) {
      if (this.stopped || signal?.aborted) throw new Error(`stopped while waiting: ${what}`);
      if (performance.now() > deadline) throw new Error(`not within ${Math.round(timeoutMs)} ms: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  async sleep(ms: number): Promise<void> {
    const end = performance.now() + ms;
    while (performance.now() < end && !this.stopped)
      await new Promise((resolve) => setTimeout(resolve, Math.min(50, end - performance.now())));
  }

  podsReady(timeoutMs = 60_000): Promise<void> {
    const ready = () =>
      this.cluster.bakingMembers().length > 0 && this.cluster.bakingMembers().every((member) => member.pod.ready);
    return this.until("every pod is ready", ready, timeoutMs);
  }
  /** Everybody ready, somebody bakes. */
  async ready(timeoutMs = 60_000): Promise<void> {
    const began = Date.now();
    await this.podsReady(timeoutMs);
    for (const { name } of this.synthesis.bakers)
      await this.until(
        `${name} signs`,
        () => this.signatures.some((signature) => signature.pod.startsWith(`${name}-`)),
        Math.max(10_000, timeoutMs - (Date.now() - began)),
      );
  }

  /** Pod of the running daemon; undefined where none or several run. */
  activePod(baker = this.baker): string | undefined {
    const running = this.trace.running("octez-baker").filter((interval) => interval.pod.startsWith(`${baker}-`));
    return running.length === 1 ? running[0]?.pod : undefined;
  }
  otherPod(pod: string): string {
    const other = this.cluster
      .bakingMembers()
      .find((member) => member.pod.name !== pod && member.pod.name.startsWith(`${this.baker}-`));
    if (!other) throw new Error("there is no other member");
    return other.pod.name;
  }

  /** Leaves no process, socket or folder. */
  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    this.controller.abort();
    this.homes?.kill();
    await this.cluster?.stop();
    killMarked(`LAB_RUN=${this.run}`);
    for (const chain of this.chains.values()) chain.stop();
    for (const close of this.closers) close();
    await this.controlPlane?.stop();
    this.trace.close();
    this.addresses.release();
    if (!this.options.keep) rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
    await this.endWatchdog();
  }
}
