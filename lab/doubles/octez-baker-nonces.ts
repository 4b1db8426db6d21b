/** The seed nonces of octez-baker: written before the block is injected, revealed in the following cycle. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { encodeRevelation, nonceHash } from "../chain/encode";
import type { ClientFolder } from "./client-folder";
import { readJson, writeJson, type Trace } from "./common";
import type { NodeClient } from "./node-client";

export interface StatefulNonce {
  nonce: string;
  hash: string;
  block: string;
  cycle: number;
  level: number;
  round: number;
  state: "committed" | { injection_level: number };
}
export class SeedNonces {
  private readonly revealed = new Set<string>();

  constructor(
    private readonly constants: { blocks_per_cycle: number; blocks_per_commitment: number },
    private readonly node: NodeClient,
    private readonly folder: ClientFolder,
    private readonly trace: Trace,
  ) {}

  private cycleOf(level: number): number {
    return Math.floor((level - 1) / this.constants.blocks_per_cycle);
  }

  /** A new nonce in hex where the block of this level commits to one. */
  forBlock(level: number): string | null {
    const { blocks_per_cycle, blocks_per_commitment } = this.constants;
    const position = (level - 1) % blocks_per_cycle;
    return position % blocks_per_commitment === blocks_per_commitment - 1 ? randomBytes(32).toString("hex") : null;
  }

  async commit(nonce: string, { block, level, round }: { block: string; level: number; round: number }): Promise<void> {
    const hash = nonceHash(nonce);
    const entry: StatefulNonce = { nonce, hash, block, cycle: this.cycleOf(level), level, round, state: "committed" };
    await this.edit(level - 1, (nonces) => [...nonces, entry]);
    this.trace("committed", { level, hash });
  }

  /** Reads and writes both nonce files under the wallet lock; entries older than the previous cycle go. */
  private edit(level: number, change: (nonces: StatefulNonce[]) => StatefulNonce[]): Promise<void> {
    return this.folder.lock(() => {
      const before = readJson<StatefulNonce[]>(this.folder.file("stateful_nonces"), []);
      const after = change(before);
      if (JSON.stringify(after) === JSON.stringify(before)) return;
      const newest = Math.max(0, ...after.map((entry) => entry.cycle), this.cycleOf(level));
      const kept = after.filter((entry) => entry.cycle >= newest - 1);
      writeJson(this.folder.file("stateful_nonces"), kept);
      writeJson(
        this.folder.file("nonces"),
        kept.map(({ block, nonce }) => ({ block, nonce })),
      );
    });
  }

  /** At each new level: locks, reloads, reveals what the previous cycle committed. */
  async reveal(head: { hash: string; level: number }): Promise<void> {
    const cycle = this.cycleOf(head.level);
    const path = this.folder.file("stateful_nonces");
    if (!existsSync(path)) return;
    const nonces = await this.folder.lock(() => readJson<StatefulNonce[]>(path, []));
    const due = nonces.filter(
      (entry) => entry.cycle === cycle - 1 && entry.state === "committed" && !this.revealed.has(entry.hash),
    );
    for (const entry of due) {
      const on = await this.node.rpc<{ hash?: string; nonce?: string }>(
        `/chains/main/blocks/head/context/nonces/${entry.level}`,
      );
      let done = on.nonce !== undefined;
      if (!done) {
        const operation = Buffer.concat([
          encodeRevelation(head.hash, entry.level, entry.nonce),
          Buffer.alloc(64),
        ]).toString("hex");
        const { status, text } = await this.node.inject("operation", operation);
        done = status === 200 || text.includes("previously_revealed") || text.includes("unexpected");
        this.trace(status === 200 ? "revealed" : "not-revealed", { level: entry.level, reason: text });
      }
      if (!done) continue;
      this.revealed.add(entry.hash);
      await this.edit(head.level, (all) =>
        all.map((other) =>
          other.hash === entry.hash && other.state === "committed"
            ? { ...other, state: { injection_level: head.level } }
            : other,
        ),
      );
    }
  }
}
