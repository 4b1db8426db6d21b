/**
 * Looks at each new head for slots that the delegate missed, and counts them with their cause. Costs two questions to
 * the node a head, and one more for each level that may have been missed.
 */
import type { BakerFile } from "../../contract/baker-file";
import { leadershipSchema } from "../../contract/leadership";
import { ports } from "../../contract/ports";
import { gateStatusSchema } from "../../contract/status";
import { getJson } from "../runtime/http-get";
import type { Clock } from "../runtime/clock";
import type { Log } from "../runtime/log";
import { Counter, type Registry } from "../runtime/metrics";
import { missedBetween, type Account } from "../runtime/missed-levels";
import type { OctezRpc } from "../runtime/octez-rpc";
import type { Recent } from "../runtime/recent";
import type { Wake } from "../runtime/wake";
import type { SeenHead } from "./assess";
import { causeOf, slotCauses, type PodView, type SlotCause } from "./slots";
import { mostLikely, whoseSlot, whoseSlots, type Verdict } from "./whose";

/** The delegate's active consensus key, by level. */
type ActiveKeys = ReadonlyMap<number, string>;

export interface SlotWatchOptions {
  file: BakerFile;
  /** Pod address, where elector and gate answer. */
  host: string;
  rpc: OctezRpc;
  log: Log;
  clock: Clock;
  recent: Recent;
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
  /** The last heads, by level. */
  private readonly heads = new Map<number, Pick<SeenHead, "level" | "round" | "timestampMs" | "ageThenMs">>();
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
      help: "Slots of the delegate that were missed while this pod watched, by kind, cause and whose they were",
      labelNames: ["delegate", "kind", "result", "cause", "whose"],
      registers: [o.metrics],
    });
    // Series that begin at zero, so that the first miss is an increase.
    for (const kind of ["attestation", "block"] as const)
      for (const cause of slotCauses) for (const whose of whoseSlots) this.count(kind, cause, whose, 0);
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
    const { rpc, file } = this.o;
    const { delegate } = file;
    const head = this.o.head();
    if (!head) return false;
    if (head.level === this.account?.level) return true;
    // The chain's pace, as the gate takes it.
    const inTime = head.ageThenMs <= file.timings.headFreshSeconds * 100;
    if (head.level !== this.seen) this.followed &&= inTime && head.level - 1 === this.seen;
    this.seen = head.level;
    this.heads.set(head.level, head);
    for (const level of this.heads.keys()) if (level < head.level - 16) this.heads.delete(level);
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
    const firstLevel = before?.level ?? head.level;
    const count = attestations > 0 ? Math.min(16, head.level - firstLevel) : 0;
    const levels = Array.from({ length: count }, (_, i) => head.level - 1 - i);
    // The pod is asked at each head, since its growth is judged.
    const [pod, keys] = await Promise.all([
      this.podView(),
      this.activeKeys(block ? [head.level, ...levels] : levels, signal),
    ]);
    if (attestations > 0) this.tell("attestation", levels, attestations, pod, keys);
    if (block) this.tell("block", [head.level], 1, pod, keys);
    return true;
  }

  /** @param levels among which `count` were missed, newest first */
  private tell(
    kind: "attestation" | "block",
    levels: readonly number[],
    count: number,
    pod: PodView,
    keys: ActiveKeys,
  ): void {
    const { log, recent } = this.o;
    const cause = causeOf(pod);
    const slots = levels.map((level) => ({ level, verdict: this.judge(kind, level, pod, keys) }));
    for (const { level, verdict } of mostLikely(slots, count)) {
      const { whose, why } = verdict;
      this.count(kind, cause, whose, 1);
      log.warn(`${kind}-missed`, cause, { missedLevel: level, whose, why });
      // A standby mostly knows nothing: that is no news.
      if (whose !== "unknown" || pod.leadership?.holderIdentity === pod.leadership?.self)
        recent.note(`${kind}-missed`, `the ${kind} of level ${level} is missing on the chain (${whose}): ${why}`);
    }
    // Of levels that lie further back nothing is known any more.
    this.count(kind, cause, "unknown", Math.max(0, count - slots.length));
  }

  private judge(kind: "attestation" | "block", level: number, pod: PodView, keys: ActiveKeys): Verdict {
    const { clock } = this.o;
    const nowMs = clock.wall();
    const toWallMs = (monotonicMs: number) => nowMs - (clock.now() - monotonicMs);
    const about = this.heads.get(kind === "block" ? level - 1 : level);
    // A block of a later round stands in the place of ours.
    const next = this.heads.get(kind === "block" ? level : level + 1);
    if (!next) return { whose: "unknown", why: "this node did not see the next block come" };
    const { gate, leadership, epochBefore } = pod;
    const slot = {
      ...{ kind, level, deadlineMs: next.timestampMs, round: kind === "block" ? 0 : (about?.round ?? null) },
      key: keys.get(level),
      arrivedMs: about ? about.timestampMs + about.ageThenMs : null,
    };
    return whoseSlot(slot, {
      asked: gate?.asked?.map((entry) => ({ ...entry, atMs: toWallMs(entry.atMs) })),
      sinceMs: toWallMs(gate?.askedSinceMs ?? Infinity),
      master:
        leadership?.state === "active" &&
        leadership.holderIdentity === leadership.self &&
        (epochBefore ?? leadership.epoch) === leadership.epoch,
      nowMs,
    });
  }

  private count(kind: "attestation" | "block", cause: SlotCause, whose: Verdict["whose"], number: number): void {
    this.slots.inc({ delegate: this.o.file.delegate, kind, result: "missed", cause, whose }, number);
  }

  /** A level whose key the node does not tell is left out. */
  private async activeKeys(levels: readonly number[], signal: AbortSignal): Promise<ActiveKeys> {
    const { rpc, file, pollMs } = this.o;
    // Without a gate there is nothing that the key could be looked up in.
    if (file.topology !== "active-standby") return new Map();
    const found = await Promise.all(
      levels.map(async (level): Promise<[number, string][]> => {
        // At the block before: the last block of a cycle makes the next cycle's key the active one.
        const wanted = { timeoutMs: 2 * pollMs, signal, delegate: file.delegate, block: String(level - 1) };
        const keys = await rpc.consensusKeys(wanted);
        return keys.ok ? [[level, keys.value.active]] : [];
      }),
    );
    return new Map(found.flat());
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
