/**
 * A running laboratory: chain, cluster, signers at home, and the record of everything that happened. Starts within
 * seconds, leaves no process: a watchdog that outlives even a SIGKILL of this process ends whatever carries the
 * laboratory's mark.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LogEntry } from "../contract/log";
import { annotations, leaderLeaseName, watermarkDataKey, watermarkName } from "../contract/names";
import { defaultTimings, type Timings } from "../contract/timings";
import { noMarks, readWatermark, type Watermark } from "../contract/watermark";
import { bundleDoubles } from "./bundle";
import { Chain } from "./chain/chain";
import { check, type CommitEntry, type SignerEntry, type Violation, type ViolationCode } from "./checker/checker";
import { toBase58, hash32 } from "./chain/encode";
import { Addresses } from "./cluster/addresses";
import { Cluster } from "./cluster/cluster";
import { ContainerProcess, killMarked } from "./cluster/process";
import type { AuditEntry } from "./kube-api";
import type { SignerFaults } from "./doubles/signer-server";
import { UpstreamKubeApi } from "./kube-api/upstream";
import type { Upstream } from "./kube-api/upstream-client";
import { predecessorStack } from "./predecessor";
import { scaleOf, scaleTimings } from "./scale";
import { synthesize, type Synthesis, type SynthesisOptions } from "./synth";
import { TraceServer, type TraceLine } from "./trace";

export interface LabOptions {
  /** experimental_active_standby_mode. @default true */
  flag?: boolean;
  blockMs: number;
  /** Bundle of the daemons (scripts/build.ts). */
  tog: string;
  /** Start time of the doubles at 6 s blocks, in milliseconds; scaled. @default 2000 */
  doubleStartMs?: number;
  signers?: "hot" | "tunnels";
  bakers?: number;
  seed?: string;
  /** @default the contract's, scaled */
  timings?: Timings;
  blockShare?: number;
  blocksPerCycle?: number;
  blocksPerCommitment?: number;
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
/** What the timeline is made of. */
export interface LabEvent {
  atMs: number;
  level: LogEntry["level"];
  /** Baker or pod, "" for the laboratory itself. */
  pod: string;
  source: string;
  event: string;
  reason: string;
  fields?: Record<string, unknown>;
}
export interface Signature {
  atMs: number;
  pod: string;
  uid: string;
  pid: number;
  kind: string;
  level: number;
  round: number;
}
export interface LeaseView {
  holder: string;
  epoch: number;
  atMs: number;
  durationSeconds: number;
}

const keepEvents = 5000;

/** With defaults. An option that is undefined is one that was not given. */
export function completeOptions(given: Omit<LabOptions, "tog">) {
  return {
    ...{
      flag: true,
      doubleStartMs: 2000,
      signers: "hot" as const,
      seed: randomBytes(4).toString("hex"),
      history: true,
    },
    ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as unknown as LabOptions),
  };
}

export class Lab extends EventEmitter<{ event: [LabEvent]; signature: [Signature]; commit: [AuditEntry] }> {
  readonly events: LabEvent[] = [];
  /** As octez-baker doubles got them. */
  readonly signatures: Signature[] = [];
  readonly leases = new Map<string, LeaseView>();
  /** Leases, config maps and pods as last committed, by resource and name. */
  private readonly latest = new Map<string, AuditEntry["object"]>();
  /** Commits of watermarks and leader leases, in order. */
  readonly commits: AuditEntry[] = [];
  readonly scale: number;
  /** A rolling update under way. */
  rolling: Promise<void> | undefined;
  private readonly controller = new AbortController();
  private readonly signed: SignerEntry[] = [];
  private readonly marks: CommitEntry[] = [];
  /** When this process did not run for how long: a machine that is too busy says so in every receipt. */
  private readonly stalls: { atMs: number; ms: number }[] = [];
  private watchdog: ChildProcess | undefined;
  private readonly homes: ContainerProcess[] = [];
  private closers: (() => void)[] = [];
  private controlPlane: { stop(): Promise<void> } | undefined;
  private stopped = false;

