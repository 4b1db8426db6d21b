/** The real control plane of the heavy suites is what they take it for: it refuses, keeps, places and ends as a cluster does. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { extras, missingForControlPlane, startControlPlane, type ControlPlane } from "../../scripts/test-assets/control-plane";

const missing = missingForControlPlane();
const missingExtras = missingForControlPlane(extras);
for (const reason of new Set([missing, missingExtras])) if (reason !== undefined) console.warn(`skipped: ${reason}`);

const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const lease = (name: string, metadata: object = {}, spec: object = { holderIdentity: "a", leaseDurationSeconds: 15 }) => ({
  apiVersion: "coordination.k8s.io/v1",
  kind: "Lease",
  metadata: { name, ...metadata },
  spec,
});
interface Metadata {
  metadata: { uid: string; resourceVersion: string };
}
const outcome = (answer: { status: number; body: unknown }): string => {
  const { reason } = answer.body as { reason?: string };
  return reason === undefined ? `${answer.status}` : `${answer.status} ${reason}`;
};
async function until(what: string, check: () => Promise<boolean>, ms = 60_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 200));
  }
}
const restricted = {
  runAsNonRoot: true,
  runAsUser: 1000,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
};

(missing === undefined ? describe : describe.skip)("etcd and kube-apiserver", () => {
  let plane: ControlPlane;
  beforeAll(async () => {
    plane = await startControlPlane();
  });
  afterAll(() => plane?.stop());
  const serviceAccount = async (name: string): Promise<string> => {
    await plane.call("POST", "/api/v1/namespaces/default/serviceaccounts", {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name },
    });
    return plane.serviceAccountToken("default", name);
  };

  test("nobody is let in without a right of their own", async () => {
    const token = await serviceAccount("nobody");
    expect(outcome(await plane.call("GET", leases, undefined, { token }))).toBe("403 Forbidden");
    expect(outcome(await plane.call("GET", leases, undefined, { token: "wrong" }))).toBe("401 Unauthorized");
    expect(outcome(await plane.call("GET", leases, undefined, { token: "" }))).toBe("403 Forbidden");
    const role = { apiVersion: "rbac.authorization.k8s.io/v1", metadata: { name: "renewer" } };
    const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    const rules = [{ apiGroups: ["coordination.k8s.io"], resources: ["leases"], resourceNames: ["b.leader"], verbs: ["get", "update"] }];
    await plane.call("POST", `${rbac}/roles`, { ...role, kind: "Role", rules });
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "renewer" };
    const subjects = [{ kind: "ServiceAccount", name: "nobody", namespace: "default" }];
    await plane.call("POST", `${rbac}/rolebindings`, { ...role, kind: "RoleBinding", roleRef, subjects });
    await until(
      "the role counts",
      async () => outcome(await plane.call("GET", `${leases}/b.leader`, undefined, { token })) === "404 NotFound",
    );
    expect(outcome(await plane.call("GET", `${leases}/other`, undefined, { token }))).toBe("403 Forbidden");
    // A PUT that would create fails closed without the verb.
    expect(outcome(await plane.call("PUT", `${leases}/b.leader`, lease("b.leader"), { token }))).toBe("403 Forbidden");
  });

  test("leases answer as recorded", async () => {
    expect(outcome(await plane.call("GET", `${leases}/w`))).toBe("404 NotFound");
    const made = await plane.call("POST", leases, lease("w"));
    expect(outcome(made)).toBe("201");
    const { uid, resourceVersion } = (made.body as Metadata).metadata;
    expect(outcome(await plane.call("POST", leases, lease("w")))).toBe("409 AlreadyExists");
    expect(outcome(await plane.call("PUT", `${leases}/w`, lease("w")))).toBe("422 Invalid");
    const next = { holderIdentity: "b", leaseDurationSeconds: 15 };
    expect(outcome(await plane.call("PUT", `${leases}/w`, lease("w", { uid, resourceVersion }, next)))).toBe("200");
    expect(outcome(await plane.call("PUT", `${leases}/w`, lease("w", { uid, resourceVersion })))).toBe("409 Conflict");
    expect(outcome(await plane.call("PUT", `${leases}/missing`, lease("missing")))).toBe("201");
    expect(outcome(await plane.call("PUT", `${leases}/gone`, lease("gone", { resourceVersion })))).toBe("201");
    expect(outcome(await plane.call("PUT", `${leases}/nope`, lease("nope", { uid })))).toBe("409 Conflict");
    const millis = { holderIdentity: "a", leaseDurationSeconds: 15, renewTime: "2026-11-22T21:47:11.123Z" };
    expect(outcome(await plane.call("POST", leases, lease("millis", {}, millis)))).toBe("400 BadRequest");
    const { status } = await plane.call("POST", leases, lease("micros", {}, { ...millis, renewTime: "2026-11-22T21:47:11.123456Z" }));
    expect(status).toBe(201);
  });

  test("a namespace of the restricted level takes only restricted pods", async () => {
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await plane.call("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "strict", labels } });
    const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default" } };
    await plane.call("POST", "/api/v1/namespaces/strict/serviceaccounts", account);
    const pod = (name: string, securityContext: object) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: { containers: [{ name: "c", image: "example.invalid/c", securityContext }] },
    });
    const refused = await plane.call("POST", "/api/v1/namespaces/strict/pods", pod("loose", {}));
    expect(outcome(refused)).toBe("403 Forbidden");
    expect((refused.body as { message: string }).message).toContain('violates PodSecurity "restricted:latest"');
    const taken = await plane.call("POST", "/api/v1/namespaces/strict/pods", pod("tight", restricted));
    expect(outcome(taken)).toBe("201");
    // The service-account admission mounts the token as in a cluster.
    expect(JSON.stringify(taken.body)).toContain("serviceAccountToken");
  });

  test("what was written outlives a killed API server", async () => {
    await plane.call("POST", leases, lease("kept"));
    const before = plane.pid("kube-apiserver");
    await plane.signal("kube-apiserver", "SIGKILL");
    await expect(plane.call("GET", `${leases}/kept`)).rejects.toThrow("ECONNREFUSED");
    await plane.start("kube-apiserver");
    expect(plane.pid("kube-apiserver")).not.toBe(before);
    expect(outcome(await plane.call("GET", `${leases}/kept`))).toBe("200");
  });

  test("nothing can be written while etcd is paused, and can be again afterwards", async () => {
    await plane.signal("etcd", "SIGSTOP");
    await expect(plane.call("POST", leases, lease("paused"), { timeoutMs: 1500 })).rejects.toThrow();
    await plane.signal("etcd", "SIGCONT");
    await until("a write", async () => (await plane.call("POST", leases, lease("awake"))).status === 201);
  });
});

(missingExtras === undefined ? describe : describe.skip)("with controllers, scheduler and played nodes", () => {
  let plane: ControlPlane;
  beforeAll(async () => {
    plane = await startControlPlane({ with: extras, podSecurity: "restricted" });
  });
  afterAll(() => plane?.stop());

  test("a StatefulSet spread over zones gets a running pod in each", async () => {
    for (const zone of ["zone-a", "zone-b"]) {
      const metadata = {
        name: `node-${zone}`,
        labels: { "topology.kubernetes.io/zone": zone },
        annotations: { "kwok.x-k8s.io/node": "fake" },
      };
      const capacity = { cpu: "8", memory: "64Gi", pods: "110" };
      const status = { capacity, allocatable: capacity };
      expect(outcome(await plane.call("POST", "/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata, status }))).toBe("201");
    }
    const app = { app: "b" };
    const set = {
      apiVersion: "apps/v1",
      kind: "StatefulSet",
      metadata: { name: "b-as" },
      spec: {
        replicas: 2,
        serviceName: "b",
        podManagementPolicy: "Parallel",
        selector: { matchLabels: app },
        template: {
          metadata: { labels: app },
          spec: {
            containers: [{ name: "c", image: "example.invalid/c", securityContext: restricted }],
            topologySpreadConstraints: [
              {
                maxSkew: 1,
                topologyKey: "topology.kubernetes.io/zone",
                whenUnsatisfiable: "DoNotSchedule",
                labelSelector: { matchLabels: app },
              },
            ],
          },
        },
      },
    };
    expect(outcome(await plane.call("POST", "/apis/apps/v1/namespaces/default/statefulsets", set))).toBe("201");
    interface Pods {
      items: { metadata: { name: string }; spec: { nodeName?: string }; status: { phase: string } }[];
    }
    const pods = async () => ((await plane.call("GET", "/api/v1/namespaces/default/pods")).body as Pods).items;
    await until("two running pods", async () => (await pods()).filter((pod) => pod.status.phase === "Running").length === 2, 90_000);
    expect((await pods()).map((pod) => pod.metadata.name).sort()).toEqual(["b-as-0", "b-as-1"]);
    expect((await pods()).map((pod) => pod.spec.nodeName).sort()).toEqual(["node-zone-a", "node-zone-b"]);
  });
});

(missing === undefined ? describe : describe.skip)("no process is left", () => {
  const lives = (pid: number | undefined) => pid !== undefined && existsSync(`/proc/${pid}`);

  test("after stop(), with etcd paused", async () => {
    const plane = await startControlPlane();
    const pids = [plane.pid("etcd"), plane.pid("kube-apiserver")];
    expect(pids.every(lives)).toBe(true);
    await plane.signal("etcd", "SIGSTOP");
    await plane.stop();
    expect(pids.some(lives)).toBe(false);
    expect(existsSync(plane.folder)).toBe(false);
  });

  test("after a start that failed, and the failure says what the program said", async () => {
    const flags = { "kube-apiserver": ["--no-such-flag"] };
    await expect(startControlPlane({ flags })).rejects.toThrow(/kube-apiserver ended with 1[^]*no-such-flag/);
  });

  test("after the end of the process that started them, however it ends", async () => {
    const script = resolve(__dirname, "../../scripts/test-assets/control-plane.ts");
    const parent = spawn(process.execPath, ["--import", "tsx", script], { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    parent.stdout.on("data", (data: Buffer) => (said += data.toString()));
    await until("the command is ready", () => Promise.resolve(said.includes("KUBECONFIG")));
    const { url, adminKubeconfig } = JSON.parse(said.split("\n")[0] ?? "") as { url: string; adminKubeconfig: string };
    expect(said).not.toContain("Bearer");
    const answers = () =>
      fetch(url.replace("https", "http")).then(
        () => true,
        () => false,
      );
    expect(await answers()).toBe(true);
    parent.kill("SIGKILL");
    await once(parent, "exit");
    await until("the API server is gone", async () => !(await answers()), 5000);
    const { rmSync } = await import("node:fs");
    rmSync(resolve(adminKubeconfig, ".."), { recursive: true, force: true });
  });
});
