/** Wiring of the elector: client, parts, HTTP, and what SIGTERM means here. */
import { once, setMaxListeners } from "node:events";
import { join } from "node:path";
import { ports } from "../../contract/ports";
import { systemClock as clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { podKubeClient } from "../runtime/kube-client";
import type { Log } from "../runtime/log";
import { createRegistry } from "../runtime/metrics";
import { createRights } from "../runtime/rights";
import { Elector } from "./elector";
import { followContainers } from "./follow-containers";
import { createElectorMetrics, exportTransitions } from "./metrics";
import { serveElector, servePreStop } from "./server";

/** Until `terminated`, and then until what this pod holds is handed over. */
export async function runElector(config: DaemonConfig, log: Log, terminated: AbortSignal): Promise<void> {
  const { env, file, identity } = config;
  const t = file.timings;
  const registry = createRegistry(file.baker, env.TOG_POD_NAME);
  const kube = podKubeClient(env, { component: "elector", log, metrics: registry });
  const rights = createRights({
    url: `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}`,
    clock,
    delegate: file.delegate,
    timeoutMs: t.requestTimeoutMs,
  });
  const metrics = createElectorMetrics(registry);
  const elector = new Elector({ env, file, identity, kube, clock, log, metrics, rights });
  exportTransitions(registry, {
    receipts: () => elector.receipts(),
    pausedSeconds: () => elector.pausedSeconds(),
    caFile: join(env.TOG_KUBE_DIR, "ca.crt"),
  });
  const host = env.TOG_POD_ADDRESS;
  const server = await serveElector({ elector, host, port: ports.elector, registry });
  const preStop = await servePreStop({ elector, host, port: ports.preStop, preStopSeconds: t.preStopSeconds });
  const over = new AbortController();
  setMaxListeners(0, over.signal);
  const following = followContainers(elector, { clock, host, timings: t, signal: over.signal });
  elector.start();
  log.info("started", identity, { port: server.port });

  if (!terminated.aborted) await once(terminated, "abort");
  const relinquished = await elector.terminate(1000 * t.preStopSeconds);
  if (!relinquished) log.error("not-released", "the lease runs out by itself");
  over.abort();
  await elector.close();
  await following;
  await Promise.all([server.close(), preStop.close()]);
  rights.close();
  kube.close();
}
