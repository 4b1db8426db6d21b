/**
 * At most so many requests to the API at once: with many keys a burst of new TLS connections would cost more than
 * waiting for a free one. Waiting ends after `waitMs`, the budget of a signature: an API that hangs does not hold one
 * for ever.
 */
import type { Clock } from "../runtime/clock";
import type { KubeClient, Outcome } from "../runtime/kube";

/** The kept-alive connections of the client (runtime/kube-client.ts); time-outs count from when a request is sent. */
const connections = 8;

export function limited(
  kube: Pick<KubeClient, "get" | "replace">,
  waitMs: number,
  clock: Clock,
): Pick<KubeClient, "get" | "replace"> {
  let free = connections;
  const waiting = new Set<() => void>();
  const turn = (): Promise<boolean> =>
    new Promise((resolve) => {
      const begin = () => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        waiting.delete(begin);
        resolve(false);
      }, waitMs);
      waiting.add(begin);
    });
  const inTurn = async <T>(work: () => Promise<Outcome<T>>): Promise<Outcome<T>> => {
    if (free > 0) free--;
    else if (!(await turn())) {
      const message = `no connection was free within ${waitMs} ms`;
      return { ok: false, kind: "timeout", unknown: false, status: 0, message, sentAtMs: clock.now() };
    }
    try {
      return await work();
    } finally {
      const [next] = waiting;
      if (next) {
        waiting.delete(next);
        next();
      } else free++;
    }
  };
  return {
    get: (resource, name, options) => inTurn(() => kube.get(resource, name, options)),
    replace: (resource, object, options) => inTurn(() => kube.replace(resource, object, options)),
  };
}
