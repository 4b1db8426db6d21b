import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { octezReleases } from "../../contract/images";
import { dalBitsOf, leastDalBits, longestDalBits, mostDalBits, protocolOf, protocols } from "../../tezos/protocols";

const answer = (file: string): unknown => {
  const path = join(__dirname, "../fixtures/wire/octez-25.1/octez-node", file);
  const { response } = JSON.parse(readFileSync(path, "utf8")) as { response: { body: string } };
  return JSON.parse(response.body);
};

test("each protocol's hash is one, is named once, and the one that Octez was recorded with is among them", () => {
  // The prefix of a protocol's hash, and 32 bytes.
  for (const { hash } of protocols) {
    const bytes = createBase58check(sha256).decode(hash);
    expect([...bytes.subarray(0, 2), bytes.length]).toEqual([2, 170, 34]);
  }
  for (const key of ["number", "name", "hash"] as const)
    expect(new Set(protocols.map((row) => row[key])).size).toBe(protocols.length);
  const { protocol } = answer("002-header-head.json") as { protocol: string };
  expect(protocolOf(protocol)?.name).toBe("Ushuaia");
  expect(protocolOf("ProtoALphaALphaALphaALphaALphaALphaALphaALphaDdp3zK")).toBeUndefined();
});

test("every protocol of a known release of Octez is in the table", () => {
  const named = protocols.map(({ name, number }) => `${name} (${number})`);
  for (const baked of Object.values(octezReleases)) for (const protocol of baked) expect(named).toContain(protocol);
});

test("the longest bitset of mainnet's constants has the bits of the longest recorded attestation", () => {
  const path = join(__dirname, "../fixtures/wire/dal-attestations.json");
  const recorded = JSON.parse(readFileSync(path, "utf8")) as { bits: number }[];
  const longest = Math.max(...recorded.map(({ bits }) => bits));
  expect(longestDalBits(160, 5)).toBe(longest);
  expect([leastDalBits, longest]).toEqual([924, 924]);
});

/** A prefix, and for each lag chunks of a bit and seven slots, by hand. */
test.each([
  [1, 1, 1 + 2],
  [7, 1, 1 + 8],
  [8, 1, 1 + 8 + 2],
  [16, 5, 5 + 5 * 24 - 5],
  [32, 4, 4 + 4 * 40 - 3],
])("%d slots and %d lags take at most %d bits", (slots, lags, bits) => {
  expect(longestDalBits(slots, lags)).toBe(bits);
});

test("the bound is never below today's longest and never above the cap", () => {
  expect(dalBitsOf(undefined)).toBe(leastDalBits);
  expect(dalBitsOf({ slots: 16, lags: 5 })).toBe(leastDalBits);
  expect(dalBitsOf({ slots: 320, lags: 5 })).toBe(5 + 5 * 46 * 8 - 2);
  for (const lie of [1e6, 1e9, Number.MAX_SAFE_INTEGER]) expect(dalBitsOf({ slots: lie, lags: 5 })).toBe(mostDalBits);
});
