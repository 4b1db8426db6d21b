/** Public keys, key hashes and signatures of the four curves. Source: Octez, src/lib_crypto. */
import type * as Bls from "@noble/curves/bls12-381";
import { p256 } from "@noble/curves/nist";
import { secp256k1 } from "@noble/curves/secp256k1";
import { blake2b } from "@noble/hashes/blake2b";
import { createPublicKey, verify as verifyWithNode, type KeyObject } from "node:crypto";
import { decodeBase58, encodeBase58, type Base58Kind } from "./base58";

export type Curve = "tz1" | "tz2" | "tz3" | "tz4";
const publicKeyKinds: Readonly<Partial<Record<Base58Kind, Curve>>> = {
  edpk: "tz1",
  sppk: "tz2",
  p2pk: "tz3",
  BLpk: "tz4",
};
const signatureKinds: Readonly<Record<Curve, readonly Base58Kind[]>> = {
  tz1: ["edsig", "sig"],
  tz2: ["spsig1", "sig"],
  tz3: ["p2sig", "sig"],
  tz4: ["BLsig"],
};

let loaded: typeof Bls | undefined;
/**
 * The tables of this curve take 0.1 s: only where there is a tz4 key, and before the first signature by whoever has the
 * time (`prepareBls`).
 */
const bls = () => {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- a synchronous import that waits for its need
  loaded ??= require("@noble/curves/bls12-381") as typeof Bls;
  return loaded.bls12_381;
};
export const prepareBls = (): void => void bls();

/** @param publicKey edpk..., sppk..., p2pk... or BLpk...; undefined for any other text */
export function publicKeyHash(publicKey: string): string | undefined {
  const decoded = decodeBase58(publicKey);
  const curve = decoded && publicKeyKinds[decoded.kind];
  return decoded && curve ? encodeBase58(curve, blake2b(decoded.payload, { dkLen: 20 })) : undefined;
}

/** The raw signature where the text has the shape that the curve of `address` signs with. */
export function decodeSignature(address: string, signature: string): Uint8Array | undefined {
  const decoded = decodeBase58(signature);
  const kinds = signatureKinds[address.slice(0, 3) as Curve] as readonly Base58Kind[] | undefined;
  return decoded && kinds?.includes(decoded.kind) ? decoded.payload : undefined;
}

const ed25519SpkiPrefix = Buffer.from("302a300506032b6570032100", "hex");
interface ParsedKey {
  curve: Curve;
  address: string;
  payload: Uint8Array;
  ed25519?: KeyObject;
}
/** Of the few keys of a baker: base58 and hashes cost more than the check of an Ed25519 signature. */
const parsedKeys = new Map<string, ParsedKey>();
function parseKey(publicKey: string): ParsedKey | undefined {
  const known = parsedKeys.get(publicKey);
  if (known) return known;
  const decoded = decodeBase58(publicKey);
  const curve = decoded && publicKeyKinds[decoded.kind];
  const address = publicKeyHash(publicKey);
  if (!decoded || !curve || address === undefined) return undefined;
  const { payload } = decoded;
  const parsed: ParsedKey = { curve, address, payload };
  if (curve === "tz1")
    parsed.ed25519 = createPublicKey({ key: Buffer.concat([ed25519SpkiPrefix, payload]), format: "der", type: "spki" });
  if (parsedKeys.size > 1000) parsedKeys.clear();
  parsedKeys.set(publicKey, parsed);
  return parsed;
}

/**
 * True where `signature` is the key's over `bytes` (watermark byte included; hashed with BLAKE2b-256 for all curves but
 * BLS). BLS costs about 25 ms. Never throws: anything malformed is false.
 * @param digest BLAKE2b-256 of `bytes`, where the caller has it already
 */
export function verifySignature(publicKey: string, bytes: Uint8Array, signature: string, digest?: Uint8Array): boolean {
  try {
    const hash = () => digest ?? blake2b(bytes, { dkLen: 32 });
    const key = parseKey(publicKey);
    const raw = key && decodeSignature(key.address, signature);
    if (!raw) return false;
    switch (key.curve) {
      case "tz1":
        return key.ed25519 !== undefined && verifyWithNode(null, hash(), key.ed25519, raw);
      case "tz2":
        return secp256k1.verify(raw, hash(), key.payload, { prehash: false, lowS: false });
      case "tz3":
        return p256.verify(raw, hash(), key.payload, { prehash: false, lowS: false });
      case "tz4": {
        const { longSignatures } = bls();
        return longSignatures.verify(raw, longSignatures.hash(bytes, blsSignatureDst), key.payload);
      }
    }
  } catch {
    return false;
  }
}
/**
 * Domain separation of Octez' BLS signatures of version 3 (minimal public keys, proof of possession: the key is not
 * part of the message).
 */
export const blsSignatureDst = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
