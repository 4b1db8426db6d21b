/** Rounds, rights, missed slots, commitments: the chain's rules in fake time. */
import type { ServerResponse } from "node:http";
import { Chain, type ChainOptions } from "../../lab/chain/chain";
import { attestableSlots, decodeSlots, encodeSlots } from "../../lab/chain/dal";
import { encodeHeader, encodeRevelation, encodeVote, hash32, nonceHash, toBase58 } from "../../lab/chain/encode";
import {
  expectsCommitment,
  proposer,
  revealable,
  roundAt,
  roundMs,
  roundOffsetMs,
  roundStartMs,
} from "../../lab/chain/rights";

const parameters: ChainOptions = {
  ...{ seed: "test", chainId: "NetXsqzbfFenSTS", protocol: "P", blockMs: 6000, delegate: "tz1d", consensusKey: "tz1d" },
  ...{
    blockShare: 0,
    attestationShare: 1,
    blocksPerCycle: 8,
    blocksPerCommitment: 4,
    revelationBlocks: 6,
    startLevel: 1001,
    virtualPeers: 12,
  },
};
let chain: Chain;
const start = (changes: Partial<ChainOptions> = {}) => {
  chain = new Chain({ ...parameters, ...changes });
  chain.start();
};
beforeEach(() => jest.useFakeTimers({ now: 1_790_000_000_000 }));
afterEach(() => {
  chain?.stop();
  jest.useRealTimers();
});
const vote = (pod: string, kind: "preattestation" | "attestation" = "attestation", dal: string | null = null) =>
  chain.inject({
    kind: "operation",
    pod,
    data: encodeVote({
      kind,
      branch: String(chain.head.header.predecessor),
      level: chain.head.level,
      round: chain.head.round,
      payloadHash: chain.head.payloadHash,
      slot: 5,
      dal,
    }).toString("hex"),
  });

test("rounds take 6, 9, 12 seconds and begin one after the other", () => {
  expect([0, 1, 2, 3].map((round) => roundMs(6000, round))).toEqual([6000, 9000, 12_000, 15_000]);
  expect([0, 1, 2, 3].map((round) => roundOffsetMs(6000, round))).toEqual([0, 6000, 15_000, 27_000]);
  const block = { atMs: 100, round: 1 };
  expect(roundStartMs(6000, block, 0)).toBe(9100);
  for (const round of [0, 1, 2, 5]) {
    expect(roundAt(6000, block, roundStartMs(6000, block, round))).toBe(round);
    expect(roundAt(6000, block, roundStartMs(6000, block, round) - 1)).toBe(round - 1);
  }
});

test("other bakers make a level every six seconds, at round 0", () => {
  start();
  const { level } = chain.head;
  jest.advanceTimersByTime(60_001);
  expect(chain.head.level).toBe(level + 10);
  expect(chain.head.round).toBe(0);
});

test("what reaches a pod late comes in order, also where the delay ends while something is on its way", () => {
  start();
  const got: { atMs: number; text: string }[] = [];
  const begin = Date.now();
  const write = (line: string) =>
    got.push({ atMs: Date.now() - begin, text: Object.keys(JSON.parse(line) as object)[0] ?? "" });
  const ignore = () => undefined;
  chain.peers.add("a-0", { writable: true, write, destroy: ignore, on: ignore } as unknown as ServerResponse);
  chain.slow("a-0", 2500);
  jest.advanceTimersByTime(7100);
  chain.slow("a-0", 0);
  jest.advanceTimersByTime(7000);
  // The prequorum at 6.9 s was on its way when the delay ended; the quorum at 7.8 s waits for it.
  expect(got.map(({ text }) => text)).toEqual([
    "prequorum",
    "quorum",
    "block",
    "prequorum",
    "quorum",
    "block",
    "prequorum",
    "quorum",
  ]);
  expect(got.map(({ atMs }) => Math.round(atMs / 100) / 10)).toEqual([3.4, 4.3, 8.5, 9.4, 9.4, 12, 12.9, 13.8]);
});

test("an attestation counts until the next block, and its absence only after the first vote", () => {
  start();
  jest.advanceTimersByTime(6001);
  expect(chain.missedSince(0)).toBe(0);
  expect(vote("a-0")).toHaveProperty("hash");
  jest.advanceTimersByTime(6000);
  expect(vote("a-1")).toHaveProperty("hash");
  jest.advanceTimersByTime(6000);
  const level = chain.head.level;
  jest.advanceTimersByTime(6000);
  expect(chain.missedSince(level - 1)).toBe(1);
  expect(chain.levels.slice(-4).map((record) => [record.attestedBy, record.attestationMissed])).toEqual([
    ["a-0", false],
    ["a-1", false],
    [null, true],
    [null, null],
  ]);
});

test("our unused right costs a round, and the next proposer's block is one of round 1", () => {
  const seed = Array.from({ length: 500 }, (_, i) => `s${i}`).find(
    (name) =>
      proposer({ seed: name, blockShare: 0.3 }, 1002, 0) === "ours" &&
      proposer({ seed: name, blockShare: 0.3 }, 1002, 1) !== "ours",
  );
  start({ seed, blockShare: 0.3 });
  vote("a-0");
  jest.advanceTimersByTime(11_000);
  expect(chain.head.level).toBe(1001);
  jest.advanceTimersByTime(1500);
  expect([chain.head.level, chain.head.round]).toEqual([1002, 1]);
  expect(chain.levels.at(-1)).toMatchObject({ blockRight: true, blockMissed: true });
});

