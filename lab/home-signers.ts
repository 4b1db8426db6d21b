/** The signers outside of the cluster: one process a signer, behind the tunnels or at a URL. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ContainerProcess } from "./cluster/process";
import type { SignerFaults } from "./doubles/signer-server";

export class HomeSigners {
  private readonly processes = new Map<string, ContainerProcess>();
  private started = 0;

  constructor(
    private readonly o: {
      run: string;
      folder: string;
      /** Bundle of the doubles. */
      doubles: string;
      env: Record<string, string>;
      note: (level: "debug" | "warn", signer: string, event: string, reason: string) => void;
    },
  ) {}

  private readonly addresses = new Map<string, string>();

  /** Imports the keys, secret by address, and serves them at this address. */
  async start(signer: string, keys: readonly (readonly [string, string])[], address: string): Promise<void> {
    for (const [name, key] of keys)
      await new Promise<void>((resolve) =>
        this.launch(signer, ["import", "secret", "key", name, key, "--force"], () => resolve()),
      );
    this.addresses.set(signer, address);
    this.serve(signer, address);
  }
  /** With the keys and at the address that it had. */
  startAgain(signer: string): Promise<void> {
    const address = this.addresses.get(signer);
    if (address !== undefined) this.serve(signer, address);
    return Promise.resolve();
  }

  private serve(signer: string, address: string): void {
    const bytes = ["--magic-bytes", "0x11,0x12,0x13", "--check-high-watermark", "--allow-to-prove-possession"];
    const words = ["launch", "http", "signer", "--address", address, "--port", "6732", ...bytes];
    const ended = (code: number | null) => this.o.note("warn", signer, "ended", String(code));
    this.processes.set(signer, this.launch(signer, words, ended));
  }

  private launch(signer: string, args: string[], onExit: (code: number | null) => void): ContainerProcess {
    const { run, doubles, env, note } = this.o;
    const base = this.folderOf(signer);
    mkdirSync(base, { recursive: true });
    return new ContainerProcess({
      id: `${run}/${signer}/${this.started++}`,
      command: [process.execPath, doubles, "octez-signer", "--base-dir", base, ...args],
      env: { ...env, LAB_SIGNER_FAULTS: join(base, "faults.json") },
      cwd: base,
      onLine: (line) => note("debug", signer, "output", line.slice(0, 300)),
      onExit: ({ code }) => onExit(code),
    });
  }

  private folderOf(signer: string): string {
    return join(this.o.folder, "home", signer);
  }

  process(signer: string): ContainerProcess | undefined {
    return this.processes.get(signer);
  }

  /** What is wrong with a signer from its next request on; undefined: nothing. */
  setFaults(signer: string, what: SignerFaults | undefined): void {
    writeFileSync(join(this.folderOf(signer), "faults.json"), JSON.stringify(what ?? {}));
  }

  kill(): void {
    for (const process of this.processes.values()) process.kill();
  }
}
