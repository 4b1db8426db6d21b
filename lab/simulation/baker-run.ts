/**
 * A run of octez-baker as a child of the supervisor. It votes for every head that its node hears after its start, and
 * bakes where the chain gives it the turn. It asks its pod's gate over the loopback address and repeats nothing. Each
 * run builds another block for the same place, and keeps no watermarks of its own: it asks for a vote for the other
 * block, too, where a head is replaced by one of the same level and round. Only the gate refuses that.
 */
import { createHash } from "node:crypto";
import { EventEmitter } from "node:events";
import type { MarkKind } from "../../contract/watermark";
import type { GateAnswer } from "../../daemons/signing-gate/gate";
import { encodeBlockRequest, encodeVoteRequest } from "../../tezos/signing-request";
import { chainBytes } from "../checker/schedules/scene";
import { isAfter, payloadOf, type Head, type SimulatedChain, type Turn } from "./chain";
import type { Process } from "./process";
import type { Stage } from "./stage";

export interface BakerSurroundings {
  stage: Stage;
  chain: SimulatedChain;
  pod: number;
  /** Asks the pod's gate on behalf of `from`, which hears the answer if both live. */
  ask(from: Process, address: string, bytes: Uint8Array, heard: (answer: GateAnswer) => void): void;
  /** The supervisor hears of the end. */
  onExit(run: BakerRun, code: number | null, signal: NodeJS.Signals | null): void;
}

export class BakerRun extends EventEmitter {
  hangs = false;
  private ready = false;
  private voted: Turn & { payload: string } = { level: -1, round: -1, payload: "" };

  constructor(
    readonly pid: number,
    readonly process: Process,
    private readonly o: BakerSurroundings,
  ) {
    super();
    process.later(o.stage.world.between(300, 2000), () => {
      this.ready = true;
      // It votes for no block that it finds at its start.
      const head = o.chain.nodes[o.pod]?.head;
      if (head) this.voted = head;
      if (o.chain.turn) this.onTurn(o.chain.turn);
    });
  }

  kill(): boolean {
    this.signal("SIGKILL");
    return true;
  }
  signal(name: NodeJS.Signals): void {
    const { world } = this.o.stage;
    if (name === "SIGKILL") world.after(world.between(0.5, 20), () => this.exit(null, "SIGKILL"));
    else if (!this.hangs && !this.o.stage.suffers(this.o.pod, "baker-ignores-sigterm"))
      this.process.later(world.between(20, 900), () => this.exit(127, null));
  }
  exit(code: number | null, signal: NodeJS.Signals | null): void {
    if (!this.process.alive) return;
    this.process.end();
    this.o.onExit(this, code, signal);
  }

  onHead(head: Head): void {
    const { world } = this.o.stage;
    this.process.later(world.between(5, 80), () => {
      if (!this.ready || this.hangs || head.payload === this.voted.payload || isAfter(this.voted, head)) return;
      this.voted = head;
      this.vote("preattestation", head);
      // Once the others' preattestations are there.
      this.process.later(world.between(250, 900), () => {
        if (!this.hangs) this.vote("attestation", head);
      });
    });
  }
  private vote(kind: Exclude<MarkKind, "block">, { level, round, payload }: Head): void {
    const { stage, chain } = this.o;
    const tag = kind === "preattestation" ? 20 : round % 2 === 1 ? 23 : 21;
    const bytes = encodeVoteRequest({ chainId: chainBytes, level, round, tag, payloadHash: hashBytes(payload) });
    for (const address of stage.addresses)
      this.o.ask(this.process, address, bytes, (answer) => {
        if (answer.status !== 200 || kind !== "attestation") return;
        stage.world.after(stage.world.between(20, 300), () => chain.attest(address, { level, round, payload }));
      });
  }

  /** It may bake now, if its node has the predecessor. */
  onTurn(turn: Turn): void {
    const { stage, chain, pod } = this.o;
    const [address = ""] = stage.addresses;
    this.process.later(stage.world.between(5, 80), () => {
      const known = chain.nodes[pod]?.head;
      if (!this.ready || this.hangs || !known || known.level < turn.level - 1) return;
      const payload = payloadOf(`${pod} ${this.pid} ${turn.level} ${turn.round}`);
      const bytes = encodeBlockRequest({
        ...{ chainId: chainBytes, ...turn, payloadHash: hashBytes(payload) },
        seedNonceHash: turn.round % 2 === 0 ? new Uint8Array(32).fill(9) : null,
      });
      this.o.ask(this.process, address, bytes, ({ status }) => {
        if (status === 200) stage.world.after(stage.world.between(20, 300), () => chain.offer(turn, payload));
      });
    });
  }
}

const hashBytes = (payload: string): Uint8Array => createHash("sha256").update(payload).digest();
