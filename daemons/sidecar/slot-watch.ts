/**
 * Looks at each new head for slots that the delegate missed, and counts them with their cause. Costs two questions to
 * the node a head, and one more for each level that may have been missed.
 */
import type { BakerFile } from "../../contract/baker-file";
import { leadershipSchema } from "../../contract/leadership";
import { ports } from "../../contract/ports";
import { gateStatusSchema, missedKinds, mostMissedSlots, whoseSlots, type MissedSlot } from "../../contract/status";
import { getJson } from "../runtime/http-get";
import type { Clock } from "../runtime/clock";
import type { Log } from "../runtime/log";
import { Counter, Gauge, type Registry } from "../runtime/metrics";
import { missedBetween, missedLevels, type Account } from "../runtime/missed-levels";
import type { OctezRpc } from "../runtime/octez-rpc";
import { secondsTime } from "../runtime/kube";
import type { Recent } from "../runtime/recent";
import type { Wake } from "../runtime/wake";
import type { SeenHead } from "./assess";
import { roundZeroBlocks } from "./round-zero";
import { causeOf, slotCauses, type PodView, type SlotCause } from "./slots";
import { mostLikely, whoseSlot, type Verdict } from "./whose";

/** Levels further back are only counted. */
const mostLevels = 16;
/** Characters of what is said of one. */
const longestWhy = 200;

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
  private readonly counted: Gauge;
  private account: Account | undefined;
  private epochBefore: number | undefined;
  private refusedBefore: number | undefined;
  private seen: number | undefined;
  /** The last heads, by level. */
  private readonly heads = new Map<number, Pick<SeenHead, "level" | "round" | "timestampMs" | "ageThenMs">>();
  /** Whether the heads since the account came one after the other, each in its time, while the node was ready. */
  private followed = false;
  /**
   * Levels whose attestation was missed since this began while the node followed the chain. At a head that comes late
   * or is passed over, as when a node catches up, no baker attests: that says nothing about the baker.
   */
  missedAttestations = 0;
  /** The last slots that were missed while this process watched, oldest first. */
  readonly missed: MissedSlot[] = [];

  constructor(private readonly o: SlotWatchOptions) {
    this.slots = new Counter({
      name: "tog_sidecar_slots_total",
      help: "Slots of the delegate that were missed while this pod watched, by kind, cause and whose they were",
      labelNames: ["delegate", "kind", "result", "cause", "whose"],
      registers: [o.metrics],
    });
    this.counted = new Gauge({
      name: "tog_sidecar_slots_counted_level",
      help: "Level of the block up to which missed slots are counted; absent before the first one",
      registers: [o.metrics],
    });
    this.counted.remove();
    // Series that begin at zero, so that the first miss is an increase.
    for (const kind of missedKinds)
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
    for (const level of this.heads.keys()) if (level < head.level - mostLevels) this.heads.delete(level);
    // A node that is syncing shows the past: what was missed meanwhile is in its account once it is ready.
    if (!this.o.nodeReady()) return (this.followed = false);
    const before = this.account;
    // Of this very block: the node's head may be another one by now.
    const block = String(head.level);
    const [participation, blocks] = await Promise.all([
      rpc.participation({ timeoutMs: 2 * this.o.pollMs, signal, delegate, block }),
      this.blocksMissed(before?.level ?? head.level - 1, head, signal),
    ]);
    // The next answer covers this head, too. An unregistered delegate has no account.
    if (!participation.ok || !this.o.nodeReady()) return false;
    this.account = { level: head.level, missedLevels: participation.value.missedLevels };
    // One head may have gone by without an answer.
    const steady = this.followed && before !== undefined && head.level - before.level <= 2;
    this.followed = inTime;
    const attestations = missedBetween(before, this.account);
    if (steady) this.missedAttestations += attestations;
    const levels = await this.levelsMissed(before?.level ?? head.level, head.level - 1, attestations, signal);
    // The pod is asked at each head, since its growth is judged.
    const [pod, keys] = await Promise.all([this.podView(), this.activeKeys([...blocks, ...levels], signal)]);
    if (attestations > 0) this.tell("attestation", levels, attestations, pod, keys);
    if (before && blocks.length > 0) this.tell("block", blocks, blocks.length, pod, keys);
    this.counted.set(head.level);
    return true;
  }

  /**
   * Levels above `after`, up to the head's, at which the delegate had the right of round 0 and another round's block
   * is on the chain; newest first.
   */
  private async blocksMissed(after: number, head: SeenHead, signal: AbortSignal): Promise<number[]> {
    const { rpc, file, pollMs } = this.o;
    const count = Math.max(1, Math.min(mostLevels, head.level - after));
    const levels = Array.from({ length: count }, (_, i) => head.level - i);
    const asked = { timeoutMs: 2 * pollMs, signal, delegate: file.delegate, levels, head };
    const blocks = await roundZeroBlocks(rpc, asked);
    return levels.filter((level) => blocks?.get(level) === "missed");
  }

  /**
   * The `count` levels that were missed among `from` to `to`, newest first; more where the node does not say which.
   */
  private async levelsMissed(from: number, to: number, count: number, signal: AbortSignal): Promise<number[]> {
    if (count === 0) return [];
    const first = Math.max(from, to - mostLevels + 1);
    const all = Array.from({ length: to - first + 1 }, (_, i) => to - i);
    if (count >= all.length) return all;
    const { rpc, file, pollMs } = this.o;
    const range = { delegate: file.delegate, from: first, to, timeoutMs: 2 * pollMs, signal };
    return missedLevels(rpc, range).then(
      (levels) => levels.reverse(),
      () => all,
    );
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
      this.missed.push({ kind, level, whose, why: why.slice(0, longestWhy), at: secondsTime(this.o.clock.wall()) });
      // A standby mostly knows nothing: that is no news.
      if (whose !== "unknown" || pod.leadership?.holderIdentity === pod.leadership?.self)
        recent.note(`${kind}-missed`, `the ${kind} of level ${level} is missing on the chain (${whose}): ${why}`);
    }
    this.missed.splice(0, this.missed.length - mostMissedSlots);
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
