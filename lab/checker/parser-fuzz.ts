/**
 * Structure-aware fuzzing of the signing-request parser: valid requests of every layout, then mutated where a layout
 * says that something is. Each input is judged by a second reading that shares no code with the parser: plain offsets,
 * as the signers' documents give them.
 */
import { expectBase58 } from "../../tezos/base58";
import { leastDalBits, mostDalBits } from "../../tezos/protocols";
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

const known = new Set<string>(refusalReasons);

/** Bytes of a number of so many bits and a sign: seven in each. */
const bytesOf = (bits: number): number => Math.ceil((bits + 1) / 7);
/** What gates may be told: today's longest bitset, the most that they believe, and what lies between. */
const bounds = [leastDalBits, leastDalBits, leastDalBits + 1, 1500, mostDalBits];

/** What a reader with the documents in hand would say of an accepted input, or why it should not have been accepted. */
function secondReading(bytes: Buffer, dalBits: number): { kind: string; level: number; round: number } | string {
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
    if (bytes.length > 80 + bytesOf(dalBits)) return "long bitset";
    if ((first & 0x40) !== 0) return "negative bitset";
    if (more.at(-1) === 0 || [first, ...more].findIndex((byte) => byte < 0x80) !== more.length) return "bitset";
  }
  return {
    kind: kind === 0x12 ? "preattestation" : "attestation",
    level: bytes.readInt32BE(bls ? 38 : 40),
    round: bytes.readInt32BE(bls ? 42 : 44),
  };
}

/** Draws inputs: valid requests of every layout, and what becomes of them. */
class Inputs {
  private readonly random: () => number;

  constructor(seed: number) {
    this.random = randomOf(seed);
  }
  chance(p: number): boolean {
    return this.random() < p;
  }
  below(n: number): number {
    return Math.floor(this.random() * n);
  }
  private pick(list: readonly number[]): number {
    return list[this.below(list.length)] ?? 0;
  }
  private level(): number {
    return this.chance(0.8) ? this.below(20_000_000) : this.pick([0, 1, 0x7fffffff, 0x7ffffffe]);
  }
  private round(): number {
    return this.chance(0.8) ? this.below(10) : this.pick([0, 0x7fffffff]);
  }
  private hash(): Uint8Array {
    return new Uint8Array(32).fill(this.below(256));
  }
  bound(): number {
    return this.pick(bounds);
  }
  /** 6 bits in the first byte, 7 in each further one, `most` together; the last of several is not zero. */
  private bitset(most: number): Uint8Array {
    const longest = bytesOf(most);
    const size = this.chance(0.5) ? 1 + this.below(3) : this.chance(0.1) ? longest : 1 + this.below(longest);
    const bytes = Uint8Array.from(
      { length: size },
      (_, i) => this.below(i === 0 ? 64 : 128) | (i < size - 1 ? 0x80 : 0),
    );
    const lastBits = size === longest ? most + 1 - 7 * (longest - 1) : 7;
    if (size > 1) bytes[size - 1] = 1 + this.below(2 ** lastBits - 1);
    return bytes;
  }

  valid(dalBits: number): Buffer {
    if (this.chance(0.5))
      return Buffer.from(
        encodeBlockRequest({
          chainId: chain,
          level: this.level(),
          round: this.round(),
          payloadHash: this.hash(),
          lockedRound: this.chance(0.5) ? null : this.round(),
          predecessorRound: this.round(),
          payloadRound: this.round(),
          seedNonceHash: this.chance(0.5) ? null : this.hash(),
          voteByte: this.pick([0, 1, 2, 10, 2, 6]),
        }),
      );
    return Buffer.from(
      encodeVoteRequest({
        tag: this.pick([20, 21, 23, 40, 41]),
        chainId: chain,
        level: this.level(),
        round: this.round(),
        payloadHash: this.hash(),
        slot: this.below(65_536),
        dal: this.bitset(dalBits),
      }),
    );
  }
  noise(): Buffer {
    return Buffer.from(Array.from({ length: this.below(300) }, () => this.below(256)));
  }

