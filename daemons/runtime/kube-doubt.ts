/** A write that may be lost on its way: what RequestOptions.doubtMs says. */
import { backoffMs, sleep, type Clock } from "./clock";
import type { Outcome, RequestOptions } from "./kube";

export interface DoubtfulWrite<T> {
  write(options: RequestOptions): Promise<Outcome<T>>;
  /** Of the same object, over a connection of its own. */
  read(options: RequestOptions): Promise<Outcome<T>>;
  /** The write was given up. */
  onLost(): void;
}

/** True once a read that began after `doubtMs` was answered early enough for another read and write. */
async function overtaken<T>(
  clock: Clock,
  { doubtMs, timeoutMs, signal }: { doubtMs: number; timeoutMs: number; signal: AbortSignal },
  read: DoubtfulWrite<T>["read"],
): Promise<boolean> {
  const endsMs = clock.now() + timeoutMs;
  await sleep(doubtMs, signal);
  for (let failures = 0; !signal.aborted && clock.now() < endsMs; failures++) {
    const outcome = await read({ timeoutMs: endsMs - clock.now(), signal });
    const now = clock.now();
    if (outcome.ok || outcome.kind === "not-found") return now + 2 * (now - outcome.sentAtMs) < endsMs;
    await sleep(backoffMs(failures, 50, 400), signal);
  }
  return false;
}

/** The write's outcome; or a timeout, its outcome unknown, where a later read was answered first. */
export async function writeInDoubt<T>(
  clock: Clock,
  { doubtMs, timeoutMs, signal }: RequestOptions,
  { write, read, onLost }: DoubtfulWrite<T>,
): Promise<Outcome<T>> {
  if (doubtMs === undefined) return write(signal ? { timeoutMs, signal } : { timeoutMs });
  const ended = new AbortController();
  const lost = new AbortController();
  void overtaken(clock, { doubtMs, timeoutMs, signal: ended.signal }, read).then((yes) => {
    if (yes) lost.abort();
  });
  const either = AbortSignal.any(signal ? [lost.signal, signal] : [lost.signal]);
  const outcome = await write({ timeoutMs, signal: either }).finally(() => ended.abort());
  if (outcome.ok || outcome.kind !== "aborted" || !lost.signal.aborted) return outcome;
  onLost();
  return { ...outcome, kind: "timeout", message: "no answer, while a later read was answered" };
}
