/**
 * A simulated Tezos chain with virtual peers and other bakers. It keeps Tenderbake's outward rules: rounds, rights, one
 * proposal a round, votes of a level count until the next block, commitments and revelations. It does not keep votes of
 * the others: they always reach a quorum, but in a halt.
 *
 * Node doubles connect to `serve()`: a stream of blocks and quorums, and injections. Everything that our delegate did
 * or missed is in `levels`.
 */
import { makeBlock, type Block } from "./blocks";
import { attestableSlots, DalTroubles, decodeSlots, publishedSlots } from "./dal";
import { decodeHeader, decodeVote, hash32, nonceHash, toBase58, type BlockHeader } from "./encode";
import { isSigned, registerKey } from "./keys";
import { ChainRecord, type LevelRecord } from "./chain-record";
import {
  attests,
  cycleOf,
  expectsCommitment,
  proposer,
  revealable,
  roundAt,
  roundMs,
  roundStartMs,
  type ChainParameters,
} from "./rights";
import { Peers, serveNodes } from "./peers";

export interface ChainOptions extends ChainParameters {
  startLevel: number;
  virtualPeers: number;
}

const named = (dal: string): number[] => decodeSlots(Buffer.from(dal, "hex"));

type Injection = { kind: "block" | "operation"; pod: string; data: string };

const keep = 200;

export class Chain extends ChainRecord {
  readonly blocks: Block[] = [];
  readonly peers: Peers;
  readonly dal = new DalTroubles();
  private forkNext: ((pod: string) => boolean) | null = null;
  private timers = new Set<NodeJS.Timeout>();
  private stopped = false;
  /** Nothing is missed before the delegate's first vote: it has not begun. */
  private begun = false;
  private quorums: string[] = [];

  constructor(
    readonly options: ChainOptions,
    private readonly now: () => number = Date.now,
  ) {
    super();
    this.peers = new Peers(now);
  }

  get head(): Block {
    const head = this.blocks[this.blocks.length - 1];
    if (!head) throw new Error("the chain has not begun");
    return head;
  }

  /** Makes a short past and begins. The head's round began just now. */
  start(): void {
    const { blockMs, startLevel } = this.options;
    // Whole seconds where blocks take whole seconds, so that timestamps are exact.
    const unit = blockMs % 1000 === 0 ? 1000 : 1;
    const begin = Math.floor(this.now() / unit) * unit;
    const past = 8;
    for (let i = 0; i < past; i++) {
      const level = startLevel - past + 1 + i;
      const name = proposer(this.options, level, 0);
      this.append(
        this.makeBlock(level, 0, begin - (past - 1 - i) * blockMs, name === "ours" ? "baker-0" : name),
        null,
        false,
      );
    }
    this.schedule();
  }

  stop(): void {
    this.stopped = true;
    for (const timer of this.timers) clearTimeout(timer);
    this.peers.close();
  }

  halt(): void {
    this.halted = true;
  }
  resume(): void {
    this.halted = false;
    this.schedule();
  }
  /** The next block of another baker is seen by some pods only; a higher round of the same level wins. */
  fork(sees: (pod: string) => boolean): void {
    this.forkNext = sees;
  }
  /** Blocks reach this pod so much later. */
  slow(pod: string, ms: number): void {
    this.peers.slow(pod, ms);
  }

  private after(ms: number, action: () => void): void {
    const timer = setTimeout(
      () => {
        this.timers.delete(timer);
        if (!this.stopped) action();
      },
      Math.max(0, ms),
    );
    this.timers.add(timer);
  }

  private makeBlock(
    level: number,
    round: number,
    atMs: number,
    name: string,
    given?: { header: BlockHeader; bytes: Buffer },
  ): Block {
    const predecessor = this.blocks.findLast((block) => block.level === level - 1);
    return makeBlock(this.options, predecessor, { level, round, atMs, proposer: name }, given);
  }

  /** Waits for the begin of the next round that nobody has used. */
  private schedule(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    const { blockMs } = this.options;
    const head = this.head;
    const round = Math.max(
      0,
      roundAt(blockMs, head, this.now()) + (roundStartMs(blockMs, head, 0) > this.now() ? 1 : 0),
    );
    const begin = roundStartMs(blockMs, head, round);
    this.after(begin - this.now(), () => this.beginRound(round));
    this.announceQuorum(head);
  }

  private announceQuorum(block: Block): void {
    if (this.halted) return;
    const begin = block.atMs - this.now();
    const { level, round } = block;
    for (const [kind, share] of [
      ["prequorum", 0.15],
      ["quorum", 0.3],
    ] as const)
      this.after(begin + share * this.options.blockMs, () => {
        if (this.halted || this.head.hash !== block.hash) return;
        const line = JSON.stringify({ [kind]: { level, round, hash: block.hash, payloadHash: block.payloadHash } });
        if (kind === "prequorum") this.quorums = [];
        this.quorums.push(line);
        this.peers.broadcast(line);
      });
  }

