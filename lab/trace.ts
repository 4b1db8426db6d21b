/** Life lines of the doubles: who ran when, to the millisecond, whatever ended them; and what they report. */
import { createServer, type Server, type Socket } from "node:net";
import { EventEmitter } from "node:events";
import { lines } from "./doubles/lines";

export interface TraceLine {
  event: string;
  role: string;
  pod: string;
  uid: string;
  pid: number;
  atMs: number;
  [field: string]: unknown;
}
export interface Interval {
  role: string;
  pod: string;
  uid: string;
  pid: number;
  startMs: number;
  /** Null while it runs. */
  endMs: number | null;
  /** When it was ready to bake. */
  readyMs: number | null;
}

export class TraceServer extends EventEmitter<{ line: [TraceLine]; end: [Interval] }> {
  readonly intervals: Interval[] = [];
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;

  constructor(private readonly now: () => number = Date.now) {
    super();
    this.server = createServer((socket) => {
      this.sockets.add(socket);
      let interval: Interval | undefined;
      lines(socket, (text) => {
        let line: TraceLine;
        try {
          line = JSON.parse(text) as TraceLine;
        } catch {
          return;
        }
        // The laboratory's own clock: a pod's may be stepped.
        line.atMs = this.now();
        if (line.event === "process") interval = this.began(line);
        else if (line.event === "ready" && interval) this.ready(interval);
        else this.emit("line", line);
      });
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.sockets.delete(socket);
        if (interval) this.ended(interval);
      });
    });
  }

  /** A process of this role has begun, ... */
  began({ role, pod, uid, pid }: Pick<Interval, "role" | "pod" | "uid" | "pid">): Interval {
    const atMs = this.now();
    const interval = { role, pod, uid, pid, startMs: atMs, endMs: null, readyMs: null };
    this.intervals.push(interval);
    this.emit("line", { event: "process", role, pod, uid, pid, atMs });
    return interval;
  }
  /** ... is ready for its work, ... */
  ready(interval: Interval): void {
    const { role, pod, uid, pid } = interval;
    interval.readyMs = this.now();
    this.emit("line", { event: "ready", role, pod, uid, pid, atMs: interval.readyMs });
  }
  /** ... and has ended. */
  ended(interval: Interval): void {
    interval.endMs = this.now();
    this.emit("end", interval);
  }

  listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(path, resolve);
    });
  }
  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
  running(role: string): Interval[] {
    return this.intervals.filter((interval) => interval.role === role && interval.endMs === null);
  }
  /** Milliseconds in which processes of a role in two different pods existed at the same time, since `fromMs`. */
  overlapMs(role: string, fromMs: number, until: number = this.now()): number {
    const spans = this.intervals.filter((interval) => interval.role === role);
    let total = 0;
    for (const [i, a] of spans.entries())
      for (const b of spans.slice(i + 1)) {
        if (a.uid === b.uid) continue;
        total += Math.max(0, Math.min(a.endMs ?? until, b.endMs ?? until) - Math.max(a.startMs, b.startMs, fromMs));
      }
    return total;
  }
}
