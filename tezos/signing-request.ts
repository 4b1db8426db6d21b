/**
 * What a baker asks a signer to sign, understood completely or refused (S6). Total: every byte string gives a request
 * or a reason. Layouts of the protocols of protocols.ts; big-endian. A new protocol is a new row, never a looser one.
 */
import { blake2b } from "@noble/hashes/blake2b";
import { encodeBase58 } from "./base58";
import { leastDalBits, type ProtocolNumber } from "./protocols";

export type RequestKind = "block" | "preattestation" | "attestation";

interface Common {
  /** Base58, for instance NetXdQprcVkpaWU. */
  chainId: string;
  /** 0 .. 2^31 - 1 */
  level: number;
  round: number;
  /** 32 bytes. */
  payloadHash: Uint8Array;
  /** Lowercase hex of the BLAKE2b-256 of all the bytes, the watermark byte included. */
  digest: string;
}
export interface BlockRequest extends Common {
  kind: "block";
  /** 32 bytes. */
  predecessor: Uint8Array;
  /** Seconds since 1970. */
  timestamp: bigint;
  payloadRound: number;
  /** 32 bytes where the header commits to a nonce. */
  seedNonceHash: Uint8Array | null;
}
export interface VoteRequest extends Common {
  kind: "preattestation" | "attestation";
  tag: number;
  /** Block hash of the branch, 32 bytes. */
  branch: Uint8Array;
  /** Null in the BLS layout. */
  slot: number | null;
  /** True for an attestation with DAL content. */
  dal: boolean;
}
export type SigningRequest = BlockRequest | VoteRequest;

/** Stable codes; they are answered to the baker, logged and counted. */
export const refusalReasons = [
  "empty",
  "kind-unknown",
  "kind-tenderbake-only",
  "tag-unknown",
  "tag-kind-mismatch",
  "length",
  "level-negative",
  "round-negative",
  "fitness-length",
  "fitness-version",
  "fitness-layout",
  "fitness-level-mismatch",
  "fitness-predecessor-round",
  "payload-round-negative",
  "seed-nonce-flag",
  "vote-byte",
  "dal-content",
] as const;
export type RefusalReason = (typeof refusalReasons)[number];
export type Parsed = { ok: true; request: SigningRequest } | { ok: false; reason: RefusalReason };

/**
 * Watermark bytes of Tenderbake. Others that exist and that a baker has no use for: 0x01 block, 0x02 endorsement, 0x03
 * operation, 0x05 Micheline.
 */
const kinds: Readonly<Record<number, RequestKind>> = { 0x11: "block", 0x12: "preattestation", 0x13: "attestation" };
const foreign: readonly number[] = [0x01, 0x02, 0x03, 0x04, 0x05];

/**
 * Where a vote's fields are, decided by its tag; whether the key may sign it is another question (`layoutFits`). `dal`:
 * a bitset follows the fixed part.
 */
interface VoteLayout {
  kind: "preattestation" | "attestation";
  slot: number | null;
  level: number;
  round: number;
  payloadHash: number;
  length: number;
  dal: boolean;
  protocols: readonly ProtocolNumber[];
}
const both = ["024", "025"] as const satisfies readonly ProtocolNumber[];
const slotLayout = { slot: 38, level: 40, round: 44, payloadHash: 48, length: 80, protocols: both };
const blsLayout = { slot: null, level: 38, round: 42, payloadHash: 46, length: 78, dal: false, protocols: both };
export const voteLayouts: Readonly<Record<number, VoteLayout>> = {
  20: { kind: "preattestation", ...slotLayout, dal: false },
  21: { kind: "attestation", ...slotLayout, dal: false },
  23: { kind: "attestation", ...slotLayout, dal: true },
  40: { kind: "preattestation", ...blsLayout },
  41: { kind: "attestation", ...blsLayout },
};
/**
 * May a key of this address sign a vote of this tag? Signers pick the layout by the type of the key, and one that takes
 * a round for a level refuses the key's votes for ever after: BLS keys (tz4) have layouts without a slot where the
 * chain aggregates their votes, and those with a slot elsewhere; tz1 to tz3 always have a slot. Nobody else has a
 * layout here: tz5 (ML-DSA) is not understood.
 * @param aggregates the chain's constant `aggregate_attestation`; null where the node has not told it
 */
export function layoutFits(tag: number, address: string, aggregates: boolean | null): boolean {
  const layout = voteLayouts[tag];
  if (!layout) return false;
  if (address.startsWith("tz4")) return layout.slot === null || aggregates === false;
  return /^tz[123]/.test(address) && layout.slot !== null;
}
const branchOffset = 5;
const tagOffset = 37;

/** Block header. Offsets from `context` on are relative to the end of the fitness, 87 + its length. */
export const blockLayout = {
  level: 5,
  predecessor: 10,
  timestamp: 42,
  fitnessLength: 83,
  fitness: 87,
  afterFitness: { payloadHash: 32, payloadRound: 64, seedFlag: 76, seed: 77 },
  /** Fitness contents: version 2, without and with a locked round. */
  fitnessLengths: [33, 37],
  fitnessVersion: 2,
  protocols: both,
} as const;

