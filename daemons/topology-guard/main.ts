/**
 * Init command of a baking pod: ends with 0 once no pod of the other topology exists and, for solo, the leader lease
 * has run out by our own observation. Guarantees that an unanswered question counts as "not yet": it waits as long as
 * it takes. It does not compare heads with marks, as no node runs yet: the baker-supervisor does. States: waiting,
 * done.
 */
import { otherPods } from "../../contract/baker-file";
import { leaderLeaseName } from "../../contract/names";
import { sleep, systemClock as clock } from "../runtime/clock";
import { loadConfig } from "../runtime/config";
import type { Lease } from "../runtime/kube";
import { createKubeClient } from "../runtime/kube-client";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { decide, type GuardFacts } from "./decide";

export function main(): Promise<void> {
  const { env, file } = loadConfig("topology-guard");
  const log = createLog(env.TOG_POD_NAME, "topology-guard");
  const t = file.timings;
  return runDaemon(
    log,
    async (signal) => {
      const kube = createKubeClient({
        url: env.TOG_KUBE_URL,
        kubeDir: env.TOG_KUBE_DIR,
        namespace: env.TOG_NAMESPACE,
        clock,
        log,
        component: "topology-guard",
        instance: env.TOG_POD_NAME,
      });
      const options = { timeoutMs: t.requestTimeoutMs, signal };
      let seen: { lease: Lease; changedAtMs: number } | null = null;
      let said = "";
      let saidAtMs = -Infinity;
      while (!signal.aborted) {
        const pods = await Promise.all(
          otherPods(file).map(async (name) => {
            const pod = await kube.get("pods", name, options);
            if (pod.ok) return { name, phase: pod.object.status?.phase ?? "" };
            if (pod.kind !== "not-found") log.warn("api-failure", pod.message, { kind: pod.kind, other: name });
            return { name, phase: pod.kind === "not-found" ? "gone" : null };
          }),
        );
        let lease: GuardFacts["lease"] = null;
        if (file.topology === "solo") {
          const read = await kube.get("leases", leaderLeaseName(file.baker), options);
          if (read.ok) {
            const { uid, resourceVersion } = read.object.metadata;
            if (seen?.lease.metadata.uid !== uid || seen?.lease.metadata.resourceVersion !== resourceVersion)
              seen = { lease: read.object, changedAtMs: clock.now() };
            const { spec } = read.object;
            lease = {
              exists: true,
              holder: spec.holderIdentity ?? "",
              durationMs: (spec.leaseDurationSeconds ?? 0) * 1000,
              changedAtMs: seen?.changedAtMs ?? clock.now(),
            };
          } else if (read.kind === "not-found") lease = { exists: false };
          else log.warn("api-failure", read.message, { kind: read.kind });
        }
        const result = decide({ topology: file.topology, pods, lease, leaseMs: t.leaseSeconds * 1000 }, clock.now());
        // A word at each change, and once a minute while it lasts.
        if (result.ok || result.reason !== said || clock.now() - saidAtMs > 60_000) {
          log.info(result.ok ? "done" : "waiting", result.reason, { detail: result.detail });
          [said, saidAtMs] = [result.reason, clock.now()];
        }
        if (result.ok) break;
        await sleep(t.retrySeconds * 1000, signal);
      }
      kube.close();
      if (signal.aborted) throw new Error("stopped before the other topology was gone");
    },
    2000,
  );
}
