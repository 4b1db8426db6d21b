/**
 * The protocols whose signing requests this program understands: a new one is a row here, after its layouts were
 * compared with those of signing-request.ts.
 */
export interface Protocol {
  /** Of the directory in Octez' source, three digits. */
  number: string;
  name: string;
  /** Base58, as the node tells it. */
  hash: string;
  /** Longest DAL bitset of an honest attestation with the constants of mainnet, in bits. */
  dalBits: number;
}

/** Octez' dal_attestations_repr.ml: a bit says that no other chunk of this lag follows, seven are slots. */
const slotsPerChunk = 7;
/**
 * Longest bitset of an honest attestation: a bit for each lag, then for each lag as many chunks as its slots need. The
 * last bits of the last chunk stand for no slot and are never set.
 *
 * @param slots the chain's constant `number_of_slots`
 * @param lags the number of its `attestation_lags`
 */
export function longestDalBits(slots: number, lags: number): number {
  const chunks = Math.ceil(slots / slotsPerChunk);
  return lags + lags * chunks * (1 + slotsPerChunk) - (chunks * slotsPerChunk - slots);
}

const tallinn = {
  ...{ number: "024", name: "Tallinn", hash: "PtTALLiNtPec7mE7yY4m3k26J8Qukef3E3ehzhfXgFZKGtDdAXu" },
  // One bit for each slot: this one has no list of lags.
  dalBits: 32,
} as const satisfies Protocol;
export const ushuaia = {
  ...{ number: "025", name: "Ushuaia", hash: "PsUshuai9QapM5TGj1JpuVGkdxz5GykdnEvS6Rh8SUVrARvZLCY" },
  dalBits: longestDalBits(160, 5),
} as const satisfies Protocol;
export const protocols = [tallinn, ushuaia] as const;
export type ProtocolNumber = (typeof protocols)[number]["number"];

/** @returns the row with this hash, undefined where this version does not know it */
export const protocolOf = (hash: string): Protocol | undefined => protocols.find((row) => row.hash === hash);

/** What is accepted whatever a node says, or does not say: anybody may publish to slots, so bitsets are this long. */
export const leastDalBits = Math.max(...protocols.map(({ dalBits }) => dalBits));
/** What is accepted at most, whatever a node says: some 2 KB, 17 times as long as today's longest. */
export const mostDalBits = 16_384;

/**
 * Bound of a DAL bitset, from what a node says of its chain.
 *
 * @param constants undefined where the node has not told them in a form that is understood
 */
export function dalBitsOf(constants: { slots: number; lags: number } | undefined): number {
  if (!constants) return leastDalBits;
  return Math.min(mostDalBits, Math.max(leastDalBits, longestDalBits(constants.slots, constants.lags)));
}
