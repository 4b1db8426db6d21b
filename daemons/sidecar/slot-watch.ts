/**
 * Looks at each new head for slots that the delegate missed, and counts them with their cause. Costs two questions to
 * the node a head.
 */
import type { BakerFile } from "../../contract/baker-file";
import { leadershipSchema } from "../../contract/leadership";
import { ports } from "../../contract/ports";
import { gateStatusSchema } from "../../contract/status";
import { getJson } from "../runtime/http-get";
import type { Log } from "../runtime/log";
import { Counter, type Registry } from "../runtime/metrics";
import { missedBetween, type Account } from "../runtime/missed-levels";
import type { OctezRpc } from "../runtime/octez-rpc";
import type { Wake } from "../runtime/wake";
import type { SeenHead } from "./assess";
import { causeOf, slotCauses, type PodView, type SlotCause } from "./slots";

export interface SlotWatchOptions {
  file: BakerFile;
  /** Pod address, where elector and gate answer. */
  host: string;
  rpc: OctezRpc;
  log: Log;
  metrics: Registry;
  pollMs: number;
  head: () => SeenHead | undefined;
  /** Kicked at each new head. */
  newHead: Wake;
  nodeReady: () => boolean;
}

export class SlotWatch {
  private readonly slots: Counter;
  private account: Account | undefined;
  private epochBefore: number | undefined;
  private refusedBefore: number | undefined;
  private seen: number | undefined;
  /** Whether the heads since the account came one after the other, each in its time. */
  private followed = false;
  /**
   * Levels whose attestation was missed since this began while the node followed the chain. At a head that comes late
   * or is passed over, as when a node catches up, no baker attests: that says nothing about the baker.
   */
  missedAttestations = 0;

  constructor(private readonly o: SlotWatchOptions) {
    this.slots = new Counter({
      name: "tog_sidecar_slots_total",
      help: "Slots of the delegate that were missed while this pod watched, by kind and cause",
      labelNames: ["delegate", "kind", "result", "cause"],
      registers: [o.metrics],
    });
    // Series that begin at zero, so that the first miss is an increase.
    for (const kind of ["attestation", "block"] as const) for (const cause of slotCauses) this.count(kind, cause, 0);
  }

  /** Ends when `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const answered = await this.look(signal);
      await this.o.newHead.wait((answered ? 60 : 1) * this.o.pollMs, signal);
    }
  }

  /** Whether there is nothing to ask again before the next head. */
  private async look(signal: AbortSignal): Promise<boolean> {
    const { rpc, log, file } = this.o;
    const { delegate } = file;
    const head = this.o.head();
    if (!head) return false;
    if (head.level === this.account?.level) return true;
    // The chain's pace, as the gate takes it.
    const inTime = head.ageThenMs <= file.timings.headFreshSeconds * 100;
    if (head.level !== this.seen) this.followed &&= inTime && head.level - 1 === this.seen;
    this.seen = head.level;
    const wanted = { timeoutMs: 2 * this.o.pollMs, signal };
    const [participation, rights] = await Promise.all([
      rpc.participation({ ...wanted, delegate }),
      rpc.bakingRights({ ...wanted, levels: [head.level], delegates: [delegate], maxRound: 0 }),
    ]);
    const before = this.account;
    // A delegate that had an account keeps it: the node has failed, and the next answer covers this head, too.
    if (!participation.ok && before !== undefined && this.o.nodeReady()) return false;
    // An unregistered delegate has no account; a node that is syncing shows the past.
    this.account =
      participation.ok && this.o.nodeReady()
        ? { level: head.level, missedLevels: participation.value.missedLevels }
        : undefined;
    // One head may have gone by without an answer.
    const steady = this.followed && before !== undefined && head.level - before.level <= 2;
    this.followed = inTime;
    if (!this.account) return false;
    const attestations = missedBetween(before, this.account);
    if (steady) this.missedAttestations += attestations;
    const block =
      before !== undefined &&
      rights.ok &&
      (head.round ?? 0) > 0 &&
      rights.value.some((right) => right.level === head.level && right.round === 0);
    const cause = causeOf(await this.podView());
    if (attestations > 0) {
      this.count("attestation", cause, attestations);
      log.warn("attestation-missed", cause, { levels: attestations, head: head.level });
    }
    if (block) {
      this.count("block", cause, 1);
      log.warn("block-missed", cause, { blockLevel: head.level, round: head.round });
    }
    return true;
  }

  private count(kind: "attestation" | "block", cause: SlotCause, number: number): void {
    this.slots.inc({ delegate: this.o.file.delegate, kind, result: "missed", cause }, number);
  }

  /** What elector and gate say, where there are any. */
  private async podView(): Promise<PodView> {
    const { host, file } = this.o;
    const read = async <T>(url: string, schema: { parse(answer: unknown): T }): Promise<T | undefined> => {
      if (file.topology !== "active-standby") return undefined;
      return getJson(url, { timeoutMs: 2 * this.o.pollMs })
        .then((answer) => schema.parse(answer))
        .catch(() => undefined);
    };
    const [leadership, gate] = await Promise.all([
      read(`http://${host}:${ports.elector}/leadership`, leadershipSchema),
      read(`http://${host}:${ports.gateHealth}/status`, gateStatusSchema),
    ]);
    const refused = gate?.refusedByWatermark ?? 0;
    const { epochBefore, refusedBefore = refused } = this;
    this.epochBefore = leadership?.epoch;
    this.refusedBefore = refused;
    return { nodeReady: this.o.nodeReady(), leadership, gate, epochBefore, refusedSince: refused - refusedBefore };
  }
}