  private beginRound(round: number): void {
    const head = this.head;
    const { blockMs } = this.options;
    const level = head.level + 1;
    const name = proposer(this.options, level, round);
    // In a halt rounds pass without a proposal; ours waits for its baker until the round ends.
    if (!this.halted && name !== "ours") {
      const block = this.makeBlock(level, round, roundStartMs(blockMs, head, round), name);
      const sees = this.forkNext;
      if (!sees) return this.append(block, null, true);
      this.forkNext = null;
      this.peers.broadcast(JSON.stringify({ block }), sees);
    }
    this.after(roundStartMs(blockMs, head, round + 1) - this.now(), () => this.beginRound(round + 1));
  }

  private append(block: Block, bakedBy: string | null, announce: boolean): void {
    const previous = this.levels[this.levels.length - 1];
    if (previous && previous.attestationMissed === null) {
      previous.attestationMissed = previous.attestationRight && previous.attestedBy === null;
      this.emit("decided", previous);
    }
    this.blocks.push(block);
    if (this.blocks.length > keep) this.blocks.shift();
    const blockRight = proposer(this.options, block.level, 0) === "ours";
    const record: LevelRecord = {
      ...{
        level: block.level,
        round: block.round,
        hash: block.hash,
        atMs: block.atMs,
        proposer: block.proposer,
        bakedBy,
        blockRight,
      },
      blockMissed: announce && this.begun && blockRight && (block.round !== 0 || block.proposer !== "ours"),
      attestationRight: this.begun && attests(this.options, block.level),
      ...{ preattestedBy: null, attestedBy: null, attestedAfterMs: null, commitment: null },
      attestationMissed: announce ? null : false,
      ...{ dalAttestable: attestableSlots(this.options, block.level).length, dalAttested: 0 },
    };
    this.levels.push(record);
    if (this.levels.length > 5000) this.levels.splice(0, 1000);
    for (const commitment of this.commitments.values())
      if (
        commitment.revealedBy === null &&
        cycleOf(this.options, block.level).cycle > cycleOf(this.options, commitment.level).cycle
      )
        commitment.lost =
          cycleOf(this.options, block.level).cycle > cycleOf(this.options, commitment.level).cycle + 1 ||
          !revealable(this.options, commitment.level, block.level);
    if (!announce) return;
    this.peers.broadcast(JSON.stringify({ block }));
    this.emit("block", record);
    this.schedule();
  }

  /** An operation of the delegate's manager: another consensus or companion key, from a later cycle on. */
  registerKey(update: Parameters<typeof registerKey>[2]): { hash: string } | { error: string } {
    const keys = registerKey(this.options, this.head.level, update);
    if ("error" in keys) return keys;
    this.options.keys = keys;
    this.peers.broadcast(this.parameters());
    return { hash: toBase58("operation", hash32(JSON.stringify(update))) };
  }
  /** What a node injected. The answer is an error's text, or the hash. */
  inject({ kind, pod, data }: Injection): { hash: string } | { error: string } {
    const bytes = Buffer.from(data, "hex");
    if (kind === "block") return this.injectBlock(pod, bytes);
    const hash = toBase58("operation", hash32(bytes));
    if (bytes.readUInt8(32) === 1) {
      const level = bytes.readInt32BE(33);
      const nonce = bytes.subarray(37, 69).toString("hex");
      const commitment = this.commitments.get(level);
      if (!commitment || commitment.hash !== nonceHash(nonce)) return { error: "nonce.unexpected" };
      if (commitment.revealedBy !== null) return { error: "nonce.previously_revealed" };
      if (!revealable(this.options, level, this.head.level)) return { error: "nonce.too_late" };
      Object.assign(commitment, { revealedBy: pod, revealedAt: this.head.level, nonce });
      this.emit("revealed", commitment);
      return { hash };
    }
    const vote = decodeVote(bytes);
    const record = this.levels[this.levels.length - 1];
    const fits =
      record?.level === vote.level && record.round === vote.round && this.head.payloadHash === vote.payloadHash;
    this.emit("vote", { pod, kind: vote.kind, level: vote.level, round: vote.round, late: !fits });
    if (!record || !fits) return { error: "operation.consensus_operation_for_another_block" };
    if (!isSigned(this.options, vote.kind === "preattestation" ? 0x12 : 0x13, vote.level, bytes))
      return { error: "operation.invalid_signature" };
    if (vote.kind === "preattestation") record.preattestedBy ??= pod;
    else if (record.attestedBy === null) {
      this.begun = true;
      record.attestedBy = pod;
      const slots = attestableSlots(this.options, vote.level);
      record.dalAttested = vote.dal === null ? 0 : named(vote.dal).filter((slot) => slots.includes(slot)).length;
      record.attestedAfterMs = this.now() - record.atMs;
    }
    return { hash };
  }

