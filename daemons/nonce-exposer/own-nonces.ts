/**
 * What this pod's nonce files hold. A broken file leaves the last whole content as it is, and is an alert. The reading
 * that is final in a handover began after the elector had said that the daemons are stopped.
 */
import type { Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import type { Log } from "../runtime/log";
import { contentHash, filesSignature, readNonces, type ReadNonces } from "../runtime/nonce-files";

/** Files that look unchanged are read all the same this often. */
const rereadMs = 10_000;

export class OwnNonces {
  /** The last whole content and its hash; undefined until the first reading. */
  content: { nonces: ReadNonces; hash: string } | undefined;
  changedAtMs: number;
  /** By hash; true where the file says that it was revealed. */
  states: ReadonlyMap<string, boolean> = new Map();
  /** Why the files cannot be read; empty where they can. */
  broken = "";
  /** The elector has said that no daemon of this pod will write any more. */
  isFinal = false;
  private finalHash: string | undefined;
  private signature = "";
  private readAtMs = -Infinity;
  private reading: Promise<void> | undefined;
  private again = false;

  constructor(
    private readonly o: {
      config: DaemonConfig;
      clock: Clock;
      log: Log;
      /** There is a new content, or the files have become unreadable. */
      onChange: () => void;
      /** After each reading. */
      onRead: () => void;
    },
  ) {
    this.changedAtMs = o.clock.now();
  }

  get damaged(): boolean {
    return this.broken !== "" || this.content?.nonces.damaged !== undefined;
  }

  /** Hash of the content of which it is certain that it is final; undefined = not read yet, or not asked for. */
  get finalContent(): string | undefined {
    return this.isFinal && this.broken === "" ? this.finalHash : undefined;
  }

  setFinal(wanted: boolean): void {
    if (wanted === this.isFinal) return;
    this.isFinal = wanted;
    this.finalHash = undefined;
    if (wanted) void this.read();
  }

  /** Reads the files; at most one reading at a time, and one after the last request. */
  read(): Promise<void> {
    this.again = this.reading !== undefined;
    return (this.reading ??= this.readAll());
  }

  private async readAll(): Promise<void> {
    do {
      this.again = false;
      await this.readOnce();
    } while (this.again);
    this.reading = undefined;
    this.o.onRead();
  }

  private async readOnce(): Promise<void> {
    const { config, clock } = this.o;
    const forFinal = this.isFinal;
    const { TOG_CLIENT_DIR: folder } = config.env;
    const { chainId } = config.file.network;
    const signature = await filesSignature(folder, chainId);
    const unchanged = signature !== "" && signature === this.signature && clock.now() - this.readAtMs < rereadMs;
    if (unchanged && this.broken === "" && (!forFinal || this.finalHash !== undefined)) return;
    this.signature = signature;
    this.readAtMs = clock.now();
    try {
      const hash = this.take(await readNonces(folder, chainId));
      if (forFinal && this.isFinal) this.finalHash = hash;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.broken) this.o.log.error("nonce-file-broken", reason);
      this.broken = reason;
      this.o.onChange();
    }
  }

  private take(nonces: ReadNonces): string {
    const { log, clock } = this.o;
    const hash = contentHash(nonces);
    if (this.broken !== "") log.info("nonce-file-whole", "readable again");
    this.broken = "";
    if (nonces.damaged !== undefined && nonces.damaged !== this.content?.nonces.damaged)
      log.error("nonce-file-broken", `${nonces.damaged}; the others are served`);
    if (this.content?.hash === hash) {
      this.content.nonces.damaged = nonces.damaged;
      return hash;
    }
    this.content = { nonces, hash };
    this.changedAtMs = clock.now();
    this.states = new Map(nonces.stateful.map((entry) => [entry.hash, entry.state !== "committed"]));
    this.o.onChange();
    return hash;
  }
}
