/** What the gate is built from: its keys, and everything outside of it. */
import type { MarkKind } from "../../contract/watermark";
import type { Timings } from "../../contract/timings";
import type { Clock } from "../runtime/clock";
import type { KubeClient } from "../runtime/kube";
import type { Log } from "../runtime/log";
import type { HeadView } from "./decide";
import type { LeadershipView } from "./leadership";
import type { MarksMemory } from "./memory";

export interface SignAttempt {
  address: string;
  kind: MarkKind;
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
  /** Where the chain is known to be faster than `headFreshSeconds` assumes: what to take in its place. */
  freshSeconds?: number;
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
    /** Bound of a DAL bitset: by the chain's constants, never less than today's longest. */
    dalBits(): number;
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
