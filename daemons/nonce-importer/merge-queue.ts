/**
 * Merges into this pod's nonce files, one job at a time, through the writer: first a repair where one is wanted, then
 * the newest content of each other member. A job that fails is tried again until it succeeds or newer content replaces
 * it.
 */
import { mergeSets, type NonceSet } from "../../tezos/nonces";
import { backoffMs, sleep, type Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import type { Log } from "../runtime/log";
import { Counter, Histogram, type Registry } from "../runtime/metrics";
import { Wake } from "../runtime/wake";
import type { MergeResult } from "./merge-folder";
import type { Problems } from "./problems";
import type { Retention } from "./retention";
import type { Writer } from "./writer";

interface Source {
  /** Its content has been merged at least once. */
  imported: boolean;
  /** Newest content that is not merged for good yet, and when it is due. */
  pending: { content: NonceSet; onDurable: () => void; dueAtMs: number } | undefined;
  /** Newest content that is in this pod's files, as far as merging goes. */
  merged: NonceSet | undefined;
  /** Newest content that was taken, for repairs. */
  last: NonceSet | undefined;
}

export interface MergeQueueOptions {
  config: DaemonConfig;
  writer: Writer;
  clock: Clock;
  log: Log;
  registry: Registry;
  retention: Retention;
  problems: Problems;
  /** What this pod's files have held. */
  copy: () => NonceSet;
  /** Until then octez-baker may overwrite what is merged (baker-start.ts). */
  settledAtMs: () => number;
}

export class MergeQueue {
  /** A repair is wanted. The first job of a new process is one: its files may have broken while it was away. */
  repairing = true;
  private readonly sources = new Map<string, Source>();
  private readonly wake = new Wake();
  private readonly merges: Counter;
  private readonly quarantined: Counter;
  private readonly hold: Histogram;

  constructor(private readonly o: MergeQueueOptions) {
    const registers = [o.registry];
    this.merges = new Counter({
      name: "tog_nonce_importer_merges_total",
      help: "Merges by outcome",
      labelNames: ["outcome"],
      registers,
    });
    this.quarantined = new Counter({
      name: "tog_nonce_importer_quarantined_total",
      help: "Broken nonce files moved aside",
      registers,
    });
    this.hold = new Histogram({
      name: "tog_nonce_importer_lock_hold_seconds",
      help: "How long wallet_lock was held",
      buckets: [0.0005, 0.001, 0.005, 0.02, 0.1, 0.5],
      registers,
    });
  }

  /** Checked content of a member; `onDurable` is called once it is in this pod's files, unless newer content came. */
  offer(pod: string, content: NonceSet, onDurable: () => void): void {
    const { imported = false, merged } = this.sources.get(pod) ?? {};
    this.sources.set(pod, { imported, pending: { content, onDurable, dueAtMs: -Infinity }, merged, last: content });
    this.wake.kick();
  }

  /** Merges the copy and everything that the other members have sent. */
  repair(): void {
    this.repairing = true;
    this.wake.kick();
  }

  /** Contents that should be in this pod's files. */
  get merged(): NonceSet[] {
    return [...this.sources.values()].flatMap(({ merged }) => merged ?? []);
  }
  imported(pod: string): boolean {
    return this.sources.get(pod)?.imported ?? false;
  }
  /** The newest content of this member is merged. */
  upToDate(pod: string): boolean {
    return this.imported(pod) && !this.sources.get(pod)?.pending;
  }

  /** Works until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      const done = this.repairing ? await this.runRepair() : await this.mergeNext();
      if (done === undefined) await this.wake.wait(this.untilDueMs(), signal);
      failures = done === false ? failures + 1 : 0;
      if (failures > 0) await sleep(backoffMs(failures, 20, 1000), signal);
    }
  }

  private async runRepair(): Promise<boolean> {
    const sent = [...this.sources.values()].map(({ last }) => last).filter((last) => last !== undefined);
    const done = await this.merge(sent.reduce(mergeSets, this.o.copy()), "the copy and the other members");
    if (done) this.repairing = false;
    return done;
  }

  private untilDueMs(): number {
    const due = [...this.sources.values()].flatMap(({ pending }) => pending?.dueAtMs ?? []);
    return Math.min(60_000, ...due.map((atMs) => atMs - this.o.clock.now()));
  }

  /** @returns undefined where nothing is due */
  private async mergeNext(): Promise<boolean | undefined> {
    const now = this.o.clock.now();
    const [pod, source] = [...this.sources].find(([, { pending }]) => pending && pending.dueAtMs <= now) ?? [];
    const job = source?.pending;
    if (pod === undefined || !job) return undefined;
    const settledAtMs = this.o.settledAtMs();
    const done = await this.merge(job.content, pod);
    // Newer content may have come meanwhile: it stays pending.
    const current = this.sources.get(pod);
    if (!done || !current) return done;
    current.merged = job.content;
    current.imported = true;
    // It is acknowledged only after a merge that the start of octez-baker cannot undo.
    if (now < settledAtMs) job.dueAtMs = settledAtMs;
    else {
      if (current.pending === job) current.pending = undefined;
      job.onDurable();
    }
    return true;
  }

  /** @returns true once the content is durable in this pod's files */
  private async merge(content: NonceSet, from: string): Promise<boolean> {
    const { config, retention, problems } = this.o;
    const { lockHoldMs, importerKillMs } = config.file.timings;
    const outcome = await this.o.writer.run({
      clientDir: config.env.TOG_CLIENT_DIR,
      chainId: config.file.network.chainId,
      remote: content,
      currentCycle: retention.cycle,
      keepCycles: retention.keepCycles,
      lockHoldMs,
      lockWaitMs: importerKillMs * 0.6,
    });
    this.merges.inc({ outcome: outcome.outcome });
    if (!("heldMs" in outcome)) {
      problems.report("merge", "nonce-write-failed", `${from}: ${outcome.outcome}: ${outcome.reason}`);
      return false;
    }
    this.record(outcome, from);
    if (outcome.outcome === "busy") {
      problems.report("merge", "nonce-lock-busy", `${from}: ${outcome.reason}`);
      return false;
    }
    problems.solved("merge");
    return true;
  }

  private record({ outcome, heldMs, quarantined, added, advanced }: MergeResult, from: string): void {
    const { log, problems } = this.o;
    const { lockHoldMs } = this.o.config.file.timings;
    if (heldMs > 0) this.hold.observe(heldMs / 1000);
    if (heldMs > lockHoldMs) log.warn("nonce-lock-held-long", `${Math.round(heldMs)} ms of at most ${lockHoldMs}`);
    if (quarantined !== null) {
      this.quarantined.inc();
      log.error("nonce-file-quarantined", `the broken file is kept as ${quarantined}; restored from ${from}`);
      problems.happened("quarantine", `a broken nonce file was moved aside (${quarantined}) and restored from ${from}`);
    }
    if (outcome === "written") log.info("nonces-imported", from, { added, advanced, heldMs });
  }
}
