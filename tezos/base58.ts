/**
 * Tezos' base58check texts: one table of prefixes, the arithmetic by a library. Source: Octez,
 * src/lib_crypto/base58.ml.
 */
import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";

const base58check = createBase58check(sha256);

/** `bytes`: prefix bytes of the text; `size`: length of the payload in bytes. */
const table = {
  chainId: { text: "Net", bytes: [87, 82, 0], size: 4 },
  blockHash: { text: "B", bytes: [1, 52], size: 32 },
  payloadHash: { text: "vh", bytes: [1, 106, 242], size: 32 },
  nonceHash: { text: "nce", bytes: [69, 220, 169], size: 32 },
  tz1: { text: "tz1", bytes: [6, 161, 159], size: 20 },
  tz2: { text: "tz2", bytes: [6, 161, 161], size: 20 },
  tz3: { text: "tz3", bytes: [6, 161, 164], size: 20 },
  tz4: { text: "tz4", bytes: [6, 161, 166], size: 20 },
  edpk: { text: "edpk", bytes: [13, 15, 37, 217], size: 32 },
  sppk: { text: "sppk", bytes: [3, 254, 226, 86], size: 33 },
  p2pk: { text: "p2pk", bytes: [3, 178, 139, 127], size: 33 },
  BLpk: { text: "BLpk", bytes: [6, 149, 135, 204], size: 48 },
  /** Seeds and secret scalars: for doubles, tests, and hot keys of test networks. */
  edsk: { text: "edsk", bytes: [13, 15, 58, 7], size: 32 },
  edskFull: { text: "edsk", bytes: [43, 246, 78, 7], size: 64 },
  spsk: { text: "spsk", bytes: [17, 162, 224, 201], size: 32 },
  p2sk: { text: "p2sk", bytes: [16, 81, 238, 189], size: 32 },
  BLsk: { text: "BLsk", bytes: [3, 150, 192, 40], size: 32 },
  edsig: { text: "edsig", bytes: [9, 245, 205, 134, 18], size: 64 },
  spsig1: { text: "spsig1", bytes: [13, 115, 101, 19, 63], size: 64 },
  p2sig: { text: "p2sig", bytes: [54, 240, 44, 52], size: 64 },
  sig: { text: "sig", bytes: [4, 130, 43], size: 64 },
  BLsig: { text: "BLsig", bytes: [40, 171, 64, 207], size: 96 },
} as const;
export type Base58Kind = keyof typeof table;
export const base58Kinds = Object.keys(table) as Base58Kind[];
/** Length of the payload of a kind, in bytes. */
export const payloadSize = (kind: Base58Kind): number => table[kind].size;

/** @throws Error where the payload has not the kind's length */
export function encodeBase58(kind: Base58Kind, payload: Uint8Array): string {
  const { bytes, size } = table[kind];
  if (payload.length !== size) throw new Error(`a ${kind} holds ${size} bytes, got ${payload.length}`);
  return base58check.encode(Uint8Array.from([...bytes, ...payload]));
}

/** Kind and payload, or undefined where the text is none of the table (checksum, prefix and length are checked). */
export function decodeBase58(text: string): { kind: Base58Kind; payload: Uint8Array } | undefined {
  if (text.length > 200) return undefined;
  let raw: Uint8Array;
  try {
    raw = base58check.decode(text);
  } catch {
    return undefined;
  }
  for (const kind of base58Kinds) {
    const { bytes, size } = table[kind];
    if (raw.length === bytes.length + size && bytes.every((byte, i) => raw[i] === byte))
      return { kind, payload: raw.slice(bytes.length) };
  }
  return undefined;
}

/** The payload of a text of one kind. @throws Error for any other text */
export function expectBase58(kind: Base58Kind, text: string): Uint8Array {
  const decoded = decodeBase58(text);
  if (decoded?.kind !== kind)
    throw new Error(`a ${kind} was expected, got ${decoded ? `a ${decoded.kind}` : `"${text.slice(0, 80)}"`}`);
  return decoded.payload;
}
