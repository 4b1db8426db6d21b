/**
 * The public key of a secret key, for the keys of test networks that lie in the cluster. Source: Octez, src/lib_crypto.
 * Keep secrets out of logs and errors.
 */
import { bls12_381 } from "@noble/curves/bls12-381";
import { ed25519 } from "@noble/curves/ed25519";
import { p256 } from "@noble/curves/nist";
import { secp256k1 } from "@noble/curves/secp256k1";
import { type Base58Kind, decodeBase58, encodeBase58 } from "./base58";

/** BLS scalars are little-endian in Octez' texts. */
export const blsScalar = (secret: Uint8Array): Uint8Array => Uint8Array.from(secret).reverse();

const publicKeys: Readonly<Partial<Record<Base58Kind, (secret: Uint8Array) => string>>> = {
  edsk: (secret) => encodeBase58("edpk", ed25519.getPublicKey(secret)),
  // The seed, and behind it the public key: the seed is what counts.
  edskFull: (secret) => encodeBase58("edpk", ed25519.getPublicKey(secret.slice(0, 32))),
  spsk: (secret) => encodeBase58("sppk", secp256k1.getPublicKey(secret, true)),
  p2sk: (secret) => encodeBase58("p2pk", p256.getPublicKey(secret, true)),
  BLsk: (secret) => encodeBase58("BLpk", bls12_381.longSignatures.getPublicKey(blsScalar(secret)).toBytes()),
};

/**
 * @param secret edsk... (seed or full key), spsk..., p2sk... or BLsk..., not encrypted; undefined for any other text
 */
export function publicKeyOf(secret: string): string | undefined {
  const decoded = decodeBase58(secret);
  try {
    return decoded && publicKeys[decoded.kind]?.(decoded.payload);
  } catch {
    // A number that is no scalar of the curve; the library's message would show it.
    return undefined;
  }
}
