/**
 * The signing gate without its sockets: tenures, watermarks, marks, signatures.
 *
 * Guarantees S1-S3, S5-S7 of docs/protocol.md whatever clocks, pauses, partitions, restarts, API answers and signers
 * do: a request is forwarded only after the API acknowledged its mark in an object of this pod's own tenure and that
 * mark is in this pod's durable memory. Does not guarantee that the signature reaches the baker, nor the order in which
 * late requests reach signers.
 *
 * States of a key: closed (no tenure) -> raising -> open; lost (S5, waits for a synced head or for the object); refused
 * (needs a person).
 */
import { watermarkDataKey, watermarkName } from "../../contract/names";
import type { GateStatus } from "../../contract/status";
import type { Timings } from "../../contract/timings";
import type { Clock } from "../runtime/clock";
import type { ConfigMap, KubeClient, Outcome } from "../runtime/kube";
import type { Log } from "../runtime/log";
import { encodeBase58 } from "../../tezos/base58";
import { layoutFits, parseSigningRequest, type SigningRequest } from "../../tezos/signing-request";
import {
  decideRaise,
  decideRepeat,
  decideSign,
  highest,
  observe,
  plausible,
  type FloorPass,
  type HeadView,
  type Observed,
  type Tenure,
  type TenureLost,
} from "./decide";
import type { LeadershipView } from "./leadership";
import type { Announcement, MarksMemory } from "./memory";

export interface SignAttempt {
  address: string;
  /** The very bytes that arrived, and their BLAKE2b-256. */
  bytes: Uint8Array;
  digest: Uint8Array;
  /** Query string of the request, "" or "?authentication=...". */
  query: string;
  /** Clock.now() by which an answer is needed. */
  deadlineMs: number;
  /**
   * May the bytes be sent a second time after an answer that did not come? Not for blocks of a signer that is not
   * deterministic (S7).
   */
  repeatable: boolean;
}
export type SignOutcome =
  | { ok: true; signature: string; signer: string }
  | { ok: false; reason: string; detail: string; mayHaveSigned: boolean };

/** The node's head as this pod last heard it. */
export interface HeardHead extends HeadView {
  /** Highest level ever heard. */
  highestLevel: number;
  /** Time since the node last answered, whatever its head. */
  heardAgoMs: number;
}

export interface GateKey {
  address: string;
  /** All of its signers give the same signature for the same bytes. */
  deterministic: boolean;
}

export interface GateOptions {
  baker: string;
  chainId: string;
  identity: string;
  keys: readonly GateKey[];
  timings: Timings;
  clock: Clock;
  /** Resolves after `ms`, or at once when aborted; never rejects. */
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  kube: Pick<KubeClient, "get" | "replace">;
  memory: MarksMemory;
  leadership: LeadershipView;
  heads: {
    own(): HeardHead | undefined;
    /** Highest synced level of any member (isSynced), or null. */
    synced(): Promise<number | null>;
    /** Does the chain aggregate the votes of BLS keys? Null where the node has not told it. */
    aggregates(): boolean | null;
  };
  signer: { sign(attempt: SignAttempt): Promise<SignOutcome> };
  log: Log;
  /** A block header with a seed nonce hash was signed; the answer waits for this. */
  onCommitment?: (commitment: {
    address: string;
    level: number;
    round: number;
    seedNonceHash: string;
    blockPayloadHash: string;
  }) => Promise<void>;
  /** One call per request that was decided, for metrics. */
  onDecision?: (decision: {
    kind: string;
    result: "signed" | "refused";
    reason: string;
    markMs: number;
    signMs: number;
    totalMs: number;
  }) => void;
  /** A key needs a person, or does no longer. */
  onTrouble?: (address: string, reason: string, detail: string) => void;
  /** @default 256 */
  maxConcurrent?: number;
}

export type GateAnswer =
  | { status: 200; signature: string; reason: string }
  | { status: 400 | 404 | 409 | 503 | 504; reason: string; detail: string };

