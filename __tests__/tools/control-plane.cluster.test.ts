/**
 * The real control plane of the heavy suites is what they take it for: it refuses, keeps, places and ends as a cluster
 * does.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  extras,
  missingForControlPlane,
  startControlPlane,
  type Answer,
  type ControlPlane,
} from "../../tools/test-assets/control-plane";

const missing = missingForControlPlane();
const missingExtras = missingForControlPlane(extras);
for (const reason of new Set([missing, missingExtras])) if (reason !== undefined) console.warn(`skipped: ${reason}`);

const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const lease = (
  name: string,
  metadata: object = {},
  spec: object = { holderIdentity: "a", leaseDurationSeconds: 15 },
) => ({
  apiVersion: "coordination.k8s.io/v1",
  kind: "Lease",
  metadata: { name, ...metadata },
  spec,
});
interface Metadata {
  metadata: { uid: string; resourceVersion: string };
}
const outcome = (answer: Answer): string => {
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
/** A recorded answer: status line, headers, JSON. */
function recorded(file: string): Answer {
  const text = readFileSync(join(__dirname, "../fixtures/wire/kube-1.36", file), "utf8");
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]), body: JSON.parse(text.slice(text.indexOf("{"))) };
}
/** What a client can decide by; names and uids differ from run to run. */
function essence({ status, body }: Answer): object {
  const { reason, message } = body as { reason?: string; message?: string };
  return {
    status,
    reason,
    message: message
      ?.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UID")
      .replace(/(ase[^"]*) "[^"]*"/, '$1 "NAME"'),
  };
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
    const rules = [
      {
        apiGroups: ["coordination.k8s.io"],
        resources: ["leases"],
        resourceNames: ["b.leader"],
        verbs: ["get", "update"],
      },
    ];
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

  test("leases answer as recorded from another release", async () => {
    const path = `${leases}/w`;
    const [merge, held] = [
      { contentType: "application/merge-patch+json" },
      { holderIdentity: "b", leaseDurationSeconds: 15 },
    ];
    const same = (file: string, answer: Answer) => expect(essence(answer)).toEqual(essence(recorded(file)));
    same("01-get-404.txt", await plane.call("GET", path));
    const made = await plane.call("POST", leases, lease("w"));
    same("02-post-201.txt", made);
    const { uid, resourceVersion } = (made.body as Metadata).metadata;
    same("03-post-409-exists.txt", await plane.call("POST", leases, lease("w")));
    same("07-put-no-rv-unconditional.txt", await plane.call("PUT", path, lease("w")));
    const put = await plane.call("PUT", path, lease("w", { uid, resourceVersion }, held));
    same("05-put-200.txt", put);
    same("06-put-409-conflict.txt", await plane.call("PUT", path, lease("w", { uid, resourceVersion })));
    const foreign = {
      uid: "00000000-0000-0000-0000-000000000000",
      resourceVersion: (put.body as Metadata).metadata.resourceVersion,
    };
    same("08-put-409-uid.txt", await plane.call("PUT", path, lease("w", foreign)));
    same("09b-put-400-name-mismatch.txt", await plane.call("PUT", `${leases}/zz`, lease("w", { resourceVersion })));
    same("09-put-404-missing.txt", await plane.call("PUT", `${leases}/missing`, lease("missing")));
    same(
      "33-put-with-rv-on-deleted.txt",
      await plane.call("PUT", `${leases}/gone`, lease("gone", { resourceVersion })),
    );
    same("35-put-uid-truly-deleted.txt", await plane.call("PUT", `${leases}/nope`, lease("nope", { uid })));
    same("10-patch-422-duration0.txt", await plane.call("PATCH", path, { spec: { leaseDurationSeconds: 0 } }, merge));
    const at = (renewTime: string) => lease("at", {}, { ...held, renewTime });
    same("11c-put-millis.txt", await plane.call("POST", leases, at("2026-11-22T21:46:23.123Z")));
    expect((await plane.call("POST", leases, at("2026-11-22T21:46:23.123456Z"))).status).toBe(201);
    same("15-patch-415.txt", await plane.call("PATCH", path, {}));
    same("20b-delete-404.txt", await plane.call("DELETE", `${leases}/absent`));
    same("25-401.txt", await plane.call("GET", path, undefined, { token: "wrong" }));
    same("27-anonymous.txt", await plane.call("GET", path, undefined, { token: "" }));
    same("28-404-path.txt", await plane.call("GET", "/apis/coordination.k8s.io/v1/namespaces/default/nothing"));
  });

  test("a namespace of the restricted level takes only restricted pods", async () => {
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await plane.call("POST", "/api/v1/namespaces", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "strict", labels },
    });
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
      expect(
        outcome(await plane.call("POST", "/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata, status })),
      ).toBe("201");
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
    await until(
      "two running pods",
      async () => (await pods()).filter((pod) => pod.status.phase === "Running").length === 2,
      90_000,
    );
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
    const script = resolve(__dirname, "../../tools/test-assets/control-plane.ts");
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
    rmSync(resolve(adminKubeconfig, ".."), { recursive: true, force: true });
  });
});
