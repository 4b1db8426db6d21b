import { sleep } from "./clock";

/**
 * Runs `body` at once and then again and again until `signal` aborts, with a pause of `pauseMs` between an end and the
 * next start. Rejects where `body` does.
 */
export async function repeat(
  signal: AbortSignal,
  pauseMs: number | (() => number),
  body: () => void | Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await body();
    await sleep(typeof pauseMs === "number" ? pauseMs : pauseMs(), signal);
  }
}
