/**
 * Structure-aware fuzzing of the signing-request parser: valid requests of every layout, then mutated where a layout
 * says that something is. Each input is judged by a second reading that shares no code with the parser: plain offsets,
 * as the signers' documents give them.
 */
import { expectBase58 } from "../../tezos/base58";
import {
  encodeBlockRequest,
  encodeVoteRequest,
  parseSigningRequest,
  refusalReasons,
} from "../../tezos/signing-request";
import { randomOf } from "./schedules/world";

export interface ParserFuzzResult {
  seed: number;
  inputs: number;
  /** Inputs that were understood, by kind and length. */
  understood: Record<string, number>;
  refused: Record<string, number>;
  /** Empty, or the first input (hex) that broke a property, with the property. */
  failure: string;
}

const chain = expectBase58("chainId", "NetXdQprcVkpaWU");
/** Offsets at which something is decided, and their neighbours. */
const landmarks = [
  0, 1, 4, 5, 8, 9, 37, 38, 40, 41, 42, 44, 45, 46, 48, 49, 50, 79, 80, 81, 83, 86, 87, 90, 91, 92, 95, 96, 99, 100,
  103, 104, 107, 108, 111, 112, 115, 116, 119, 120, 123, 151, 184, 188, 196, 200, 197, 201, 229, 233,
];
const values = [0, 1, 2, 3, 4, 0x0f, 0x10, 20, 21, 22, 23, 33, 35, 37, 40, 41, 42, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/** What a reader with the documents in hand would say of an accepted input, or why it should not have been accepted. */
function secondReading(bytes: Buffer): { kind: string; level: number; round: number } | string {
  const kind = bytes[0];
  if (kind === 0x11) {
    const fitness = bytes.readUInt32BE(83);
    if (![33, 37].includes(fitness)) return "fitness length";
    if (bytes[91] !== 2) return "fitness version";
    if (bytes.readInt32BE(96) !== bytes.readInt32BE(5)) return "fitness level";
    if (![163 + fitness + 2, 163 + fitness + 34].includes(bytes.length)) return "length";
    if (bytes[163 + fitness] !== (bytes.length === 163 + fitness + 2 ? 0 : 0xff)) return "seed flag";
    return { kind: "block", level: bytes.readInt32BE(5), round: bytes.readInt32BE(83 + fitness) };
  }
  const tag = bytes[37] ?? -1;
  const expected: Record<number, number> = { 20: 0x12, 40: 0x12, 21: 0x13, 23: 0x13, 41: 0x13 };
  if (expected[tag] !== kind) return "tag";
  const bls = tag >= 40;
  if (tag === 23 ? bytes.length < 81 : bytes.length !== (bls ? 78 : 80)) return "length";
  if (tag === 23) {
    const [first = 0, ...more] = bytes.subarray(80);
    if (bytes.length > 80 + 133) return "long bitset";
    if ((first & 0x40) !== 0) return "negative bitset";
    if (more.at(-1) === 0 || [first, ...more].findIndex((byte) => byte < 0x80) !== more.length) return "bitset";
  }
  return {
    kind: kind === 0x12 ? "preattestation" : "attestation",
    level: bytes.readInt32BE(bls ? 38 : 40),
    round: bytes.readInt32BE(bls ? 42 : 44),
  };
}

/** Runs `inputs` inputs; calls `progress` now and then. Everything follows from the seed. */
export async function fuzzParser(options: {
  seed: number;
  inputs: number;
  progress?: (done: number) => void;
}): Promise<ParserFuzzResult> {
  const random = randomOf(options.seed);
  const below = (n: number) => Math.floor(random() * n);
  const pick = (list: readonly number[]) => list[below(list.length)] ?? 0;
  const known = new Set<string>(refusalReasons);
  const result: ParserFuzzResult = { seed: options.seed, inputs: 0, understood: {}, refused: {}, failure: "" };
  const level = () => (random() < 0.8 ? below(20_000_000) : pick([0, 1, 0x7fffffff, 0x7ffffffe]));
  const round = () => (random() < 0.8 ? below(10) : pick([0, 0x7fffffff]));
  const hash = () => new Uint8Array(32).fill(below(256));
  /** 6 bits in the first byte, 7 in each further one, 924 at most; the last of several is not zero. */
  const bitset = (): Uint8Array => {
    const size = random() < 0.5 ? 1 + below(3) : 1 + below(133);
    const bytes = Uint8Array.from({ length: size }, (_, i) => below(i === 0 ? 64 : 128) | (i < size - 1 ? 0x80 : 0));
    if (size > 1) bytes[size - 1] = 1 + below(size === 133 ? 1 : 127);
    return bytes;
  };
  const valid = (): Buffer => {
    if (random() < 0.5)
      return Buffer.from(
        encodeBlockRequest({
          chainId: chain,
          level: level(),
          round: round(),
          payloadHash: hash(),
          lockedRound: random() < 0.5 ? null : round(),
          predecessorRound: round(),
          payloadRound: round(),
          seedNonceHash: random() < 0.5 ? null : hash(),
          voteByte: pick([0, 1, 2, 10, 2, 6]),
        }),
      );
    return Buffer.from(
      encodeVoteRequest({
        tag: pick([20, 21, 23, 40, 41]),
        chainId: chain,
        level: level(),
        round: round(),
        payloadHash: hash(),
        slot: below(65_536),
        dal: bitset(),
      }),
    );
  };
  const mutate = (input: Buffer): Buffer => {
    let bytes = input;
    for (let i = below(4); i > 0; i--)
      switch (below(8)) {
        case 0:
          bytes = bytes.subarray(0, below(bytes.length + 1));
          break;
        case 1:
          bytes = Buffer.concat([bytes, Buffer.alloc(1 + below(40), pick(values))]);
          break;
        case 2:
          if (bytes.length > 0) {
            const at = below(bytes.length);
            bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
          }
          break;
        case 3: {
          // Cut out or repeat a piece: everything after it moves.
          const at = below(bytes.length + 1);
          const size = pick([1, 2, 4, 32]);
          bytes = Buffer.concat([
            bytes.subarray(0, at),
            random() < 0.5 ? Buffer.alloc(size) : Buffer.alloc(0),
            bytes.subarray(Math.min(bytes.length, at + (random() < 0.5 ? size : 0))),
          ]);
          break;
        }
        case 4:
          bytes = Buffer.concat([bytes.subarray(0, below(bytes.length + 1)), valid().subarray(below(200))]);
          break;
        case 5: {
          const at = pick(landmarks);
          if (at + 4 <= bytes.length) bytes.writeInt32BE(pick([0, 1, -1, 0x7fffffff, -0x80000000, 33, 37, 4]), at);
          break;
        }
        default: {
          const at = pick(landmarks);
          if (at < bytes.length) bytes[at] = pick(values);
        }
      }
    return bytes;
  };
  for (; result.inputs < options.inputs; result.inputs++) {
    const whole = valid();
    if (!parseSigningRequest(whole).ok) {
      result.failure = `refused though valid: ${whole.toString("hex")}`;
      return result;
    }
    const bytes = mutate(random() < 0.02 ? Buffer.from(Array.from({ length: below(300) }, () => below(256))) : whole);
    const fail = (what: string) => {
      result.failure = `${what}: ${bytes.toString("hex")}`;
      return result;
    };
    let parsed: ReturnType<typeof parseSigningRequest>;
    try {
      parsed = parseSigningRequest(bytes);
    } catch (error) {
      return fail(`threw ${String(error)}`);
    }
    if (!parsed.ok) {
      if (!known.has(parsed.reason)) return fail(`unknown reason ${parsed.reason}`);
      result.refused[parsed.reason] = (result.refused[parsed.reason] ?? 0) + 1;
    } else {
      const { kind, level: l, round: r } = parsed.request;
      const second = secondReading(bytes);
      if (typeof second === "string") return fail(`accepted in spite of its ${second}`);
      if (second.kind !== kind || second.level !== l || second.round !== r) return fail(`read as ${kind} (${l}, ${r})`);
      if (l < 0 || r < 0) return fail("negative");
      const name = `${kind} of ${kind === "attestation" && bytes.length > 80 ? "81 and more" : bytes.length} bytes`;
      result.understood[name] = (result.understood[name] ?? 0) + 1;
    }
    if (result.inputs % 100_000 === 99_999) {
      options.progress?.(result.inputs + 1);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return result;
}
