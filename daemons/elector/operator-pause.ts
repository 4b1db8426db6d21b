/**
 * Until when an operator wants no automatic handover, by this pod's monotonic clock. The wall clock is looked at once
 * for each text, when it is first seen.
 */
import { maxPauseSeconds, readPause } from "../../contract/handover-pause";

/** The clocks of two machines differ: `pause --for 24h` must not be refused for it. */
const skewSeconds = 300;

interface Times {
  /** Milliseconds of CLOCK_MONOTONIC, and since 1970. */
  now: number;
  wall: number;
}

export class OperatorPause {
  /** Milliseconds of CLOCK_MONOTONIC; null where nothing is paused. */
  untilMs: number | null = null;
  private text = "";

  constructor(
    private readonly o: {
      /** A text that pauses nothing: what the rule is, what was got and what to write instead. */
      ignored: (why: string) => unknown;
      /** A pause begins, ends or lasts for another time. */
      changed: () => void;
    },
  ) {}

  /** @param text the lease's annotation; "" where there is none */
  see(text: string, times: Times): void {
    const before = this.untilMs;
    if (text !== this.text) {
      this.text = text;
      const end = text === "" ? null : endOf(text, times);
      this.untilMs = typeof end === "string" ? null : end;
      if (typeof end === "string") this.o.ignored(end);
    }
    if (this.untilMs !== null && times.now >= this.untilMs) this.untilMs = null;
    if (this.untilMs !== before) this.o.changed();
  }

  /** It has been seen and pauses nothing now: the holder takes it off the lease, so that no later start counts anew. */
  isOver(text: string): boolean {
    return text === this.text && this.untilMs === null;
  }
}

/** @returns milliseconds of CLOCK_MONOTONIC, or why it pauses nothing */
function endOf(text: string, { now, wall }: Times): number | string {
  const instead = "write it with npm run baker -- pause --for 2h";
  const pause = readPause(text);
  if (!pause) return `must be {"until": ISO 8601, "reason": text}; got ${text.slice(0, 100)}; ${instead}`;
  const leftMs = pause.untilMs - wall;
  const range = `until (${new Date(pause.untilMs).toISOString()}) must be 0 to 24 h after this pod's clock`;
  if (leftMs <= 0 || leftMs > 1000 * (maxPauseSeconds + skewSeconds))
    return `${range} (${new Date(wall).toISOString()}); ${instead}, on a machine whose clock is right`;
  return now + Math.min(leftMs, 1000 * maxPauseSeconds);
}
