/** Start and end of a daemon: one AbortController, graceful, then timed, then forced. */
import { beat } from "./beat";
import type { Log } from "./log";

/**
 * Runs `body` until it returns or SIGTERM/SIGINT aborts its signal. A second signal, or `graceMs` after the first, ends
 * the process with 1. A body that throws ends the process with 1 and a log line. A clean end is 0.
 */
export async function runDaemon(
  log: Log,
  body: (signal: AbortSignal) => Promise<void>,
  graceMs = 20_000,
): Promise<void> {
  beat();
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) {
      log.warn("forced", `second ${name}`);
      process.exit(1);
    }
    log.info("stopping", name);
    controller.abort();
    setTimeout(() => {
      log.error("forced", `still running ${graceMs} ms after ${name}`);
      process.exit(1);
    }, graceMs).unref();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  try {
    await body(controller.signal);
    log.info("stopped", controller.signal.aborted ? "signal" : "finished");
    process.exit(0);
  } catch (error) {
    log.error("failed", error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
}
