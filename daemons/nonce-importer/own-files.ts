/**
 * Follows this pod's own nonce files: keeps a durable copy of what they hold (octez-baker does not fsync), and asks for
 * a repair where they broke or vanished, or where somebody has overwritten what was merged.
 */
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as z from "zod/mini";
import { checkLegacy, checkStateful, mergeSets, retain, type NonceSet, type SeedNonce } from "../../tezos/nonces";
import type { Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { removeLeftovers, writeDurably } from "../runtime/durable";
import { FolderWatch } from "../runtime/folder-watch";
import type { Log } from "../runtime/log";
import { BrokenNonceFile, contentHash, filesSignature, readNonces } from "../runtime/nonce-files";
import { repeat } from "../runtime/repeat";
import type { Problems } from "./problems";
import type { Retention } from "./retention";

/** The copy of our own file is not urgent; the other members, who get it now, and the merges of theirs are. */
const lookDelayMs = 1000;
/** Files that look unchanged are read all the same this often. */
const relookMs = 10_000;
/** Between two attempts to restore a nonce that is dropped each time. */
const mostPauseMs = 600_000;
const copySchema = z.object({ stateful: z.unknown(), legacy: z.unknown() });

export interface OwnFilesOptions {
  config: DaemonConfig;
  clock: Clock;
  log: Log;
  retention: Retention;
  problems: Problems;
  /** Contents of other members that have been merged into the files. */
  merged: () => NonceSet[];
  /** Whether a repair has been asked for and is not done yet. */
  repairing: () => boolean;
  /** The files must be merged with the copy and with what the other members have. */
  onRepair: () => void;
}

export class OwnFiles {
  /** Everything that the files have held, within the retention. */
  copy: NonceSet = { stateful: [], legacy: [] };
  private readonly copyPath: string;
  private signature = "";
  private lookedAtMs = -Infinity;
  /** By hash: how often a nonce was restored, and when it may be again. */
  private readonly restored = new Map<string, { times: number; againAtMs: number }>();

  constructor(private readonly o: OwnFilesOptions) {
    this.copyPath = join(o.config.env.TOG_STATE_DIR, "nonces", "copy.json");
  }

  /** Makes the folders and reads the copy. */
  async load(): Promise<void> {
    await mkdir(dirname(this.copyPath), { recursive: true });
    await removeLeftovers(dirname(this.copyPath));
    await mkdir(this.o.config.env.TOG_CLIENT_DIR, { recursive: true });
    try {
      const saved = copySchema.parse(JSON.parse(await readFile(this.copyPath, "utf8")));
      this.copy = { stateful: checkStateful(saved.stateful), legacy: checkLegacy(saved.legacy) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        this.o.log.error("nonce-copy-broken", error instanceof Error ? error.name : String(error));
    }
  }

  /** Looks soon after each change and regularly, until the signal aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    const { config, log } = this.o;
    let soon: NodeJS.Timeout | undefined;
    const watch = new FolderWatch(
      config.env.TOG_CLIENT_DIR,
      (name) => /_nonces$/i.test(name),
      () => (soon ??= setTimeout(() => ((soon = undefined), void this.look()), lookDelayMs)),
      (reason) => log.warn("nonce-watch", reason),
    );
    await repeat(signal, 1000 * config.file.timings.nonceAckSeconds, async () => {
      watch.open();
      await this.look();
    });
    watch.close();
    clearTimeout(soon);
  }

  private async look(): Promise<void> {
    try {
      await this.read();
    } catch (error) {
      this.unreadable(error);
    }
  }

  private async read(): Promise<void> {
    const { config, clock, problems, retention } = this.o;
    const { TOG_CLIENT_DIR: folder } = config.env;
    const { chainId } = config.file.network;
    const signature = await filesSignature(folder, chainId);
    if (signature !== "" && signature === this.signature && clock.now() - this.lookedAtMs < relookMs) return;
    this.lookedAtMs = clock.now();
    // Before the reading: what is merged during it may not be in it.
    const elsewhere = [this.copy, ...this.o.merged()].flatMap(({ stateful }) => stateful);
    const local = await readNonces(folder, chainId);
    // What lies in a file of another name is merged into the one that octez-baker reads.
    const expected = [...elsewhere, ...local.stateful];
    if (local.foreign.length > 0)
      problems.report("foreign", "nonce-file-foreign", `left alone: ${local.foreign.join(", ")}`);
    if (local.file === undefined && expected.length > 0) return this.lost();
    this.signature = signature;
    problems.solved("file");
    this.restoreMissing(expected, local.inFile);
    const merged = mergeSets(this.copy, local);
    const next = { ...merged, stateful: retain(merged.stateful, retention.cycle, retention.keepCycles) };
    if (contentHash(next) === contentHash(this.copy)) return;
    await writeDurably(this.copyPath, JSON.stringify(next));
    this.copy = next;
  }

  private restoreMissing(expected: SeedNonce[], present: ReadonlySet<string>): void {
    const { clock, log, retention } = this.o;
    const now = clock.now();
    const kept = retain(expected, retention.cycle, retention.keepCycles).map(({ hash }) => hash);
    const wanted = new Set(kept);
    for (const hash of this.restored.keys()) if (!wanted.has(hash)) this.restored.delete(hash);
    const missing = [...wanted].filter((hash) => !present.has(hash));
    const due = missing.filter((hash) => now >= (this.restored.get(hash)?.againAtMs ?? -Infinity));
    if (due.length === 0) return;
    for (const hash of due) {
      // octez-baker drops a nonce whose commitment the chain does not have: it is offered ever more rarely.
      const times = (this.restored.get(hash)?.times ?? 0) + 1;
      this.restored.set(hash, { times, againAtMs: now + Math.min(mostPauseMs, lookDelayMs * 2 ** times) });
      if (times === 1) log.warn("nonce-overwritten", "merged again", { hash });
    }
    this.o.onRepair();
  }

  private lost(): void {
    if (!this.o.repairing()) {
      this.o.log.error("nonce-file-lost", "the stateful nonce file is gone");
      this.o.problems.happened("lost", "the nonce file was gone: restored from its copy and the other members");
    }
    this.o.onRepair();
  }

  private unreadable(error: unknown): void {
    const { log, problems } = this.o;
    const reason = error instanceof Error ? error.message : String(error);
    if (!(error instanceof BrokenNonceFile)) return problems.report("file", "nonce-file-unreadable", reason);
    // An entry with a wrong hash, or that is not understood, is not repaired: the rest of the file is good, and the
    // exposer raises the alarm.
    if (error.code === "hash-mismatch" || error.code === "field")
      return problems.report("file", "nonce-file-broken", reason);
    if (!this.o.repairing()) log.error("nonce-file-broken", reason);
    this.o.onRepair();
  }
}
