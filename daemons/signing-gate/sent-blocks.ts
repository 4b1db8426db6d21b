/**
 * S7: the blocks of one key that this process has sent to a signer, with the signature where it came back. A second,
 * different signature of the same block is punishable even though its mark is the same.
 */
import type { MarkKind } from "../../contract/watermark";
import { decideRepeat, type RepeatDecision } from "./decide";

interface SentBlock {
  /** Null where no signature came back. */
  signature: string | null;
  /** Were all of the key's signers deterministic when it was sent? */
  deterministic: boolean;
}
const maxRemembered = 512;

export class SentBlocks {
  private readonly sent = new Map<string, SentBlock>();
  /**
   * Blocks whose mark was written with an unknown outcome, with the epoch: under another epoch the mark may be another
   * holder's.
   */
  private readonly uncertain = new Map<string, number>();

  newTenure(): void {
    this.uncertain.clear();
  }
  /** A write of the block's mark had an unknown outcome. */
  markUncertain(digest: string, epoch: number): void {
    this.uncertain.set(digest, epoch);
  }

  /** True where this process made the mark in this tenure and has sent nothing for it. `repeated`: it was there. */
  private neverForwarded(digest: string, repeated: boolean, epoch: number): boolean {
    return !this.sent.has(digest) && (!repeated || this.uncertain.get(digest) === epoch);
  }

  /** What becomes of a request that is identical to its mark. */
  repeat(
    { kind, digest }: { kind: MarkKind; digest: string },
    deterministic: boolean,
    epoch: number,
  ): Exclude<RepeatDecision, { action: "answer" }> | { action: "answer"; reason: string; signature: string } {
    const sent = this.sent.get(digest);
    const signature = sent?.signature;
    const decision = decideRepeat({
      kind,
      deterministic: deterministic && sent?.deterministic !== false,
      remembered: typeof signature === "string",
      neverForwarded: this.neverForwarded(digest, true, epoch),
    });
    if (decision.action !== "answer") return decision;
    if (typeof signature !== "string") throw new Error("no signature is remembered");
    return { ...decision, signature };
  }

  /**
   * Before the block leaves. The result takes that back where nothing reached a signer: where nothing did before, the
   * same bytes may still be sent once. `repeated`: its mark was there already.
   */
  sending(digest: string, deterministic: boolean, repeated: boolean, epoch: number): () => void {
    const before = this.sent.get(digest);
    const neverForwarded = this.neverForwarded(digest, repeated, epoch);
    this.sent.set(digest, { signature: null, deterministic });
    if (this.sent.size > maxRemembered) this.sent.delete(this.sent.keys().next().value ?? "");
    return () => {
      if (before) this.sent.set(digest, before);
      else {
        this.sent.delete(digest);
        if (neverForwarded) this.uncertain.set(digest, epoch);
      }
    };
  }
  signed(digest: string, signature: string, deterministic: boolean): void {
    this.sent.set(digest, { signature, deterministic });
  }
}
