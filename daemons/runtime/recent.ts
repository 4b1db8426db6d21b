/**
 * What happened lately and is over: a crash that was mended within a second is no state any more, but an operator asks
 * for it.
 */
import type { Clock } from "./clock";
import { secondsTime } from "./kube";

const keepMs = 600_000;
const most = 5;

export class Recent {
  /** By what it is about: the newest of a kind replaces the one before. */
  private readonly entries = new Map<string, { text: string; at: string; atMs: number; times: number }>();

  constructor(private readonly clock: Clock) {}

  /** @param about kind of event; @param text a sentence without secrets */
  note(about: string, text: string): void {
    const times = (this.entries.get(about)?.times ?? 0) + 1;
    this.entries.delete(about);
    const at = secondsTime(this.clock.wall());
    this.entries.set(about, { text, at, atMs: this.clock.now(), times });
  }

  /** Of the last ten minutes, oldest first, at most five: `2026-11-25T12:00:00Z sentence (3 times)`. */
  list(): string[] {
    const now = this.clock.now();
    for (const [about, { atMs }] of this.entries) if (now - atMs > keepMs) this.entries.delete(about);
    return [...this.entries.values()]
      .slice(-most)
      .map(({ text, at, times }) => `${at} ${text}${times > 1 ? ` (${times} times)` : ""}`);
  }
}
