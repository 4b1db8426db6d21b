/**
 * The election suite, unchanged, against a real API server, with the service account and the Role that the stack
 * declares. Then what only a real control plane can do: its API server killed and started again, its etcd paused, the
 * Role missing a verb.
 */
import { missingForControlPlane, startControlPlane, type ControlPlane } from "../../../tools/test-assets/control-plane";
import { sleep } from "../../../daemons/runtime/clock";
import { Cluster, electionKey } from "../../helpers/election";
import { until } from "../../helpers/played-cluster";
import { applyStack, stackBaker, stackNamespace, stackSubject } from "../../helpers/stack-subject";
import { electionSuite } from "../../suites/election-suite";

const missing = missingForControlPlane();
if (missing !== undefined) console.log(`skipped: ${missing}`);
const k = Number(process.env.TOG_ELECTION_SPEED ?? "2");

(missing === undefined ? describe : describe.skip)("with a real API server and the stack's own Role", () => {
  let plane: ControlPlane;
  beforeAll(async () => {
    plane = await startControlPlane();
    await applyStack(plane, electionKey);
  });
  afterAll(() => plane?.stop());

  electionSuite(`elections, real API server, ${k} times as fast`, () => Promise.resolve(stackSubject(plane)), {
    k,
    cases: "all",
  });

  /** One baker of two pods, whose bakers never overlap and leave nothing behind. */
  const withCluster = async (pods: number, body: (cluster: Cluster) => Promise<void>): Promise<void> => {
    const cluster = new Cluster(stackSubject(plane), k);
    try {
      await cluster.start(pods);
      await body(cluster);
      expect(cluster.overlapMs()).toBe(0);
    } catch (error) {
      process.stdout.write(`${cluster.story()}\n`);
      throw error;
    } finally {
      expect(await cluster.stop()).toEqual([]);
    }
  };
  const second = 1000 / k;

  test("the API server killed and started again: nothing runs beyond the deadline, and a new tenure begins at its return", () =>
    withCluster(2, async (cluster) => {
      const epoch = (await (await cluster.running()).leadership())?.epoch ?? 0;
      const killedAtMs = cluster.nowMs();
      await plane.signal("kube-apiserver", "SIGKILL");
      await sleep(8 * second);
      const last = cluster.beats().at(-1)?.atMs ?? 0;
      expect(last - killedAtMs).toBeLessThan(cluster.timings.leaseSeconds * 1000);
      await plane.start("kube-apiserver");
      const master = await cluster.running();
      expect(await master.epoch()).toBeGreaterThan(epoch);
    }));

  test("etcd paused: a short pause is survived, after a long one a new tenure begins", () =>
    withCluster(2, async (cluster) => {
      const first = await cluster.running();
      const epoch = await first.epoch();
      const pause = async (seconds: number): Promise<void> => {
        await plane.signal("etcd", "SIGSTOP");
        await sleep(seconds * second);
        await plane.signal("etcd", "SIGCONT");
      };
      await pause(2);
      await sleep(2 * second);
      expect(await first.epoch()).toBe(epoch);
      const pausedAtMs = cluster.nowMs();
      await pause(12);
      const before = cluster.beats().filter(({ atMs }) => atMs > pausedAtMs + cluster.timings.leaseSeconds * 1000);
      expect(before.filter(({ atMs }) => atMs < pausedAtMs + 12 * second)).toEqual([]);
      const master = await cluster.running();
      expect(await master.epoch()).toBeGreaterThan(epoch);
    }));

  describe("the Role missing one verb", () => {
    interface Rule {
      apiGroups: string[];
      resources: string[];
      resourceNames?: string[];
      verbs: string[];
    }
    const path = `/apis/rbac.authorization.k8s.io/v1/namespaces/${stackNamespace}/roles/${stackBaker}-as`;
    let whole: { rules: Rule[] };
    const write = async (rules: Rule[]): Promise<void> => {
      const now = (await plane.call("GET", path)).body as { metadata: object };
      expect((await plane.call("PUT", path, { ...now, rules })).status).toBe(200);
    };
    beforeAll(async () => {
      whole = (await plane.call("GET", path)).body as typeof whole;
    });
    afterEach(() => write(whole.rules));

    test.each([
      ["leases", "create"],
      ["leases", "get"],
      ["leases", "update"],
      ["configmaps", "get"],
    ])("%s without %s: nobody bakes, and the log names what is missing", async (resource, verb) => {
      const rules = whole.rules.map((rule) =>
        rule.resources.includes(resource) ? { ...rule, verbs: rule.verbs.filter((one) => one !== verb) } : rule,
      );
      await write(rules.filter((rule) => rule.verbs.length > 0));
      // The authorizer hears of a changed Role through its own watch.
      await sleep(500);
      await withCluster(1, async (cluster) => {
        const account = `system:serviceaccount:${stackNamespace}:${stackBaker}-as`;
        const clear = new RegExp(
          `forbidden: User \\\\?"${account}\\\\?" cannot ${verb} resource \\\\?"${resource}\\\\?"`,
        );
        await until(
          "the elector says so",
          () => Promise.resolve(cluster.log.some((entry) => clear.test(JSON.stringify(entry)))),
          60_000,
        );
        await sleep(8 * second);
        expect(await cluster.master()).toBeUndefined();
        expect(cluster.beats()).toEqual([]);
      });
    });

    test.each(["watch", "list"])("leases without %s: slower, but it goes on", async (verb) => {
      await write(whole.rules.map((rule) => ({ ...rule, verbs: rule.verbs.filter((one) => one !== verb) })));
      await sleep(500);
      await withCluster(2, async (cluster) => {
        const first = await cluster.running();
        first.signal("SIGKILL");
        await first.exited();
        await first.down();
        await cluster.running([cluster.other(first)]);
      });
    });
  });
});