/** The encoding of a number: 6 bits in its first byte, 7 in each further one. */
const bitsetBytes = (bits: number): number => 1 + Math.ceil(Math.max(0, bits - 6) / 7);
const longestBlock = blockLayout.fitness + 37 + 77 + 32 + 1;
/**
 * Requests longer than this are refused before anything is read.
 *
 * @param dalBits bound of a DAL bitset (protocols.ts)
 */
export const maxRequestBytes = (dalBits: number = leastDalBits): number =>
  Math.max(longestBlock, slotLayout.length + bitsetBytes(dalBits));

let lastChain = { bytes: -1, text: "" };
/** All requests of a run are for one chain: encoded once. */
function chainIdOf(bytes: Uint8Array): string {
  const id = slice(bytes, 1, 4);
  const number = new DataView(id.buffer, id.byteOffset, 4).getUint32(0);
  if (lastChain.bytes !== number) lastChain = { bytes: number, text: encodeBase58("chainId", id) };
  return lastChain.text;
}

const refuse = (reason: RefusalReason): Parsed => ({ ok: false, reason });
const slice = (bytes: Uint8Array, from: number, size: number) => bytes.slice(from, from + size);

/** Lowercase hex of the BLAKE2b-256 of a request's bytes. */
export const requestDigest = (bytes: Uint8Array): string => Buffer.from(blake2b(bytes, { dkLen: 32 })).toString("hex");

/**
 * Never throws, whatever the bytes.
 *
 * @param dalBits bound of a DAL bitset: what the chain's constants say (protocols.ts)
 */
export function parseSigningRequest(bytes: Uint8Array, dalBits: number = leastDalBits): Parsed {
  const first = bytes[0];
  if (first === undefined) return refuse("empty");
  const kind = kinds[first];
  if (kind === undefined) return refuse(foreign.includes(first) ? "kind-tenderbake-only" : "kind-unknown");
  if (bytes.length > maxRequestBytes(dalBits)) return refuse("length");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return kind === "block" ? parseBlock(bytes, view) : parseVote(kind, bytes, view, dalBits);
}

function parseVote(kind: "preattestation" | "attestation", bytes: Uint8Array, view: DataView, dalBits: number): Parsed {
  if (bytes.length <= tagOffset) return refuse("length");
  const tag = view.getUint8(tagOffset);
  const layout = voteLayouts[tag];
  if (!layout) return refuse("tag-unknown");
  if (layout.kind !== kind) return refuse("tag-kind-mismatch");
  if (layout.dal ? bytes.length <= layout.length : bytes.length !== layout.length) return refuse("length");
  if (layout.dal && !isBitset(bytes.subarray(layout.length), dalBits)) return refuse("dal-content");
  const level = view.getInt32(layout.level);
  const round = view.getInt32(layout.round);
  if (level < 0) return refuse("level-negative");
  if (round < 0) return refuse("round-negative");
  return {
    ok: true,
    request: {
      kind,
      tag,
      chainId: chainIdOf(bytes),
      level,
      round,
      branch: slice(bytes, branchOffset, 32),
      slot: layout.slot === null ? null : view.getUint16(layout.slot),
      payloadHash: slice(bytes, layout.payloadHash, 32),
      dal: layout.dal,
      digest: requestDigest(bytes),
    },
  };
}

/**
 * A signed number that is not negative: 6 bits below the sign, then groups of 7; the high bit says that another
 * follows; the last of several is not zero.
 */
function isBitset(bytes: Uint8Array, dalBits: number): boolean {
  const last = bytes.length - 1;
  const first = bytes[0];
  if (first === undefined || bytes.length > bitsetBytes(dalBits) || (first & 0x40) !== 0) return false;
  if (bytes.some((byte, i) => byte >= 0x80 !== i < last)) return false;
  return last === 0 || bytes[last] !== 0;
}

