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
        if (line.event === "process") {
          interval = {
            role: line.role,
            pod: line.pod,
            uid: line.uid,
            pid: line.pid,
            startMs: line.atMs,
            endMs: null,
            readyMs: null,
          };
          this.intervals.push(interval);
        }
        if (line.event === "ready" && interval) interval.readyMs = line.atMs;
        this.emit("line", line);
      });
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.sockets.delete(socket);
        if (!interval) return;
        interval.endMs = this.now();
        this.emit("end", interval);
      });
    });
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
