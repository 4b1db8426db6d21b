/** An API that answers, but slowly: signatures come later, none is refused. */
import { defaultTimings } from "../../../contract/timings";
import { testKey } from "../../../lab/doubles/signing-keys";
import { GateWorld, request, type GatePod } from "../../helpers/gates";

const key = testKey("tz1", "baker");
/** What is given up again and again is never signed, however much time there is; a busy machine needs some. */
const timings = { ...defaultTimings, gateBudgetMs: 20_000 };
async function withPod(run: (pod: GatePod, world: GateWorld) => Promise<void>): Promise<void> {
  const world = await new GateWorld([key], timings).start();
  try {
    await run(await world.pod("alice-as-0", "u1"), world);
    expect(world.violations()).toEqual([]);
  } finally {
    await world.close();
  }
}

test.each([
  [1100, 550],
  [2000, 2000],
  [2000, 0],
])("with an API that answers in %d ms, after %d ms of work, votes are signed from the first one on", (ms, work) =>
  withPod(async (pod, world) => {
    pod.lead(1);
    expect((await pod.sign(key.address, request("attestation", 1001))).status).toBe(200);
    world.api.addFault({ effect: { kind: "latency", ms: work } });
    world.api.addFault({ effect: { kind: "latency", ms: ms - work, after: true } });
    for (const level of [1002, 1003])
      for (const kind of ["preattestation", "attestation"] as const)
        expect([level, kind, (await pod.sign(key.address, request(kind, level))).status]).toEqual([level, kind, 200]);
    expect((await pod.sign(key.address, request("block", 1004))).status).toBe(200);
  }),
);

test.each([false, true])("with slow writes and fast reads all is signed; dropped with their client: %s", (dropped) =>
  withPod(async (pod, world) => {
    world.api.addFault({ match: { verbs: ["update"] }, effect: { kind: "latency", ms: 1200, dropped } });
    pod.lead(1);
    expect((await pod.sign(key.address, request("attestation", 1001))).status).toBe(200);
    expect((await pod.sign(key.address, request("block", 1002))).status).toBe(200);
  }),
);

test.each([false, true])(
  "a mark that is lost on its way, before or after it took effect (%s), costs no vote",
  (after) =>
    withPod(async (pod, world) => {
      pod.lead(1);
      expect((await pod.sign(key.address, request("attestation", 1001))).status).toBe(200);
      world.api.addFault({ match: { verbs: ["update"] }, times: 1, effect: { kind: "hang", after } });
      expect((await pod.sign(key.address, request("attestation", 1002))).status).toBe(200);
    }),
);

test("with an API that answers in 2 s a tenure opens its keys", () =>
  withPod(async (pod, world) => {
    world.api.addFault({ effect: { kind: "latency", ms: 2000 } });
    pod.lead(1);
    expect((await pod.sign(key.address, request("attestation", 1001))).status).toBe(200);
  }));
