/** The pause before the next request about the leader lease. */
import { createElectorMetrics } from "../../../daemons/elector/metrics";
import { Report } from "../../../daemons/elector/report";
import { RequestPace } from "../../../daemons/elector/request-pace";
import type { PodEnv } from "../../../contract/env";
import type { KubeClient } from "../../../daemons/runtime/kube";
import { createLog } from "../../../daemons/runtime/log";
import { Registry } from "../../../daemons/runtime/metrics";

const clock = { now: () => 5000, nowNs: () => 0n, wall: () => 0 };

function pace(): RequestPace {
  const log = createLog("pod", "elector", () => undefined, clock);
  const report = new Report({ env: {} as PodEnv, kube: {} as KubeClient, clock, log, quietMs: 10_000 });
  return new RequestPace({ clock, metrics: createElectorMetrics(new Registry()), report, retryMs: 1000 });
}

test("a first failure is followed by a request at once, further ones by ever longer pauses, a success by none", () => {
  const it = pace();
  const pauses = Array.from({ length: 8 }, () => {
    it.failed({ kind: "server", message: "500", sentAtMs: 5000 });
    return it.nextAtMs - 5000;
  });
  expect(pauses).toEqual([0, 40, 80, 160, 320, 500, 500, 500]);
  it.answered({ sentAtMs: 4990 });
  expect(it.nextAtMs).toBe(0);
});

test("a server that asks for a pause gets it, but at most one retry, so that the tenure is not lost by patience", () => {
  const it = pace();
  it.failed({ kind: "too-many-requests", message: "429", sentAtMs: 5000, retryAfterMs: 700 });
  expect(it.nextAtMs).toBe(5700);
  it.failed({ kind: "too-many-requests", message: "429", sentAtMs: 5700, retryAfterMs: 60_000 });
  expect(it.nextAtMs).toBe(6700);
});

test("an API that is slow, or fails again and again, is told in a sentence until it answers quickly", () => {
  const it = pace();
  it.answered({ sentAtMs: 3600 });
  expect(it.troubles()).toEqual(["the Kubernetes API takes 1.4 s to answer: signatures wait for it"]);
  it.answered({ sentAtMs: 4990 });
  expect(it.troubles()).toEqual([]);
  it.failed({ kind: "timeout", message: "renew: no answer within 2400 ms" });
  expect(it.troubles()).toEqual([]);
  it.failed({ kind: "timeout", message: "renew: no answer within 2400 ms" });
  expect(it.troubles()).toEqual(["the Kubernetes API does not answer as it should: renew: no answer within 2400 ms"]);
});
