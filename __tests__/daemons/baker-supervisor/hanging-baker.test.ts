/** Electors and supervisors as real processes, with a baker that lives and asks for nothing. */
import { ports } from "../../../contract/ports";
import type { SupervisorStatus } from "../../../contract/status";
import { Cluster, scaledTimings, type ElectionSubject, type Pod } from "../../helpers/election";
import { embeddedSubject } from "../../helpers/election-subject";

let subject: ElectionSubject;
let cluster: Cluster;
beforeAll(async () => {
  subject = await embeddedSubject();
});
// No lease runs out on a busy machine: the baker alone is to move it.
beforeEach(() => (cluster = new Cluster(subject, 3, scaledTimings(3, { leaseSeconds: 10 }))));
afterEach(async () => expect(await cluster.stop()).toEqual([]));
afterAll(() => subject.stop());

const statusOf = (pod: Pod) => pod.get(ports.supervisor, "/status") as Promise<SupervisorStatus | null>;
/** The chain misses what nobody asked for, whenever somebody looks. */
const missing = (pod: Pod) => Object.defineProperty(pod.facts.attestations, "missed", { get: () => Date.now() });

test("a baker that asks for nothing while levels are missed is restarted, and if that does not help the lease moves", async () => {
  // Alone, so that a busy machine cannot move the lease before the restart.
  await cluster.start(1);
  const master = await cluster.running();
  missing(master);
  // A busy machine may end a tenure in between, which kills the baker for another reason.
  const event = (name: string, reason?: string) =>
    cluster.log.some(
      (entry) => entry.event === name && entry.pod === master.name && (reason === undefined || entry.reason === reason),
    );
  await cluster.until("the restart", () => event("daemon-killed", "hangs"), 60_000);
  const other = await cluster.add(1);
  await cluster.until("what did not help", () => event("daemon-hangs"), 60_000);
  expect((await statusOf(master))?.reason).toBe("crash-looping: octez-baker (hung)");
  await cluster.until("the other one bakes", () => other.bakers().length > 0, 60_000);
  await cluster.until("the first one has stopped", () => master.bakers().length === 0);
  expect(await statusOf(master)).toMatchObject({ running: false, crashLooping: true });
  expect((await cluster.receipts())[0]).toMatchObject({ cause: "planned-ineligible", to: other.name });
});
