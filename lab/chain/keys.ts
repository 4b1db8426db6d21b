/**
 * The keys that our delegate has registered, and which of them is active when: an update holds from the begin of the
 * cycle after `activationDelay` whole ones, and one of the same cycle takes its place. Source: Octez,
 * lib_protocol/delegate_consensus_key.ml.
 */
import { bls12_381 } from "@noble/curves/bls12-381";
import { decodeBase58, encodeBase58 } from "../../tezos/base58";
import { publicKeyHash, verifySignature } from "../../tezos/keys";
import { possessionDst } from "../doubles/signing-keys";
import { fromBase58 } from "./encode";
import { cycleOf, type ChainParameters } from "./rights";

export interface RegisteredKey {
  /** From which on it is active. */
  cycle: number;
  address: string;
  /** "" where the chain does not check signatures. */
  publicKey: string;
}
export type KeyKind = "consensus" | "companion";
/** By cycle, oldest first. */
export type DelegateKeys = Record<KeyKind, RegisteredKey[]>;

/** The constant consensus_key_activation_delay. */
export const activationDelay = 2;

type Registry = Pick<ChainParameters, "delegate" | "consensusKey" | "keys" | "blocksPerCycle">;
export const keysOf = ({ consensusKey, keys }: Registry): DelegateKeys =>
  keys ?? { consensus: [{ cycle: 0, address: consensusKey, publicKey: "" }], companion: [] };
export const activeKey = (chain: Registry, kind: KeyKind, level: number): RegisteredKey | undefined =>
  keysOf(chain)[kind].findLast(({ cycle }) => cycle <= cycleOf(chain, level).cycle);
export const pendingKeys = (chain: Registry, kind: KeyKind, level: number): RegisteredKey[] =>
  keysOf(chain)[kind].filter(({ cycle }) => cycle > cycleOf(chain, level).cycle);

/** Whether the consensus key that is active at `level` has signed; its signature is what follows the bytes. */
export function isSigned(
  chain: Registry & { chainId: string },
  watermark: number,
  level: number,
  bytes: Buffer,
): boolean {
  const key = activeKey(chain, "consensus", level);
  if (!key) return false;
  if (key.publicKey === "") return true;
  const bls = key.address.startsWith("tz4");
  const end = bytes.length - (bls ? 96 : 64);
  const signed = Buffer.concat([Buffer.of(watermark), fromBase58("chain", chain.chainId), bytes.subarray(0, end)]);
  return verifySignature(key.publicKey, signed, encodeBase58(bls ? "BLsig" : "sig", bytes.subarray(end)));
}

function provesPossession(publicKey: string, proof: string | undefined): boolean {
  const [key, signature] = [decodeBase58(publicKey), decodeBase58(proof ?? "")];
  if (key?.kind !== "BLpk" || signature?.kind !== "BLsig") return false;
  const { longSignatures } = bls12_381;
  return longSignatures.verify(signature.payload, longSignatures.hash(key.payload, possessionDst), key.payload);
}

/** The keys after an update in the block of `level`, or why the chain refuses it. */
export function registerKey(
  chain: Registry,
  level: number,
  update: { kind: KeyKind; publicKey: string; proof?: string },
): DelegateKeys | { error: string } {
  const { kind, publicKey, proof } = update;
  const address = publicKeyHash(publicKey);
  if (address === undefined) return { error: "operation.malformed_public_key" };
  const bls = address.startsWith("tz4");
  if (kind === "companion" && !bls) return { error: "delegate.companion_key.not_tz4" };
  if (bls && !provesPossession(publicKey, proof)) return { error: "validate.operation.incorrect_bls_proof" };
  const keys = keysOf(chain);
  const cycle = cycleOf(chain, level).cycle + activationDelay + 1;
  const other = kind === "consensus" ? "companion" : "consensus";
  if (keys[other].some((key) => key.address === address)) return { error: "delegate.consensus_key.active" };
  if (keys[kind].at(-1)?.address === address) return { error: "delegate.consensus_key.invalid_noop" };
  const kept = keys[kind].filter((key) => key.cycle !== cycle);
  return { ...keys, [kind]: [...kept, { cycle, address, publicKey }] };
}
