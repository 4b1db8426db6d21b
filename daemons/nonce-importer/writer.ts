/**
 * The process that takes the lock: started by the importer, killed by it when it is at the lock for too long (the
 * kernel then gives the lock back), replaced. It ends after half a minute without work and is started again with the
 * next (0.2 s): a baker commits a few times a day, and memory costs all the time. Preparing without the lock may take
 * ten times as long: a slow machine with a large file must get there some day.
 */
import { fork, type ChildProcess } from "node:child_process";
import { systemClock } from "../runtime/clock";
import { removeLeftovers } from "../runtime/durable";
import { mergeIntoFolder, type MergeJob, type MergeResult } from "./merge-folder";

type Answer = { ready: true } | { lock: boolean } | { result: MergeResult } | { error: string };

/** The child's side. */
export function runWriter(): Promise<void> {
  // An importer that is gone needs no answer; its end is our `disconnect`.
  const answer = (message: Answer): void => void process.send?.(message, () => undefined);
  // The importer stops its writer by closing the channel; signals to the whole container must not end a job half way
  // for nothing.
  process.on("SIGTERM", () => undefined);
  process.on("SIGINT", () => undefined);
  let cleaned = false;
  const work = async (job: MergeJob): Promise<MergeResult> => {
    if (!cleaned) await removeLeftovers(job.clientDir);
    cleaned = true;
    return mergeIntoFolder(job, systemClock, (lock) => answer({ lock }));
  };
  process.on("message", (job: MergeJob) => {
    work(job).then(
      (result) => answer({ result }),
      (error: unknown) => answer({ error: error instanceof Error ? error.message : String(error) }),
    );
  });
  return new Promise((resolve) => {
    process.on("disconnect", resolve);
    answer({ ready: true });
  });
}

export type WriterOutcome = MergeResult | { outcome: "killed" | "failed"; reason: string };

/** The same program in its role as writer. */
const startWriter = (): ChildProcess =>
  fork(process.argv[1] ?? "", ["nonce-importer", "writer"], { stdio: ["ignore", "inherit", "inherit", "ipc"] });

/** One process of the writer, seen from the importer. */
class WriterProcess {
  /** How it ended. */
  readonly exited: Promise<string>;
  /** False where it ended, or said nothing for `readyMs`. */
  readonly ready: Promise<boolean>;
  private onAnswer: ((answer: Answer) => void) | undefined;

  constructor(
    private readonly process: ChildProcess,
    readyMs: number,
  ) {
    this.exited = new Promise((resolve) => {
      process.once("exit", (code, signal) => resolve(signal ?? `exit ${code ?? "?"}`));
      process.once("error", (error) => resolve(error.message));
    });
    this.ready = new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), readyMs);
      const settle = (ready: boolean): void => {
        clearTimeout(timer);
        resolve(ready);
      };
      void this.exited.then(() => settle(false));
      process.on("message", (answer: Answer) => {
        if ("ready" in answer) settle(true);
        else this.onAnswer?.(answer);
      });
    });
  }

  kill(): void {
    this.process.kill("SIGKILL");
  }

  /** It ends by itself once the job in hand is done. */
  disconnect(): void {
    if (this.process.connected) this.process.disconnect();
  }

  /** One job at a time. @param killMs from asking for the lock to having given it back */
  async work(job: MergeJob, killMs: number): Promise<WriterOutcome> {
    const sentAt = systemClock.now();
    const timers: { whole?: NodeJS.Timeout; atLock?: NodeJS.Timeout } = {};
    timers.whole = setTimeout(() => this.kill(), 10 * killMs);
    const answered = new Promise<WriterOutcome>((resolve) => {
      this.onAnswer = (answer) => {
        if ("result" in answer) return resolve(answer.result);
        if ("error" in answer) return resolve({ outcome: "failed", reason: answer.error });
        clearTimeout(timers.atLock);
        if ("lock" in answer && answer.lock) timers.atLock = setTimeout(() => this.kill(), killMs);
      };
    });
    this.process.send(job, (error) => {
      if (error) this.kill();
    });
    const killed = this.exited.then((how): WriterOutcome => ({
      outcome: "killed",
      reason: `${how} after ${Math.round(systemClock.now() - sentAt)} ms`,
    }));
    const outcome = await Promise.race([answered, killed]);
    clearTimeout(timers.whole);
    clearTimeout(timers.atLock);
    this.onAnswer = undefined;
    return outcome;
  }
}

export class Writer {
  private closed = false;
  private current: WriterProcess | undefined;
  private idle: NodeJS.Timeout | undefined;

  /**
   * @param killMs from asking for the lock to having given it back
   * @param idleMs without a job, after which the process ends
   */
  constructor(
    private readonly killMs: number,
    private readonly start: () => ChildProcess = startWriter,
    private readonly readyMs = 10_000,
    private readonly idleMs = 30_000,
  ) {
    this.current = this.make();
    this.rest();
  }

  /** One job at a time; never rejects. */
  async run(job: MergeJob): Promise<WriterOutcome> {
    if (this.closed) return { outcome: "failed", reason: "the writer is closed" };
    clearTimeout(this.idle);
    const current = (this.current ??= this.make());
    if (!(await current.ready)) {
      current.kill();
      return { outcome: "failed", reason: `no writer within ${this.readyMs} ms: ${await current.exited}` };
    }
    const outcome = await current.work(job, this.killMs);
    this.rest();
    return outcome;
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.idle);
    const { current } = this;
    this.current = undefined;
    if (!current) return;
    current.disconnect();
    const timer = setTimeout(() => current.kill(), this.killMs);
    await current.exited;
    clearTimeout(timer);
  }

  private make(): WriterProcess {
    const made = new WriterProcess(this.start(), this.readyMs);
    // The next job starts another.
    void made.exited.then(() => {
      if (this.current === made) this.current = undefined;
    });
    return made;
  }

  private rest(): void {
    clearTimeout(this.idle);
    this.idle = setTimeout(() => {
      const resting = this.current;
      this.current = undefined;
      resting?.disconnect();
    }, this.idleMs).unref();
  }
}
