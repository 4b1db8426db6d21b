/** At most so many at once; the others wait in the order in which they came. */
export class Turns {
  private readonly waiting = new Set<() => void>();

  constructor(private free: number) {}

  /** @returns what `work` gives, undefined where it had no turn within `waitMs` and was not begun */
  async use<T>(waitMs: number, work: () => Promise<T>): Promise<T | undefined> {
    if (!(await this.take(waitMs))) return undefined;
    try {
      return await work();
    } finally {
      this.give();
    }
  }
  private take(waitMs: number): Promise<boolean> {
    if (this.free > 0) {
      this.free--;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const begin = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        this.waiting.delete(begin);
        resolve(false);
      }, waitMs);
      this.waiting.add(begin);
    });
  }
  private give(): void {
    const [next] = this.waiting;
    if (!next) return void this.free++;
    this.waiting.delete(next);
    next();
  }
}
