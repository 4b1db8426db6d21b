/** At most so many requests to the API at once: with many keys a burst of new TLS connections would cost more than waiting for a free one. */
import type { KubeClient } from "../runtime/kube";

/** The kept-alive connections of the client (runtime/kube-client.ts); time-outs count from when a request is sent. */
const connections = 8;

export function limited(kube: Pick<KubeClient, "get" | "replace">): Pick<KubeClient, "get" | "replace"> {
  let free = connections;
  const waiting: (() => void)[] = [];
  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
  return {
    get: (resource, name, options) => inTurn(() => kube.get(resource, name, options)),
    replace: (resource, object, options) => inTurn(() => kube.replace(resource, object, options)),
  };
}