type KeyState = GateStatus["keys"][number]["state"];
interface Key extends GateKey {
  name: string;
  state: KeyState;
  reason: string;
  /** The last whole object that the API returned, or undefined where nothing is known. */
  object: ConfigMap | undefined;
  /** A write's outcome is unknown or a conflict was seen: read before deciding. */
  suspect: boolean;
  opened: { epoch: number; aboveRound: number; sinceMs: number; attestedBefore: number | null } | undefined;
  raising: boolean;
  lock: Promise<void>;
  /**
   * S7: blocks that this process tried to mark with unknown outcome, with the epoch in which it did: a mark of another
   * epoch may be another's.
   */
  unsure: Map<string, number>;
  /** S7: blocks that this process sent, with the signature where it came back. */
  sent: Map<string, { signature: string | null; deterministic: boolean }>;
}

const maxRemembered = 512;
const pauseMs = { read: 50, wait: 500 };

type Marked = { forward: true; repeated: boolean; reason: string } | { forward: false; answer: GateAnswer } | "again";
const refuse = (status: 400 | 404 | 409 | 503 | 504, reason: string, detail: string): GateAnswer => ({
  status,
  reason,
  detail,
});

export class Gate {
  private readonly keys = new Map<string, Key>();
  private readonly running = new Map<string, Promise<GateAnswer>>();
  private readonly waiters = new Set<() => void>();
  private readonly ending = new AbortController();
  private tenureLost: { epoch: number; why: TenureLost } | undefined;
  private working = 0;
  private lastEpoch = 0;
  private readonly unsubscribe: () => void;

  constructor(private readonly options: GateOptions) {
    for (const key of options.keys)
      this.keys.set(key.address, {
        ...key,
        name: watermarkName(key.address),
        state: "closed",
        reason: "not-master",
        object: undefined,
        suspect: true,
        opened: undefined,
        raising: false,
        lock: Promise.resolve(),
        unsure: new Map(),
        sent: new Map(),
      });
    this.unsubscribe = options.leadership.onChange(() => this.follow());
    this.follow();
  }

  /**
   * Other signers from now on; keys that the gate does not have are none of its business. A block that was sent stays
   * what it was (S7).
   */
  configure(keys: readonly GateKey[]): void {
    for (const { address, deterministic } of keys) {
      const key = this.keys.get(address);
      if (key) key.deterministic = deterministic;
    }
  }

  /** No new work; what is under way ends by its own deadlines. */
  close(): void {
    this.ending.abort();
    this.unsubscribe();
    this.wake();
  }

  // ----------------------------------------------------------------------------------------------------------------
  // tenures

  /** The tenure to work in: valid now and not known to be over. */
  private tenure(): Tenure | undefined {
    const tenure = this.ending.signal.aborted ? undefined : this.options.leadership.tenure();
    return tenure && this.tenureLost?.epoch !== tenure.epoch ? tenure : undefined;
  }
  private holds(tenure: Tenure): boolean {
    return this.tenure()?.epoch === tenure.epoch;
  }

  private follow(): void {
    const tenure = this.tenure();
    if (tenure) {
      if (tenure.epoch !== this.lastEpoch) {
        this.lastEpoch = tenure.epoch;
        for (const key of this.keys.values()) {
          key.opened = undefined;
          key.unsure.clear();
        }
      }
      for (const key of this.keys.values()) if (key.opened?.epoch !== tenure.epoch) this.startRaise(key, "new-tenure");
    }
    this.wake();
  }

  private endTenure(tenure: Tenure, why: TenureLost, address: string): void {
    this.tenureLost = { epoch: tenure.epoch, why };
    for (const key of this.keys.values()) key.opened = undefined;
    this.options.log.warn("tenure-lost", why, { epoch: tenure.epoch, address });
    this.wake();
  }

  private wake(): void {
    const waiting = [...this.waiters];
    this.waiters.clear();
    for (const resume of waiting) resume();
  }
  /** Resolves at the next change of leadership or of a key, or after `ms`. */
  private async changed(ms: number): Promise<void> {
    if (ms <= 0) return;
    const controller = new AbortController();
    const resume = () => controller.abort();
    this.waiters.add(resume);
    await this.options.sleep(ms, controller.signal);
    this.waiters.delete(resume);
  }

