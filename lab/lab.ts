/**
 * A running laboratory: chain, cluster, signers at home, and the record of everything that happened. Starts within
 * seconds, leaves no process: a watchdog that outlives even a SIGKILL of this process ends whatever carries the
 * laboratory's mark.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { leaderLeaseName } from "../contract/names";
import { defaultTimings, type Timings } from "../contract/timings";
import { bundleDoubles } from "./bundle";
import type { Chain } from "./chain/chain";
import type { ChainRecord } from "./chain/chain-record";
import { Addresses } from "./cluster/addresses";
import { Cluster } from "./cluster/cluster";
import { type ContainerProcess, killMarked } from "./cluster/process";
import type { Endpoint } from "./cluster/link";
import type { SignerFaults } from "./doubles/signer-server";
import { provesPossession } from "./doubles/signing-keys";
import { HomeSigners } from "./home-signers";
import { UpstreamKubeApi } from "./kube-api/upstream";
import type { Upstream } from "./kube-api/upstream-client";
import { LabRecord, type LeaseView } from "./lab-record";
import { checkOctezLimits } from "./octez/limits";
import { sandboxChainId } from "./octez/parameters";
import type { Octez } from "./octez/programs";
import { RealOctez } from "./octez/real-octez";
import { sandboxStack } from "./octez/sandbox-stack";
import { predecessorStack } from "./predecessor";
import { scaleOf, scaleTimings } from "./scale";
import { serveChains, simulatedChains } from "./simulated-chains";
import { seedWatermarks } from "./seed-watermarks";
import { Stalls } from "./stalls";
import {
  synthesize,
  type BakerDescription,
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
  /** Real Octez in the pods and around them, with a sandbox's chain. @default doubles and a simulated chain */
  octez?: Octez;
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

