/**
 * What a real node tells of its chain, as the laboratory's record of levels: who attested and baked comes from the
 * signatures that our pods got, and whether a level was missed from the chain's own account of our delegate.
 */
import { z } from "zod";
import { missedBetween, type Account } from "../../daemons/runtime/missed-levels";
import type { Head, OctezRpc, RpcOutcome } from "../../daemons/runtime/octez-rpc";
import { ChainRecord, type Commitment, type LevelRecord } from "../chain/chain-record";
import type { Signature } from "../lab-record";

/** What the laboratory reads of a block's header and of its anonymous operations. */
const headerSchema = z.object({ seed_nonce_hash: z.optional(z.string()) });
const operationsSchema = z.array(
  z.object({
    contents: z.array(z.object({ kind: z.string(), level: z.optional(z.number()), nonce: z.optional(z.string()) })),
  }),
);
/** Denunciations: of two votes, of two blocks, of an attested trap of the DAL. */
const isEvidence = (kind: string): boolean => /^(double_\w+|dal_entrapment)_evidence$/.test(kind);

export interface SandboxChainOptions {
  rpc: OctezRpc;
  /** URL of the same node. */
  node: string;
  delegate: string;
  blocksPerCycle: number;
  /** The pod whose octez-baker runs: only it injects operations of ours. */
  activePod: () => string | undefined;
  onError: (reason: string) => void;
}

const timeoutMs = 10_000;

export class SandboxChain extends ChainRecord {
  /** Denunciations in the chain's blocks, of anybody. */
  readonly evidence: { level: number; kind: string }[] = [];
  private readonly end = new AbortController();
  private readonly signatures: Signature[] = [];
  private account: Account | undefined;
  /** Nothing is missed before the delegate's first attestation: it has not begun. */
  private begun = false;
  private work: Promise<void> = Promise.resolve();

  constructor(private readonly o: SandboxChainOptions) {
    super();
  }

  get head(): LevelRecord {
    const head = this.levels.at(-1);
    if (!head) throw new Error("the chain has not begun");
    return head;
  }

  /** Follows the node until `stop`. */
  start(): void {
    const onHead = (head: Head) => {
      this.work = this.work.then(() => this.reach(head)).catch((error: unknown) => this.fail(error));
    };
    void this.o.rpc.followHeads(onHead, { signal: this.end.signal, idleMs: 60_000, onEnd: (why) => this.fail(why) });
  }
  stop(): void {
    this.end.abort();
    this.o.rpc.close();
  }
  private fail(error: unknown): void {
    if (!this.end.signal.aborted) this.o.onError(error instanceof Error ? error.message : String(error));
  }

  /** A signature that one of our pods got. */
  signed(signature: Signature): void {
    this.signatures.push(signature);
    if (this.signatures.length > 1000) this.signatures.splice(0, 500);
    const record = this.levels.find(({ level }) => level === signature.level);
    if (record && record.attestationMissed === null) this.claim(record);
  }
  private signatureOf(kind: string, { level, round }: LevelRecord): Signature | undefined {
    return this.signatures.findLast((one) => one.kind === kind && one.level === level && one.round === round);
  }
  private claim(record: LevelRecord): void {
    const attestation = this.signatureOf("attestation", record);
    this.begun ||= attestation !== undefined;
    record.attestationRight = this.begun;
    record.preattestedBy = this.signatureOf("preattestation", record)?.pod ?? null;
    record.attestedBy = attestation?.pod ?? null;
    record.attestedAfterMs = attestation ? attestation.atMs - record.atMs : null;
  }

