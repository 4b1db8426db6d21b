/** The guard as a real process, and what elector, supervisor and guard say to a broken environment. */
import { spawn } from "node:child_process";
import { Cluster, type ElectionSubject } from "../../helpers/election";
import { embeddedSubject } from "../../helpers/election-subject";
import { bundlePath } from "../../helpers/bundle";

let subject: ElectionSubject;
beforeAll(async () => {
  subject = await embeddedSubject();
});
afterAll(() => subject.stop());

test("it waits for a pod of the other topology and for an unanswering API, and ends with 0 when both are gone", async () => {
  const cluster = new Cluster(subject, 6);
  try {
    await cluster.start(0);
    const pods = `/api/v1/namespaces/${subject.namespace}/pods`;
    const name = `${cluster.baker}-solo-0`;
    const made = await subject.admin("POST", pods, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: { containers: [{ name: "baker", image: "none" }] },
      status: { phase: "Running" },
    });
    expect(made.kind).toBe("Pod");
    const pod = await cluster.add(0, []);
    const guard = pod.run("topology-guard");
    const said = (reason: string) =>
      cluster.until(reason, () => cluster.log.some((e) => e.event === "waiting" && e.reason === reason));
    await said("other-topology-exists");
    pod.relay.set("cut");
    await said("pods-unknown");
    await subject.admin("DELETE", `${pods}/${name}?gracePeriodSeconds=0`);
    expect(guard.exitCode).toBeNull();
    const exit = new Promise((resolve) => guard.once("exit", resolve));
    pod.relay.set("pass");
    expect(await exit).toBe(0);
  } finally {
    expect(await cluster.stop()).toEqual([]);
  }
});

test("a solo pod waits until the leader lease has run out before its own eyes", async () => {
  const cluster = new Cluster(subject, 6);
  try {
    cluster.changes = { topology: "solo", members: 1, otherMembers: 2 };
    await cluster.start(0);
    const created = await subject.admin("POST", cluster.leasePath.replace(/\/[^/]+$/, ""), {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name: cluster.leasePath.split("/").at(-1) },
      spec: {
        holderIdentity: "gone_1",
        leaseDurationSeconds: 2,
        renewTime: "2020-01-01T00:00:00.000000Z",
        leaseTransitions: 3,
      },
    });
    expect(created.kind).toBe("Lease");
    const pod = await cluster.add(0, []);
    const beganAtMs = cluster.nowMs();
    const guard = pod.run("topology-guard");
    expect(await new Promise((resolve) => guard.once("exit", resolve))).toBe(0);
    expect(cluster.nowMs() - beganAtMs).toBeGreaterThan(2000);
    expect(cluster.log.some((e) => e.event === "waiting" && e.reason === "lease-held")).toBe(true);
  } finally {
    expect(await cluster.stop()).toEqual([]);
  }
});

test.each(["elector", "baker-supervisor", "topology-guard"])(
  "%s ends with 1 and names every mistake of its environment",
  async (daemon) => {
    const bundle = await bundlePath();
    const env = {
      PATH: process.env.PATH,
      TOG_POD_NAME: "alice",
      TOG_KUBE_URL: "ftp://x",
      TOG_NODE_DIR: "relative",
      TOG_TYPO: "1",
      TOG_CONFIG_FILE: "/nonexistent.json",
    };
    const child = spawn(process.execPath, [bundle, daemon], { env, stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect(code).toBe(1);
    const reasons = text
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { reason: string }).reason.split(":")[0]);
    expect(reasons).toEqual(
      expect.arrayContaining([
        "TOG_POD_NAME",
        "TOG_KUBE_URL",
        "TOG_NODE_DIR",
        "TOG_TYPO",
        "TOG_CONFIG_FILE",
        "TOG_POD_UID",
      ]),
    );
  },
);
