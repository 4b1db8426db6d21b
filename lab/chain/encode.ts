/** Byte layouts of what an Octez baker signs, written independently of the parser in tezos/. Big-endian throughout. */
import { blake2b } from "@noble/hashes/blake2";
import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";

const base58check = createBase58check(sha256);
const prefixes = {
  block: [1, 52],
  operationsHash: [29, 159, 109],
  context: [79, 199],
  payload: [1, 106, 242],
  nonce: [69, 220, 169],
  protocol: [2, 170],
  chain: [87, 82, 0],
  operation: [5, 116],
} as const;
export type HashKind = keyof typeof prefixes;

export const toBase58 = (kind: HashKind, bytes: Uint8Array): string =>
  base58check.encode(Uint8Array.from([...prefixes[kind], ...bytes]));
export const fromBase58 = (kind: HashKind, text: string): Buffer =>
  Buffer.from(base58check.decode(text).slice(prefixes[kind].length));
export const hash32 = (...parts: (string | Uint8Array)[]): Buffer =>
  Buffer.from(blake2b(Buffer.concat(parts.map((part) => Buffer.from(part as Uint8Array))), { dkLen: 32 }));

const u8 = (value: number) => Buffer.from([value]);
const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const i32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const i64 = (value: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
};
const sized = (bytes: Uint8Array) => Buffer.concat([i32(bytes.length), bytes]);

export interface BlockHeader {
  level: number;
  proto: number;
  predecessor: string;
  /** Whole seconds since 1970. */
  timestamp: number;
  validationPass: number;
  operationsHash: string;
  lockedRound: number | null;
  predecessorRound: number;
  round: number;
  context: string;
  payloadHash: string;
  payloadRound: number;
  /** 8 bytes in hex. */
  proofOfWorkNonce: string;
  seedNonceHash: string | null;
  /** Liquidity baking and adaptive issuance votes in one byte. */
  votes: number;
}

/** The five items of a Tenderbake fitness. */
export const fitness = (
  header: Pick<BlockHeader, "level" | "lockedRound" | "predecessorRound" | "round">,
): Buffer[] => [
  u8(2),
  i32(header.level),
  header.lockedRound === null ? Buffer.alloc(0) : i32(header.lockedRound),
  i32(-header.predecessorRound - 1),
  i32(header.round),
];

/** The header without signature, as it is hashed and, behind 0x11 and the chain id, signed. */
export function encodeHeader(header: BlockHeader): Buffer {
  return Buffer.concat([
    i32(header.level),
    u8(header.proto),
    fromBase58("block", header.predecessor),
    i64(BigInt(header.timestamp)),
    u8(header.validationPass),
    fromBase58("operationsHash", header.operationsHash),
    sized(Buffer.concat(fitness(header).map(sized))),
    fromBase58("context", header.context),
    fromBase58("payload", header.payloadHash),
    i32(header.payloadRound),
    Buffer.from(header.proofOfWorkNonce, "hex"),
    header.seedNonceHash === null ? u8(0) : Buffer.concat([u8(255), fromBase58("nonce", header.seedNonceHash)]),
    u8(header.votes),
  ]);
}
export const encodeBlockRequest = (chainId: string, header: BlockHeader): Buffer =>
  Buffer.concat([u8(0x11), fromBase58("chain", chainId), encodeHeader(header)]);

