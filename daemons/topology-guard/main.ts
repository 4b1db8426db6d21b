/**
 * Init command of a baking pod: ends with 0 once no pod of the other topology exists and, for solo, the leader lease
 * has run out by our own observation. Guarantees that an unanswered question counts as "not yet": it waits as long as
 * it takes. It does not compare heads with marks, as no node runs yet: the baker-supervisor does. States: waiting,
 * done.
 */
import { systemClock as clock } from "../runtime/clock";
import { loadConfig } from "../runtime/config";
import { podKubeClient } from "../runtime/kube-client";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { TopologyGuard } from "./guard";

export function main(): Promise<void> {
  const config = loadConfig("topology-guard");
  const { env } = config;
  const log = createLog(env.TOG_POD_NAME, "topology-guard");
  const graceMs = 2000;
  const wait = async (signal: AbortSignal) => {
    const kube = podKubeClient(env, { component: "topology-guard", log });
    await new TopologyGuard(config, kube, clock, log).wait(signal).finally(() => kube.close());
  };
  return runDaemon(log, wait, graceMs);
}
