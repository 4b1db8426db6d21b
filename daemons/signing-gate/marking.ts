/**
 * S1 to S3 for one request: its mark is written into the key's watermark and into this gate's memory, or it is refused.
 */
import type { SigningRequest } from "../../tezos/signing-request";
import { refuse, type Refusal } from "./answer";
import { decideSign, type SignDecision, type Tenure } from "./decide";
import type { GateOptions } from "./gate-options";
import type { Announcement } from "./memory";
import { pauseMs, type SigningKey } from "./signing-key";
import type { Tenures } from "./tenures";

/**
 * `repeated`: the mark was there already, identical. "again": the tenure or the key has changed, and the request waits
 * for what comes.
 */
export type Marked =
  { forward: true; repeated: boolean; reason: string } | { forward: false; refusal: Refusal } | "again";

/** A disk that is well answers sooner, however little of the budget the API has left. */
const leastDiskMs = 100;

export class Marking {
  constructor(
    private readonly options: GateOptions,
    private readonly tenures: Tenures,
  ) {}

  /** Under the key's lock. Forward only where the mark is acknowledged by the API and on this disk. */
  async mark(key: SigningKey, request: SigningRequest, tenure: Tenure, deadlineMs: number): Promise<Marked> {
    const { clock } = this.options;
    let trouble = "budget";
    // Where one write was given up, the next one has all of the time that is left: perhaps only writes are slow.
    let lastWrite = false;
    while (clock.now() < deadlineMs) {
      const attempt = await this.attempt(key, request, tenure, deadlineMs, lastWrite);
      if (typeof attempt !== "object" || !("failed" in attempt)) return attempt;
      trouble = attempt.failed;
      lastWrite ||= trouble === "write-timeout";
      if (attempt.pause > 0) await this.options.sleep(Math.min(attempt.pause, Math.max(0, deadlineMs - clock.now())));
    }
    return { forward: false, refusal: refuse(503, "watermark-unavailable", trouble) };
  }

  private async attempt(
    key: SigningKey,
    request: SigningRequest,
    tenure: Tenure,
    deadlineMs: number,
    lastWrite: boolean,
  ): Promise<Marked | { failed: string; pause: number }> {
    const { watermark } = key;
    if (!this.tenures.isCurrent(tenure) || !key.isOpen(tenure)) return "again";
    const fresh = watermark.stale;
    if (fresh) {
      const failure = await watermark.read(deadlineMs);
      if (failure !== undefined) return { failed: `read-${failure}`, pause: pauseMs.read };
    }
    const memory = this.options.memory.get(key.address);
    const decision = decideSign({ request, observed: watermark.observed(), memory, tenure, pass: key.floorPass() });
    switch (decision.action) {
      case "refuse":
        return { forward: false, refusal: refuse(409, decision.reason, decision.detail) };
      case "over":
      case "raise":
        // Only what was read just now ends a tenure.
        if (!fresh) {
          watermark.stale = true;
          return { failed: "watermark-changed", pause: 0 };
        }
        if (decision.action === "over") this.tenures.end(tenure, decision.reason, key.address);
        else key.raiseAgain(decision.reason);
        return "again";
      case "repeat":
        return this.remember(key, decision, deadlineMs);
      case "mark":
        if (!this.tenures.isCurrent(tenure)) return "again";
        return this.write(key, request, decision, tenure, deadlineMs, lastWrite);
    }
  }

  private async write(
    key: SigningKey,
    request: SigningRequest,
    decision: Extract<SignDecision, { action: "mark" }>,
    tenure: Tenure,
    deadlineMs: number,
    lastWrite: boolean,
  ): Promise<Marked | { failed: string; pause: number }> {
    const { memory, log } = this.options;
    const { kind, level, round, digest } = request;
    // The disk works while the API does.
    const announced = memory.announce(key.address, kind, { level, round, digest });
    let acknowledged = false;
    try {
      const written = await key.watermark.write(decision.record, deadlineMs, lastWrite);
      acknowledged = written.ok;
      if (!written.ok) {
        const { kind: failure, unknown } = written;
        if (unknown && kind === "block") key.blocks.markUncertain(digest, tenure.epoch);
        log.warn("mark-failed", failure, { address: key.address, kind, blockLevel: level, unknown });
        return { failed: `write-${failure}`, pause: failure === "conflict" || unknown ? 0 : pauseMs.read };
      }
    } finally {
      if (!acknowledged) announced.withdraw();
    }
    return this.remember(key, decision, deadlineMs, announced);
  }

  /** Durable on this disk what the API has acknowledged. */
  private async remember(
    key: SigningKey,
    { action, reason }: { action: "mark" | "repeat"; reason: string },
    deadlineMs: number,
    announced?: Announcement,
  ): Promise<Marked> {
    const current = key.watermark.observed();
    if (current.state !== "record") {
      announced?.withdraw();
      return "again";
    }
    const { uid, record } = current;
    const { memory, clock, sleep } = this.options;
    try {
      const durable = announced ? announced.confirm(uid, record) : memory.commit(key.address, uid, record);
      await memory.within(durable, Math.max(leastDiskMs, deadlineMs - clock.now()), sleep);
    } catch (error) {
      key.refuseForDisk(String(error));
      return { forward: false, refusal: refuse(503, "memory-write", String(error)) };
    }
    return { forward: true, repeated: action === "repeat", reason };
  }
}
