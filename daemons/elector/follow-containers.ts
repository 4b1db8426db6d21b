/**
 * Follows what the containers of the pod say of themselves. They tell by a stream while all is quiet (a request costs a
 * millisecond of CPU in two containers); 20 Hz while a handover waits for them.
 */
import type * as z from "zod/mini";
import { ports } from "../../contract/ports";
import {
  gateStatusSchema,
  nonceStatusSchema,
  sidecarStatusSchema,
  supervisorStatusSchema,
} from "../../contract/status";
import type { Timings } from "../../contract/timings";
import type { Clock } from "../runtime/clock";
import { followDocument } from "../runtime/follow-document";
import type { Elector } from "./elector";
import type { Statuses } from "./pod-status";

export async function followContainers(
  elector: Elector,
  o: {
    clock: Clock;
    host: string;
    timings: Timings;
    signal: AbortSignal;
    /** @default over HTTP */
    follow?: typeof followDocument;
  },
): Promise<void> {
  const { clock, host, timings, signal, follow: followOne = followDocument } = o;
  const retryMs = 1000 * timings.retrySeconds;
  const follow = <K extends keyof Statuses>(
    name: K,
    port: number,
    schema: z.ZodMiniType<NonNullable<Statuses[K]>>,
    how: { streamMs?: number; pollMs: () => number | undefined },
  ) => {
    let last: { document: unknown; status: Statuses[K] } | undefined;
    return followOne({
      ...how,
      ...{ clock, host, port, path: "/status", timeoutMs: timings.requestTimeoutMs, wake: elector.hurry, signal },
      onDocument: (document, atMs) => {
        if (document !== last?.document) last = { document, status: schema.safeParse(document).data ?? null };
        elector.sawStatus(name, last?.status ?? null, atMs);
      },
    });
  };
  const handingOver = () => elector.state.handover !== null;
  const urgent = () => handingOver() || elector.state.lostAtMs !== null;
  const closely = { streamMs: retryMs, pollMs: () => (urgent() ? retryMs / 20 : undefined) };
  await Promise.allSettled([
    follow("sidecar", ports.sidecar, sidecarStatusSchema, closely),
    follow("supervisor", ports.supervisor, supervisorStatusSchema, closely),
    follow("gate", ports.gateHealth, gateStatusSchema, closely),
    follow("exposer", ports.nonceExposer, nonceStatusSchema, {
      streamMs: 4 * retryMs,
      pollMs: () => (handingOver() ? retryMs / 20 : undefined),
    }),
    // It tells what changes; until the first exchange it is asked besides.
    follow("importer", ports.nonceImporter, nonceStatusSchema, {
      streamMs: 30 * retryMs,
      pollMs: () => (elector.noncesExchanged ? undefined : retryMs),
    }),
  ]);
}
