import { b58cencode, Prefix, prefix as taquitoPrefixes } from "@taquito/utils";
import * as fc from "fast-check";
import {
  base58Kinds,
  decodeBase58,
  encodeBase58,
  expectBase58,
  payloadSize,
  type Base58Kind,
} from "../../tezos/base58";

/** Taquito's table, which we did not write, by our names. */
const theirs: Partial<Record<Base58Kind, Prefix>> = {
  chainId: Prefix.NET,
  blockHash: Prefix.B,
  payloadHash: Prefix.VH,
  nonceHash: Prefix.NCE,
  tz1: Prefix.TZ1,
  tz2: Prefix.TZ2,
  tz3: Prefix.TZ3,
  tz4: Prefix.TZ4,
  edpk: Prefix.EDPK,
  sppk: Prefix.SPPK,
  p2pk: Prefix.P2PK,
  BLpk: Prefix.BLPK,
  edsk: Prefix.EDSK2,
  edskFull: Prefix.EDSK,
  spsk: Prefix.SPSK,
  p2sk: Prefix.P2SK,
  edsig: Prefix.EDSIG,
  spsig1: Prefix.SPSIG,
  p2sig: Prefix.P2SIG,
  sig: Prefix.SIG,
};

test.each(base58Kinds)("%s is written as Taquito writes it, and read back", (kind) => {
  const payload = Uint8Array.from({ length: payloadSize(kind) }, (_, i) => (i * 37 + 11) & 0xff);
  const text = encodeBase58(kind, payload);
  const prefix = theirs[kind];
  if (prefix !== undefined) expect(text).toBe(b58cencode(payload, taquitoPrefixes[prefix]));
  expect(decodeBase58(text)).toEqual({ kind, payload });
});

test("BLS texts, which Taquito does not know, begin and measure as Octez documents", () => {
  for (const [kind, length] of [
    ["BLsk", 54],
    ["BLsig", 142],
  ] as const)
    for (const fill of [0, 1, 128, 255]) {
      const text = encodeBase58(kind, new Uint8Array(payloadSize(kind)).fill(fill));
      expect([text.slice(0, kind.length), text.length]).toEqual([kind, length]);
    }
});

test("mainnet's chain id is the four bytes 7a06a770", () => {
  expect(Buffer.from(expectBase58("chainId", "NetXdQprcVkpaWU")).toString("hex")).toBe("7a06a770");
});

test("one changed character never decodes", () => {
  const text = encodeBase58("tz1", new Uint8Array(20).fill(7));
  fc.assert(
    fc.property(
      fc.nat(text.length - 1),
      fc.constantFrom(..."123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0OIl"),
      (at, char) => {
        const changed = text.slice(0, at) + char + text.slice(at + 1);
        return changed === text || decodeBase58(changed) === undefined;
      },
    ),
  );
});

test("any text is decoded or undefined, and a wrong kind says what it got", () => {
  fc.assert(fc.property(fc.string({ maxLength: 300 }), (text) => decodeBase58(text) === undefined));
  expect(() => expectBase58("tz1", "NetXdQprcVkpaWU")).toThrow("a tz1 was expected, got a chainId");
  expect(() => encodeBase58("tz1", new Uint8Array(19))).toThrow("a tz1 holds 20 bytes, got 19");
});
