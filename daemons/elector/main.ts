/** Wiring of the elector: configuration, client, loop, HTTP, and what SIGTERM means here. */
import { setMaxListeners } from "node:events";
import { join } from "node:path";
import type * as z from "zod/mini";
import { ports } from "../../contract/ports";
import {
  gateStatusSchema,
  nonceStatusSchema,
  sidecarStatusSchema,
  supervisorStatusSchema,
} from "../../contract/status";
import { systemClock as clock } from "../runtime/clock";
import { loadConfig } from "../runtime/config";
import { followDocument } from "../runtime/follow-document";
import { createKubeClient } from "../runtime/kube-client";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { createRegistry } from "../runtime/metrics";
import { Elector, type Statuses } from "./elector";
import { createElectorMetrics, exportTransitions } from "./metrics";
import { createRights } from "./rights";
import { serveElector, servePreStop } from "./server";

export function main(): Promise<void> {
  const { env, file, identity } = loadConfig("elector");
  const log = createLog(env.TOG_POD_NAME, "elector");
  const t = file.timings;
  return runDaemon(log, async (terminated) => {
    const registry = createRegistry(file.baker, env.TOG_POD_NAME);
    const kube = createKubeClient({
      url: env.TOG_KUBE_URL,
      kubeDir: env.TOG_KUBE_DIR,
      namespace: env.TOG_NAMESPACE,
      clock,
      log,
      metrics: registry,
      component: "elector",
      instance: env.TOG_POD_NAME,
    });
    const rights = createRights({
      url: `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}`,
      clock,
      delegate: file.delegate,
      timeoutMs: t.requestTimeoutMs,
    });
    const elector = new Elector({
      env,
      file,
      identity,
      kube,
      clock,
      log,
      metrics: createElectorMetrics(registry),
      rights,
    });
    exportTransitions(registry, { receipts: () => elector.receipts(), caFile: join(env.TOG_KUBE_DIR, "ca.crt") });
    const over = new AbortController();
    setMaxListeners(0, over.signal);
    const server = await serveElector({
      elector,
      host: env.TOG_POD_ADDRESS,
      port: ports.elector,
      registry,
    });
    const preStop = await servePreStop({
      elector,
      host: env.TOG_POD_ADDRESS,
      port: ports.preStop,
      preStopSeconds: t.preStopSeconds,
    });

    // The containers that decide tell by a stream while all is quiet (a request costs a millisecond of CPU in two
    // containers); 20 Hz while a handover waits.
    const urgent = () => elector.state.handover !== null || elector.state.lostAtMs !== null;
    const follow = <K extends keyof Statuses>(
      name: K,
      port: number,
      schema: z.ZodMiniType<NonNullable<Statuses[K]>>,
      how: { streamMs?: number; pollMs: () => number | undefined },
    ) => {
      let last: { document: unknown; status: Statuses[K] } | undefined;
      return followDocument({
        ...how,
        ...{ clock, host: env.TOG_POD_ADDRESS, port, path: "/status", timeoutMs: t.requestTimeoutMs },
        ...{ wake: elector.hurry, signal: over.signal },
        onDocument: (document, atMs) => {
          if (document !== last?.document) last = { document, status: schema.safeParse(document).data ?? null };
          elector.sawStatus(name, last?.status ?? null, atMs);
        },
      });
    };
    const closely = {
      streamMs: 1000 * t.retrySeconds,
      pollMs: () => (urgent() ? 50 * t.retrySeconds : undefined),
    };
    const followers = [
      follow("sidecar", ports.sidecar, sidecarStatusSchema, closely),
      follow("supervisor", ports.supervisor, supervisorStatusSchema, closely),
      follow("gate", ports.gateHealth, gateStatusSchema, closely),
      follow("exposer", ports.nonceExposer, nonceStatusSchema, {
        streamMs: 4000 * t.retrySeconds,
        pollMs: () => (elector.state.handover ? 50 * t.retrySeconds : undefined),
      }),
      // It tells what changes; until the first exchange it is asked besides.
      follow("importer", ports.nonceImporter, nonceStatusSchema, {
        streamMs: 30_000 * t.retrySeconds,
        pollMs: () => (elector.knowsNonces ? undefined : 1000 * t.retrySeconds),
      }),
    ];
    elector.start();
    log.info("started", identity, { port: server.port });

    await new Promise<void>((resolve) => {
      if (terminated.aborted) resolve();
      terminated.addEventListener("abort", () => resolve(), { once: true });
    });
    const relinquished = await elector.terminate(1000 * t.preStopSeconds);
    if (!relinquished) log.error("not-released", "the lease runs out by itself");
    over.abort();
    await elector.close();
    await Promise.allSettled(followers);
    await Promise.all([server.close(), preStop.close()]);
    rights.close();
    kube.close();
  });
}
