/** Public keys of secret ones, held against OpenSSL and against Octez' own bootstrap key. */
import { createECDH, createPrivateKey, createPublicKey } from "node:crypto";
import { signBytes, testKey } from "../../lab/doubles/signing-keys";
import { encodeBase58, expectBase58 } from "../../tezos/base58";
import { verifySignature, type Curve } from "../../tezos/keys";
import { publicKeyOf } from "../../tezos/secret-keys";

const seed = Uint8Array.from({ length: 32 }, (_, i) => (i * 7 + 1) & 0xff);

test("Octez' first bootstrap key", () => {
  expect(publicKeyOf("edsk3gUfUPyBSfrS9CCgmCiQsTCHGkviBDusMxDJstFtojtc1zcpsh")).toBe(
    "edpkuBknW28nW72KG6RoHtYW7p12T6GKc7nAbwYX5m8Wd9sDVC9yav",
  );
});
test("Ed25519 as seed and as full key", () => {
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const spki = createPublicKey(createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })).export({
    format: "der",
    type: "spki",
  });
  const publicKey = spki.subarray(-32);
  expect(publicKeyOf(encodeBase58("edsk", seed))).toBe(encodeBase58("edpk", publicKey));
  expect(publicKeyOf(encodeBase58("edskFull", Buffer.concat([seed, publicKey])))).toBe(encodeBase58("edpk", publicKey));
});
test.each([
  ["spsk", "sppk", "secp256k1"],
  ["p2sk", "p2pk", "prime256v1"],
] as const)("%s", (secretKind, publicKind, curve) => {
  const ecdh = createECDH(curve);
  ecdh.setPrivateKey(seed);
  expect(publicKeyOf(encodeBase58(secretKind, seed))).toBe(
    encodeBase58(publicKind, ecdh.getPublicKey(null, "compressed")),
  );
});
test.each(["tz1", "tz2", "tz3", "tz4"] as const)(
  "a signature of a %s secret verifies with its public key",
  (curve: Curve) => {
    const key = testKey(curve, "secret-keys");
    const bytes = Uint8Array.of(0x11, 1, 2, 3);
    expect(verifySignature(publicKeyOf(key.secret) ?? "", bytes, signBytes(key, bytes))).toBe(true);
  },
);
test("anything else is no secret key", () => {
  const key = testKey("tz1", "secret-keys");
  const full = Buffer.concat([expectBase58("edsk", key.secret), Buffer.alloc(31)]);
  expect(() => encodeBase58("edskFull", full)).toThrow();
  expect(publicKeyOf(encodeBase58("spsk", new Uint8Array(32)))).toBeUndefined();
  for (const text of ["", "edsk", key.publicKey, key.address, `${key.secret}x`, "edesk1abc"])
    expect(publicKeyOf(text)).toBeUndefined();
});
