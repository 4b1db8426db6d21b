/** The blocks of the simulated chain. */
import { encodeHeader, fitness, hash32, toBase58, type BlockHeader } from "./encode";
import type { ChainParameters } from "./rights";

/** A block as peers hand it on. `header` is the RPC's header without what a node knows itself. */
export interface Block {
  hash: string;
  level: number;
  round: number;
  /** Begin of its round, wall clock in milliseconds: the header has whole seconds only. */
  atMs: number;
  proposer: string;
  payloadHash: string;
  header: Record<string, unknown>;
}
/** @param predecessor undefined for the first; @param given header and bytes of a block that a baker has signed */
export function makeBlock(
  parameters: ChainParameters,
  predecessor: Block | undefined,
  { level, round, atMs, proposer: name }: Pick<Block, "level" | "round" | "atMs" | "proposer">,
  given?: { header: BlockHeader; bytes: Buffer },
): Block {
  const header: BlockHeader = given?.header ?? {
    level,
    proto: 25,
    predecessor: predecessor?.hash ?? toBase58("block", hash32("genesis", parameters.seed)),
    timestamp: Math.floor(atMs / 1000),
    validationPass: 4,
    operationsHash: toBase58("operationsHash", hash32("operations", name, String(level), String(round))),
    lockedRound: null,
    predecessorRound: predecessor?.round ?? 0,
    round,
    context: toBase58("context", hash32("context", String(level))),
    payloadHash: toBase58("payload", hash32("payload", name, String(level), String(round))),
    payloadRound: round,
    proofOfWorkNonce: "0000000000000000",
    seedNonceHash: null,
    votes: 0,
  };
  const bytes = given?.bytes ?? Buffer.concat([encodeHeader(header), Buffer.alloc(64)]);
  return {
    hash: toBase58("block", hash32(bytes)),
    ...{ level, round, atMs, proposer: name, payloadHash: header.payloadHash },
    header: {
      protocol: parameters.protocol,
      chain_id: parameters.chainId,
      level,
      proto: header.proto,
      predecessor: header.predecessor,
      timestamp: new Date(header.timestamp * 1000).toISOString().replace(".000Z", "Z"),
      validation_pass: header.validationPass,
      operations_hash: header.operationsHash,
      fitness: fitness(header).map((item) => item.toString("hex")),
      context: header.context,
      payload_hash: header.payloadHash,
      payload_round: header.payloadRound,
      proof_of_work_nonce: header.proofOfWorkNonce,
      ...(header.seedNonceHash === null ? {} : { seed_nonce_hash: header.seedNonceHash }),
      liquidity_baking_toggle_vote: "pass",
      signature: `sig${"1".repeat(93)}`,
    },
  };
}