function parseBlock(bytes: Uint8Array, view: DataView): Parsed {
  const { fitness, afterFitness } = blockLayout;
  if (bytes.length < fitness) return refuse("length");
  const size = view.getUint32(blockLayout.fitnessLength);
  if (size !== 33 && size !== 37) return refuse("fitness-length");
  const end = fitness + size;
  const flagAt = end + afterFitness.seedFlag;
  if (bytes.length <= flagAt) return refuse("length");
  const flag = view.getUint8(flagAt);
  if (flag !== 0x00 && flag !== 0xff) return refuse("seed-nonce-flag");
  const voteAt = flagAt + (flag === 0xff ? 33 : 1);
  if (bytes.length !== voteAt + 1) return refuse("length");

  // Fitness: five fields, each with its length before it: version, level, locked round or nothing, predecessor's round
  // negated, round.
  if (view.getUint32(fitness) !== 1) return refuse("fitness-layout");
  if (view.getUint8(fitness + 4) !== blockLayout.fitnessVersion) return refuse("fitness-version");
  const lockedSize = size - 33;
  if (view.getUint32(fitness + 5) !== 4 || view.getUint32(fitness + 13) !== lockedSize) return refuse("fitness-layout");
  const predecessorAt = fitness + 17 + lockedSize;
  if (view.getUint32(predecessorAt) !== 4 || view.getUint32(predecessorAt + 8) !== 4) return refuse("fitness-layout");
  if (lockedSize > 0 && view.getInt32(fitness + 17) < 0) return refuse("round-negative");
  if (view.getInt32(predecessorAt + 4) >= 0) return refuse("fitness-predecessor-round");

  const level = view.getInt32(blockLayout.level);
  if (level < 0) return refuse("level-negative");
  if (view.getInt32(fitness + 9) !== level) return refuse("fitness-level-mismatch");
  const round = view.getInt32(end - 4);
  if (round < 0) return refuse("round-negative");
  const payloadRound = view.getInt32(end + afterFitness.payloadRound);
  if (payloadRound < 0) return refuse("payload-round-negative");
  // Two votes of two bits: on, off, pass.
  const vote = view.getUint8(voteAt);
  if (vote > 0x0f || (vote & 3) === 3 || vote >> 2 === 3) return refuse("vote-byte");
  return {
    ok: true,
    request: {
      kind: "block",
      chainId: chainIdOf(bytes),
      level,
      round,
      predecessor: slice(bytes, blockLayout.predecessor, 32),
      timestamp: view.getBigInt64(blockLayout.timestamp),
      payloadHash: slice(bytes, end + afterFitness.payloadHash, 32),
      payloadRound,
      seedNonceHash: flag === 0xff ? slice(bytes, end + afterFitness.seed, 32) : null,
      digest: requestDigest(bytes),
    },
  };
}

/** The opposite direction, for the laboratory and for tests. */
export interface BlockFields {
  chainId: Uint8Array;
  level: number;
  round: number;
  payloadHash: Uint8Array;
  proto?: number;
  predecessor?: Uint8Array;
  timestamp?: bigint;
  validationPasses?: number;
  operationsHash?: Uint8Array;
  context?: Uint8Array;
  lockedRound?: number | null;
  predecessorRound?: number;
  payloadRound?: number;
  proofOfWorkNonce?: Uint8Array;
  seedNonceHash?: Uint8Array | null;
  voteByte?: number;
}
const int32 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value);
  return bytes;
};
const int64 = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, value);
  return bytes;
};
const zeros = (size: number) => new Uint8Array(size);

/** Bytes of a block header to sign, the watermark byte and the chain id included. Hashes default to zeros. */
export function encodeBlockRequest(fields: BlockFields): Uint8Array {
  const locked = fields.lockedRound === undefined || fields.lockedRound === null ? zeros(0) : int32(fields.lockedRound);
  const field = (bytes: Uint8Array) => [int32(bytes.length), bytes];
  const fitness = [
    ...field(Uint8Array.of(blockLayout.fitnessVersion)),
    ...field(int32(fields.level)),
    ...field(locked),
    ...field(int32(-(fields.predecessorRound ?? 0) - 1)),
    ...field(int32(fields.round)),
  ];
  const seed = fields.seedNonceHash ?? null;
  return Uint8Array.from(
    Buffer.concat([
      Uint8Array.of(0x11),
      fields.chainId,
      int32(fields.level),
      Uint8Array.of(fields.proto ?? 25),
      fields.predecessor ?? zeros(32),
      int64(fields.timestamp ?? 0n),
      Uint8Array.of(fields.validationPasses ?? 4),
      fields.operationsHash ?? zeros(32),
      int32(fitness.reduce((sum, part) => sum + part.length, 0)),
      ...fitness,
      fields.context ?? zeros(32),
      fields.payloadHash,
      int32(fields.payloadRound ?? fields.round),
      fields.proofOfWorkNonce ?? zeros(8),
      seed === null ? Uint8Array.of(0) : Buffer.concat([Uint8Array.of(0xff), seed]),
      Uint8Array.of(fields.voteByte ?? 2),
    ]),
  );
}

export interface VoteFields {
  /** 20, 21, 23, 40 or 41 */
  tag: number;
  chainId: Uint8Array;
  level: number;
  round: number;
  payloadHash: Uint8Array;
  branch?: Uint8Array;
  slot?: number;
  /** Bytes of the DAL bitset, tag 23 only; default one zero byte. */
  dal?: Uint8Array;
}
/** @throws Error for a tag that no layout has */
export function encodeVoteRequest(fields: VoteFields): Uint8Array {
  const layout = voteLayouts[fields.tag];
  if (!layout) throw new Error(`a vote's tag is one of ${Object.keys(voteLayouts).join(", ")}, got ${fields.tag}`);
  const slot = fields.slot ?? 0;
  return Uint8Array.from(
    Buffer.concat([
      Uint8Array.of(layout.kind === "preattestation" ? 0x12 : 0x13),
      fields.chainId,
      fields.branch ?? zeros(32),
      Uint8Array.of(fields.tag),
      layout.slot === null ? zeros(0) : Uint8Array.of(slot >> 8, slot & 0xff),
      int32(fields.level),
      int32(fields.round),
      fields.payloadHash,
      layout.dal ? (fields.dal ?? zeros(1)) : zeros(0),
    ]),
  );
}