  private exclusively<T>(key: Key, work: () => Promise<T>): Promise<T> {
    const result = key.lock.then(work);
    key.lock = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  private setState(key: Key, state: KeyState, reason: string, detail = ""): void {
    if (key.state === state && key.reason === reason) return;
    const fields = { address: key.address, state, detail, epoch: this.lastEpoch };
    if (state === "lost" || state === "refused") {
      this.options.log.warn("watermark", reason, fields);
      this.options.onTrouble?.(key.address, reason, detail);
    } else this.options.log.info("watermark", reason, fields);
    key.state = state;
    key.reason = reason;
    this.wake();
  }

  // ----------------------------------------------------------------------------------------------------------------
  // watermark store

  /** Objects are never changed, so that each is parsed once. */
  private readonly parsed = new WeakMap<ConfigMap, Observed>();
  private observed(object: ConfigMap | undefined): Observed {
    if (!object) return { state: "missing" };
    let observed = this.parsed.get(object);
    if (!observed) {
      observed = observe(object, { baker: this.options.baker, chain: this.options.chainId, dataKey: watermarkDataKey });
      this.parsed.set(object, observed);
    }
    return observed;
  }

  /** A plain GET. False where the API did not answer; then the key stays suspect. */
  private async read(key: Key, deadlineMs: number): Promise<boolean> {
    const { kube, clock, timings, memory } = this.options;
    const timeoutMs = Math.min(timings.requestTimeoutMs, deadlineMs - clock.now());
    if (timeoutMs <= 0) return false;
    const outcome = await kube.get("configmaps", key.name, { timeoutMs });
    if (outcome.ok) {
      key.object = outcome.object;
      const observed = this.observed(outcome.object);
      if (observed.state === "record") memory.note(key.address, observed.uid, observed.record);
    } else if (outcome.kind === "not-found") key.object = undefined;
    else {
      key.reason = `watermark-${outcome.kind}`;
      return false;
    }
    key.suspect = false;
    return true;
  }

  /**
   * One conditional PUT of the object last returned. The key is suspect afterwards unless the API acknowledged exactly
   * this record.
   */
  private async write(key: Key, record: unknown, timeoutMs: number): Promise<Outcome<ConfigMap>> {
    const base = key.object;
    if (!base || !base.metadata.uid || !base.metadata.resourceVersion)
      throw new Error("a watermark is written over an object that the API returned");
    const text = JSON.stringify(record);
    key.suspect = true;
    const outcome = await this.options.kube.replace(
      "configmaps",
      { ...base, data: { ...base.data, [watermarkDataKey]: text } },
      { timeoutMs },
    );
    if (!outcome.ok) return outcome;
    const { metadata, data } = outcome.object;
    if (
      metadata.name !== key.name ||
      metadata.uid !== base.metadata.uid ||
      !metadata.resourceVersion ||
      data?.[watermarkDataKey] !== text
    )
      return {
        ok: false,
        kind: "malformed",
        unknown: true,
        status: 200,
        message: "not what was written",
        sentAtMs: outcome.sentAtMs,
      };
    key.object = outcome.object;
    key.suspect = false;
    return outcome;
  }

  private startRaise(key: Key, cause: string): void {
    if (key.raising) return;
    key.raising = true;
    void this.raise(key, cause)
      .catch((error: unknown) => this.setState(key, "refused", "internal", String(error)))
      .finally(() => {
        key.raising = false;
        // A tenure that began while the last one's raise ended.
        const tenure = this.tenure();
        if (tenure && key.opened?.epoch !== tenure.epoch && key.reason !== "internal")
          this.startRaise(key, "new-tenure");
      });
  }

  /** Raises until the key is open, the tenure is over or no longer ours, or the gate ends. */
  private async raise(key: Key, cause: string): Promise<void> {
    key.opened = undefined;
    if (cause === "new-tenure" || (key.state !== "lost" && key.state !== "refused"))
      this.setState(key, "raising", cause);
    for (let attempt = 0; ; attempt++) {
      const tenure = this.tenure();
      if (!tenure) return;
      const pause = await this.exclusively(key, () => this.raiseOnce(key, tenure));
      if (pause === "done") return;
      if (pause > 0) await this.changed(Math.min(pauseMs.wait, pause * 2 ** Math.min(attempt, 10)));
    }
  }

  /** "done", or how long to wait before the next try. */
  private async raiseOnce(key: Key, tenure: Tenure): Promise<"done" | number> {
    const { clock, timings, memory, heads, baker, chainId: chain } = this.options;
    if (!(await this.read(key, clock.now() + timings.requestTimeoutMs))) return pauseMs.read;
    const observed = this.observed(key.object);
    const input = { observed, memory: memory.get(key.address), tenure, baker, chain };
    let decision = decideRaise({ ...input, syncedHead: null });
    if (decision.action === "wait" && decision.reason === "no-synced-head")
      decision = decideRaise({ ...input, syncedHead: await heads.synced() });
    switch (decision.action) {
      case "wait":
        this.setState(key, "lost", decision.reason, decision.lost);
        return pauseMs.wait;
      case "refuse":
        this.setState(key, "refused", decision.reason, decision.detail);
        return pauseMs.wait;
      case "over":
        this.endTenure(tenure, decision.reason, key.address);
        return "done";
      case "open":
        break;
      case "restore":
      case "write": {
        if (!this.holds(tenure)) return 0;
        const written = await this.write(key, decision.record, timings.requestTimeoutMs);
        if (!written.ok) {
          this.options.log.warn("raise-failed", written.kind, {
            address: key.address,
            epoch: tenure.epoch,
            unknown: written.unknown,
          });
          return written.kind === "conflict" ? 0 : pauseMs.read;
        }
        break;
      }
    }
    const current = this.observed(key.object);
    if (current.state !== "record") return pauseMs.read;
    try {
      await memory.commit(key.address, current.uid, current.record);
    } catch (error) {
      this.setState(key, "refused", "memory-write", String(error));
      return pauseMs.wait;
    }
    if (decision.action === "restore") {
      this.endTenure(tenure, decision.lost, key.address);
      return "done";
    }
    key.opened = {
      epoch: tenure.epoch,
      aboveRound: highest(current.record.marks).round,
      sinceMs: clock.now(),
      attestedBefore: current.record.marks.attestation?.level ?? null,
    };
    const reason =
      decision.action === "open"
        ? decision.reason
        : decision.reason === "raise"
          ? "raised"
          : `raised-${decision.reason}`;
    this.setState(key, "open", reason, `floor ${current.record.floor}`);
    return "done";
  }

  /**
   * What a regular look at a watermark showed, in standby too: remembered for S5; where it contradicts the cache, the
   * key is raised again. `undefined`: missing.
   */
  onSeen(address: string, object: ConfigMap | undefined): void {
    const key = this.keys.get(address);
    if (!key) return;
    const observed = this.observed(object);
    if (observed.state === "record") this.options.memory.note(address, observed.uid, observed.record);
    if (!key.opened || this.working > 0) return;
    const cached = this.observed(key.object);
    const same =
      observed.state === "record" &&
      cached.state === "record" &&
      observed.uid === cached.uid &&
      observed.record.epoch <= cached.record.epoch &&
      observed.record.floor <= cached.record.floor;
    if (same) return;
    key.suspect = true;
    this.startRaise(key, "watermark-changed");
  }

  // ----------------------------------------------------------------------------------------------------------------
  // signing

  /**
   * Decides one request and answers within the budget. `bytes` as decoded from the body; nothing of them is ever
   * changed. An identical request under way shares the answer.
   */
  sign(address: string, bytes: Uint8Array, query = ""): Promise<GateAnswer> {
    const startedMs = this.options.clock.now();
    const parsed = parseSigningRequest(bytes);
    if (!parsed.ok)
      return Promise.resolve(this.decided(startedMs, address, undefined, refuse(400, parsed.reason, "not understood")));
    const { request } = parsed;
    const key = this.keys.get(address);
    if (!key)
      return Promise.resolve(
        this.decided(startedMs, address, request, refuse(404, "unknown-key", "no key of this baker")),
      );
    if (request.chainId !== this.options.chainId)
      return Promise.resolve(
        this.decided(startedMs, address, request, refuse(400, "other-chain", `the request is for ${request.chainId}`)),
      );
    if (request.kind !== "block" && !layoutFits(request.tag, address, this.options.heads.aggregates()))
      return Promise.resolve(
        this.decided(
          startedMs,
          address,
          request,
          refuse(
            400,
            "tag-of-other-key",
            `a vote with tag ${request.tag} is none for a ${address.slice(0, 3)} key here`,
          ),
        ),
      );
    const id = `${address} ${request.digest} ${request.kind === "block" ? "" : query}`;
    const shared = this.running.get(id);
    if (shared) return shared;
    if (this.running.size >= (this.options.maxConcurrent ?? 256))
      return Promise.resolve(
        this.decided(
          startedMs,
          address,
          request,
          refuse(503, "overloaded", `${this.running.size} requests are under way`),
        ),
      );
    const answer = this.process(key, request, bytes, query, startedMs)
      .catch((error: unknown) => this.decided(startedMs, address, request, refuse(503, "internal", String(error))))
      .finally(() => this.running.delete(id));
    this.running.set(id, answer);
    return answer;
  }

  private decided(
    startedMs: number,
    address: string,
    request: SigningRequest | undefined,
    answer: GateAnswer,
    times: { markMs: number; signMs: number } = { markMs: 0, signMs: 0 },
  ): GateAnswer {
    const totalMs = this.options.clock.now() - startedMs;
    const result = answer.status === 200 ? "signed" : "refused";
    const fields = {
      address,
      kind: request?.kind ?? "unknown",
      blockLevel: request?.level,
      round: request?.round,
      digest: request?.digest,
      status: answer.status,
      epoch: this.lastEpoch,
      ms: Math.round(totalMs * 10) / 10,
      ...(answer.status === 200 ? {} : { detail: answer.detail }),
    };
    // The answer first.
    setImmediate(() => {
      if (answer.status === 200) this.options.log.info("signed", answer.reason, fields);
      else this.options.log.warn("refused", answer.reason, fields);
      this.options.onDecision?.({ kind: fields.kind, result, reason: answer.reason, totalMs, ...times });
    });
    return answer;
  }

  private async process(
    key: Key,
    request: SigningRequest,
    bytes: Uint8Array,
    query: string,
    startedMs: number,
  ): Promise<GateAnswer> {
    const { clock, timings } = this.options;
    const deadlineMs = startedMs + timings.gateBudgetMs;
    const times = { markMs: 0, signMs: 0 };
    const end = (answer: GateAnswer) => this.decided(startedMs, key.address, request, answer, times);
    for (;;) {
      const waiting = await this.waitOpen(key, request, deadlineMs);
      if ("status" in waiting) return end(waiting);
      const { tenure } = waiting;
      this.working++;
      try {
        const markStartMs = clock.now();
        const marked = await this.exclusively(key, () => this.mark(key, request, tenure, deadlineMs));
        times.markMs += clock.now() - markStartMs;
        if (marked === "again") continue;
        if (!marked.forward) return end(marked.answer);
        if (!this.holds(tenure)) continue;
        const signStartMs = clock.now();
        const answer = await this.forward(key, request, bytes, query, marked, tenure, deadlineMs);
        times.signMs = clock.now() - signStartMs;
        return end(answer);
      } finally {
        this.working--;
      }
    }
  }

  /** Waits inside the budget until this pod may sign with this key and the request is plausible; or the refusal. */
  private async waitOpen(
    key: Key,
    request: SigningRequest,
    deadlineMs: number,
  ): Promise<{ tenure: Tenure } | GateAnswer> {
    const { clock, leadership, heads, timings } = this.options;
    for (;;) {
      const tenure = this.tenure();
      let refusal: GateAnswer;
      if (!tenure) {
        const held = leadership.tenure();
        refusal = refuse(
          503,
          "not-master",
          held && this.tenureLost ? `tenure-over-${this.tenureLost.why}` : leadership.reason(),
        );
      } else if (key.opened?.epoch !== tenure.epoch) {
        if (key.state === "lost" || key.state === "refused")
          return refuse(409, key.reason, "see the runbook watermark-lost");
        this.startRaise(key, "new-tenure");
        refusal = refuse(503, "raising", key.reason);
      } else {
        const head = heads.own();
        if (head) {
          if (!plausible(request.level, head, timings.headFreshSeconds))
            return refuse(409, "level-implausible", `level ${request.level} is too far above the head ${head.level}`);
          return { tenure };
        }
        refusal = refuse(503, "no-head", "the node has not told its head yet");
      }
      const remaining = deadlineMs - clock.now();
      if (remaining <= 0) return refusal;
      // Without a head nothing wakes us: look again soon.
      await this.changed(tenure && key.opened ? Math.min(remaining, pauseMs.read) : remaining);
    }
  }

  private pass(key: Key): FloorPass {
    const { clock, heads, timings } = this.options;
    const opened = key.opened;
    const observed = this.observed(key.object);
    const head = heads.own();
    if (!opened || observed.state !== "record" || !head) return { open: false, aboveRound: Infinity };
    const heard = head.heardAgoMs <= (timings.headFreshSeconds * 1000) / 6;
    if (head.highestLevel > observed.record.floor) opened.sinceMs = clock.now();
    return {
      open: heard && clock.now() - opened.sinceMs >= timings.floorPassSeconds * 1000,
      aboveRound: opened.aboveRound,
    };
  }

  /** Under the key's lock. Forward only where the mark is acknowledged by the API and on this disk. */
  private async mark(key: Key, request: SigningRequest, tenure: Tenure, deadlineMs: number): Promise<Marked> {
    const { clock, timings, memory, log } = this.options;
    let trouble = "budget";
    const failed = async (kind: string, pause: number) => {
      trouble = kind;
      if (pause > 0) await this.options.sleep(Math.min(pause, Math.max(0, deadlineMs - clock.now())));
    };
    for (;;) {
      if (clock.now() >= deadlineMs) return { forward: false, answer: refuse(503, "watermark-unavailable", trouble) };
      if (!this.holds(tenure) || key.opened?.epoch !== tenure.epoch) return "again";
      const fresh = key.suspect;
      if (key.suspect && !(await this.read(key, deadlineMs))) {
        await failed(`read-${key.reason}`, pauseMs.read);
        continue;
      }
      const observed = this.observed(key.object);
      const decision = decideSign({ request, observed, memory: memory.get(key.address), tenure, pass: this.pass(key) });
      if (!fresh && (decision.action === "raise" || decision.action === "over")) {
        key.suspect = true;
        continue;
      }
      switch (decision.action) {
        case "refuse":
          return { forward: false, answer: refuse(409, decision.reason, decision.detail) };
        case "over":
          this.endTenure(tenure, decision.reason, key.address);
          return "again";
        case "raise":
          key.opened = undefined;
          key.suspect = true;
          this.startRaise(key, decision.reason);
          return "again";
        case "repeat":
        case "mark":
          break;
      }
      let announced: Announcement | undefined;
      if (decision.action === "mark") {
        if (!this.holds(tenure)) return "again";
        // The disk works while the API does.
        const { level, round, digest } = request;
        announced = memory.announce(key.address, request.kind, { level, round, digest });
        const timeoutMs = Math.max(1, Math.min(timings.markWriteMs, deadlineMs - clock.now()));
        let written: Outcome<ConfigMap> | undefined;
        try {
          written = await this.write(key, decision.record, timeoutMs);
        } finally {
          if (!written?.ok) announced.withdraw();
        }
        if (!written.ok) {
          if (written.unknown && request.kind === "block") key.unsure.set(request.digest, tenure.epoch);
          log.warn("mark-failed", written.kind, {
            address: key.address,
            kind: request.kind,
            blockLevel: request.level,
            unknown: written.unknown,
          });
          await failed(`write-${written.kind}`, written.kind === "conflict" || written.unknown ? 0 : pauseMs.read);
          continue;
        }
      }
      const current = this.observed(key.object);
      if (current.state !== "record") {
        announced?.withdraw();
        return "again";
      }
      try {
        if (announced) await announced.confirm(current.uid, current.record);
        else await memory.commit(key.address, current.uid, current.record);
      } catch (error) {
        return { forward: false, answer: refuse(503, "memory-write", String(error)) };
      }
      return { forward: true, repeated: decision.action === "repeat", reason: decision.reason };
    }
  }

  private async forward(
    key: Key,
    request: SigningRequest,
    bytes: Uint8Array,
    query: string,
    marked: { repeated: boolean; reason: string },
    tenure: Tenure,
    deadlineMs: number,
  ): Promise<GateAnswer> {
    const { digest, kind } = request;
    let reason = marked.reason;
    const sent = key.sent.get(digest);
    const neverForwarded = sent === undefined && (!marked.repeated || key.unsure.get(digest) === tenure.epoch);
    if (marked.repeated) {
      const repeat = decideRepeat({
        kind,
        deterministic: key.deterministic && sent?.deterministic !== false,
        remembered: typeof sent?.signature === "string",
        neverForwarded,
      });
      if (repeat.action === "answer" && typeof sent?.signature === "string")
        return { status: 200, signature: sent.signature, reason: repeat.reason };
      if (repeat.action === "refuse")
        return refuse(409, repeat.reason, "an identical block was sent to a signer before");
      reason = repeat.reason;
    }
    const { deterministic } = key;
    if (kind === "block") {
      key.sent.set(digest, { signature: null, deterministic });
      if (key.sent.size > maxRemembered) key.sent.delete(key.sent.keys().next().value ?? "");
    }
    const outcome = await this.options.signer.sign({
      address: key.address,
      bytes,
      digest: Buffer.from(digest, "hex"),
      query,
      deadlineMs,
      repeatable: kind !== "block" || deterministic,
    });
    if (!outcome.ok) {
      if (kind === "block" && !outcome.mayHaveSigned) {
        // Nothing reached a signer this time: where nothing did before, the same bytes may still be sent once.
        if (sent) key.sent.set(digest, sent);
        else {
          key.sent.delete(digest);
          if (neverForwarded) key.unsure.set(digest, tenure.epoch);
        }
      }
      return refuse(504, outcome.reason, outcome.detail);
    }
    if (kind === "block") {
      key.sent.set(digest, { signature: outcome.signature, deterministic });
      if (request.kind === "block" && request.seedNonceHash !== null && this.options.onCommitment) {
        const { level, round } = request;
        const seedNonceHash = encodeBase58("nonceHash", request.seedNonceHash);
        const blockPayloadHash = encodeBase58("payloadHash", request.payloadHash);
        await this.options
          .onCommitment({ address: key.address, level, round, seedNonceHash, blockPayloadHash })
          .catch((error: unknown) => {
            this.options.log.error("commitment-not-recorded", String(error), {
              address: key.address,
              blockLevel: level,
              round,
            });
          });
      }
    }
    return { status: 200, signature: outcome.signature, reason };
  }

  // ----------------------------------------------------------------------------------------------------------------
  // status

  status(): Pick<GateStatus, "open" | "reason" | "inFlight" | "epoch" | "keys" | "tenureLost"> {
    const tenure = this.tenure();
    const keys = [...this.keys.values()].map((key) => {
      const observed = this.observed(key.object);
      const record = observed.state === "record" ? observed.record : undefined;
      const attestation = record?.marks.attestation;
      const open = tenure !== undefined && key.opened?.epoch === tenure.epoch;
      return {
        address: key.address,
        state:
          tenure === undefined
            ? ("closed" as const)
            : open
              ? ("open" as const)
              : key.state === "open" || key.state === "closed"
                ? ("raising" as const)
                : key.state,
        reason: tenure === undefined ? this.options.leadership.reason() : key.reason,
        floor: record?.floor ?? null,
        highestLevel: record ? (highest(record.marks).level >= 0 ? highest(record.marks).level : null) : null,
        attestedBefore: open ? (key.opened?.attestedBefore ?? null) : null,
        lastAttestation: attestation ? { level: attestation.level, round: attestation.round } : null,
      };
    });
    const open = keys.some((key) => key.state === "open");
    const held = this.options.leadership.tenure();
    const lost = held && this.tenureLost?.epoch === held.epoch ? this.tenureLost.why : null;
    return {
      open,
      reason: lost
        ? `tenure-over-${lost}`
        : tenure === undefined
          ? this.options.leadership.reason()
          : open
            ? "open"
            : (keys[0]?.reason ?? "no-key"),
      inFlight: this.working,
      epoch: tenure?.epoch ?? this.lastEpoch,
      keys,
      tenureLost: lost,
    };
  }
}
