import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { expectBase58 } from "../../tezos/base58";
import { leastDalBits, mostDalBits, protocols } from "../../tezos/protocols";
import {
  encodeBlockRequest,
  encodeVoteRequest,
  layoutFits,
  maxRequestBytes,
  parseSigningRequest,
  refusalReasons,
  requestDigest,
  voteLayouts,
  type BlockFields,
} from "../../tezos/signing-request";

const seed = process.env.SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env.SEED);
const runs = { seed, numRuns: 300 };
beforeAll(() => console.info(`SEED=${seed}`));

const chainId = expectBase58("chainId", "NetXdQprcVkpaWU");
const hash = (n: number) => new Uint8Array(32).fill(n);
const natural31 = fc.integer({ min: 0, max: 0x7fffffff });
const hashes = fc.uint8Array({ minLength: 32, maxLength: 32 });
const voteBytes = fc.tuple(fc.nat(2), fc.nat(2)).map(([a, b]) => a | (b << 2));
/** As Octez writes numbers: 6 bits in the first byte, 7 in each further one. */
const encodeNumber = (value: bigint): Uint8Array => {
  const groups = [Number(value & 63n)];
  for (let rest = value >> 6n; rest > 0n; rest >>= 7n) groups.push(Number(rest & 127n));
  return Uint8Array.from(groups.map((group, i) => (i < groups.length - 1 ? group | 128 : group)));
};
/** Of all lengths, not of all numbers, nearly all of which are the longest. */
const bitsetsOf = (mostBits: number) =>
  fc
    .nat(mostBits)
    .chain((bits) => fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n }))
    .map(encodeNumber);
const bitsets = bitsetsOf(leastDalBits);
const blocks: fc.Arbitrary<BlockFields> = fc.record({
  chainId: fc.constant(chainId),
  level: natural31,
  round: natural31,
  payloadHash: hashes,
  proto: fc.nat(255),
  predecessor: hashes,
  timestamp: fc.bigInt({ min: 0n, max: 2n ** 40n }),
  operationsHash: hashes,
  context: hashes,
  lockedRound: fc.option(natural31),
  predecessorRound: natural31,
  payloadRound: natural31,
  proofOfWorkNonce: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  seedNonceHash: fc.option(hashes),
  voteByte: voteBytes,
});
const votes = fc.record({
  tag: fc.constantFrom(20, 21, 23, 40, 41),
  chainId: fc.constant(chainId),
  level: natural31,
  round: natural31,
  payloadHash: hashes,
  branch: hashes,
  slot: fc.nat(0xffff),
  dal: bitsets,
});
const requests = fc.oneof(blocks.map(encodeBlockRequest), votes.map(encodeVoteRequest));

test("a block header gives its fields back, with and without locked round and seed nonce hash", () => {
  fc.assert(
    fc.property(blocks, (fields) => {
      const bytes = encodeBlockRequest(fields);
      expect([198, 202, 230, 234]).toContain(bytes.length);
      const parsed = parseSigningRequest(bytes);
      expect(parsed).toEqual({
        ok: true,
        request: {
          kind: "block",
          chainId: "NetXdQprcVkpaWU",
          level: fields.level,
          round: fields.round,
          predecessor: fields.predecessor,
          timestamp: fields.timestamp,
          payloadHash: fields.payloadHash,
          payloadRound: fields.payloadRound,
          seedNonceHash: fields.seedNonceHash,
          digest: requestDigest(bytes),
        },
      });
    }),
    runs,
  );
});

test("a vote gives its fields back in every layout; tags 21 and 23 are one kind", () => {
  fc.assert(
    fc.property(votes, (fields) => {
      const parsed = parseSigningRequest(encodeVoteRequest(fields));
      const bls = fields.tag >= 40;
      expect(parsed).toMatchObject({
        ok: true,
        request: {
          kind: fields.tag === 20 || fields.tag === 40 ? "preattestation" : "attestation",
          level: fields.level,
          round: fields.round,
          slot: bls ? null : fields.slot,
          dal: fields.tag === 23,
          branch: fields.branch,
          payloadHash: fields.payloadHash,
        },
      });
    }),
    runs,
  );
});

