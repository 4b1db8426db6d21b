/** Public keys, key hashes and signatures of the four curves. Source: Octez, src/lib_crypto. */
import type * as Bls from "@noble/curves/bls12-381";
import { p256 } from "@noble/curves/nist";
import { secp256k1 } from "@noble/curves/secp256k1";
import { blake2b } from "@noble/hashes/blake2b";
import { createPublicKey, verify as verifyWithNode } from "node:crypto";
import { decodeBase58, encodeBase58, type Base58Kind } from "./base58";

export type Curve = "tz1" | "tz2" | "tz3" | "tz4";
const publicKeyKinds: Readonly<Partial<Record<Base58Kind, Curve>>> = { edpk: "tz1", sppk: "tz2", p2pk: "tz3", BLpk: "tz4" };
const signatureKinds: Readonly<Record<Curve, readonly Base58Kind[]>> = {
  tz1: ["edsig", "sig"],
  tz2: ["spsig1", "sig"],
  tz3: ["p2sig", "sig"],
  tz4: ["BLsig"],
};

let loaded: typeof Bls | undefined;
/** The tables of this curve take 0.1 s: only where there is a tz4 key, and before the first signature by whoever has the time (`prepareBls`). */
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
const parsedEd25519 = new Map<string, ReturnType<typeof createPublicKey>>();

/**
 * True where `signature` is the key's over `bytes` (watermark byte included; hashed with BLAKE2b-256 for all curves but BLS).
 * BLS costs about 25 ms. Never throws: anything malformed is false.
 */
export function verifySignature(publicKey: string, bytes: Uint8Array, signature: string): boolean {
  const key = decodeBase58(publicKey);
  const address = publicKeyHash(publicKey);
  const raw = address === undefined ? undefined : decodeSignature(address, signature);
  if (!key || address === undefined || !raw) return false;
  try {
    switch (address.slice(0, 3) as Curve) {
      case "tz1": {
        let parsed = parsedEd25519.get(publicKey);
        if (!parsed) {
          parsed = createPublicKey({ key: Buffer.concat([ed25519SpkiPrefix, key.payload]), format: "der", type: "spki" });
          if (parsedEd25519.size > 1000) parsedEd25519.clear();
          parsedEd25519.set(publicKey, parsed);
        }
        return verifyWithNode(null, blake2b(bytes, { dkLen: 32 }), parsed, raw);
      }
      case "tz2":
        return secp256k1.verify(raw, blake2b(bytes, { dkLen: 32 }), key.payload, { prehash: false, lowS: false });
      case "tz3":
        return p256.verify(raw, blake2b(bytes, { dkLen: 32 }), key.payload, { prehash: false, lowS: false });
      case "tz4": {
        // Message augmentation: the public key is signed with the message.
        const message = Buffer.concat([key.payload, bytes]);
        const { longSignatures } = bls();
        return longSignatures.verify(raw, longSignatures.hash(message, blsAugmentationDst), key.payload);
      }
    }
  } catch {
    return false;
  }
}
/** Domain separation of Octez' BLS signatures (minimal public keys, message augmentation). */
export const blsAugmentationDst = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_AUG_";
