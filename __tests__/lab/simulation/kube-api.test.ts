import { SimulatedKube } from "../../../lab/simulation/kube-api";
import { Process } from "../../../lab/simulation/process";
import { Stage } from "../../../lab/simulation/stage";
import { installVirtualTimers } from "../../../lab/simulation/virtual-timers";

test("a write that was answered is known to have failed; one without an answer is not", async () => {
  const stage = new Stage(1, undefined);
  const putBack = installVirtualTimers(stage.world);
  try {
    const kube = new SimulatedKube(stage);
    const process = new Process("elector", stage.world, { rate: 1, startMs: 0, wallSkewMs: 0 });
    const client = kube.clientOf(0, process);
    const metadata = { name: "w", namespace: "bakers" };
    kube.put("configmaps", { apiVersion: "v1", kind: "ConfigMap", metadata, data: {} });
    const stale = {
      apiVersion: "v1",
      kind: "ConfigMap",
      data: {},
      metadata: { ...metadata, uid: "x", resourceVersion: "1" },
    } as const;
    const write = async () => {
      const outcome = client.replace("configmaps", stale, { timeoutMs: 1000 });
      await stage.world.run(stage.world.now + 2000);
      return outcome;
    };
    expect(await write()).toMatchObject({ kind: "conflict", unknown: false });
    stage.active.add({ kind: "api-silent", pod: 0, atMs: 0, forMs: 9000 });
    expect(await write()).toMatchObject({ kind: "timeout", unknown: true });
  } finally {
    putBack();
  }
});
