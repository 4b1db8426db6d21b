/** When this process did not run for how long: a machine that is too busy says so in every receipt. */
export class Stalls {
  private readonly seen: { atMs: number; ms: number }[] = [];

  /** @returns ends it */
  watch(): () => void {
    let expected = performance.now() + 50;
    const timer = setInterval(() => {
      const late = performance.now() - expected;
      expected = performance.now() + 50;
      if (late < 50) return;
      this.seen.push({ atMs: Date.now(), ms: Math.round(late) });
      if (this.seen.length > 10_000) this.seen.shift();
    }, 50);
    timer.unref();
    return () => clearInterval(timer);
  }

  /** The longest time, in milliseconds, since `fromMs`. */
  longestMs(fromMs: number): number {
    return Math.max(0, ...this.seen.filter((stall) => stall.atMs >= fromMs).map((stall) => stall.ms));
  }
}
