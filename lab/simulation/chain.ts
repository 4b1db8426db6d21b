/**
 * The chain, and each pod's node. A level has rounds: a proposer that stays silent, a quorum that is not found and a
 * head that is taken back each bring the next one. The delegate attests every level and bakes some.
 */
import { createHash } from "node:crypto";
import { blockMs } from "../checker/schedules/scene";
import type { Planned } from "../checker/schedules/world";
import { podCount, type Stage } from "./stage";

export interface Head {
  level: number;
  round: number;
  /** What the votes for it are about: two blocks of one level and round differ in it. */
  payload: string;
  atMs: number;
}
/** What the chain asks of whoever bakes now. */
export interface Turn {
  level: number;
  round: number;
}

/**
 * Until then a block comes every second: a pod whose disk is new signs five levels above the head (S5), and the faults
 * are to strike a baker that signs.
 */
const warmUpMs = 20_000;

type Proposal = Pick<Head, "level" | "round" | "payload">;
export const payloadOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);
export const isAfter = (a: Turn, b: Turn): boolean => a.level > b.level || (a.level === b.level && a.round > b.round);

/** One pod's octez-node. */
export class SimulatedNode {
  head: Head | undefined;
  /** Levels that the chain missed while this node followed it. */
  missed = 0;

  constructor(
    private readonly stage: Stage,
    readonly pod: number,
    private readonly onHead: (head: Head) => void,
  ) {}

  get answers(): boolean {
    return !this.stage.suffers(this.pod, "node-down", "machine-ends");
  }
  /** A block comes to this node, or the node looks whether there is one. */
  hear(head: Head): void {
    if (!this.answers || this.stage.suffers(this.pod, "node-behind")) return;
    const known = this.head;
    if (known && (head.payload === known.payload || isAfter(known, head) || head.atMs <= known.atMs)) return;
    this.head = head;
    this.onHead(head);
  }
}

export class SimulatedChain {
  head: Head;
  readonly nodes: readonly SimulatedNode[];
  /** Of all keys: level and address that no block includes. */
  readonly missed: { level: number; atMs: number }[] = [];
  blocksBaked = 0;
  blocksMissed = 0;
  /** Level and address of what attests the present head, and the last heads of the levels below it. */
  private readonly attested = new Set<string>();
  /** When each level's first head was there. */
  private readonly began = new Map<number, number>();
  private proposal: Turn | undefined;
  private blocks = 0;
  private next: Planned | undefined;

  constructor(
    private readonly stage: Stage,
    private readonly seed: number,
    private readonly on: { turn: (turn: Turn) => void; head: (pod: number, head: Head) => void },
  ) {
    this.head = { level: 1000, round: 0, payload: payloadOf("0"), atMs: 0 };
    this.nodes = Array.from(
      { length: podCount },
      (_, pod) => new SimulatedNode(stage, pod, (head) => on.head(pod, head)),
    );
    this.spread();
    this.schedule(this.lengthMs(0), { level: 1001, round: 0 });
    this.catchUp();
  }

  /** The delegate's right to bake. */
  isOurs({ level, round }: Turn): boolean {
    return createHash("sha256").update(`${this.seed} ${level} ${round}`).digest()[0]! % 6 === 0;
  }
  private lengthMs(round: number): number {
    if (this.stage.world.now < warmUpMs) return 1000;
    return blockMs + 3000 * round;
  }
  private schedule(ms: number, turn: Turn): void {
    this.next = this.stage.world.after(ms, () => this.begin(turn));
  }

  /** A round begins. */
  private begin(turn: Turn): void {
    const { world } = this.stage;
    if (this.isOurs(turn)) {
      this.proposal = turn;
      this.on.turn(turn);
      this.next = world.after(this.lengthMs(turn.round), () => this.silent(turn));
    } else if (world.chance(0.03)) this.next = world.after(this.lengthMs(turn.round), () => this.silent(turn));
    else this.produceIn(world.between(50, 600), turn);
  }
  private produceIn(ms: number, turn: Turn): void {
    const payload = payloadOf(`other ${++this.blocks}`);
    this.next = this.stage.world.after(ms, () => this.produce({ ...turn, payload }));
  }
  /** Its proposer has made no block. */
  private silent({ level, round }: Turn): void {
    if (this.proposal) this.blocksMissed++;
    this.proposal = undefined;
    this.begin({ level, round: round + 1 });
  }
  /** Our block of this place has reached the chain. */
  offer(turn: Turn, payload: string): void {
    const { proposal } = this;
    if (proposal?.level !== turn.level || proposal.round !== turn.round) return;
    if (this.next) this.stage.world.cancel(this.next);
    this.proposal = undefined;
    this.blocksBaked++;
    this.produce({ ...turn, payload });
  }
  /** The place of ours that no block has yet. */
  get turn(): Turn | undefined {
    return this.proposal;
  }

  private produce({ level, round, payload }: Proposal): void {
    const { world } = this.stage;
    if (level > this.head.level) {
      this.count(this.head.level);
      this.began.set(level, world.now);
    } else for (const address of this.stage.addresses) this.attested.delete(`${level} ${address}`);
    this.head = { level, round, payload, atMs: world.now };
    this.spread();
    this.schedule(this.lengthMs(round), this.follower());
  }
  /** Where no quorum is found, the same level is proposed again. */
  private follower(): Turn {
    const { level, round } = this.head;
    return this.stage.has("chain-halts") ? { level, round: round + 1 } : { level: level + 1, round: 0 };
  }
  /**
   * The head is replaced by one of the next round, or by another block of the same round, whose proposer has made two;
   * unless the next level has begun.
   */
  reorganise(): void {
    if (this.proposal) return;
    if (this.next) this.stage.world.cancel(this.next);
    const { level, round } = this.head;
    this.produceIn(300, { level, round: round + this.stage.world.pick([0, 1]) });
  }

  attest(address: string, { level, round, payload }: Proposal): void {
    const { head } = this;
    if (level === head.level && round === head.round && payload === head.payload)
      this.attested.add(`${level} ${address}`);
  }
  private count(level: number): void {
    const missing = this.stage.addresses.some((address) => !this.attested.has(`${level} ${address}`));
    if (!missing) return;
    this.missed.push({ level, atMs: this.stage.world.now });
    for (const node of this.nodes) if (node.head && node.head.level >= level) node.missed++;
  }

  beganMs(level: number): number {
    return this.began.get(level) ?? 0;
  }
  /** The first level that began at this time or later; the next one where none has. */
  levelAt(ms: number): number {
    for (const [level, atMs] of this.began) if (atMs >= ms) return level;
    return this.head.level + 1;
  }

  private spread(): void {
    const { head } = this;
    for (const node of this.nodes) this.stage.world.after(this.stage.world.between(30, 400), () => node.hear(head));
  }
  /** A node that was behind or away asks its peers. */
  private catchUp(): void {
    this.stage.world.after(1500, () => {
      for (const node of this.nodes) if (node.head?.payload !== this.head.payload) node.hear(this.head);
      this.catchUp();
    });
  }
}
