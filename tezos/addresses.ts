/** Tezos addresses as the configuration and the object names need them (base58check by library). */
import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";

const base58check = createBase58check(sha256);

/** Three-byte prefixes of public key hashes. */
const prefixes: Record<string, readonly [number, number, number]> = {
  tz1: [6, 161, 159],
  tz2: [6, 161, 161],
  tz3: [6, 161, 164],
  tz4: [6, 161, 166],
};

/** Shape: curve prefix and the 20-byte hash, or undefined where the text is no tz1..tz4 address. */
export function decodeAddress(address: string): { curve: "tz1" | "tz2" | "tz3" | "tz4"; hash: Uint8Array } | undefined {
  const curve = address.slice(0, 3);
  const prefix = prefixes[curve];
  if (!prefix) return undefined;
  try {
    const bytes = base58check.decode(address);
    if (bytes.length !== 23 || prefix.some((byte, i) => bytes[i] !== byte)) return undefined;
    return { curve: curve as "tz1" | "tz2" | "tz3" | "tz4", hash: bytes.slice(3) };
  } catch {
    return undefined;
  }
}

/** 40 lowercase hex digits. @throws Error where the text is no tz1..tz4 address */
export function keyHashHex(address: string): string {
  const decoded = decodeAddress(address);
  if (!decoded) throw new Error(`a key is a tz1, tz2, tz3 or tz4 address with a valid checksum; got "${address}"`);
  return Buffer.from(decoded.hash).toString("hex");
}
