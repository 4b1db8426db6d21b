/** A pause that others can end early. A kick while nobody waits ends the next pause at once. */
export class Wake {
  private readonly waiting = new Set<() => void>();
  private kicked = false;

  /** @param sticky false: only those who wait now are woken */
  kick(sticky = true): void {
    if (this.waiting.size === 0) this.kicked = sticky;
    for (const end of [...this.waiting]) end();
  }

  wait(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || this.kicked || ms <= 0) {
        this.kicked = false;
        resolve();
        return;
      }
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        this.waiting.delete(end);
        resolve();
      };
      const timer = setTimeout(end, Math.min(ms, 2 ** 31 - 1));
      signal.addEventListener("abort", end);
      this.waiting.add(end);
    });
  }
}
