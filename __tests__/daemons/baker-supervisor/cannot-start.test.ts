/** Electors and supervisors as real processes, with a baker that does not start. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ports } from "../../../contract/ports";
import type { SupervisorStatus } from "../../../contract/status";
import { Cluster, type ElectionSubject, type Pod } from "../../helpers/election";
import { embeddedSubject } from "../../helpers/election-subject";

const k = 3;
let subject: ElectionSubject;
let cluster: Cluster;
beforeAll(async () => {
  subject = await embeddedSubject();
});
beforeEach(() => (cluster = new Cluster(subject, k)));
afterEach(async () => expect(await cluster.stop()).toEqual([]));
afterAll(() => subject.stop());

const statusOf = (pod: Pod) => pod.get(ports.supervisor, "/status") as Promise<SupervisorStatus | null>;
const ready = (pod: Pod) => fetch(`http://${pod.address}:${ports.supervisor}/ready`).then(({ status }) => status);
const handovers = () => cluster.log.filter((entry) => entry.event === "state" && entry.to === "handing-over").length;
/** A program of each pod's own; `text` of a shell script, by ordinal. */
const programs = (...texts: (string | undefined)[]) => {
  const bin = (pod: string) => join(cluster.folder, "bin", pod);
  texts.forEach((text, ordinal) => {
    const folder = bin(`${cluster.baker}-as-${ordinal}`);
    mkdirSync(folder, { recursive: true });
    if (text !== undefined) writeFileSync(join(folder, "octez-baker"), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
  });
  const [ours] = cluster.file().daemons;
  const command = [join(bin("$(TOG_POD_NAME)"), "octez-baker"), ...(ours?.command ?? [])];
  cluster.changes = { daemons: [{ name: "octez-baker", command }] };
};
const works = 'case "$1" in --version) exit 0;; esac; exec "$@"';

test("with one healthy pod the lease goes there and stays; the other is not ready and says why", async () => {
  programs(undefined, works);
  await cluster.start(2);
  const master = await cluster.running();
  expect(master.name).toMatch(/-1$/);
  const [broken] = cluster.pods;
  if (!broken) throw new Error("two pods");
  expect(await statusOf(broken)).toMatchObject({
    crashLooping: true,
    reason: expect.stringMatching(/^cannot-start: /) as string,
  });
  expect([await ready(broken), await ready(master)]).toEqual([503, 200]);
  expect(handovers()).toBe(0);
});

test("where it starts on no pod, one takes the lease as a last resort and keeps it", async () => {
  programs("exit 1", "exit 127");
  await cluster.start(2);
  await cluster.until("a last resort", () => cluster.master(), 60_000);
  await cluster.until(
    "several failed starts",
    () => cluster.log.filter(({ event }) => event === "daemon-crashed").length > 5,
  );
  expect(handovers()).toBe(0);
  for (const pod of cluster.pods) expect((await statusOf(pod))?.reason).toMatch(/^(crash-looping|cannot-start): /);
});

test("where it starts and ends at once on both pods, the lease moves once and stays", async () => {
  const ends = 'case "$1" in --version) exit 0;; esac; exit 3';
  programs(ends, ends);
  await cluster.start(2);
  const crashes = (pod: Pod) =>
    cluster.log.filter((entry) => entry.event === "daemon-crashed" && entry.pod === pod.name).length;
  await cluster.until("both fail", () => cluster.pods.every((pod) => crashes(pod) >= 3), 60_000);
  const [one, other] = cluster.pods.map(crashes);
  const more = () => cluster.pods.some((pod, i) => crashes(pod) > ((i === 0 ? one : other) ?? 0) + 2);
  await cluster.until("more failed starts", more, 60_000);
  expect(handovers()).toBe(1);
  for (const pod of cluster.pods) expect((await statusOf(pod))?.reason).toMatch(/^crash-looping: octez-baker \(3\)/);
});
