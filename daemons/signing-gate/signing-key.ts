/**
 * One key of the gate: whether this tenure may sign with it, and why not.
 *
 * States: closed (no tenure) -> raising -> open; lost (S5, waits for a synced head or for the object); refused (needs a
 * person).
 */
import type { GateStatus } from "../../contract/status";
import { slowRequestMs } from "../../contract/timings";
import type { ConfigMap } from "../runtime/kube";
import { below, decideRaise, highest, type FloorPass, type RaiseDecision, type Tenure } from "./decide";
import type { GateOptions } from "./gate-options";
import { KeyWatermark } from "./key-watermark";
import { SentBlocks } from "./sent-blocks";
import type { Tenures } from "./tenures";

type KeyStatus = GateStatus["keys"][number];

/** The tenure for which the key was opened, and what its watermark said then. */
interface Opening {
  epoch: number;
  /** Highest round of any kind. */
  aboveRound: number;
  /** Since when no head above the floor was heard. */
  sinceMs: number;
  attestedBefore: number | null;
}

export const pauseMs = { read: 50, wait: 500 };

export class SigningKey {
  readonly watermark: KeyWatermark;
  readonly blocks = new SentBlocks();
  private state: KeyStatus["state"] = "closed";
  private stateReason = "not-master";
  private opening: Opening | undefined;
  private raising = false;

  constructor(
    readonly address: string,
    /** All of its signers give the same signature for the same bytes. */
    public deterministic: boolean,
    private readonly options: GateOptions,
    private readonly tenures: Tenures,
  ) {
    this.watermark = new KeyWatermark(address, options);
  }

  get reason(): string {
    return this.stateReason;
  }
  /** Nothing but another watermark, another disk or a synced head opens it. */
  get stuck(): boolean {
    return this.state === "lost" || this.state === "refused";
  }
  isOpen(tenure?: Tenure): boolean {
    return this.opening !== undefined && (tenure === undefined || this.opening.epoch === tenure.epoch);
  }

  shut(): void {
    this.opening = undefined;
  }
  newTenure(): void {
    this.shut();
    this.blocks.newTenure();
  }

  private setState(state: KeyStatus["state"], reason: string, detail = ""): void {
    if (this.state === state && this.stateReason === reason) return;
    const { log, onTrouble } = this.options;
    const fields = { address: this.address, state, detail, epoch: this.tenures.epoch };
    this.state = state;
    this.stateReason = reason;
    if (this.stuck) {
      log.warn("watermark", reason, fields);
      onTrouble?.(this.address, reason, detail);
    } else log.info("watermark", reason, fields);
    this.tenures.wake();
  }

  /** Opens the key for the current tenure (S3), unless that is under way. */
  raise(cause: string): void {
    if (this.raising) return;
    this.raising = true;
    void this.raiseUntilOpen(cause)
      .catch((error: unknown) => this.setState("refused", "internal", String(error)))
      .finally(() => {
        this.raising = false;
        // A tenure that began while the last one's raise ended.
        const tenure = this.tenures.current();
        if (tenure && !this.isOpen(tenure) && this.stateReason !== "internal") this.raise("new-tenure");
      });
  }

  /** Until the key is open, the tenure is over or no longer ours, or the gate ends. */
  private async raiseUntilOpen(cause: string): Promise<void> {
    this.shut();
    if (cause === "new-tenure" || !this.stuck) this.setState("raising", cause);
    for (let attempt = 0; ; attempt++) {
      const tenure = this.tenures.current();
      if (!tenure) return;
      const pause = await this.watermark.exclusively(() => this.raiseOnce(tenure));
      if (pause === "done") return;
      if (pause > 0) await this.tenures.changed(Math.min(pauseMs.wait, pause * 2 ** Math.min(attempt, 10)));
    }
  }

  /** "done", or how long to wait before the next try. */
  private async raiseOnce(tenure: Tenure): Promise<"done" | number> {
    const { clock, timings, heads, log } = this.options;
    const failure = await this.watermark.read(clock.now() + slowRequestMs(timings));
    if (failure !== undefined) {
      this.stateReason = `watermark-${failure}`;
      return pauseMs.read;
    }
    let decision = this.decideRaise(tenure, null);
    if (decision.action === "wait" && decision.reason === "no-synced-head")
      decision = this.decideRaise(tenure, await heads.synced());
    switch (decision.action) {
      case "wait":
        this.setState("lost", decision.reason, decision.lost);
        return pauseMs.wait;
      case "refuse":
        this.setState("refused", decision.reason, decision.detail);
        return pauseMs.wait;
      case "over":
        this.tenures.end(tenure, decision.reason, this.address);
        return "done";
      case "open":
        return this.open(tenure, decision.reason);
      case "restore":
      case "write": {
        if (!this.tenures.isCurrent(tenure)) return 0;
        const written = await this.watermark.write(decision.record, clock.now() + slowRequestMs(timings), true);
        if (!written.ok) {
          const { kind, unknown } = written;
          log.warn("raise-failed", kind, { address: this.address, epoch: tenure.epoch, unknown });
          return kind === "conflict" ? 0 : pauseMs.read;
        }
        return decision.action === "restore"
          ? this.open(tenure, decision.reason, () => this.tenures.end(tenure, decision.lost, this.address))
          : this.open(tenure, decision.reason === "raise" ? "raised" : `raised-${decision.reason}`);
      }
    }
  }