/** Inverse of encodeHeader; trailing bytes (a signature) are ignored. @throws RangeError where it is too short */
export function decodeHeader(bytes: Buffer): BlockHeader {
  let at = 0;
  const take = (length: number) => {
    if (at + length > bytes.length) throw new RangeError(`a header needs more than ${bytes.length} bytes`);
    return bytes.subarray(at, (at += length));
  };
  const level = take(4).readInt32BE();
  const proto = take(1).readUInt8();
  const predecessor = toBase58("block", take(32));
  const timestamp = Number(take(8).readBigInt64BE());
  const validationPass = take(1).readUInt8();
  const operationsHash = toBase58("operationsHash", take(32));
  take(4);
  const item = () => take(take(4).readInt32BE());
  const items = [item(), item(), item(), item(), item()];
  const [, , locked, predecessorRound, round] = items;
  return {
    ...{ level, proto, predecessor, timestamp, validationPass, operationsHash },
    lockedRound: locked && locked.length === 4 ? locked.readInt32BE() : null,
    predecessorRound: -(predecessorRound?.readInt32BE() ?? 0) - 1,
    round: round?.readInt32BE() ?? 0,
    context: toBase58("context", take(32)),
    payloadHash: toBase58("payload", take(32)),
    payloadRound: take(4).readInt32BE(),
    proofOfWorkNonce: take(8).toString("hex"),
    seedNonceHash: take(1).readUInt8() === 255 ? toBase58("nonce", take(32)) : null,
    votes: take(1).readUInt8(),
  };
}

export interface Vote {
  kind: "preattestation" | "attestation";
  branch: string;
  level: number;
  round: number;
  payloadHash: string;
  /** Slot of the delegate; null writes the BLS layout, which has none. */
  slot: number | null;
  /** Little-endian bitset of an attestation with DAL (tag 23), in hex; null without. */
  dal: string | null;
}
const tags = { preattestation: { slot: 20, bls: 40 }, attestation: { slot: 21, bls: 41 } } as const;

/** Branch and contents of a consensus operation. */
export function encodeVote(vote: Vote): Buffer {
  const tag =
    vote.slot === null
      ? tags[vote.kind].bls
      : vote.kind === "attestation" && vote.dal !== null
        ? 23
        : tags[vote.kind].slot;
  return Buffer.concat([
    fromBase58("block", vote.branch),
    u8(tag),
    vote.slot === null ? Buffer.alloc(0) : u16(vote.slot),
    i32(vote.level),
    i32(vote.round),
    fromBase58("payload", vote.payloadHash),
    vote.dal !== null && vote.kind === "attestation" ? Buffer.from(vote.dal, "hex") : Buffer.alloc(0),
  ]);
}
export const encodeVoteRequest = (chainId: string, vote: Vote): Buffer =>
  Buffer.concat([u8(vote.kind === "preattestation" ? 0x12 : 0x13), fromBase58("chain", chainId), encodeVote(vote)]);

/** A number of Octez ends with its first byte below 80. */
const bitset = (bytes: Buffer): Buffer => bytes.subarray(0, bytes.findIndex((byte) => byte < 0x80) + 1);

/** Inverse of encodeVote; trailing bytes are ignored. @throws Error for another kind of operation */
export function decodeVote(bytes: Buffer): Vote {
  const tag = bytes.readUInt8(32);
  const kind =
    tag === 20 || tag === 40 ? "preattestation" : tag === 21 || tag === 23 || tag === 41 ? "attestation" : undefined;
  if (!kind) throw new Error(`a vote has tag 20, 21, 23, 40 or 41; got ${tag}`);
  const at = tag >= 40 ? 33 : 35;
  return {
    kind,
    branch: toBase58("block", bytes.subarray(0, 32)),
    slot: tag >= 40 ? null : bytes.readUInt16BE(33),
    level: bytes.readInt32BE(at),
    round: bytes.readInt32BE(at + 4),
    payloadHash: toBase58("payload", bytes.subarray(at + 8, at + 40)),
    dal: tag === 23 ? bitset(bytes.subarray(at + 40)).toString("hex") : null,
  };
}

/** A seed nonce revelation (tag 1, unsigned but for its padding): branch, tag, level, 32 bytes. */
export const encodeRevelation = (branch: string, level: number, nonce: string): Buffer =>
  Buffer.concat([fromBase58("block", branch), u8(1), i32(level), Buffer.from(nonce, "hex")]);
/** `nce...` of a nonce in hex. */
export const nonceHash = (nonce: string): string => toBase58("nonce", hash32(Buffer.from(nonce, "hex")));
