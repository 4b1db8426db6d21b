/** The doubles' encoder against the gate's parser: two people's reading of one layout. */
import {
  decodeHeader,
  decodeVote,
  encodeBlockRequest,
  encodeVote,
  encodeVoteRequest,
  fromBase58,
  hash32,
  nonceHash,
  toBase58,
  type BlockHeader,
} from "../../lab/chain/encode";
import { parseSigningRequest } from "../../tezos/signing-request";

const chainId = "NetXsqzbfFenSTS";
const header: BlockHeader = {
  ...{
    level: 3_200_017,
    proto: 25,
    predecessor: toBase58("block", hash32("p")),
    timestamp: 1_790_000_000,
    validationPass: 4,
  },
  ...{ operationsHash: toBase58("operationsHash", hash32("o")), lockedRound: null, predecessorRound: 2, round: 3 },
  ...{ context: toBase58("context", hash32("c")), payloadHash: toBase58("payload", hash32("v")), payloadRound: 1 },
  ...{ proofOfWorkNonce: "0011223344556677", seedNonceHash: null, votes: 2 },
};

/** Byte arrays of either class as Buffers. */
const plain = (value: object): object =>
  Object.fromEntries(
    Object.entries(value).map(([key, entry]: [string, unknown]) => [
      key,
      entry instanceof Uint8Array
        ? Buffer.from(entry)
        : typeof entry === "object" && entry !== null
          ? plain(entry)
          : entry,
    ]),
  );

test.each([
  [198, null, null],
  [202, 1, null],
  [230, null, nonceHash("ab".repeat(32))],
  [234, 1, nonceHash("ab".repeat(32))],
])("a block request of %i bytes is understood as what was meant", (length, lockedRound, seedNonceHash) => {
  const bytes = encodeBlockRequest(chainId, { ...header, lockedRound, seedNonceHash });
  expect(bytes).toHaveLength(length);
  const parsed = plain(parseSigningRequest(bytes));
  expect(parsed).toMatchObject({
    ok: true,
    request: {
      kind: "block",
      chainId,
      level: header.level,
      round: 3,
      payloadRound: 1,
      payloadHash: fromBase58("payload", header.payloadHash),
      predecessor: fromBase58("block", header.predecessor),
      seedNonceHash: seedNonceHash === null ? null : fromBase58("nonce", seedNonceHash),
    },
  });
  expect(decodeHeader(bytes.subarray(5))).toEqual({ ...header, lockedRound, seedNonceHash });
});

test.each([
  ["preattestation", 5, null],
  ["attestation", 5, null],
  ["attestation", 5, "03"],
  ["preattestation", null, null],
  ["attestation", null, null],
] as const)("a %s with slot %s and DAL %s is understood as what was meant", (kind, slot, dal) => {
  const vote = { kind, branch: header.predecessor, level: 77, round: 4, payloadHash: header.payloadHash, slot, dal };
  expect(plain(parseSigningRequest(encodeVoteRequest(chainId, vote)))).toMatchObject({
    ok: true,
    request: {
      kind,
      chainId,
      level: 77,
      round: 4,
      payloadHash: fromBase58("payload", header.payloadHash),
      branch: fromBase58("block", header.predecessor),
      slot,
      dal: dal !== null,
    },
  });
  expect(decodeVote(encodeVote(vote))).toMatchObject({ kind, level: 77, round: 4, slot });
});

test("hashes have the form that people know", () => {
  expect(header.predecessor).toMatch(/^B[KLM]\w{49}$/);
  expect(nonceHash("00".repeat(32))).toMatch(/^nce\w{50}$/);
});