  mutate(input: Buffer): Buffer {
    let bytes = input;
    for (let i = this.below(4); i > 0; i--) bytes = this.mutateOnce(bytes);
    return bytes;
  }
  private mutateOnce(bytes: Buffer): Buffer {
    switch (this.below(8)) {
      case 0:
        return bytes.subarray(0, this.below(bytes.length + 1));
      case 1:
        return Buffer.concat([bytes, Buffer.alloc(1 + this.below(40), this.pick(values))]);
      case 2:
        if (bytes.length > 0) {
          const at = this.below(bytes.length);
          bytes[at] = (bytes[at] ?? 0) ^ (1 << this.below(8));
        }
        return bytes;
      case 3: {
        // Cut out or repeat a piece: everything after it moves.
        const at = this.below(bytes.length + 1);
        const size = this.pick([1, 2, 4, 32]);
        return Buffer.concat([
          bytes.subarray(0, at),
          this.chance(0.5) ? Buffer.alloc(size) : Buffer.alloc(0),
          bytes.subarray(Math.min(bytes.length, at + (this.chance(0.5) ? size : 0))),
        ]);
      }
      case 4:
        return Buffer.concat([
          bytes.subarray(0, this.below(bytes.length + 1)),
          this.valid(leastDalBits).subarray(this.below(200)),
        ]);
      case 5: {
        const at = this.pick(landmarks);
        if (at + 4 <= bytes.length) bytes.writeInt32BE(this.pick([0, 1, -1, 0x7fffffff, -0x80000000, 33, 37, 4]), at);
        return bytes;
      }
      default: {
        const at = this.pick(landmarks);
        if (at < bytes.length) bytes[at] = this.pick(values);
        return bytes;
      }
    }
  }
}

/** Counts the input, or says which property it breaks. */
function judge(bytes: Buffer, dalBits: number, result: ParserFuzzResult): string | undefined {
  let parsed: ReturnType<typeof parseSigningRequest>;
  try {
    parsed = parseSigningRequest(bytes, dalBits);
  } catch (error) {
    return `threw ${String(error)}`;
  }
  if (!parsed.ok) {
    if (!known.has(parsed.reason)) return `unknown reason ${parsed.reason}`;
    result.refused[parsed.reason] = (result.refused[parsed.reason] ?? 0) + 1;
    return undefined;
  }
  const { kind, level, round } = parsed.request;
  const second = secondReading(bytes, dalBits);
  if (typeof second === "string") return `accepted in spite of its ${second}`;
  if (second.kind !== kind || second.level !== level || second.round !== round)
    return `read as ${kind} (${level}, ${round})`;
  if (level < 0 || round < 0) return "negative";
  const name = `${kind} of ${kind === "attestation" && bytes.length > 80 ? "81 and more" : bytes.length} bytes`;
  result.understood[name] = (result.understood[name] ?? 0) + 1;
  return undefined;
}

/** Runs `inputs` inputs; calls `progress` now and then. Everything follows from the seed. */
export async function fuzzParser(options: {
  seed: number;
  inputs: number;
  progress?: (done: number) => void;
}): Promise<ParserFuzzResult> {
  const drawn = new Inputs(options.seed);
  const result: ParserFuzzResult = { seed: options.seed, inputs: 0, understood: {}, refused: {}, failure: "" };
  for (; result.inputs < options.inputs; result.inputs++) {
    const dalBits = drawn.bound();
    const whole = drawn.valid(dalBits);
    if (!parseSigningRequest(whole, dalBits).ok)
      return { ...result, failure: `refused though valid: ${whole.toString("hex")}` };
    const bytes = drawn.mutate(drawn.chance(0.02) ? drawn.noise() : whole);
    const failure = judge(bytes, dalBits, result);
    if (failure !== undefined) return { ...result, failure: `${failure}: ${bytes.toString("hex")}` };
    if (result.inputs % 100_000 === 99_999) {
      options.progress?.(result.inputs + 1);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return result;
}
