/** Bakers that ask the gates for signatures: in order, again, and where the schedule is hostile absurdly. */
import type { MarkKind } from "../../../contract/watermark";
import { encodeBlockRequest, encodeVoteRequest } from "../../../tezos/signing-request";
import type { SimulatedChain } from "./chain";
import type { HostileElector } from "./elector";
import type { GateProcess } from "./gate-process";
import type { Pods } from "./pods";
import { chainBytes, type Scene } from "./scene";

const kinds = ["block", "preattestation", "attestation"] as const;

/** Requests of one place differ in `variant`, a small number. */
export function requestBytes(kind: MarkKind, level: number, round: number, variant: number): Uint8Array {
  const payloadHash = new Uint8Array(32).fill(variant);
  const place = { chainId: chainBytes, level, round, payloadHash };
  if (kind === "block")
    return encodeBlockRequest({ ...place, seedNonceHash: variant === 1 ? new Uint8Array(32).fill(9) : null });
  return encodeVoteRequest({ ...place, tag: kind === "preattestation" ? 20 : variant === 2 ? 23 : 21 });
}

export class HostileClient {
  private readonly recent: { address: string; bytes: Uint8Array }[] = [];

  constructor(
    private readonly scene: Scene,
    private readonly chain: SimulatedChain,
    private readonly pods: Pods,
    private readonly elector: HostileElector,
  ) {
    scene.world.after(200, () => this.act());
    scene.world.after(350, () => this.act());
  }

  ask(process: GateProcess, address: string, bytes: Uint8Array): void {
    this.recent.push({ address, bytes });
    if (this.recent.length > 20) this.recent.shift();
    if (!process.alive || process.stopped || !process.gate) return;
    const { world } = this.scene;
    const [askedMs, pauses] = [world.now, process.pauses];
    void process.gate.sign(address, bytes).then(() => {
      if (process.pauses === pauses) this.scene.slowestMs = Math.max(this.scene.slowestMs, world.now - askedMs);
    });
  }

  private act(): void {
    const { world, features, keys, faults } = this.scene;
    if (!faults) return;
    const { master } = this.elector;
    const process = master && world.chance(0.6) ? master : world.pick(this.pods.running);
    const { address } = world.pick(keys);
    const again = this.recent.length > 0 && world.chance(0.15) ? world.pick(this.recent) : undefined;
    if (again) this.ask(process, again.address, again.bytes);
    else if (features.hostileClient && world.chance(0.25)) this.askAbsurdly(process, address);
    else
      for (const kind of kinds)
        if (world.chance(0.8)) {
          // A baker signs one level above the tip that it knows.
          const { tip, round } = this.chain;
          this.ask(process, address, requestBytes(kind, tip + 1, round, world.pick([1, 1, 1, 2])));
        }
    world.after(world.between(20, 2500), () => this.act());
  }

  private askAbsurdly(process: GateProcess, address: string): void {
    const { world, takesAway } = this.scene;
    const { round } = this.chain;
    const honest = this.chain.tip + 1;
    const far = takesAway ? [] : [honest + 2, honest + 4];
    const level = world.pick([honest - 3, honest - 1, honest, ...far, 2147483647]);
    for (let i = world.pick([1, 1, 3, 8]); i > 0; i--) {
      const kind = world.pick(kinds);
      const atRound = world.pick([0, round, round + 1, 3]);
      this.ask(process, address, requestBytes(kind, level, atRound, world.pick([1, 2, 3])));
    }
  }
}
