/** What a node's answers mean for its pod. Pure: no clock, no network. */
import type { SidecarStatus } from "../../contract/status";
import type { Head } from "../runtime/octez-rpc";

/**
 * The last valid answer and the last failure to one question. Times are monotonic milliseconds; `sentAtMs` is when the
 * question was sent.
 */
export interface Answer<T> {
  value: T;
  sentAtMs: number;
}
export interface Problem {
  code: "unreachable" | "no-answer" | "not-understood";
  message: string;
  atMs: number;
}
export interface SeenHead extends Head {
  /** When this block was first seen as the head, and how old it was then by the wall clock. */
  firstSeenMs: number;
  ageThenMs: number;
}
export interface SidecarState {
  head: SeenHead | undefined;
  /** Of the header poll, which alone proves that the node answers: a quiet stream proves nothing. */
  header: { answer: Answer<{ chainId: string }> | undefined; problem: Problem | undefined };
  connections: { answer: Answer<number> | undefined; problem: Problem | undefined };
  syncState: string | undefined;
}
export interface SidecarRules {
  chainId: string;
  headMaxAgeMs: number;
  /** How long a node may owe the answer to the header poll, and to the count of connections. */
  headerSilenceMs: number;
  connectionsSilenceMs: number;
}
export interface Now {
  monotonicMs: number;
  wallMs: number;
}

/**
 * A block may be ahead of a clock that is a little behind; Octez itself refuses blocks from further ahead than that.
 */
export const futureToleranceMs = 15_000;

export const emptyState: SidecarState = {
  head: undefined,
  header: { answer: undefined, problem: undefined },
  connections: { answer: undefined, problem: undefined },
  syncState: undefined,
};

/**
 * The age of a head: the larger of what the wall clock says now, and what it said when the head was first seen plus the
 * monotonic time since. So a wall clock that steps back cannot make an old head young again. One that steps forward
 * ages it, which the next block mends. Negative where the head is from the future.
 */
export function headAgeMs(head: SeenHead, now: Now): number {
  return Math.max(now.wallMs - head.timestampMs, head.ageThenMs + (now.monotonicMs - head.firstSeenMs));
}

/**
 * The state after the node has shown this block as its head. An answer to a question older than the head in hand
 * changes nothing.
 */
export function withHead(state: SidecarState, head: Head, sentAtMs: number, now: Now): SidecarState {
  const known = state.head;
  if (known?.hash === head.hash) return state;
  if (known && head.level < known.level && sentAtMs < known.firstSeenMs) return state;
  return { ...state, head: { ...head, firstSeenMs: now.monotonicMs, ageThenMs: now.wallMs - head.timestampMs } };
}

type Verdict = { ok: boolean; reason: string };
const no = (code: string, text: string): Verdict => ({ ok: false, reason: `${code}: ${text}` });
const text = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/**
 * Whether the node answers this question at all: a failure that is newer than the last answer counts at once, silence
 * after `silenceMs`.
 */
function answers(
  what: string,
  { answer, problem }: { answer: Answer<unknown> | undefined; problem: Problem | undefined },
  silenceMs: number,
  now: Now,
): Verdict | undefined {
  const newest = problem && (!answer || problem.atMs > answer.sentAtMs) ? problem : undefined;
  if (newest && newest.code !== "no-answer") return no(newest.code, `${what}: ${newest.message}`);
  if (!answer) return no("no-answer", `${what}: ${newest?.message ?? "not asked yet"}`);
  const silent = now.monotonicMs - answer.sentAtMs;
  return silent > silenceMs ? no("no-answer", `${what}: silent for ${text(silent)}`) : undefined;
}

function ready(state: SidecarState, rules: SidecarRules, now: Now): Verdict {
  const { head } = state;
  const silent = answers("header", state.header, rules.headerSilenceMs, now);
  if (silent) return silent;
  const chain = state.header.answer?.value.chainId;
  if (chain !== rules.chainId)
    return no("wrong-chain", `the node follows ${chain ?? "no chain"}, this baker is for ${rules.chainId}`);
  if (!head) return no("no-head", "the node has shown no head yet");
  const age = headAgeMs(head, now);
  if (age < -futureToleranceMs)
    return no("head-in-future", `the head's time is ${text(-age)} ahead of this machine's clock`);
  if (age > rules.headMaxAgeMs)
    return no(
      "head-too-old",
      `the head (level ${head.level}) is ${text(age)} old, at most ${text(rules.headMaxAgeMs)} is ready`,
    );
  return { ok: true, reason: "" };
}

function live(state: SidecarState, rules: SidecarRules, now: Now): Verdict {
  const silent = answers("connections", state.connections, rules.connectionsSilenceMs, now);
  if (silent) return silent;
  return (state.connections.answer?.value ?? 0) > 0
    ? { ok: true, reason: "" }
    : no("no-connections", "the node has no connection");
}

/** `reason` and `liveReason` are "" where all is well, else `code: explanation`. */
export function assess(state: SidecarState, rules: SidecarRules, now: Now): SidecarStatus {
  const isLive = live(state, rules, now);
  const isReady = ready(state, rules, now);
  const { head } = state;
  return {
    live: isLive.ok,
    liveReason: isLive.reason,
    ready: isReady.ok,
    reason: isReady.reason,
    connections: state.connections.answer?.value ?? null,
    head: head
      ? {
          level: head.level,
          round: head.round,
          hash: head.hash,
          timestamp: head.timestamp,
          ageSeconds: headAgeMs(head, now) / 1000,
        }
      : null,
    chainId: state.header.answer?.value.chainId ?? null,
    syncState: state.syncState ?? null,
  };
}