  private decideRaise(tenure: Tenure, syncedHead: number | null): RaiseDecision {
    const { memory, baker, chainId: chain } = this.options;
    const observed = this.watermark.observed();
    return decideRaise({ observed, memory: memory.get(this.address), tenure, syncedHead, baker, chain });
  }

  /** The record of the watermark is made durable on this disk; then the key is open, or what `instead` does. */
  private async open(tenure: Tenure, reason: string, instead?: () => void): Promise<"done" | number> {
    const current = this.watermark.observed();
    if (current.state !== "record") return pauseMs.read;
    const { uid, record } = current;
    const { memory, timings, sleep } = this.options;
    try {
      await memory.within(memory.commit(this.address, uid, record), timings.requestTimeoutMs, sleep);
    } catch (error) {
      this.setState("refused", "memory-write", String(error));
      return pauseMs.wait;
    }
    if (instead) instead();
    else {
      this.opening = {
        epoch: tenure.epoch,
        aboveRound: highest(record.marks).round,
        sinceMs: this.options.clock.now(),
        attestedBefore: record.marks.attestation?.level ?? null,
      };
      this.setState("open", reason, `floor ${record.floor}`);
    }
    return "done";
  }

  /**
   * What a regular look at the watermark showed, in standby too: remembered for S5. Where it contradicts what an open
   * key knows, the key is raised again, unless requests are under way (`busy`): they find out by themselves.
   */
  look(object: ConfigMap | undefined, busy: boolean): void {
    const observed = this.watermark.observe(object);
    if (observed.state === "record") this.options.memory.note(this.address, observed.uid, observed.record);
    if (!this.opening || busy) return;
    const known = this.watermark.observed();
    const same =
      observed.state === "record" &&
      known.state === "record" &&
      observed.uid === known.uid &&
      observed.record.epoch <= known.record.epoch &&
      observed.record.floor <= known.record.floor;
    if (!same) this.raiseAgain("watermark-changed");
    // Read before our last write, or put back: the next request finds out, even one below the floor.
    else if (below(observed.record, known.record)) this.watermark.stale = true;
  }
  /** This gate cannot remember what it signs: nothing is signed until its disk answers again. */
  refuseForDisk(detail: string): void {
    this.setState("refused", "memory-write", detail);
    this.raiseAgain("memory-write");
  }
  raiseAgain(cause: string): void {
    this.watermark.stale = true;
    this.shut();
    this.raise(cause);
  }

  /** The halted chain: see `FloorPass`. */
  floorPass(): FloorPass {
    const { clock, heads, timings } = this.options;
    const observed = this.watermark.observed();
    const head = heads.own();
    if (!this.opening || observed.state !== "record" || !head) return { open: false, aboveRound: Infinity };
    const heard = head.heardAgoMs <= (timings.headFreshSeconds * 1000) / 6;
    if (head.highestLevel > observed.record.floor) this.opening.sinceMs = clock.now();
    return {
      open: heard && clock.now() - this.opening.sinceMs >= timings.floorPassSeconds * 1000,
      aboveRound: this.opening.aboveRound,
    };
  }

  status(): KeyStatus {
    const tenure = this.tenures.current();
    const observed = this.watermark.observed();
    const record = observed.state === "record" ? observed.record : undefined;
    const level = record ? highest(record.marks).level : -1;
    const attestation = record?.marks.attestation;
    const open = tenure !== undefined && this.isOpen(tenure);
    const state = open ? "open" : this.stuck ? this.state : "raising";
    // In standby, too, it says that this pod could not sign.
    const { problem } = this.options.memory;
    const standby =
      problem === undefined
        ? { state: "closed" as const, reason: this.options.leadership.reason() }
        : { state: "refused" as const, reason: "memory-write" };
    return {
      address: this.address,
      ...(tenure === undefined ? standby : { state, reason: this.stateReason }),
      floor: record?.floor ?? null,
      highestLevel: level >= 0 ? level : null,
      attestedBefore: open ? (this.opening?.attestedBefore ?? null) : null,
      lastAttestation: attestation ? { level: attestation.level, round: attestation.round } : null,
    };
  }
}
