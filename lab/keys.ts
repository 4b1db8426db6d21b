/** Ed25519 keys for laboratories with more bakers than the example has. */
import { createHash } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519";
import { blake2b } from "@noble/hashes/blake2";
import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";

const base58check = createBase58check(sha256);

/** The same key for the same name, always: it is worth nothing. */
export function makeKey(name: string): { name: string; delegate: string; keys: Record<string, string> } {
  const seed = createHash("sha256").update(`laboratory ${name}`).digest();
  const hash = blake2b(ed25519.getPublicKey(seed), { dkLen: 20 });
  const delegate = base58check.encode(Uint8Array.from([6, 161, 159, ...hash]));
  return {
    name,
    delegate,
    keys: { [delegate]: `unencrypted:${base58check.encode(Uint8Array.from([13, 15, 58, 7, ...seed]))}` },
  };
}
