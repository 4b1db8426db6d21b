/**
 * What a laboratory knows of its chain, whoever makes the blocks. Everything that our delegate did or missed is in
 * `levels`.
 */
import { EventEmitter } from "node:events";
import type { Block } from "./blocks";

export interface LevelRecord {
  level: number;
  round: number;
  hash: string;
  atMs: number;
  proposer: string;
  /** Pod whose block it is, where it is ours. */
  bakedBy: string | null;
  /** We held round 0. */
  blockRight: boolean;
  blockMissed: boolean;
  attestationRight: boolean;
  preattestedBy: string | null;
  attestedBy: string | null;
  attestedAfterMs: number | null;
  /** Null until the next block decides. */
  attestationMissed: boolean | null;
  commitment: string | null;
  /** Slots of the DAL that could be attested at this level, and how many of these our attestation names. */
  dalAttestable: number;
  dalAttested: number;
}
export interface Commitment {
  level: number;
  hash: string;
  by: string;
  revealedBy: string | null;
  revealedAt: number | null;
  /** The nonce in hex once it is revealed. */
  nonce: string | null;
  lost: boolean;
}
export interface ChainEvents {
  block: [LevelRecord];
  decided: [LevelRecord];
  vote: [{ pod: string; kind: string; level: number; round: number; late: boolean }];
  revealed: [Commitment];
}

export abstract class ChainRecord extends EventEmitter<ChainEvents> {
  /** Decided and undecided levels since the start, oldest first. */
  readonly levels: LevelRecord[] = [];
  readonly commitments = new Map<number, Commitment>();
  /** True: nobody proposes and no quorum forms. */
  halted = false;

  /** @throws Error before the first block */
  abstract get head(): Pick<Block, "level" | "round" | "atMs" | "hash">;
  abstract stop(): void;

  /** Levels after `level` that our delegate should have attested or baked and did not, in what is decided. */
  missedAfter(level: number): number[] {
    return this.levels
      .filter((record) => record.level > level && (record.attestationMissed === true || record.blockMissed))
      .map((record) => record.level);
  }
  /** Their number. */
  missedSince(level: number): number {
    return this.missedAfter(level).length;
  }
}
