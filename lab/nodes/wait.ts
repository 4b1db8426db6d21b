export const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Looks every 20 ms. @throws Error with `what` after `timeoutMs` */
export async function until(what: string, test: () => boolean | Promise<boolean>, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await test())) {
    if (performance.now() > deadline) throw new Error(`not within ${Math.round(timeoutMs / 1000)} s: ${what}`);
    await sleep(20);
  }
}