const bakerOf = ({ bakers: [first] }: Synthesis): BakerDescription => {
  if (!first) throw new Error("the laboratory has no baker");
  return first;
};

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
    /** By baker; empty with real Octez. */
    private readonly simulations: ReadonlyMap<string, Chain>,
    trace: TraceServer,
  ) {
    const scale = scaleOf(options.blockMs);
    super(trace, {
      bakers: synthesis.bakers,
      floorPassAfter: (options.timings ?? defaultTimings).floorPassSeconds * 1000 * scale * 0.99,
      predecessor: options.predecessor ?? false,
    });
    this.scale = scale;
    for (const [name, chain] of simulations) this.chains.set(name, chain);
  }
  cluster!: Cluster;
  /** By baker. */
  readonly chains = new Map<string, ChainRecord>();
  real: RealOctez | undefined;

  get signal(): AbortSignal {
    return this.controller.signal;
  }
  get baker(): string {
    return this.synthesis.bakers[0]?.name ?? "";
  }
  get chain(): ChainRecord {
    const chain = this.chains.get(this.baker);
    if (!chain) throw new Error("the laboratory has no chain");
    return chain;
  }
  /** The chain that does what it is told. @throws Error where it is a real one */
  get simulation(): Chain {
    const chain = this.simulations.get(this.baker);
    if (!chain) throw new Error("this needs the simulated chain: start the laboratory without real Octez");
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
    if (options.octez) checkOctezLimits(options);
    const progress = given.progress ?? (() => undefined);
    progress("synthesizing the stacks");
    const { synthesis: synthesized, programs } = await Lab.prepare(options);
    const synthesis = Lab.adapted(options, synthesized);
    progress("starting the chain");
    const folder = mkdtempSync(join(tmpdir(), "tog-lab-"));
    const run = randomBytes(6).toString("hex");
    const addresses = await Addresses.claim();
    const trace = new TraceServer();
    const chains = options.octez ? new Map<string, Chain>() : simulatedChains(options, synthesis);
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
  /** What the laboratory runs of what was synthesized. */
  private static adapted(options: Lab["options"], synthesized: Synthesis): Synthesis {
    const { stack } = synthesized;
    if (options.octez) return { ...synthesized, stack: sandboxStack(stack), chainId: sandboxChainId };
    return options.predecessor ? { ...synthesized, stack: predecessorStack(stack) } : synthesized;
  }
  /** As an operator does: the changed configuration is synthesized and applied to the running cluster. */
  async switchFlag(flag: boolean): Promise<void> {
    if (this.options.octez) checkOctezLimits({ ...this.options, flag });
    const { stack } = await synthesize({ ...Lab.configuration(this.options, this.scale), flag });
    await this.cluster.apply(stack);
  }
  /** The same with other keys: pods whose template has changed are replaced, one after the other. */
  async deployKeys(keys: NamedKeys): Promise<void> {
    const changed = await synthesize({ ...Lab.configuration(this.options, this.scale), keys });
    await this.cluster.deploy(Lab.adapted(this.options, changed).stack, this.signal);
  }
  /** What `octez-client set consensus key` and, for a tz4 key, `set companion key` send. @throws Error as the chain */
  async registerNextKeys(): Promise<void> {
    const next = bakerOf(this.synthesis).next;
    if (!next) throw new Error("the laboratory has no next key: start it with a rotation");
    for (const kind of ["consensus", "companion"] as const) {
      const key = next[kind];
      if (!key) continue;
      if (this.real) {
        await this.real.sandbox.setKey(kind, key.secret);
        continue;
      }
      const proof = key.address.startsWith("tz4") ? provesPossession(key) : undefined;
      const answer = this.simulation.registerKey({ kind, publicKey: key.publicKey, proof });
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
    const endpoints = options.octez
      ? await this.startRealOctez(options.octez, bakerOf(synthesis))
      : await serveChains(this.simulations, this.addresses.own, this.closers);
    for (const [name, chain] of this.chains) this.followChain(name, chain);
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
      octez: this.real?.inPods,
      doubleStartMs: Math.round(options.doubleStartMs * this.scale),
      snapshotBlock: () => this.chain.head.hash,
      onCommit: (entry) => this.onCommit(entry),
      api: controlPlane && ((onCommit) => new UpstreamKubeApi({ onCommit }, controlPlane)),
    });
    this.cluster.on("log", (entry) => {
      this.real?.heard(entry.pod ?? "", entry.reason);
      if (entry.level === "debug") return;
      const { level, pod, daemon, event, reason, ...fields } = entry;
      this.note(level, pod, daemon, event, reason, fields);
    });
    this.cluster.on("event", ({ level, pod, event, reason }) => this.note(level, pod, "cluster", event, reason));
    if (options.signers !== "hot") await this.startHomes(programs.doubles, env);
    if (options.history) seedWatermarks(synthesis, this.chain.head.level);
    await this.cluster.start();
  }

  private followChain(baker: string, chain: ChainRecord): void {
    chain.on("decided", ({ level, attestationMissed, blockMissed }) => {
      const missed = [...(attestationMissed ? ["attestation"] : []), ...(blockMissed ? ["block"] : [])];
      for (const what of missed) this.note("warn", "", "chain", `${what}-missed`, `level ${level}`, { level, baker });
    });
  }
  /** @returns where the nodes of a baker find their network */
  private async startRealOctez(octez: Octez, baker: BakerDescription): Promise<Map<string, Endpoint>> {
    const { options, folder, run, trace } = this;
    const real = (this.real = new RealOctez({
      ...{ octez, baker, options, folder, run, trace, host: this.addresses.own, activePod: () => this.activePod() },
      onSigned: (entry, by) => this.onSigned(entry, by),
      note: (level, program, event, reason) => this.note(level, "network", program, event, reason),
    }));
    const { chain, peer } = real.sandbox;
    this.closers.push(() => real.stop());
    this.chains.set(baker.name, chain);
    this.on("signature", (signature) => chain.signed(signature));
    await real.sandbox.start();
    return new Map([[baker.name, peer]]);
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
