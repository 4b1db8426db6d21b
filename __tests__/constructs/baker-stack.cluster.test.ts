/** A real API server, with controllers, scheduler and played nodes, takes what the baker stack declares. */
import { toManifests, type KubernetesObject } from "../../manifests/kubernetes-objects";
import {
  extras,
  missingForControlPlane,
  startControlPlane,
  type ControlPlane,
} from "../../tools/test-assets/control-plane";
import { furnish, outcome, until, zones, type Pods } from "../helpers/played-cluster";
import { baker, delegates, sshKey } from "../helpers/synthesized";

const missing = missingForControlPlane(extras);
if (missing !== undefined) console.warn(`skipped: ${missing}`);

const configuration = {
  project: undefined,
  zones,
  namespace: "bakery",
  cluster: { existing: { context: "here", storage_class: "local" } },
  bakers: {
    alice: {
      delegate: delegates[0],
      accuser: true,
      authentication_key: delegates[1],
      signers: { home1: { ssh_public_key: sshKey, port: 8443 }, home2: { ssh_public_key: sshKey, port: 8445 } },
    },
    bob: { delegate: "tz1ffLLmU2ia11BN2yThvHTm12a9aDikvFn7", hot_test_key: true, dal: { enabled: false } },
  },
};
const objects = (flag: boolean): KubernetesObject[] => toManifests(baker(flag, configuration).document);

const plurals: Record<string, string> = { StorageClass: "storageclasses", NetworkPolicy: "networkpolicies" };
function pathOf({ apiVersion, kind, metadata }: KubernetesObject, name = true): string {
  const base = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
  const namespace = typeof metadata.namespace === "string" ? `/namespaces/${metadata.namespace}` : "";
  return `${base}${namespace}/${plurals[kind] ?? `${kind.toLowerCase()}s`}${name ? `/${String(metadata.name)}` : ""}`;
}

(missing === undefined ? describe : describe.skip)("a real control plane", () => {
  let plane: ControlPlane;
  const pods = async (selector: string) =>
    (await plane.call("GET", `/api/v1/namespaces/bakery/pods?labelSelector=${selector}`)).body as Pods;
  const create = async (list: readonly KubernetesObject[]) => {
    for (const object of list) {
      const answer = await plane.call("POST", `${pathOf(object, false)}?fieldValidation=Strict`, object);
      expect([pathOf(object), outcome(answer).replace(/^409 AlreadyExists.*/, "201")]).toEqual([pathOf(object), "201"]);
    }
  };
  beforeAll(async () => {
    plane = await startControlPlane({ with: extras });
    await furnish(plane);
  }, 120_000);
  afterAll(() => plane?.stop());

  test("flag on: every object is accepted under strict validation and the restricted standard; a baking pod starts in each zone", async () => {
    await create(objects(true));
    await until("two baking pods of each baker are placed", async () => {
      const { items } = await pods("app.kubernetes.io/component=baking-pod");
      return items.length === 4 && items.every(({ spec }) => spec.nodeName !== undefined);
    });
    for (const name of ["alice", "bob"]) {
      const { items } = await pods(`baker=${name},topology=active-standby`);
      expect(items.map(({ metadata }) => metadata.name).sort()).toEqual([`${name}-as-0`, `${name}-as-1`]);
      expect(items.map(({ spec }) => spec.nodeName).sort()).toEqual(["node-zone-a", "node-zone-b"]);
    }
    await until("the signers' pods are admitted", async () => {
      const counts = await Promise.all(
        ["signer-link", "hot-signer"].map((name) => pods(`app.kubernetes.io/component=${name}`)),
      );
      return counts.map(({ items }) => items.length).join() === "4,1";
    });
  });

  test("the pods' account may do what the protocols need, by name, and nothing else", async () => {
    const token = await plane.serviceAccountToken("bakery", "alice-as");
    const status = async (method: string, path: string, body?: unknown) =>
      (await plane.call(method, path, body, { token })).status;
    const leases = "/apis/coordination.k8s.io/v1/namespaces/bakery/leases";
    const lease = (name: string) => ({
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name },
      spec: { holderIdentity: "x" },
    });
    expect(await status("POST", leases, lease("alice.leader"))).toBe(201);
    expect(await status("GET", `${leases}/alice.leader`)).toBe(200);
    expect(await status("GET", `${leases}?fieldSelector=metadata.name%3Dalice.leader`)).toBe(200);
    expect(await status("GET", leases)).toBe(403);
    expect(await status("GET", `${leases}/bob.leader`)).toBe(403);
    expect(await status("DELETE", `${leases}/alice.leader`)).toBe(403);
    const maps = "/api/v1/namespaces/bakery/configmaps";
    const own = await plane.call("GET", `${maps}/wm-6b82198cb179e8306c1bedd08f12dc863f328886`, undefined, { token });
    expect(own.status).toBe(200);
    const updated = { ...(own.body as object), data: { watermark: "{}" } };
    expect(await status("PUT", `${maps}/wm-6b82198cb179e8306c1bedd08f12dc863f328886`, updated)).toBe(200);
    const bobs = Object.keys(baker(true, configuration).document.resource.kubernetes_config_map_v1 ?? {}).filter((id) =>
      id.startsWith("wm-"),
    );
    for (const name of bobs.filter((id) => !id.startsWith("wm-6b82")))
      expect(await status("GET", `${maps}/${name}`)).toBe(403);
    expect(await status("POST", maps, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "more" } })).toBe(403);
    expect(await status("GET", "/api/v1/namespaces/bakery/pods/alice-solo-0")).toBe(404);
    expect(await status("GET", "/api/v1/namespaces/bakery/pods/bob-as-0")).toBe(403);
    expect(await status("GET", "/api/v1/namespaces/bakery/secrets/alice-nonce")).toBe(403);
  });

  test("a drain of both zones is allowed to take one baking pod of a baker at a time", async () => {
    const budget = (await plane.call("GET", "/apis/policy/v1/namespaces/bakery/poddisruptionbudgets/alice-as"))
      .body as {
      spec: { maxUnavailable: number };
    };
    expect(budget.spec.maxUnavailable).toBe(1);
  });

  test("flag off: every object is accepted, too, beside what the other topology left", async () => {
    const set = "/apis/apps/v1/namespaces/bakery/statefulsets/alice-as";
    expect((await plane.call("DELETE", set)).status).toBe(200);
    await create(objects(false));
    await until("the pod of the solo baker is placed", async () => {
      const { items } = await pods("topology=solo,baker=alice");
      return items.length === 1 && items[0]?.spec.nodeName !== undefined;
    });
  });
});
