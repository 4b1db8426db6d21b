/**
 * A run of octez-baker as a child of the supervisor. It votes for every head that its node hears after its start, and
 * bakes where the chain gives it the turn. It asks its pod's gate over the loopback address and repeats nothing.
 */
import { EventEmitter } from "node:events";
import type { MarkKind } from "../../contract/watermark";
import type { GateAnswer } from "../../daemons/signing-gate/gate";
import { requestBytes } from "../checker/schedules/client";
import type { Head, SimulatedChain, Turn } from "./chain";
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
  private voted: Turn = { level: -1, round: -1 };

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
      if (!this.ready || this.hangs || !isAfter(head, this.voted)) return;
      this.voted = head;
      this.vote("preattestation", head);
      // Once the others' preattestations are there.
      this.process.later(world.between(250, 900), () => {
        if (!this.hangs) this.vote("attestation", head);
      });
    });
  }
  private vote(kind: MarkKind, { level, round }: Turn): void {
    const { stage, chain } = this.o;
    for (const address of stage.addresses)
      this.o.ask(this.process, address, requestBytes(kind, level, round, 1 + (round % 2)), (answer) => {
        if (answer.status !== 200 || kind !== "attestation") return;
        stage.world.after(stage.world.between(20, 300), () => chain.attest(address, { level, round }));
      });
  }

  /** It may bake now, if its node has the predecessor. */
  onTurn(turn: Turn): void {
    const { stage, chain, pod } = this.o;
    const [address = ""] = stage.addresses;
    this.process.later(stage.world.between(5, 80), () => {
      const known = chain.nodes[pod]?.head;
      if (!this.ready || this.hangs || !known || known.level < turn.level - 1) return;
      const bytes = requestBytes("block", turn.level, turn.round, 1 + (turn.round % 2));
      this.o.ask(this.process, address, bytes, ({ status }) => {
        if (status === 200) stage.world.after(stage.world.between(20, 300), () => chain.offer(turn));
      });
    });
  }
}

const isAfter = (a: Turn, b: Turn): boolean => a.level > b.level || (a.level === b.level && a.round > b.round);
