/** The public key of a secret key, for the keys of test networks that lie in the cluster. Source: Octez, src/lib_crypto. Keep secrets out of logs and errors. */
import { bls12_381 } from "@noble/curves/bls12-381";
import { ed25519 } from "@noble/curves/ed25519";
import { p256 } from "@noble/curves/nist";
import { secp256k1 } from "@noble/curves/secp256k1";
import { decodeBase58, encodeBase58 } from "./base58";

/** BLS scalars are little-endian in Octez' texts. */
export const blsScalar = (secret: Uint8Array): Uint8Array => Uint8Array.from(secret).reverse();

/** @param secret edsk... (seed or full key), spsk..., p2sk... or BLsk..., not encrypted; undefined for any other text */
export function publicKeyOf(secret: string): string | undefined {
  const decoded = decodeBase58(secret);
  if (!decoded) return undefined;
  const { kind, payload } = decoded;
  switch (kind) {
    case "edsk":
      return encodeBase58("edpk", ed25519.getPublicKey(payload));
    // The seed, and behind it the public key: the seed is what counts.
    case "edskFull":
      return encodeBase58("edpk", ed25519.getPublicKey(payload.slice(0, 32)));
    case "spsk":
      return encodeBase58("sppk", secp256k1.getPublicKey(payload, true));
    case "p2sk":
      return encodeBase58("p2pk", p256.getPublicKey(payload, true));
    case "BLsk":
      return encodeBase58("BLpk", bls12_381.longSignatures.getPublicKey(blsScalar(payload)).toBytes());
    default:
      return undefined;
  }
}