const recorded = JSON.parse(readFileSync(join(__dirname, "../fixtures/wire/dal-attestations.json"), "utf8")) as {
  hex: string;
  level: number;
  round: number;
  bits: number;
  bytes: number;
}[];
test.each(recorded)("a recorded attestation with a DAL bitset of $bits bits is understood", (entry) => {
  const bytes = Buffer.from(entry.hex, "hex");
  expect(bytes.length).toBe(80 + entry.bytes);
  expect(parseSigningRequest(bytes)).toMatchObject({
    ok: true,
    request: { kind: "attestation", tag: 23, dal: true, level: entry.level, round: entry.round },
  });
});
test("a bitset one byte longer than the longest recorded one is refused", () => {
  expect(Math.max(...recorded.map(({ bits }) => bits))).toBe(924);
  const [longest] = recorded.filter(({ bits }) => bits === 924).map(({ hex }) => Buffer.from(hex, "hex"));
  if (!longest) throw new Error("no attestation of 924 bits is recorded");
  expect(longest.length).toBeLessThanOrEqual(maxRequestBytes());
  const longer = Buffer.from([...longest.subarray(0, -1), 0x81, 1]);
  expect(parseSigningRequest(longer)).toEqual({ ok: false, reason: "dal-content" });
  // Seven bits more are one byte more.
  expect(parseSigningRequest(longer, leastDalBits + 7)).toMatchObject({ ok: true, request: { dal: true } });
});
test("whatever the bound, a bitset of that many bits is understood and one that needs a byte more is not", () => {
  const bounded = fc
    .integer({ min: 1, max: mostDalBits })
    .chain((bound) => fc.tuple(fc.constant(bound), bitsetsOf(bound)));
  const attestation = (dal: Uint8Array) =>
    encodeVoteRequest({ tag: 23, chainId, level: 1, round: 0, payloadHash: hash(1), dal });
  fc.assert(
    fc.property(bounded, ([bound, dal]) => {
      expect(parseSigningRequest(attestation(dal), bound)).toMatchObject({ ok: true });
      const longest = encodeNumber(2n ** BigInt(bound) - 1n);
      expect(parseSigningRequest(attestation(longest), bound)).toMatchObject({ ok: true });
      const longer = Uint8Array.from([...longest.map((byte) => byte | 128), 1]);
      longer[0] = 0x80 | (longer[0]! & 63);
      expect(parseSigningRequest(attestation(longer), bound)).toMatchObject({ ok: false });
      expect(attestation(longest).length).toBeLessThanOrEqual(maxRequestBytes(bound));
    }),
    { ...runs, numRuns: 100 },
  );
});

test("the fields are where the specification puts them", () => {
  const at = (bytes: Uint8Array, offset: number, size: number) =>
    Buffer.from(bytes)
      .subarray(offset, offset + size)
      .toString("hex");
  const block = encodeBlockRequest({
    chainId,
    level: 0x01020304,
    round: 0x05060708,
    payloadHash: hash(0xaa),
    payloadRound: 0x090a0b0c,
  });
  expect(at(block, 0, 9)).toBe("117a06a77001020304");
  expect(at(block, 83, 4)).toBe("00000021");
  expect(at(block, 91, 1)).toBe("02");
  expect(at(block, 96, 4)).toBe("01020304");
  expect(at(block, 83 + 33, 4)).toBe("05060708");
  expect(at(block, 119 + 33, 32)).toBe("aa".repeat(32));
  expect(at(block, 151 + 33, 4)).toBe("090a0b0c");
  expect(at(block, 163 + 33, 2)).toBe("0002");
  const locked = encodeBlockRequest({
    chainId,
    level: 9,
    round: 8,
    payloadHash: hash(1),
    lockedRound: 3,
    seedNonceHash: hash(0xbb),
  });
  expect(at(locked, 83, 4)).toBe("00000025");
  expect(at(locked, 83 + 37, 4)).toBe("00000008");
  expect(at(locked, 163 + 37, 33)).toBe("ff" + "bb".repeat(32));
  const vote = encodeVoteRequest({
    tag: 21,
    chainId,
    level: 0x01020304,
    round: 0x05060708,
    payloadHash: hash(0xcc),
    slot: 0x0102,
  });
  expect([at(vote, 37, 1), at(vote, 38, 2), at(vote, 40, 4), at(vote, 44, 4), at(vote, 48, 32), vote.length]).toEqual([
    "15",
    "0102",
    "01020304",
    "05060708",
    "cc".repeat(32),
    80,
  ]);
  const bls = encodeVoteRequest({ tag: 40, chainId, level: 0x01020304, round: 0x05060708, payloadHash: hash(0xcc) });
  expect([at(bls, 37, 1), at(bls, 38, 4), at(bls, 42, 4), at(bls, 46, 32), bls.length]).toEqual([
    "28",
    "01020304",
    "05060708",
    "cc".repeat(32),
    78,
  ]);
});

const block = () =>
  encodeBlockRequest({ chainId, level: 100, round: 1, payloadHash: hash(1), lockedRound: 0, seedNonceHash: hash(2) });
const vote = (tag = 21) => encodeVoteRequest({ tag, chainId, level: 100, round: 1, payloadHash: hash(1), slot: 3 });
const patch = (bytes: Uint8Array, at: number, ...values: number[]) => {
  const copy = Uint8Array.from(bytes);
  copy.set(values, at);
  return copy;
};
const append = (bytes: Uint8Array, ...values: number[]) => Uint8Array.from([...bytes, ...values]);