  private injectBlock(pod: string, bytes: Buffer): { hash: string } | { error: string } {
    const header = decodeHeader(bytes);
    const head = this.head;
    const { blockMs } = this.options;
    if (this.halted) return { error: "block.no_quorum_on_the_predecessor" };
    if (header.predecessor !== head.hash || header.level !== head.level + 1) return { error: "block.not_on_the_head" };
    const begin = roundStartMs(blockMs, head, header.round);
    if (proposer(this.options, header.level, header.round) !== "ours") return { error: "block.no_right" };
    if (this.now() < begin - 50) return { error: "block.too_early" };
    if (this.now() > begin + roundMs(blockMs, header.round)) return { error: "block.round_is_over" };
    if (!isSigned(this.options, 0x11, header.level, bytes)) return { error: "block.invalid_signature" };
    if (expectsCommitment(this.options, header.level) !== (header.seedNonceHash !== null))
      return { error: "block.invalid_commitment" };
    const block = this.makeBlock(header.level, header.round, begin, "ours", { header, bytes });
    if (header.seedNonceHash !== null)
      this.commitments.set(header.level, {
        ...{ level: header.level, hash: header.seedNonceHash, by: pod },
        ...{ revealedBy: null, revealedAt: null, nonce: null, lost: false },
      });
    this.append(block, pod, true);
    const record = this.levels[this.levels.length - 1];
    if (record) record.commitment = header.seedNonceHash;
    return { hash: block.hash };
  }

  private parameters(): string {
    return JSON.stringify({ hello: { parameters: this.options, peers: this.options.virtualPeers } });
  }
  private hello(): string {
    return [
      this.parameters(),
      ...this.blocks.slice(-40).map((block) => JSON.stringify({ block })),
      ...this.quorums,
      "",
    ].join("\n");
  }

  /** `GET /stream?pod=P`, `POST /inject`, `GET /participation?level=L`, `GET /nonce?level=L` and more. */
  serve(host: string, port = 0): Promise<{ host: string; port: number; close(): void }> {
    const levelOf = (query: URLSearchParams) => Number(query.get("level"));
    return serveNodes(
      (pod, response) => {
        response.writeHead(200, { "content-type": "application/x-ndjson" }).write(this.hello());
        this.peers.add(pod, response);
      },
      {
        "/inject": (_query, body) => this.inject(JSON.parse(body) as Injection),
        "/participation": (query) => this.participation(levelOf(query)),
        "/dal-participation": (query) => this.dalParticipation(levelOf(query)),
        "/dal": (query) => this.dalOf(query.get("pod") ?? "", levelOf(query)),
        "/nonce": (query) => this.nonce(levelOf(query)),
      },
      host,
      port,
    );
  }

  /**
   * `context/delegates/<ours>/participation` of the block at `level`: the attestations of its cycle's blocks, that is
   * of the level before each.
   */
  private participation(level: number): Record<string, number> {
    const missed = this.accounted(level).filter((record) => record.attestationMissed === true).length;
    return { missed_slots: missed, missed_levels: missed };
  }
  /** Levels whose attestations the blocks of the cycle of `level` include, up to that block. */
  private accounted(level: number): LevelRecord[] {
    const { cycle } = cycleOf(this.options, level);
    return this.levels.filter(
      (record) => record.level < level && cycleOf(this.options, record.level + 1).cycle === cycle,
    );
  }
  /** `context/delegates/<ours>/dal_participation`. Others attest every slot, so each counts, at a missed level, too. */
  private dalParticipation(level: number): Record<string, unknown> {
    const decided = this.accounted(level).filter(
      (record) => record.attestationRight && record.attestationMissed !== null,
    );
    const sum = (of: (record: LevelRecord) => number) => decided.reduce((total, record) => total + of(record), 0);
    const [attested, attestable] = [sum(({ dalAttested }) => dalAttested), sum(({ dalAttestable }) => dalAttestable)];
    return {
      expected_assigned_shards_per_slot: 64,
      ...{ delegate_attested_dal_slots: attested, delegate_attestable_dal_slots: attestable },
      ...{ expected_dal_rewards: "0", sufficient_dal_participation: attested >= attestable * (16 / 25) },
      denounced: false,
    };
  }
  /** What the peers of a pod's DAL node tell it: how far it can follow, and the slots of its last levels. */
  private dalOf(pod: string, head: number): Record<string, unknown> {
    const processed = this.dal.processed(pod, head);
    const levels = Array.from({ length: 12 }, (_, i) => processed - i);
    return {
      ...{ processed, peers: this.options.virtualPeers },
      slots: levels.flatMap((level) => publishedSlots(this.options, level).map((slot) => ({ level, slot }))),
    };
  }
  /** `context/nonces/<level>` */
  private nonce(level: number): Record<string, string> {
    const commitment = this.commitments.get(level);
    if (!commitment) return {};
    return commitment.nonce === null ? { hash: commitment.hash } : { nonce: commitment.nonce };
  }
}
