/**
 * Follows every commitment that passed this pod's gate until its nonce is safe or there is nothing to reveal, with the
 * rules of accounting.ts.
 */
import * as z from "zod/mini";
import { ports } from "../../contract/ports";
import { encodeNonceHash, nonceHash } from "../../tezos/nonces";
import type { Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { getJson } from "../runtime/http-get";
import type { Log } from "../runtime/log";
import { decide, isMissing, isOpen, type ChainAnswer, type Commitment, type Counts, type Tracked } from "./accounting";

const seedNonceHashSchema = z.pipe(
  z.string().check(z.regex(/^(nce[1-9A-HJ-NP-Za-km-z]{50}|[0-9a-f]{64})$/)),
  z.transform((text) => (text.startsWith("nce") ? text : encodeNonceHash(Buffer.from(text, "hex")))),
);
const commitmentsSchema = z.array(
  z.object({ address: z.string(), level: z.int(), round: z.int(), seedNonceHash: seedNonceHashSchema }),
);
const levelSchema = z.object({ level: z.int() });
const chainNonceSchema = z.object({ hash: z.optional(z.string()), nonce: z.optional(z.string()) });
const chainQuestionsATick = 4;
const shownAlerts = 3;

export class CommitmentAudit {
  counts: Counts = { committed: 0, local: 0, replicated: 0, revealed: 0, missing: 0 };
  private tracked: Tracked[] = [];
  private commitments: readonly Commitment[] = [];
  private headLevel: number | undefined;
  private readonly chain = new Map<number, ChainAnswer>();
  private readonly askedAtMs = new Map<number, number>();

  constructor(
    private readonly o: {
      config: DaemonConfig;
      clock: Clock;
      log: Log;
      /** Hashes in this pod's file; true where the file says revealed. */
      local: () => ReadonlyMap<string, boolean>;
      /** Whether another member has acknowledged a content with this hash. */
      acknowledged: (hash: string) => boolean;
    },
  ) {}

  get missingLevels(): number[] {
    return this.tracked.filter(isMissing).map(({ level }) => level);
  }

  /** The gate's list of commitments. */
  onCommitments(document: unknown): void {
    const parsed = commitmentsSchema.safeParse(document);
    // What the gate let through stays in our list.
    if (!parsed.success) return;
    this.commitments = parsed.data.map(({ seedNonceHash, ...rest }) => ({ ...rest, hash: seedNonceHash }));
    this.account();
  }

  account(): void {
    const { log } = this.o;
    const { tracked, counts, alerts } = decide(this.tracked, {
      commitments: this.commitments,
      local: this.o.local(),
      acknowledged: this.o.acknowledged,
      chain: this.chain,
      headLevel: this.headLevel,
      nowMs: this.o.clock.now(),
      ackMs: this.ackMs,
    });
    this.tracked = tracked;
    this.counts = counts;
    for (const { local, hash, level, round } of alerts.slice(0, shownAlerts))
      log.error("nonce-unreplicated", local ? "on no other member" : "not in this pod's nonce file", {
        hash,
        blockLevel: level,
        round,
        more: Math.max(0, alerts.length - shownAlerts),
      });
  }

  /** Asks the node how far the chain is, and what it says of the commitments that are open. */
  async askNode(signal: AbortSignal): Promise<void> {
    try {
      this.headLevel = levelSchema.parse(await this.ask("helpers/current_level", signal)).level;
    } catch {
      this.headLevel = undefined;
    }
    const due = this.tracked.filter((entry) => isOpen(entry) && this.sinceAsked(entry) > this.pauseMs(entry));
    try {
      for (const { level } of due.slice(0, chainQuestionsATick)) {
        if (this.headLevel === undefined) break;
        this.askedAtMs.set(level, this.o.clock.now());
        this.chain.set(level, answerOf(await this.ask(`context/nonces/${level}`, signal)));
      }
    } catch {
      // Without the node a commitment stays open, which errs on the side of an alert.
    }
    this.forgetOld();
    this.account();
  }

  private get ackMs(): number {
    return this.o.config.file.timings.nonceAckSeconds * 1000;
  }
  private sinceAsked({ level }: Tracked): number {
    return this.o.clock.now() - (this.askedAtMs.get(level) ?? -Infinity);
  }
  private pauseMs(entry: Tracked): number {
    return (isMissing(entry) ? 2 : 10) * this.ackMs;
  }

  private ask(path: string, signal: AbortSignal): Promise<unknown> {
    const { env, file } = this.o.config;
    const url = `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}/chains/main/blocks/head/${path}`;
    return getJson(url, { timeoutMs: file.timings.requestTimeoutMs, signal });
  }

  private forgetOld(): void {
    const levels = new Set(this.tracked.map((entry) => entry.level));
    for (const level of [...this.askedAtMs.keys()].filter((candidate) => !levels.has(candidate))) {
      this.askedAtMs.delete(level);
      this.chain.delete(level);
    }
  }
}

/** @throws where the node's answer is none of those that it documents */
function answerOf(document: unknown): ChainAnswer {
  const { hash, nonce } = chainNonceSchema.parse(document);
  if (nonce !== undefined) return { kind: "revealed", hash: nonceHash(nonce) };
  return hash === undefined ? { kind: "none" } : { kind: "committed", hash };
}
