/**
 * Who runs octez-baker when, for programs that tell the laboratory nothing: each start leaves a file named after its
 * process id, and the kernel's list of processes says when it has ended.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Interval, TraceServer } from "../trace";

/** For a shell, before it becomes the program. */
export const leavesFile = (folder: string): string => `printf '%s %s\\n' "$LAB_POD" "$LAB_POD_UID" >"${folder}/$$"`;

function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

export class Lives {
  private readonly running = new Set<Interval>();
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly folder: string,
    private readonly trace: TraceServer,
  ) {
    mkdirSync(folder, { recursive: true });
    this.timer = setInterval(() => this.look(), 20);
  }

  private look(): void {
    for (const interval of this.running)
      if (!isRunning(interval.pid)) {
        this.running.delete(interval);
        this.trace.ended(interval);
      }
    for (const name of readdirSync(this.folder)) {
      const [pod = "", uid = ""] = readFileSync(join(this.folder, name), "utf8").trim().split(" ");
      // Still being written.
      if (uid === "") continue;
      rmSync(join(this.folder, name));
      this.running.add(this.trace.began({ role: "octez-baker", pod, uid, pid: Number(name) }));
    }
  }

  /** A line of a pod's output that says that its octez-baker is ready. */
  heard(pod: string, line: string): void {
    if (!/baker for protocol \S+ is now running/.test(line)) return;
    const young = [...this.running].find((interval) => interval.pod === pod && interval.readyMs === null);
    if (young) this.trace.ready(young);
  }
  stop(): void {
    clearInterval(this.timer);
  }
}
