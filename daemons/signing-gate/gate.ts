/**
 * The signing gate without its sockets: the way of a request.
 *
 * Guarantees S1-S3, S5-S7 of docs/protocol.md whatever clocks, pauses, partitions, restarts, API answers and signers
 * do: a request is forwarded only after the API acknowledged its mark in an object of this pod's own tenure and that
 * mark is in this pod's durable memory. Does not guarantee that the signature reaches the baker, nor the order in which
 * late requests reach signers.
 */
import type { GateStatus } from "../../contract/status";
import { encodeBase58 } from "../../tezos/base58";
import { layoutFits, maxRequestBytes, parseSigningRequest, type SigningRequest } from "../../tezos/signing-request";
import type { ConfigMap } from "../runtime/kube";
import { Asked } from "./asked";
import { refuse, type GateAnswer, type Refusal } from "./answer";
import { plausible, type Tenure } from "./decide";
import type { GateKey, GateOptions } from "./gate-options";
import { Marking } from "./marking";
import { pauseMs, SigningKey } from "./signing-key";
import { Tenures } from "./tenures";

export type { GateAnswer } from "./answer";
export type { GateOptions, SignAttempt, SignOutcome } from "./gate-options";

/** One request on its way: what came, for which key, and by when it must be answered. */
interface Pending {
  key: SigningKey;
  request: SigningRequest;
  /** As decoded from the body; nothing of them is ever changed. */
  bytes: Uint8Array;
  query: string;
  deadlineMs: number;
}

export class Gate {
  private readonly keys = new Map<string, SigningKey>();
  private readonly running = new Map<string, Promise<GateAnswer>>();
  private readonly tenures: Tenures;
  private readonly marking: Marking;
  private working = 0;
  private attestationsAsked = 0;
  private readonly asked = new Asked();
  private readonly askedSinceMs: number;

  constructor(private readonly options: GateOptions) {
    this.askedSinceMs = options.clock.now();
    const everyKey = (work: (key: SigningKey) => void) => [...this.keys.values()].forEach(work);
    this.tenures = new Tenures(options, {
      tenure: (tenure, begins) => {
        if (begins) everyKey((key) => key.newTenure());
        everyKey((key) => {
          if (!key.isOpen(tenure)) key.raise("new-tenure");
        });
      },
      end: () => everyKey((key) => key.shut()),
    });
    this.marking = new Marking(options, this.tenures);
    for (const { address, deterministic } of options.keys)
      this.keys.set(address, new SigningKey(address, deterministic, options, this.tenures));
    this.tenures.start();
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
    this.tenures.close();
  }

  /** What a regular look at a watermark showed, in standby too. `undefined`: missing. */
  look(address: string, object: ConfigMap | undefined): void {
    this.keys.get(address)?.look(object, this.working > 0);
  }

  /**
   * Counts a request that may be an attestation, such as one of a coming protocol: whoever asks for what is refused
   * does not hang.
   */
  askedForVote(): void {
    this.attestationsAsked++;
  }

  /** No longer request is understood, as the chain's constants are known now. */
  maxRequestBytes(): number {
    return maxRequestBytes(this.options.heads.dalBits());
  }

  /** Decides one request and answers within the budget. An identical request under way shares the answer. */
  sign(address: string, bytes: Uint8Array, query = ""): Promise<GateAnswer> {
    const startedMs = this.options.clock.now();
    const parsed = parseSigningRequest(bytes, this.options.heads.dalBits());
    const request = parsed.ok ? parsed.request : undefined;
    if (!request || request.kind === "attestation") this.askedForVote();
    const decided = (answer: GateAnswer) => this.decided(startedMs, address, request, answer);
    const refused = (answer: Refusal) => {
      this.asked.begin(address, request)(answer.reason, startedMs);
      return Promise.resolve(decided(answer));
    };
    const refusal = parsed.ok ? this.notForUs(address, parsed.request) : refuse(400, parsed.reason, "not understood");
    const key = this.keys.get(address);
    if (refusal || !key || !request) return refused(refusal ?? unknownKey);
    const id = `${address} ${request.digest} ${request.kind === "block" ? "" : query}`;
    const shared = this.running.get(id);
    if (shared) return shared;
    if (this.running.size >= (this.options.maxConcurrent ?? 256))
      return refused(refuse(503, "overloaded", `${this.running.size} requests are under way`));
    const deadlineMs = startedMs + this.options.timings.gateBudgetMs;
    const answer = this.process({ key, request, bytes, query, deadlineMs }, startedMs)
      .catch((error: unknown) => decided(refuse(503, "internal", String(error))))
      .finally(() => this.running.delete(id));
    this.running.set(id, answer);
    const ended = this.asked.begin(address, request);
    void answer.then(({ status, reason }) => ended(status === 200 ? "signed" : reason, this.options.clock.now()));
    return answer;
  }

