/**
 * The signatures that the gate was asked for lately, and what became of them: so that a slot that is missing on the
 * chain can be told to be ours or the block producer's.
 */
import type { AskedSignature } from "../../contract/status";

const kept = 24;

export class Asked {
  private entries: AskedSignature[] = [];

  /** @returns what to call with the result: "signed", or the reason of the refusal; and when it was */
  begin(
    key: string,
    request: { kind: string; level: number; round: number } | undefined,
  ): (result: string, atMs: number) => void {
    if (request?.kind !== "attestation" && request?.kind !== "block") return () => undefined;
    const { kind, level, round } = request;
    const entry: AskedSignature = { kind, level, round, key, result: "under-way", atMs: 0 };
    this.entries = [...this.entries, entry].slice(-kept);
    return (result, atMs) => {
      entry.result = result;
      entry.atMs = Math.round(atMs);
    };
  }

  /** Oldest first. */
  list(): AskedSignature[] {
    return this.entries.map((entry) => ({ ...entry }));
  }
}
