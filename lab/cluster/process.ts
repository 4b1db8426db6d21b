/**
 * One container as processes of this machine. A real container's processes die with its first one; here every process
 * carries the container's id in its environment, and what is left of them is killed by that.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";

/** Pids whose environment has `NAME=value`. */
export function markedPids(mark: string): number[] {
  const needle = Buffer.from(`\0${mark}\0`);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const environment = readFileSync(`/proc/${pid}/environ`);
        return Buffer.concat([Buffer.from([0]), environment]).includes(needle);
      } catch {
        return false;
      }
    });
}
export function signalMarked(mark: string, signal: NodeJS.Signals): number[] {
  const pids = markedPids(mark);
  for (const pid of pids)
    try {
      process.kill(pid, signal);
    } catch {
      // It has just ended.
    }
  return pids;
}
/** SIGKILL until none is left: a process may fork while it is being looked for. */
export function killMarked(mark: string): void {
  for (let round = 0; round < 5; round++) if (signalMarked(mark, "SIGKILL").length === 0) return;
}

/** The same without holding up this process, which also is the network and the API of its pods. */
export async function sweep(mark: string): Promise<void> {
  const needle = Buffer.from(`\0${mark}\0`);
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids) {
    const environment = await readFile(`/proc/${pid}/environ`).catch(() => Buffer.alloc(0));
    if (!Buffer.concat([Buffer.from([0]), environment]).includes(needle)) continue;
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has just ended.
    }
  }
}

/** A process and what it has started, by the kernel's own list: cheaper than looking at everybody. */
export function tree(pid: number): number[] {
  let children: number[] = [];
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    // It has just ended, or the kernel has no such list: the sweep by mark finds the rest.
  }
  return [pid, ...children.flatMap(tree)];
}

export interface ContainerProcessOptions {
  /** Unique per start. */
  id: string;
  command: readonly string[];
  env: Record<string, string>;
  cwd: string;
  onLine: (line: string, stream: "stdout" | "stderr") => void;
  onExit: (exit: { code: number | null; signal: NodeJS.Signals | null }) => void;
}

export class ContainerProcess {
  readonly child: ChildProcess;
  readonly mark: string;
  readonly startedAtMs = Date.now();
  exited = false;

  constructor(options: ContainerProcessOptions) {
    this.mark = `LAB_CONTAINER=${options.id}`;
    const [file = "", ...args] = options.command;
    this.child = spawn(file, args, {
      env: { ...options.env, LAB_CONTAINER: options.id },
      cwd: options.cwd,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    for (const stream of ["stdout", "stderr"] as const) {
      let rest = "";
      this.child[stream]?.on("data", (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split("\n");
        rest = (lines.pop() ?? "").slice(-65536);
        for (const line of lines) if (line !== "") options.onLine(line, stream);
      });
    }
    let done = false;
    const finish = (code: number | null, signal: NodeJS.Signals | null) => {
      if (done) return;
      done = true;
      this.exited = true;
      // The namespace's end: whoever it started dies with it. Not while a whole pod is being killed.
      if (!this.swept) void sweep(this.mark);
      options.onExit({ code, signal });
    };
    this.child.on("exit", finish);
    this.child.on("error", () => finish(127, null));
  }

  /** To the container's first process, as a kubelet does. */
  signal(signal: NodeJS.Signals): void {
    if (!this.exited) this.child.kill(signal);
  }
  kill(): void {
    if (this.exited || this.child.pid === undefined) return;
    for (const pid of tree(this.child.pid))
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has just ended.
      }
  }
  /** SIGSTOP or SIGCONT to all of them. */
  pause(stop: boolean): void {
    signalMarked(this.mark, stop ? "SIGSTOP" : "SIGCONT");
  }
  /** What is left of it is swept up by somebody else. */
  abandon(): void {
    this.swept = true;
  }
  private swept = false;
}