test("a halted chain makes no level, takes no block, and goes on", () => {
  start();
  chain.halt();
  const { level } = chain.head;
  jest.advanceTimersByTime(120_000);
  expect(chain.head.level).toBe(level);
  chain.resume();
  jest.advanceTimersByTime(30_000);
  expect(chain.head.level).toBeGreaterThan(level);
});

test("of a fork the higher round survives", () => {
  start();
  chain.fork((pod) => pod === "a-0");
  jest.advanceTimersByTime(6001);
  expect(chain.head.level).toBe(1001);
  jest.advanceTimersByTime(6000);
  expect([chain.head.level, chain.head.round]).toEqual([1002, 1]);
});

test("a commitment is revealed once, in time, by whoever knows the nonce, or lost", () => {
  // Level 1004 is the fourth of its cycle.
  start({ blockShare: 1, startLevel: 1003 });
  expect(expectsCommitment(parameters, 1004)).toBe(true);
  jest.advanceTimersByTime(6000);
  const nonce = "cd".repeat(32);
  const head = chain.head;
  const bytes = encodeHeader({
    ...{
      level: 1004,
      proto: 25,
      predecessor: head.hash,
      timestamp: 1,
      validationPass: 4,
      operationsHash: toBase58("operationsHash", hash32("o")),
    },
    ...{
      lockedRound: null,
      predecessorRound: 0,
      round: 0,
      context: toBase58("context", hash32("c")),
      payloadHash: toBase58("payload", hash32("v")),
    },
    ...{ payloadRound: 0, proofOfWorkNonce: "0000000000000000", seedNonceHash: nonceHash(nonce), votes: 2 },
  });
  expect(chain.inject({ kind: "block", pod: "a-0", data: bytes.toString("hex") })).toHaveProperty("hash");
  expect(chain.commitments.get(1004)).toMatchObject({ by: "a-0", revealedBy: null });
  const reveal = (pod: string) =>
    chain.inject({ kind: "operation", pod, data: encodeRevelation(head.hash, 1004, nonce).toString("hex") });
  expect(reveal("a-1")).toEqual({ error: "nonce.too_late" });
  expect(revealable(parameters, 1004, 1009)).toBe(true);
  expect(revealable(parameters, 1004, 1015)).toBe(false);
  expect(revealable(parameters, 1004, 1008)).toBe(false);
});

test("bytes that are no block and blocks without a right are refused", () => {
  start();
  expect(() => chain.inject({ kind: "block", pod: "a-0", data: "00" })).toThrow(RangeError);
  expect(
    chain.inject({
      kind: "block",
      pod: "a-0",
      data: encodeHeader({
        ...{
          level: 5,
          proto: 25,
          predecessor: chain.head.hash,
          timestamp: 1,
          validationPass: 4,
          operationsHash: toBase58("operationsHash", hash32("o")),
        },
        ...{
          lockedRound: null,
          predecessorRound: 0,
          round: 0,
          context: toBase58("context", hash32("c")),
          payloadHash: toBase58("payload", hash32("v")),
        },
        ...{ payloadRound: 0, proofOfWorkNonce: "0000000000000000", seedNonceHash: null, votes: 2 },
      }).toString("hex"),
    }),
  ).toEqual({ error: "block.not_on_the_head" });
});

test("a bitset of slots is written as Octez writes it, and read again", () => {
  expect(encodeSlots([0]).toString("hex")).toBe("01");
  expect(encodeSlots([0, 6, 13]).toString("hex")).toBe("818101");
  for (const slots of [[], [0], [5], [6], [15], [0, 3, 5, 6, 12, 13, 15]])
    expect(decodeSlots(Buffer.concat([encodeSlots(slots), Buffer.alloc(64)]))).toEqual(slots);
  expect(() => decodeSlots(Buffer.from("40", "hex"))).toThrow("zero or more");
});

test("the account of the DAL counts slots that could be attested, at missed levels too, and those that were", () => {
  start();
  vote("a-0");
  jest.advanceTimersByTime(6000);
  const account = () =>
    (chain as unknown as { dalParticipation(level: number): Record<string, unknown> }).dalParticipation(
      chain.head.level,
    );
  const slots = () => attestableSlots(chain.options, chain.head.level);
  // Level by level: every slot, all but the first, none, and no attestation at all.
  let [attested, attestable] = [0, 0];
  for (const named of [(all: number[]) => all, (all: number[]) => all.slice(1), () => [], undefined]) {
    const before = account();
    const all = slots();
    const mine = named?.(all) ?? [];
    if (named) vote("a-0", "attestation", mine.length === 0 ? null : encodeSlots(mine).toString("hex"));
    expect(account()).toEqual(before);
    if (chain.head.level % 8 === 0) [attested, attestable] = [0, 0];
    jest.advanceTimersByTime(6000);
    expect(chain.levels.at(-2)).toMatchObject({ dalAttestable: all.length, dalAttested: mine.length });
    [attested, attestable] = [attested + mine.length, attestable + all.length];
    expect(account()).toMatchObject({
      ...{ delegate_attested_dal_slots: attested, delegate_attestable_dal_slots: attestable },
      sufficient_dal_participation: attested >= 0.64 * attestable,
    });
  }
});
