/**
 * Named child processes that never outlive this process: they end with `killAll`, with our exit, and with our death
 * (parent-death signal, where setpriv is installed). Each is ended by its id.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";

const setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].find((path) => existsSync(path));

const alive = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null;

const gone = (child: ChildProcess, ms: number): Promise<boolean> =>
  new Promise((done) => {
    if (!alive(child)) return done(true);
    const timer = setTimeout(() => done(false), ms);
    child.once("exit", () => (clearTimeout(timer), done(true)));
  });

export class ChildProcesses {
  private readonly children = new Map<string, ChildProcess>();
  private readonly logs = new Map<string, string>();
  private readonly killAll = () => {
    for (const child of this.children.values()) if (alive(child)) child.kill("SIGKILL");
  };

  constructor(private readonly folder: string) {
    process.once("exit", this.killAll);
  }

  /** Starts a program, unless one of this name lives. */
  launch(name: string, command: readonly string[]): void {
    if (this.living(name)) return;
    const words = setpriv === undefined ? command : [setpriv, "--pdeathsig", "KILL", "--", ...command];
    const child = spawn(words[0] ?? "", words.slice(1), { cwd: this.folder, stdio: ["ignore", "pipe", "pipe"] });
    const keep = (data: Buffer) => this.logs.set(name, (this.log(name) + data.toString()).slice(-8000));
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.once("error", (error) => keep(Buffer.from(error.message)));
    this.children.set(name, child);
  }

  pid(name: string): number | undefined {
    return this.children.get(name)?.pid;
  }

  /** The last 8,000 characters that a program wrote. */
  log(name: string): string {
    return this.logs.get(name) ?? "";
  }

  /** @throws Error if one of the programs has ended, with what it wrote last. */
  assertAllLive(): void {
    for (const [name, child] of this.children)
      if (!alive(child))
        throw new Error(`${name} ended with ${child.signalCode ?? child.exitCode ?? "no start"}:\n${this.log(name)}`);
  }

  /** @throws Error if the program does not run, or survives SIGKILL. */
  async signal(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = this.living(name);
    if (!child) throw new Error(`${name} does not run`);
    child.kill(signal);
    if (signal === "SIGKILL" && !(await gone(child, 5000))) throw new Error(`${name} lives on after SIGKILL`);
  }

  /** Ends a program if it lives: SIGTERM, and SIGKILL after `graceMs`. */
  async end(name: string, graceMs = 3000): Promise<void> {
    const child = this.living(name);
    if (!child) return;
    child.kill("SIGCONT");
    if (graceMs > 0) child.kill("SIGTERM");
    if (graceMs > 0 && (await gone(child, graceMs))) return;
    child.kill("SIGKILL");
    await gone(child, 5000);
  }

  /** To be called when all have ended. */
  forget(): void {
    process.removeListener("exit", this.killAll);
  }

  private living(name: string): ChildProcess | undefined {
    const child = this.children.get(name);
    return child && alive(child) ? child : undefined;
  }
}