  private constructor(
    readonly options: LabOptions & { flag: boolean; doubleStartMs: number; signers: "hot" | "tunnels"; seed: string },
    readonly folder: string,
    readonly run: string,
    readonly synthesis: Synthesis,
    readonly addresses: Addresses,
    /** By baker. Each baker has a chain of its own, so that every one has a delegate with rights. */
    readonly chains: Map<string, Chain>,
    readonly trace: TraceServer,
  ) {
    super();
    this.setMaxListeners(100);
    this.scale = scaleOf(options.blockMs);
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
      synthesis.bakers.map(({ name, delegate }) => [
        name,
        new Chain({
          ...{
            seed: `${options.seed}-${name}`,
            chainId: synthesis.chainId,
            protocol: toBase58("protocol", hash32("Ushuaia")),
          },
          ...{ blockMs: options.blockMs, delegate, consensusKey: delegate },
          ...{ blockShare: options.blockShare ?? 0.25, attestationShare: 1 },
          ...{ blocksPerCycle: options.blocksPerCycle ?? 32, blocksPerCommitment: options.blocksPerCommitment ?? 4 },
          revelationBlocks: Math.floor(((options.blocksPerCycle ?? 32) * 3) / 4),
          ...{ startLevel: 3_200_001, virtualPeers: 12 },
        }),
      ]),
    );
    const lab = new Lab(options, folder, run, synthesis, addresses, chains, trace);
    try {
      lab.startWatchdog();
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
      ...{ signers: options.signers, bakers: options.bakers },
    };
  }
  /** As an operator does: the changed configuration is synthesized and applied to the running cluster. */
  async switchFlag(flag: boolean): Promise<void> {
    const { stack } = await synthesize({ ...Lab.configuration(this.options, this.scale), flag });
    await this.cluster.apply(stack);
  }

  private async startAll(programs: { tog: string; doubles: string; preload: string }): Promise<void> {
    const { folder, options, synthesis } = this;
    const tracePath = join(folder, "trace.sock");
    await this.trace.listen(tracePath);
    this.watchStalls();
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
    if (options.signers === "tunnels") await this.startHomes(programs.doubles, env);
    if (options.history) this.seedWatermarks();
    await this.cluster.start();
  }

  /** As if the bakers had signed up to the head before: otherwise a first installation starts five levels above it. */
  private seedWatermarks(): void {
    for (const { name, keys } of this.synthesis.bakers)
      for (const address of Object.keys(keys)) {
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

  /** The signers in the operator's house: one process a signer, behind the tunnels. */
  private async startHomes(doubles: string, env: Record<string, string>): Promise<void> {
    let started = 0;
    for (const signer of ["home1", "home2"]) {
      const base = join(this.folder, "home", signer);
      mkdirSync(base, { recursive: true });
      const start = (args: string[], onExit: (code: number | null) => void) =>
        new ContainerProcess({
          ...{
            id: `${this.run}/${signer}/${started++}`,
            command: [process.execPath, doubles, "octez-signer", "--base-dir", base, ...args],
            env: { ...env, LAB_SIGNER_FAULTS: join(base, "faults.json") },
            cwd: base,
          },
          onLine: (line) => this.note("debug", signer, "octez-signer", "output", line.slice(0, 300)),
          onExit: ({ code }) => onExit(code),
        });
      for (const { keys } of this.synthesis.bakers)
        for (const [address, key] of Object.entries(keys))
          await new Promise<void>((resolve) =>
            start(["import", "secret", "key", address, key, "--force"], () => resolve()),
          );
      const address = this.addresses.take();
      this.homes.push(
        start(
          [
            "launch",
            "http",
            "signer",
            "--address",
            address,
            "--port",
            "6732",
            "--magic-bytes",
            "0x11,0x12,0x13",
            "--check-high-watermark",
          ],
          (code) => this.note("warn", signer, "octez-signer", "ended", String(code)),
        ),
      );
      this.cluster.network.homeSigners.set(signer, { host: address, port: 6732 });
    }
  }
  /** What is wrong with a signer at home from its next request on; undefined: nothing. */
  signerFaults(signer: string, what: SignerFaults | undefined): void {
    writeFileSync(join(this.folder, "home", signer, "faults.json"), JSON.stringify(what ?? {}));
  }
  /** The process of a signer at home. */
  home(signer: string): ContainerProcess | undefined {
    return this.homes[["home1", "home2"].indexOf(signer)];
  }

  /** Nanosecond clock of the machine, the same for all processes: one order for signers and API. */
  private static at(): number {
    return Number(process.hrtime.bigint()) / 1e6;
  }
  /**
   * What the checker says about everything that signers were asked and the API committed. Without a gate only S1 and S7
   * can be asked for.
   */
  verdict(): Violation[] {
    const size = this.signed.length + this.marks.length;
    if (this.judged.size === size) return this.judged.violations;
    this.judged = { size, violations: this.judge(), atMs: performance.now() };
    return this.judged.violations;
  }
  /** The verdict, at most three seconds old: for whoever asks all the time. */
  recentVerdict(): Violation[] {
    return performance.now() - this.judged.atMs < 3000 ? this.judged.violations : this.verdict();
  }
  private judged: { size: number; violations: Violation[]; atMs: number } = { size: 0, violations: [], atMs: 0 };
  private judge(): Violation[] {
    const fenced = this.marks.some((commit) => commit.by === "gate");
    const unfenced: readonly ViolationCode[] = ["two-digests", "two-signatures-of-a-block", "not-understood"];
    const found = check(this.signed, this.marks, {
      floorPassAfter: (this.options.timings ?? defaultTimings).floorPassSeconds * 1000 * this.scale * 0.99,
    });
    return fenced && !this.wasSolo && !this.options.predecessor
      ? found
      : found.filter((violation) => unfenced.includes(violation.code));
  }
  get wasSolo(): boolean {
    return this.trace.intervals.some((interval) => interval.role === "octez-baker" && /-solo-\d+$/.test(interval.pod));
  }
  get signerRequests(): number {
    return this.signed.length;
  }

  private onTrace(line: TraceLine): void {
    if (line.role === "octez-signer" && line.event === "signature") {
      const { at, signer, address, bytes, signature } = line as unknown as SignerEntry;
      this.signed.push({ at, signer, address, bytes, signature });
      return;
    }
    if (line.event === "process") this.note("info", line.pod, line.role, "process-started", `pid ${line.pid}`);
    else if (line.role === "octez-baker" && line.event === "signed") {
      const signature: Signature = {
        ...{ atMs: line.atMs, pod: line.pod, uid: line.uid, pid: line.pid },
        ...{ kind: String(line.kind), level: Number(line.level), round: Number(line.round) },
      };
      this.signatures.push(signature);
      if (this.signatures.length > 20_000) this.signatures.splice(0, 10_000);
      this.emit("signature", signature);
    } else if (line.event === "ready") this.note("info", line.pod, line.role, "ready", "");
    else if (
      ["refused", "not-injected", "error", "committed", "revealed", "not-revealed", "below-highwatermark"].includes(
        line.event,
      )
    )
      this.note(
        line.event === "committed" || line.event === "revealed" ? "info" : "warn",
        line.pod,
        line.role,
        line.event,
        [line.kind, line.level, line.status, line.reason]
          .filter((part) => part !== undefined)
          .join(" ")
          .slice(0, 300),
      );
  }

  private onCommit(entry: AuditEntry): void {
    const object = entry.object as {
      kind?: string;
      metadata?: { name?: string; annotations?: Record<string, string> };
      spec?: Record<string, unknown>;
    };
    const name = object.metadata?.name ?? "";
    if (entry.type === "DELETED") this.latest.delete(`${entry.resource}/${name}`);
    else if (["leases", "configmaps", "pods"].includes(entry.resource))
      this.latest.set(`${entry.resource}/${name}`, entry.object);
    this.emit("commit", entry);
    if (object.kind === "Lease" && name.endsWith(".leader")) {
      const spec = object.spec ?? {};
      const view: LeaseView = {
        holder: String(spec.holderIdentity ?? ""),
        epoch: Number(spec.leaseTransitions ?? 0),
        durationSeconds: Number(spec.leaseDurationSeconds ?? 0),
        atMs: Date.now(),
      };
      const before = this.leases.get(name);
      this.leases.set(name, view);
      if (before?.holder !== view.holder || before.epoch !== view.epoch) {
        this.commits.push(entry);
        const receipt = object.metadata?.annotations?.[annotations.lastTransition];
        this.note(
          "info",
          view.holder.split("_")[0] ?? "",
          "lease",
          view.holder === "" ? "released" : "held",
          `epoch ${view.epoch}`,
          {
            holder: view.holder,
            epoch: view.epoch,
            receipt,
          },
        );
      }
    } else if (name.startsWith("wm-")) this.onWatermark(entry);
    if (this.commits.length > 200_000) this.commits.splice(0, 100_000);
  }

  /** As last committed; undefined where there is none. */
  object(resource: "leases" | "configmaps", name: string): AuditEntry["object"] | undefined {
    return this.latest.get(`${resource}/${name}`);
  }

  objects(resource: "leases" | "configmaps" | "pods"): AuditEntry["object"][] {
    return [...this.latest].filter(([name]) => name.startsWith(`${resource}/`)).map(([, object]) => object);
  }

  private onWatermark(entry: AuditEntry): void {
    this.commits.push(entry);
    const address = this.synthesis.bakers
      .flatMap(({ keys }) => Object.keys(keys))
      .find((key) => watermarkName(key) === entry.name);
    const object = entry.object as unknown as { metadata: { uid: string }; data?: Record<string, string> };
    const reading = readWatermark(entry.type === "DELETED" ? undefined : object.data?.[watermarkDataKey]);
    if (address === undefined) return;
    this.marks.push({
      ...{ at: Lab.at(), address, uid: object.metadata.uid },
      by: /-as-\d+$/.test(entry.client) ? "gate" : "other",
      record: reading.state === "record" ? reading.record : null,
    });
  }

  private watchStalls(): void {
    let expected = performance.now() + 50;
    const timer = setInterval(() => {
      const late = performance.now() - expected;
      expected = performance.now() + 50;
      if (late < 50) return;
      this.stalls.push({ atMs: Date.now(), ms: Math.round(late) });
      if (this.stalls.length > 10_000) this.stalls.shift();
    }, 50);
    timer.unref();
    this.closers.push(() => clearInterval(timer));
  }
  /** The longest time, in milliseconds, for which the laboratory itself was not scheduled or busy since `fromMs`. */
  longestStallMs(fromMs: number): number {
    return Math.max(0, ...this.stalls.filter((stall) => stall.atMs >= fromMs).map((stall) => stall.ms));
  }

  note(
    level: LogEntry["level"],
    pod: string,
    source: string,
    event: string,
    reason: string,
    fields?: Record<string, unknown>,
  ): void {
    const entry: LabEvent = { atMs: Date.now(), level, pod, source, event, reason, fields };
    this.events.push(entry);
    if (this.events.length > keepEvents) this.events.splice(0, keepEvents / 5);
    this.emit("event", entry);
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

  private startWatchdog(): void {
    const script = [
      "cat >/dev/null",
      "for round in 1 2 3; do",
      "  for process in /proc/[0-9]*; do",
      '    if grep -qs "LAB_RUN=$1" "$process/environ"; then kill -9 "${process#/proc/}" 2>/dev/null; fi',
      "  done",
      "done",
      '[ -z "$2" ] || rm -rf "$2"',
    ].join("\n");
    this.watchdog = spawn("sh", ["-c", script, "laboratory-watchdog", this.run, this.options.keep ? "" : this.folder], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
      env: { PATH: "/usr/bin:/bin" },
    });
    this.watchdog.unref();
  }

  /** Leaves no process, socket or folder. */
  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    this.controller.abort();
    for (const home of this.homes) home.kill();
    await this.cluster?.stop();
    killMarked(`LAB_RUN=${this.run}`);
    for (const chain of this.chains.values()) chain.stop();
    for (const close of this.closers) close();
    await this.controlPlane?.stop();
    this.trace.close();
    this.addresses.release();
    if (!this.options.keep) rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
    const { watchdog } = this;
    if (watchdog?.exitCode === null) {
      watchdog.ref();
      const gone = new Promise((resolve) => watchdog.once("exit", resolve));
      watchdog.stdin?.destroy();
      await gone;
    }
  }
}