test.each<[string, Uint8Array, string]>([
  ["nothing", new Uint8Array(0), "empty"],
  ["a generic operation, which could drain funds", patch(vote(), 0, 0x03), "kind-tenderbake-only"],
  ["an Emmy block", patch(block(), 0, 0x01), "kind-tenderbake-only"],
  ["Micheline", patch(block(), 0, 0x05), "kind-tenderbake-only"],
  ["an unknown kind", patch(vote(), 0, 0x14), "kind-unknown"],
  ["an unknown tag", patch(vote(), 37, 22), "tag-unknown"],
  ["an attestation under the preattestation's kind", patch(vote(), 0, 0x12), "tag-kind-mismatch"],
  ["a preattestation under the attestation's kind", patch(vote(20), 0, 0x13), "tag-kind-mismatch"],
  ["a vote with one byte more", append(vote(), 0), "length"],
  ["a BLS vote with one byte more", append(vote(41), 0), "length"],
  ["tag 23 without its bitset", vote(23).subarray(0, 80), "length"],
  ["a bitset that does not end", patch(vote(23), 80, 0x80), "dal-content"],
  ["a bitset with bytes after its end", append(vote(23), 1), "dal-content"],
  ["a bitset below zero: zero", patch(vote(23), 80, 0x40), "dal-content"],
  ["a bitset below zero: one", patch(vote(23), 80, 0x41), "dal-content"],
  ["a bitset below zero of two bytes", append(patch(vote(23), 80, 0xc1), 0x01), "dal-content"],
  ["a bitset with a superfluous zero group", append(patch(vote(23), 80, 0x81), 0), "dal-content"],
  ["a vote at a negative level", patch(vote(), 40, 0xff), "level-negative"],
  ["a vote at a negative round", patch(vote(), 44, 0x80), "round-negative"],
  ["a block at a negative level", patch(block(), 5, 0x80), "level-negative"],
  ["another fitness length", patch(block(), 86, 35), "fitness-length"],
  ["another fitness version", patch(block(), 91, 1), "fitness-version"],
  ["a fitness whose parts do not fit", patch(block(), 90, 2), "fitness-layout"],
  ["a fitness level that is not the header's", patch(block(), 99, 101), "fitness-level-mismatch"],
  ["a locked round below zero", patch(block(), 104, 0xff), "round-negative"],
  ["a predecessor's round that is not negated", patch(block(), 112, 0), "fitness-predecessor-round"],
  ["a negative round", patch(block(), 120, 0x80), "round-negative"],
  ["a negative payload round", patch(block(), 151 + 37, 0x80), "payload-round-negative"],
  ["a flag that is neither 00 nor ff", patch(block(), 163 + 37, 1), "seed-nonce-flag"],
  ["a vote of three", patch(block(), 233, 3), "vote-byte"],
  ["a vote byte with high bits", patch(block(), 233, 0x12), "vote-byte"],
  ["a block with one byte more", append(block(), 0), "length"],
  ["far too much", new Uint8Array(100_000).fill(0x11), "length"],
])("%s is refused with its own reason", (_text, bytes, reason) => {
  expect(parseSigningRequest(bytes)).toEqual({ ok: false, reason });
});

test("every prefix of a request is refused", () => {
  for (const bytes of [
    block(),
    encodeBlockRequest({ chainId, level: 1, round: 0, payloadHash: hash(1) }),
    ...[20, 21, 40, 41].map((tag) => vote(tag)),
  ])
    for (let length = 0; length < bytes.length; length++)
      expect(parseSigningRequest(bytes.subarray(0, length)).ok).toBe(false);
});

test("arbitrary bytes never throw, and a refusal has a known reason", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array({ maxLength: maxRequestBytes() + 10 }), requests),
      fc.nat(400),
      fc.nat(255),
      (bytes, at, value) => {
        const changed = Uint8Array.from(bytes);
        if (at < changed.length) changed[at] = value;
        const parsed = parseSigningRequest(changed);
        if (!parsed.ok) expect(refusalReasons).toContain(parsed.reason);
      },
    ),
    { ...runs, numRuns: 1000 },
  );
});

test("level and round decide the digest: two requests with equal bytes only", () => {
  fc.assert(
    fc.property(requests, requests, (a, b) => (requestDigest(a) === requestDigest(b)) === (Buffer.compare(a, b) === 0)),
    runs,
  );
});

test("no key of a type that is not understood signs a vote", () => {
  for (const tag of [20, 21, 23, 40, 41])
    for (const address of ["tz5", "KT1", "sr1", ""]) expect(layoutFits(tag, address, false)).toBe(false);
  expect(layoutFits(22, "tz1", false)).toBe(false);
});

test("each layout names the protocols that it was read for", () => {
  for (const layout of Object.values(voteLayouts))
    expect(layout.protocols).toEqual(protocols.map(({ number }) => number));
  expect(() => encodeVoteRequest({ tag: 22, chainId, level: 0, round: 0, payloadHash: hash(0) })).toThrow(
    "20, 21, 23, 40, 41, got 22",
  );
});
