/** Wires peers, merges, own files and status of the importer. See main.ts for what it guarantees. */
import { ports } from "../../contract/ports";
import { nonceStatusSchema, type NonceStatus } from "../../contract/status";
import type { Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { getJson } from "../runtime/http-get";
import type { Log } from "../runtime/log";
import { Gauge, type Registry } from "../runtime/metrics";
import { repeat } from "../runtime/repeat";
import { BakerStart } from "./baker-start";
import { MergeQueue } from "./merge-queue";
import { OwnFiles } from "./own-files";
import { Peers } from "./peers";
import { Problems } from "./problems";
import { decide } from "./reconcile";
import { Retention } from "./retention";
import type { Writer } from "./writer";

export interface ImporterOptions {
  config: DaemonConfig;
  writer: Writer;
  clock: Clock;
  log: Log;
  registry: Registry;
  /** The status has changed in what a person should know. */
  onTrouble?: () => void;
}

export class Importer {
  private readonly problems: Problems;
  private readonly retention: Retention;
  private readonly queue: MergeQueue;
  private readonly files: OwnFiles;
  private readonly peers: Peers;
  private readonly bakerStart: BakerStart;
  /** What this pod's exposer said last; undefined where it did not answer. */
  private exposer: NonceStatus | undefined;
  private reconciled = false;
  private readonly startedMs: number;

  constructor(private readonly o: ImporterOptions) {
    const { config, clock, log, registry } = o;
    this.startedMs = clock.now();
    this.problems = new Problems(clock, log, () => o.onTrouble?.());
    this.retention = new Retention(config);
    const shared = { config, clock, log, registry, retention: this.retention, problems: this.problems };
    this.queue = new MergeQueue({
      ...shared,
      writer: o.writer,
      copy: () => this.files.copy,
      settledAtMs: () => this.bakerStart.settledAtMs,
    });
    this.bakerStart = new BakerStart(config, clock, () => this.queue.repair());
    this.files = new OwnFiles({
      ...shared,
      merged: () => this.queue.merged,
      repairing: () => this.queue.repairing,
      onRepair: () => this.queue.repair(),
    });
    this.peers = new Peers({ ...shared, onContent: (pod, content, done) => this.queue.offer(pod, content, done) });
    const reconciled = (): number => (this.reconciled ? 1 : 0);
    new Gauge({
      name: "tog_nonce_importer_reconciled",
      help: "1 after the first exchange in both directions, or after giving up waiting",
      registers: [registry],
      collect() {
        this.set(reconciled());
      },
    });
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { nonceAckSeconds } = this.o.config.file.timings;
    await this.files.load();
    await Promise.all([
      this.queue.run(signal),
      this.files.follow(signal),
      this.peers.follow(signal),
      this.bakerStart.follow(signal),
      repeat(
        signal,
        () => (this.retention.known ? 10_000 : 1000),
        () => this.retention.ask(signal),
      ),
      repeat(
        signal,
        () => (this.reconciled ? 2000 * nonceAckSeconds : 50),
        () => this.askExposer(signal),
      ),
    ]);
  }

  status(): NonceStatus {
    const { exposer } = this;
    const peers = this.peers.list;
    return {
      missing: exposer?.missing ?? 0,
      committed: exposer?.committed ?? 0,
      local: exposer?.local ?? 0,
      replicated: exposer?.replicated ?? 0,
      revealed: exposer?.revealed ?? 0,
      finalPushed: false,
      reconciled: this.reconciled,
      reason: [
        ...this.problems.reasons,
        ...peers.filter(({ connected }) => !connected).map(({ pod, reason }) => `${pod}: ${reason}`),
      ].join("; "),
      peers: peers.map(({ pod, connected, reason }) => ({
        pod,
        connected,
        acknowledged: this.queue.upToDate(pod),
        reason,
      })),
      recent: this.problems.history(),
    };
  }

  private async askExposer(signal: AbortSignal): Promise<void> {
    const { config, clock, log } = this.o;
    const { requestTimeoutMs: timeoutMs, nonceAckSeconds } = config.file.timings;
    try {
      const url = `http://${config.env.TOG_POD_ADDRESS}:${ports.nonceExposer}/status`;
      this.exposer = nonceStatusSchema.parse(await getJson(url, { timeoutMs, signal }));
    } catch {
      this.exposer = undefined;
    }
    if (this.reconciled) return;
    const decision = decide({
      sinceStartMs: clock.now() - this.startedMs,
      boundMs: nonceAckSeconds * 5000,
      peers: this.peers.list.map(({ pod }) => ({
        pod,
        imported: this.queue.imported(pod),
        acknowledged: this.exposer?.peers.some((peer) => peer.pod === pod && peer.acknowledged) ?? false,
      })),
    });
    this.reconciled = decision.reconciled;
    if (decision.reconciled)
      log[decision.reason.startsWith("gave up") ? "warn" : "info"]("nonces-reconciled", decision.reason);
  }
}
