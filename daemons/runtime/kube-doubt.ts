/** A write that may be lost on its way: what RequestOptions.doubtMs says. */
import { backoffMs, sleep, type Clock } from "./clock";
import type { Outcome } from "./kube";

export interface DoubtfulWrite<T> {
  clock: Clock;
  timeoutMs: number;
  doubtMs: number;
  signal: AbortSignal | undefined;
  write(signal: AbortSignal): Promise<Outcome<T>>;
  /** Of the same object, over a connection of its own. */
  read(timeoutMs: number, signal: AbortSignal): Promise<Outcome<T>>;
}

/** True once a read that began after `doubtMs` was answered early enough for another read and write. */
async function overtaken<T>(wanted: DoubtfulWrite<T>, signal: AbortSignal): Promise<boolean> {
  const { clock, doubtMs, timeoutMs } = wanted;
  const endsMs = clock.now() + timeoutMs;
  await sleep(doubtMs, signal);
  for (let failures = 0; !signal.aborted && clock.now() < endsMs; failures++) {
    const outcome = await wanted.read(endsMs - clock.now(), signal);
    const now = clock.now();
    if (outcome.ok || outcome.kind === "not-found") return now + 2 * (now - outcome.sentAtMs) < endsMs;
    await sleep(backoffMs(failures, 50, 400), signal);
  }
  return false;
}

/** The write's outcome; or a timeout, its outcome unknown, where a later read was answered first. */
export async function writeInDoubt<T>(wanted: DoubtfulWrite<T>): Promise<Outcome<T>> {
  const ended = new AbortController();
  const lost = new AbortController();
  const signals = wanted.signal ? [lost.signal, wanted.signal] : [lost.signal];
  void overtaken(wanted, ended.signal).then((yes) => {
    if (yes) lost.abort();
  });
  const outcome = await wanted.write(AbortSignal.any(signals)).finally(() => ended.abort());
  if (outcome.ok || outcome.kind !== "aborted" || !lost.signal.aborted) return outcome;
  return { ...outcome, kind: "timeout", message: "no answer, while a later read was answered" };
}
