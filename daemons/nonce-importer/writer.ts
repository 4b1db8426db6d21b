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

export interface Writer {
  /** One job at a time; never rejects. */
  run(job: MergeJob): Promise<WriterOutcome>;
  close(): Promise<void>;
}

/**
 * @param killMs from asking for the lock to having given it back
 * @param idleMs without a job, after which the process ends
 */
export function createWriter(
  killMs: number,
  start: () => ChildProcess = startWriter,
  readyMs = 10_000,
  idleMs = 30_000,
): Writer {
  interface Child {
    process: ChildProcess;
    ready: Promise<boolean>;
    exited: Promise<string>;
    answer?: (value: Answer) => void;
    ended?: (how: string) => void;
  }
  let closed = false;
  let child: Child | undefined;
  let idle: NodeJS.Timeout | undefined;
  const rest = (): void => {
    clearTimeout(idle);
    idle = setTimeout(() => {
      const resting = child;
      child = undefined;
      if (resting?.process.connected) resting.process.disconnect();
    }, idleMs).unref();
  };
  const make = (): Child => {
    const process = start();
    const made: Child = {
      process,
      ready: Promise.resolve(false),
      exited: new Promise((resolve) => {
        process.once("exit", (code, signal) => resolve(signal ?? `exit ${code ?? "?"}`));
        process.once("error", (error) => resolve(error.message));
      }),
    };
    made.ready = new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), readyMs);
      void made.exited.then(() => resolve(false));
      process.on("message", (message: Answer) => {
        if ("ready" in message) resolve(true);
        else made.answer?.(message);
      });
      void made.exited.then(() => clearTimeout(timer));
      process.once("message", () => clearTimeout(timer));
    });
    void made.exited.then((how) => {
      made.ended?.(how);
      if (child === made) child = closed ? undefined : make();
    });
    return made;
  };
  child = make();
  rest();
  return {
    async run(job) {
      if (closed) return { outcome: "failed", reason: "the writer is closed" };
      clearTimeout(idle);
      const current = (child ??= make());
      if (!(await current.ready)) {
        current.process.kill("SIGKILL");
        return { outcome: "failed", reason: `no writer within ${readyMs} ms: ${await current.exited}` };
      }
      return new Promise((resolve) => {
        const kill = (): void => void current.process.kill("SIGKILL");
        const whole = setTimeout(kill, 10 * killMs);
        let atLock: NodeJS.Timeout | undefined;
        const finish = (outcome: WriterOutcome): void => {
          clearTimeout(whole);
          clearTimeout(atLock);
          current.answer = current.ended = undefined;
          rest();
          resolve(outcome);
        };
        const sentAt = systemClock.now();
        current.ended = (how) =>
          finish({ outcome: "killed", reason: `${how} after ${Math.round(systemClock.now() - sentAt)} ms` });
        current.answer = (message) => {
          if (!("lock" in message))
            return finish(
              "result" in message
                ? message.result
                : { outcome: "failed", reason: "error" in message ? message.error : "no result" },
            );
          clearTimeout(atLock);
          if (message.lock) atLock = setTimeout(kill, killMs);
        };
        current.process.send(job, (error) => {
          if (error) current.process.kill("SIGKILL");
        });
      });
    },
    async close() {
      closed = true;
      clearTimeout(idle);
      const current = child;
      child = undefined;
      if (!current) return;
      if (current.process.connected) current.process.disconnect();
      const timer = setTimeout(() => current.process.kill("SIGKILL"), killMs);
      await current.exited;
      clearTimeout(timer);
    },
  };
}

/** The same program in its role as writer. */
const startWriter = (): ChildProcess =>
  fork(process.argv[1] ?? "", ["nonce-importer", "writer"], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
