/** Until when an operator wants no automatic handover, by this pod's monotonic clock. */
import { maxPauseSeconds, readPause } from "../../contract/handover-pause";

export class OperatorPause {
  /** Milliseconds of CLOCK_MONOTONIC; null where nothing is paused. */
  untilMs: number | null = null;
  private text = "";

  /** @param text the lease's annotation @param now of both clocks, in milliseconds */
  see(text: string, now: { now: number; wall: number }): void {
    if (text !== this.text) {
      this.text = text;
      const pause = readPause(text);
      // The clock of the machine that wrote it may be wrong: it never pauses longer than a pause may last.
      const leftMs = Math.min((pause?.untilMs ?? 0) - now.wall, 1000 * maxPauseSeconds);
      this.untilMs = pause && leftMs > 0 ? now.now + leftMs : null;
    }
    if (this.untilMs !== null && now.now >= this.untilMs) this.untilMs = null;
  }
}
