/**
 * The data availability layer as the simulated chain has it: in which slots something is published, and how an
 * attestation says which of them are available. Of the protocol's several attestation lags the chain keeps one.
 */
import { hash32 } from "./encode";
import type { ChainParameters } from "./rights";

export const dalParameters = { numberOfSlots: 16, attestationLag: 4 } as const;

/** Slots in which somebody publishes at `level`: one to three, from the seed. */
export function publishedSlots({ seed }: Pick<ChainParameters, "seed">, level: number): number[] {
  const [count = 0, ...bytes] = hash32([seed, "dal", level].join("|"));
  const slots = bytes.slice(0, 1 + (count % 3)).map((byte) => byte % dalParameters.numberOfSlots);
  return [...new Set(slots)].sort((a, b) => a - b);
}
/** Slots that may be attested at `level`. */
export const attestableSlots = (chain: Pick<ChainParameters, "seed">, level: number): number[] =>
  publishedSlots(chain, level - dalParameters.attestationLag);

/** A bitset as Octez encodes it: a signed number, 6 bits in the first byte and 7 in each further one. */
export function encodeSlots(slots: readonly number[]): Buffer {
  let rest = slots.reduce((bits, slot) => bits | (1n << BigInt(slot)), 0n);
  const bytes = [Number(rest & 0x3fn)];
  for (rest >>= 6n; rest > 0n; rest >>= 7n) {
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
    bytes.push(Number(rest & 0x7fn));
  }
  return Buffer.from(bytes);
}
/** Inverse of encodeSlots; trailing bytes are ignored. @throws Error where the number is negative or has no end */
export function decodeSlots(bytes: Buffer): number[] {
  const end = bytes.findIndex((byte) => byte < 0x80);
  const [first = 0, ...more] = bytes.subarray(0, end + 1);
  if (end < 0 || (first & 0x40) !== 0)
    throw new Error("a bitset is a number of zero or more, with a last byte below 80");
  let bits = BigInt(first & 0x3f);
  more.forEach((byte, i) => (bits |= BigInt(byte & 0x7f) << BigInt(6 + 7 * i)));
  return [...bits.toString(2)].reverse().flatMap((bit, slot) => (bit === "1" ? [slot] : []));
}

/** What a pod's DAL node is kept from; by pod. */
export class DalTroubles {
  private readonly stopped = new Map<string, number>();

  /** From now on the pod's DAL node learns of no level above `level`; undefined: of every one again. */
  hold(pod: string, level: number | undefined): void {
    if (level === undefined) this.stopped.delete(pod);
    else this.stopped.set(pod, level);
  }
  /** The last level that the pod's DAL node may process where the head is at `head`: the last final one. */
  processed(pod: string, head: number): number {
    return Math.min(head - 2, this.stopped.get(pod) ?? Infinity);
  }
}