  private async json<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    const signal = AbortSignal.any([this.end.signal, AbortSignal.timeout(timeoutMs)]);
    const response = await fetch(`${this.o.node}/chains/main/blocks/${path}`, { signal });
    if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
    return schema.parse(await response.json());
  }
  private async must<T>(outcome: Promise<RpcOutcome<T>>): Promise<T> {
    const answer = await outcome;
    if (!answer.ok) throw new Error(`${answer.kind}: ${answer.message}`);
    return answer.value;
  }

  /** The blocks between the last one and this, then this: the stream leaves out what a node got at once. */
  private async reach(head: Head): Promise<void> {
    const asked = { timeoutMs, signal: this.end.signal };
    for (let level = (this.levels.at(-1)?.level ?? head.level - 1) + 1; level < head.level; level++)
      await this.take(await this.must(this.o.rpc.header({ ...asked, block: String(level) })));
    await this.take(head);
  }

  private async take(head: Head): Promise<void> {
    const { rpc, delegate } = this.o;
    const { level, hash } = head;
    const round = head.round ?? 0;
    const asked = { timeoutMs, signal: this.end.signal, delegate, block: hash };
    const rights = { ...asked, levels: [level], delegates: [delegate], maxRound: round };
    const [{ seed_nonce_hash: commitment }, operations, { missedLevels }, ours] = await Promise.all([
      this.json(`${hash}/header`, headerSchema),
      this.json(`${hash}/operations/2`, operationsSchema),
      this.must(rpc.participation(asked)),
      this.must(rpc.bakingRights(rights)),
    ]);
    // A higher round of a level takes the place of what was there.
    while (this.levels.length > 0 && this.head.level >= level) this.commitments.delete(this.levels.pop()?.level ?? 0);
    this.decide({ level, missedLevels });
    const isOurs = ours.some((right) => right.round === round);
    const blockRight = ours.some((right) => right.round === 0);
    const record: LevelRecord = {
      ...{ level, round, hash, atMs: head.timestampMs, proposer: isOurs ? "ours" : "another", bakedBy: null },
      ...{ blockRight, blockMissed: this.begun && blockRight && round !== 0, attestationRight: this.begun },
      ...{ preattestedBy: null, attestedBy: null, attestedAfterMs: null, attestationMissed: null },
      ...{ commitment: isOurs ? (commitment ?? null) : null, dalAttestable: 0, dalAttested: 0 },
    };
    if (isOurs) record.bakedBy = this.signatureOf("block", record)?.pod ?? null;
    this.claim(record);
    this.levels.push(record);
    if (this.levels.length > 5000) this.levels.splice(0, 1000);
    if (record.commitment !== null)
      this.commitments.set(level, {
        ...{ level, hash: record.commitment, by: record.bakedBy ?? "" },
        ...{ revealedBy: null, revealedAt: null, nonce: null, lost: false },
      });
    for (const operation of operations.flatMap(({ contents }) => contents)) this.operation(level, operation);
    this.losses(level);
    this.emit("block", record);
  }

  /** A block includes the attestations of the level before it. */
  private decide(account: Account): void {
    const record = this.levels.at(-1);
    const missed = missedBetween(this.account, account) > 0;
    this.account = account;
    if (!record || record.level !== account.level - 1 || record.attestationMissed !== null) return;
    record.attestationMissed = record.attestationRight && missed;
    if (missed) record.attestedBy = record.attestedAfterMs = null;
    this.emit("decided", record);
  }

  private operation(level: number, { kind, level: of, nonce }: { kind: string; level?: number; nonce?: string }): void {
    if (isEvidence(kind)) this.evidence.push({ level, kind });
    const commitment = kind === "seed_nonce_revelation" ? this.commitments.get(of ?? 0) : undefined;
    if (!commitment || commitment.revealedBy !== null) return;
    const by = this.o.activePod() ?? "";
    Object.assign(commitment, {
      revealedBy: by,
      revealedAt: level,
      nonce: nonce ?? null,
    } satisfies Partial<Commitment>);
    this.emit("revealed", commitment);
  }

  /** What is not revealed in the cycle after its own never will be. */
  private losses(level: number): void {
    const cycle = (of: number) => Math.floor((of - 1) / this.o.blocksPerCycle);
    for (const commitment of this.commitments.values())
      if (commitment.revealedBy === null && cycle(level) > cycle(commitment.level) + 1) commitment.lost = true;
  }
}
