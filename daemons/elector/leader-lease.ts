/**
 * The leader lease: the only place that writes this pod's claims on it. Reads it, creates it, acquires it, renews it
 * while there is a tenure, releases it.
 *
 * Guarantees: one request at a time, each conditional on the object that was decided upon; a tenure counts from the
 * send time of its last successful write on CLOCK_MONOTONIC. Does not decide: the elector says what it wants (`want`),
 * and learns of everything else through `changed()`.
 */
import { type BakerFile, watermarksOf } from "../../contract/baker-file";
import type { PodEnv } from "../../contract/env";
import { annotations, leaderLeaseName } from "../../contract/names";
import { slowRequestMs } from "../../contract/timings";
import { untilAfterBeat, type Clock } from "../runtime/clock";
import { microTime, type KubeClient, type Lease, type Outcome, type WatchEvent } from "../runtime/kube";
import type { Log } from "../runtime/log";
import { Wake } from "../runtime/wake";
import { nextEpoch, type AcquireCause, type LeaseTenure } from "./decide";
import { KnownLease } from "./known-lease";
import { emptyLease, podOf, readReceipts, withReceipt, writable } from "./lease";
import type { ElectorMetrics } from "./metrics";
import { receiptOfAcquisition, type Receipts } from "./receipts";
import type { Report } from "./report";
import { RequestPace } from "./request-pace";
import { watermarkEpochs } from "./watermark-epochs";

/** What the elector wants of the lease. A tenure is renewed whatever it wants, except a release. */
export type Wanted =
  | { kind: "nothing" }
  | { kind: "create" }
  /** Ends with an attempt, whether it succeeds or not. `version`: of the lease upon which this was decided. */
  | { kind: "acquire"; cause: AcquireCause; reason: string; version: string }
  /** Tried until it succeeds. `successor` is asked when the release is sent. */
  | { kind: "release"; successor: () => string };

/** The end of an attempt to acquire, or of a tenure by its release. */
export type Finished =
  | { kind: "acquired"; cause: string; from: string; tenure: LeaseTenure }
  | { kind: "not-acquired"; reason: string }
  | { kind: "released"; epoch: number; successor: string };

export interface LeaderLeaseOptions {
  env: PodEnv;
  file: BakerFile;
  identity: string;
  kube: KubeClient;
  clock: Clock;
  log: Log;
  metrics: ElectorMetrics;
  report: Report;
  receipts: Receipts;
  /** An operator's pause with this text is over, or was none. */
  pauseIsOver: (text: string) => boolean;
  changed: () => void;
}

const nothing: Wanted = { kind: "nothing" };

export class LeaderLease {
  tenure: LeaseTenure | null = null;
  readonly known: KnownLease;
  private readonly pace: RequestPace;
  private wanted: Wanted = nothing;
  private finished: Finished | null = null;
  private nextReadMs = 0;
  private nextRenewMs = 0;
  /** While a request is under way, the last event of the watch waits here. */
  private inFlight: { event: Lease | null } | null = null;
  /** The last write met a conflict: after the read that follows, the next renewal is due at once. */
  private conflicted = false;
  private readonly wake = new Wake();

  constructor(private readonly o: LeaderLeaseOptions) {
    this.known = new KnownLease(o);
    this.pace = new RequestPace({ ...o, retryMs: this.retryMs });
  }

  private get retryMs(): number {
    return this.o.file.timings.retrySeconds * 1000;
  }
  private get name(): string {
    return leaderLeaseName(this.o.file.baker);
  }

  want(wanted: Wanted): void {
    const again = wanted.kind === "create" && this.wanted.kind === "create";
    this.wanted = wanted;
    if (wanted.kind !== "nothing" && !again) this.wake.kick();
  }

  /** The tenure is over, whatever the lease says; what it says now is read at once. */
  giveUp(): void {
    this.tenure = null;
    this.wanted = nothing;
    this.readAgain();
  }

  readAgain(): void {
    this.known.stale = true;
    this.wake.kick();
  }