  /** Why a request that could be read is not for this gate, whatever the watermark says. */
  private notForUs(address: string, request: SigningRequest): Refusal | undefined {
    if (!this.keys.has(address)) return unknownKey;
    if (request.chainId !== this.options.chainId)
      return refuse(400, "other-chain", `the request is for ${request.chainId}`);
    if (request.kind !== "block" && !layoutFits(request.tag, address, this.options.heads.aggregates())) {
      const vote = `a vote with tag ${request.tag} is none for a ${address.slice(0, 3)} key here`;
      return refuse(400, "tag-of-other-key", vote);
    }
    return undefined;
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
      epoch: this.tenures.epoch,
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

  private async process(pending: Pending, startedMs: number): Promise<GateAnswer> {
    const { clock } = this.options;
    const { key, request, deadlineMs } = pending;
    const times = { markMs: 0, signMs: 0 };
    const end = (answer: GateAnswer) => this.decided(startedMs, key.address, request, answer, times);
    for (;;) {
      const waited = await this.waitUntilOpen(pending);
      if ("status" in waited) return end(waited);
      const { tenure } = waited;
      this.working++;
      try {
        const markStartMs = clock.now();
        const marked = await key.watermark.exclusively(() => this.marking.mark(key, request, tenure, deadlineMs));
        times.markMs += clock.now() - markStartMs;
        if (marked === "again") continue;
        if (!marked.forward) return end(marked.refusal);
        if (!this.tenures.isCurrent(tenure)) continue;
        const signStartMs = clock.now();
        const answer = await this.forward(pending, marked, tenure);
        times.signMs = clock.now() - signStartMs;
        return end(answer);
      } finally {
        this.working--;
      }
    }
  }

  /** Waits inside the budget until this pod may sign with this key and the request is plausible; or the refusal. */
  private async waitUntilOpen({ key, request, deadlineMs }: Pending): Promise<{ tenure: Tenure } | Refusal> {
    const { clock, heads, timings } = this.options;
    for (;;) {
      const tenure = this.tenures.current();
      let refusal: Refusal;
      if (!tenure) refusal = refuse(503, "not-master", this.tenures.reason());
      else if (!key.isOpen(tenure)) {
        if (key.stuck) return refuse(409, key.reason, "see the runbook watermark-lost");
        key.raise("new-tenure");
        refusal = refuse(503, "raising", key.reason);
      } else {
        const head = heads.own();
        if (head) {
          if (!plausible(request.level, head, head.freshSeconds ?? timings.headFreshSeconds))
            return refuse(409, "level-implausible", `level ${request.level} is too far above the head ${head.level}`);
          return { tenure };
        }
        refusal = refuse(503, "no-head", "the node has not told its head yet");
      }
      const remaining = deadlineMs - clock.now();
      if (remaining <= 0) return refusal;
      // Without a head nothing wakes us: look again soon.
      await this.tenures.changed(tenure && key.isOpen() ? Math.min(remaining, pauseMs.read) : remaining);
    }
  }

  /** Sends a request whose mark is durable to a signer, unless S7 forbids it. */
  private async forward(
    { key, request, bytes, query, deadlineMs }: Pending,
    marked: { repeated: boolean; reason: string },
    { epoch }: Tenure,
  ): Promise<GateAnswer> {
    const { address, blocks, deterministic } = key;
    const { kind, digest } = request;
    const { clock } = this.options;
    let reason = marked.reason;
    if (marked.repeated) {
      const repeat = blocks.repeat(request, deterministic, epoch);
      if (repeat.action === "answer") return { status: 200, signature: repeat.signature, reason: repeat.reason };
      if (repeat.action === "refuse")
        return refuse(409, repeat.reason, "an identical block was sent to a signer before");
      reason = repeat.reason;
    }
    const isBlock = kind === "block";
    const takeBack = isBlock ? blocks.sending(digest, deterministic, marked.repeated, epoch) : undefined;
    const outcome = await this.options.signer.sign({
      ...{ address, kind, bytes, digest: Buffer.from(digest, "hex"), query, deadlineMs },
      repeatable: !isBlock || deterministic,
    });
    if (!outcome.ok) {
      if (!outcome.mayHaveSigned) takeBack?.();
      return refuse(outcome.reason === "signer-watermark" ? 409 : 504, outcome.reason, outcome.detail);
    }
    if (isBlock) {
      blocks.signed(digest, outcome.signature, deterministic);
      // Its own file is nothing that a signature depends on: a disk that hangs does not keep it back.
      const over = new AbortController();
      const recorded = this.recordCommitment(address, request).finally(() => over.abort());
      await Promise.race([recorded, this.options.sleep(Math.max(0, deadlineMs - clock.now()), over.signal)]);
    }
    return { status: 200, signature: outcome.signature, reason };
  }

  /** The answer with a block that commits to a nonce waits until the commitment is recorded. */
  private async recordCommitment(address: string, request: SigningRequest): Promise<void> {
    const { onCommitment, log } = this.options;
    if (request.kind !== "block" || request.seedNonceHash === null || !onCommitment) return;
    const { level, round } = request;
    const seedNonceHash = encodeBase58("nonceHash", request.seedNonceHash);
    const blockPayloadHash = encodeBase58("payloadHash", request.payloadHash);
    try {
      await onCommitment({ address, level, round, seedNonceHash, blockPayloadHash });
    } catch (error) {
      log.error("commitment-not-recorded", String(error), { address, blockLevel: level, round });
    }
  }

  status(): Omit<GateStatus, "signers" | "signersAnswering" | "memoryProblem" | "refusedByWatermark"> {
    const tenure = this.tenures.current();
    const keys = [...this.keys.values()].map((key) => key.status());
    const open = keys.some((key) => key.state === "open");
    const tenureLost = this.tenures.lost();
    const reason = open ? "open" : (keys[0]?.reason ?? "no-key");
    return {
      open,
      reason: tenureLost ? `tenure-over-${tenureLost}` : tenure ? reason : this.options.leadership.reason(),
      inFlight: this.working,
      epoch: tenure?.epoch ?? this.tenures.epoch,
      keys,
      attestationsAsked: this.attestationsAsked,
      asked: this.asked.list(),
      askedSinceMs: this.askedSinceMs,
      tenureLost,
    };
  }
}

const unknownKey = refuse(404, "unknown-key", "no key of this baker");
