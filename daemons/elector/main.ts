/** Wiring of the elector: configuration, client, loop, HTTP, and what SIGTERM means here. */
import { setMaxListeners } from "node:events";
import { ports } from "../../contract/ports";
import { gateStatusSchema, nonceStatusSchema, sidecarStatusSchema, supervisorStatusSchema } from "../../contract/status";
import { systemClock as clock } from "../runtime/clock";
import { loadConfig } from "../runtime/config";
import { createKubeClient } from "../runtime/kube-client";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { createRegistry } from "../runtime/metrics";
import { Elector } from "./elector";
import { createElectorMetrics } from "./metrics";
import { followStatus } from "./pod-status";
import { createRights } from "./rights";
import { serveElector } from "./server";

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
    const elector = new Elector({ env, file, identity, kube, clock, log, metrics: createElectorMetrics(registry), rights });
    const over = new AbortController();
    setMaxListeners(0, over.signal);
    const server = await serveElector({
      elector,
      host: env.TOG_POD_ADDRESS,
      port: ports.elector,
      registry,
      preStopSeconds: t.preStopSeconds,
    });

    // The containers that decide tell by a stream while all is quiet (a request costs a millisecond of CPU in two containers); 20 Hz while a handover waits.
    const follow = { clock, host: env.TOG_POD_ADDRESS, wake: elector.hurry, signal: over.signal, timeoutMs: t.requestTimeoutMs };
    const intervalMs = () =>
      (elector.state.handover || elector.state.lostAtMs !== null ? 50 : elector.state.eligible ? 1000 : 500) * t.retrySeconds;
    const streamMs = 1000 * t.retrySeconds;
    const slowly = () => (elector.state.handover ? intervalMs() : 4000 * t.retrySeconds);
    const followers = [
      followStatus({
        ...follow,
        intervalMs,
        streamMs,
        port: ports.sidecar,
        schema: sidecarStatusSchema,
        onStatus: (status, at) => elector.sawStatus("sidecar", status, at),
      }),
      followStatus({
        ...follow,
        intervalMs,
        streamMs,
        port: ports.supervisor,
        schema: supervisorStatusSchema,
        onStatus: (status, at) => elector.sawStatus("supervisor", status, at),
      }),
      followStatus({
        ...follow,
        intervalMs,
        streamMs,
        port: ports.gateHealth,
        schema: gateStatusSchema,
        onStatus: (status, at) => elector.sawStatus("gate", status, at),
      }),
      followStatus({
        ...follow,
        intervalMs: slowly,
        port: ports.nonceExposer,
        schema: nonceStatusSchema,
        onStatus: (status, at) => elector.sawStatus("exposer", status, at),
      }),
      followStatus({
        ...follow,
        intervalMs: () => (elector.knowsNonces ? 60_000 : 1000) * t.retrySeconds,
        port: ports.nonceImporter,
        schema: nonceStatusSchema,
        onStatus: (status, at) => elector.sawStatus("importer", status, at),
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
    await server.close();
    rights.close();
    kube.close();
  });
}
