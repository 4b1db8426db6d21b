/** Two signers behind each gate, which refuse, hang, sign late, lose their answer or answer nonsense. */
import { createHash } from "node:crypto";
import type { GateOptions, SignAttempt, SignOutcome } from "../../../daemons/signing-gate/gate";
import type { DiskUser } from "./block-disk";
import type { Scene } from "./scene";

type SignerScene = Pick<Scene, "world" | "faults" | "signedLog"> & {
  readonly timings: Pick<Scene["timings"], "signerTimeoutMs">;
  readonly features: { readonly deterministic: boolean };
  readonly sabotage: string | undefined;
};

/** @typeParam P the processes whose gates ask */
export class SimulatedSigners<P extends DiskUser> {
  private signatures = 0;

  constructor(
    private readonly scene: SignerScene,
    /** Called at the moment at which a gate forwards. */
    private readonly onForward: (process: P, attempt: SignAttempt) => void,
  ) {}

  clientOf(process: P): GateOptions["signer"] {
    return { sign: (attempt) => this.sign(process, attempt) };
  }

  private async sign(process: P, attempt: SignAttempt): Promise<SignOutcome> {
    this.onForward(process, attempt);
    let mayHaveSigned = false;
    for (const signer of ["s1", "s2"]) {
      if (mayHaveSigned && !attempt.repeatable) break;
      const outcome = await this.ask(process, signer, attempt);
      if (outcome !== "refused") mayHaveSigned = true;
      if (outcome !== "refused" && outcome !== "hang" && outcome !== "garbage")
        return { ok: true, signature: outcome, signer };
    }
    return { ok: false, reason: "signer", detail: "", mayHaveSigned };
  }

  /** The signature, or "hang", "garbage" or "refused". */
  private ask(process: P, signer: string, attempt: SignAttempt): Promise<string> {
    const { world, faults, timings } = this.scene;
    const fault = faults ? world.random() : 1;
    return new Promise((resolve) => {
      let done = false;
      const answer = (value: string) =>
        process.deliver(() => {
          if (done) return;
          done = true;
          resolve(value);
        });
      if (!process.alive) return;
      if (fault < 0.04) return void world.after(1, () => answer("refused"));
      world.after(Math.min(timings.signerTimeoutMs, Math.max(1, attempt.deadlineMs - world.now)), () => answer("hang"));
      if (fault < 0.07) return;
      world.after(fault < 0.1 ? world.between(1000, 6000) : world.between(1, 30), () => {
        const signature = this.signature(signer, attempt);
        if (fault < 0.15) return;
        world.after(world.between(1, 30), () => answer(fault < 0.18 ? "garbage" : signature));
      });
    });
  }

  private signature(signer: string, { address, bytes: given }: SignAttempt): string {
    const { world, sabotage, features, signedLog } = this.scene;
    const bytes = Buffer.from(given);
    const stable = createHash("sha256").update(address).update(bytes).digest("hex");
    const random = sabotage === "random-signer" || !features.deterministic;
    const signature = random ? `${stable}-${++this.signatures}` : stable;
    signedLog.push({ at: world.stamp(), signer, address, bytes: bytes.toString("hex"), signature });
    return signature;
  }
}