  /** What is wrong with the API now, in sentences. */
  troubles(): string[] {
    return this.pace.troubles();
  }

  /** What has come to its end since the last call. */
  takeFinished(): Finished | null {
    const { finished } = this;
    this.finished = null;
    return finished;
  }

  /** Until `signal` aborts; what is held is not released. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.loop(signal),
      this.o.kube.watch("leases", this.name, (event) => this.watched(event), { signal }),
    ]);
  }

  /** The watch is for speed: an event only says that it is time to look, unless it is plainly newer. */
  private watched(event: WatchEvent<Lease>): void {
    if (event.type === "DELETED") this.known.stale = true;
    // May echo our own write; its response also carries the send time.
    else if (this.inFlight) this.inFlight.event = event.object;
    else if (this.known.isNewer(event.object)) this.saw(event.object, false);
    this.o.changed();
    this.wake.kick();
  }

  private async loop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { dueMs, request } = this.next(signal);
      const now = this.o.clock.now();
      if (dueMs > now) {
        await this.wake.wait(dueMs - now, signal);
        continue;
      }
      const inFlight: { event: Lease | null } = { event: null };
      this.inFlight = inFlight;
      try {
        await request();
      } catch (error) {
        this.pace.failed({ kind: "internal", message: error instanceof Error ? error.message : String(error) });
      }
      this.inFlight = null;
      if (inFlight.event && this.known.isNewer(inFlight.event)) this.saw(inFlight.event, false);
      this.o.changed();
    }
  }

  /** The next request and when it may be sent. */
  private next(signal: AbortSignal): { dueMs: number; request: () => Promise<void> } {
    const { tenure, wanted, known } = this;
    const dueMs = this.pace.nextAtMs;
    if (known.stale) return { dueMs, request: () => this.read(signal) };
    if (tenure && wanted.kind === "release")
      return { dueMs, request: () => this.release(tenure, wanted.successor, signal) };
    if (wanted.kind === "acquire") return { dueMs, request: () => this.acquire(wanted, signal) };
    if (wanted.kind === "create" && known.missing) return { dueMs, request: () => this.create(signal) };
    if (tenure) return { dueMs: Math.max(dueMs, this.nextRenewMs), request: () => this.renew(tenure, signal) };
    return { dueMs: this.nextReadMs, request: () => this.read(signal) };
  }

  private saw(lease: Lease, written: boolean): void {
    this.known.see(lease, written);
    if (this.wanted.kind === "create") this.wanted = nothing;
    // The watch tells changes at once; this is for the case that it has died unnoticed.
    this.nextReadMs = this.o.clock.now() + 2 * this.retryMs;
  }

  /** No request outlives the tenure in which it is sent. */
  private options(signal: AbortSignal): { timeoutMs: number; signal: AbortSignal } {
    const { timings } = this.o.file;
    const timeoutMs = slowRequestMs(timings);
    if (!this.tenure) return { timeoutMs, signal };
    const left = this.tenure.renewedAtMs + timings.renewDeadlineSeconds * 1000 - this.o.clock.now();
    return { timeoutMs: Math.max(1, Math.min(timeoutMs, left)), signal };
  }

  private async read(signal: AbortSignal): Promise<void> {
    this.known.stale = false;
    const outcome = await this.o.kube.get("leases", this.name, this.options(signal));
    if (outcome.ok) {
      this.pace.answered(outcome);
      this.saw(outcome.object, false);
      if (this.tenure && this.conflicted) this.nextRenewMs = 0;
      this.conflicted = false;
      return;
    }
    if (outcome.kind === "aborted") return;
    if (outcome.kind === "not-found") {
      this.pace.answered(outcome);
      this.known.missing = true;
      this.nextReadMs = this.o.clock.now() + this.retryMs;
      return;
    }
    if (this.conflicted) this.known.stale = true;
    this.nextReadMs = 0;
    this.pace.failed({ ...outcome, message: `get: ${outcome.message}` });
  }

  private async create(signal: AbortSignal): Promise<void> {
    const { env, file, kube, log } = this.o;
    const lease = emptyLease(this.name, env.TOG_NAMESPACE, file.baker);
    const outcome = await kube.create("leases", lease, this.options(signal));
    if (this.wanted.kind === "create") this.wanted = nothing;
    if (outcome.ok) {
      this.pace.answered(outcome);
      this.saw(outcome.object, true);
      log.info("lease-created", outcome.object.metadata.uid ?? "");
      return;
    }
    this.known.stale = true;
    if (outcome.kind !== "already-exists") this.pace.failed({ ...outcome, message: `create: ${outcome.message}` });
  }

  /** The lease as the holder of `tenure` may write it, or null where it must be read first. */
  private heldBy(tenure: LeaseTenure): Lease | null {
    const { object } = this.known;
    if (object?.metadata.uid === tenure.leaseUid && object.spec.holderIdentity === this.o.identity) return object;
    this.known.stale = true;
    return null;
  }

  private async renew(tenure: LeaseTenure, signal: AbortSignal): Promise<void> {
    const { env, clock, file, kube, metrics, receipts, pauseIsOver } = this.o;
    const object = this.heldBy(tenure);
    if (!object) return;
    const next = writable(object);
    const note = next.metadata.annotations;
    next.spec = { ...next.spec, renewTime: microTime(clock.wall()), leaseDurationSeconds: file.timings.leaseSeconds };
    if (note[annotations.preferredHolder] === env.TOG_POD_NAME) delete note[annotations.preferredHolder];
    if (pauseIsOver(note[annotations.handoverPause] ?? "")) delete note[annotations.handoverPause];
    const receipt = receipts.unwritten();
    if (receipt) next.metadata.annotations = withReceipt(note, readReceipts(object), receipt);
    const outcome = await kube.replace("leases", next, this.options(signal));
    metrics.renewed(clock.now() - outcome.sentAtMs, outcome.ok);
    if (!outcome.ok) return this.writeFailed("renew", outcome);
    this.pace.answered(outcome);
    if (receipt) receipts.written(receipt);
    this.saw(outcome.object, true);
    // The tenure for which this was sent may be over; then its answer gives nothing.
    if (this.tenure === tenure && this.known.view?.holder === this.o.identity) tenure.renewedAtMs = outcome.sentAtMs;
    this.nextRenewMs = this.renewAfter(outcome.sentAtMs);
  }

  /** Renew on the pod's common beat, at most retrySeconds after the last renewal was sent. */
  private renewAfter(sentAtMs: number): number {
    const { clock, env } = this.o;
    const beatMs = clock.now() + untilAfterBeat(clock, this.retryMs, env.TOG_POD_ADDRESS);
    return Math.min(sentAtMs + this.retryMs, beatMs);
  }

  private writeFailed(what: string, outcome: Extract<Outcome<Lease>, { ok: false }>): void {
    if (outcome.kind === "aborted") return;
    if (outcome.kind === "conflict" || outcome.kind === "not-found") {
      // Somebody else wrote (an operator's annotation, or a new holder): look before anything else. Not a failed
      // renewal.
      this.conflicted = true;
      this.known.stale = true;
      this.o.log.info("conflict", what);
      return;
    }
    if (outcome.unknown && what !== "renew") this.known.stale = true;
    this.pace.failed({ ...outcome, message: `${what}: ${outcome.message}` });
  }

  private async acquire(wanted: Extract<Wanted, { kind: "acquire" }>, signal: AbortSignal): Promise<void> {
    const refusal = await this.tryToAcquire(wanted, signal);
    if (refusal !== null) this.finished = { kind: "not-acquired", reason: refusal };
    if (this.wanted === wanted) this.wanted = nothing;
  }

  /** @returns why not, or null where a tenure has begun */
  private async tryToAcquire(
    wanted: Extract<Wanted, { kind: "acquire" }>,
    signal: AbortSignal,
  ): Promise<string | null> {
    const { env, file, identity, kube, clock, receipts } = this.o;
    const { object, view } = this.known;
    if (!object || !view) return "lease-not-read";
    const overtaken = () => this.wanted !== wanted || this.known.version !== wanted.version;
    if (overtaken()) return "overtaken";
    const names = watermarksOf(file);
    const read = await watermarkEpochs({ ...this.o, names, baker: file.baker }, this.options(signal));
    if ("failure" in read) {
      this.pace.failed({ ...read.failure, message: `${read.name}: ${read.failure.message}` });
      return "watermarks-not-read";
    }
    // The watermarks took time: somebody may have acquired, or SIGTERM come, meanwhile.
    if (overtaken()) return "overtaken";
    const epoch = nextEpoch(view.epoch, read.epochs);
    const time = microTime(clock.wall());
    const claim = { pod: env.TOG_POD_NAME, epoch, cause: wanted.cause, reason: wanted.reason };
    const { receipt, elapsedMs } = receiptOfAcquisition(object, view, claim, { now: clock.now(), wall: clock.wall() });
    const next = writable(object);
    const note = withReceipt(next.metadata.annotations, readReceipts(object), receipt);
    delete note[annotations.successor];
    if (note[annotations.preferredHolder] === env.TOG_POD_NAME) delete note[annotations.preferredHolder];
    next.metadata.annotations = note;
    next.spec = {
      ...next.spec,
      holderIdentity: identity,
      leaseDurationSeconds: file.timings.leaseSeconds,
      acquireTime: time,
      renewTime: time,
      leaseTransitions: epoch,
    };
    this.known.attempted(epoch, time);
    const outcome = await kube.replace("leases", next, this.options(signal));
    if (!outcome.ok) {
      this.writeFailed("acquire", outcome);
      this.conflicted = false;
      return outcome.kind;
    }
    this.pace.answered(outcome);
    this.saw(outcome.object, true);
    // Written is written, even if the attempt was given up meanwhile: what is held can be handed over.
    const lease = this.known.view;
    if (lease?.holder !== identity || lease.epoch !== epoch) return "overtaken";
    const tenure = { leaseUid: lease.uid, epoch, renewedAtMs: outcome.sentAtMs };
    this.tenure = tenure;
    this.nextRenewMs = this.renewAfter(outcome.sentAtMs);
    receipts.begin(receipt, outcome.sentAtMs - elapsedMs);
    this.finished = { kind: "acquired", cause: receipt.cause, from: receipt.from, tenure };
    return null;
  }

  private async release(tenure: LeaseTenure, successorNow: () => string, signal: AbortSignal): Promise<void> {
    const { clock, identity, kube, receipts } = this.o;
    const known = this.known.object;
    // The answer to an earlier release was lost.
    if (known?.metadata.uid === tenure.leaseUid && known.spec.holderIdentity !== identity)
      return this.released(
        tenure,
        known.spec.holderIdentity || (known.metadata.annotations?.[annotations.successor] ?? ""),
      );
    const object = this.heldBy(tenure);
    if (!object) return;
    const successor = successorNow();
    const next = writable(object);
    const note = next.metadata.annotations;
    const receipt = receipts.ofRelease(successor, clock.now());
    if (receipt) note[annotations.lastTransition] = JSON.stringify(receipt);
    delete note[annotations.successor];
    if (successor !== "") {
      note[annotations.successor] = successor;
      // The PUT that honours the operator's wish clears it.
      if (note[annotations.preferredHolder] === podOf(successor)) delete note[annotations.preferredHolder];
    }
    next.spec = { ...next.spec, holderIdentity: "", renewTime: microTime(clock.wall()) };
    const outcome = await kube.replace("leases", next, this.options(signal));
    if (!outcome.ok) return this.writeFailed("release", outcome);
    this.pace.answered(outcome);
    this.saw(outcome.object, true);
    if (this.tenure === tenure) this.released(tenure, successor);
  }

  private released(tenure: LeaseTenure, successor: string): void {
    this.tenure = null;
    this.wanted = nothing;
    this.finished = { kind: "released", epoch: tenure.epoch, successor };
  }
}
