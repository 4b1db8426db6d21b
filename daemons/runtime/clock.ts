/** Time as the daemons see it. Everything that decides uses `now`; the wall clock is for people. */
export interface Clock {
  /** CLOCK_MONOTONIC in milliseconds (fractions allowed); shared by all containers of a pod. */
  now(): number;
  /** CLOCK_MONOTONIC in nanoseconds, for `validUntilNs`. */
  nowNs(): bigint;
  /** Wall clock, milliseconds since 1970: for logs and MicroTime only. */
  wall(): number;
}

export const systemClock: Clock = {
  now: () => Number(process.hrtime.bigint()) / 1e6,
  nowNs: () => process.hrtime.bigint(),
  // eslint-disable-next-line no-restricted-syntax -- the one place that reads the wall clock
  wall: () => Date.now(),
};

/** Resolves after `ms`, or at once when `signal` aborts (never rejects): callers look at their signal. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(0, ms));
    signal?.addEventListener("abort", done);
  });
}

/**
 * Milliseconds until the next beat of `periodMs`, at least half of it. Beats are whole multiples of the period on
 * CLOCK_MONOTONIC, moved by the pod's address: containers of one pod wake together, which costs a machine less than one
 * after the other, and the pods of one machine do not.
 */
export function untilBeat(clock: Clock, periodMs: number, podAddress: string): number {
  // The same for every period: each second beat of one is a beat of the double one.
  const moveMs = [...podAddress].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 997, 7);
  const wait = periodMs - ((clock.now() + moveMs) % periodMs);
  return wait >= periodMs / 2 ? wait : wait + periodMs;
}

/**
 * Daemons that asked around at a beat are heard this long after it, in units of the period; whoever acts on what it
 * hears joins them there.
 */
export const afterBeat = 1 / 50;

/** Milliseconds until the next such moment, at most a period: for what must not be late. */
export function untilAfterBeat(clock: Clock, periodMs: number, podAddress: string): number {
  const wait = untilBeat(clock, periodMs, podAddress) + afterBeat * periodMs;
  return wait > 1.05 * periodMs ? wait - periodMs : Math.min(wait, periodMs);
}

/** `base` x 2^attempt, at most `max`, with full jitter in its upper half: for retries that must not march in step. */
export function backoffMs(attempt: number, base: number, max: number, random: () => number = Math.random): number {
  const full = Math.min(max, base * 2 ** Math.min(attempt, 30));
  return full / 2 + (random() * full) / 2;
}
