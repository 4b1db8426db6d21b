/** Keys of all four curves, and what they sign. For tests and the laboratory, never for money. */
import { bls12_381 } from "@noble/curves/bls12-381";
import { ed25519 } from "@noble/curves/ed25519";
import { p256 } from "@noble/curves/nist";
import { secp256k1 } from "@noble/curves/secp256k1";
import { blake2b } from "@noble/hashes/blake2b";
import { randomBytes } from "node:crypto";
import { decodeBase58, encodeBase58, expectBase58 } from "../../tezos/base58";
import { blsSignatureDst, publicKeyHash, type Curve } from "../../tezos/keys";
import { blsScalar, publicKeyOf } from "../../tezos/secret-keys";

export interface SigningKey {
  address: string;
  publicKey: string;
  /** edsk..., spsk..., p2sk... or BLsk... */
  secret: string;
}

const secretKinds = { tz1: "edsk", tz2: "spsk", tz3: "p2sk", tz4: "BLsk" } as const;
const signatureKinds = { tz1: "edsig", tz2: "spsig1", tz3: "p2sig", tz4: "BLsig" } as const;

/** The key of a secret. @throws Error for any other text */
export function keyOf(secret: string): SigningKey {
  const publicKey = publicKeyOf(secret);
  if (publicKey === undefined) throw new Error("a secret key is edsk, spsk, p2sk or BLsk with a valid checksum");
  const decoded = decodeBase58(secret);
  const seed = decoded?.kind === "edskFull" ? encodeBase58("edsk", decoded.payload.slice(0, 32)) : secret;
  return { address: publicKeyHash(publicKey) ?? "", publicKey, secret: seed };
}
/** A key that depends on `seed` alone. */
export function testKey(curve: Curve, seed: string): SigningKey {
  const bytes = blake2b(`test key ${curve} ${seed}`, { dkLen: 32 });
  // Below the order of every curve, in both byte orders.
  bytes[0] = 1;
  bytes[31] = 1;
  return keyOf(encodeBase58(secretKinds[curve], bytes));
}

/** A signature over `bytes`, watermark byte included. `random`: ECDSA with added entropy, another one each time. */
export function signBytes(key: SigningKey, bytes: Uint8Array, random = false): string {
  const curve = key.address.slice(0, 3) as Curve;
  const secret = expectBase58(secretKinds[curve], key.secret);
  const digest = blake2b(bytes, { dkLen: 32 });
  const extraEntropy = random ? Uint8Array.from(randomBytes(32)) : undefined;
  const raw = ((): Uint8Array => {
    switch (curve) {
      case "tz1":
        return ed25519.sign(digest, secret);
      case "tz2":
        return secp256k1.sign(digest, secret, { extraEntropy }).toBytes("compact");
      case "tz3":
        return p256.sign(digest, secret, { extraEntropy }).toBytes("compact");
      case "tz4": {
        const bls = bls12_381.longSignatures;
        return bls.sign(bls.hash(bytes, blsSignatureDst), blsScalar(secret)).toBytes();
      }
    }
  })();
  return encodeBase58(signatureKinds[curve], raw);
}
/** Domain separation of a proof of possession, which is a signature of the public key itself. */
export const possessionDst = "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
export const provesPossession = (key: SigningKey): string => {
  const bls = bls12_381.longSignatures;
  const point = bls.hash(expectBase58("BLpk", key.publicKey), possessionDst);
  return encodeBase58("BLsig", bls.sign(point, blsScalar(expectBase58("BLsk", key.secret))).toBytes());
};
