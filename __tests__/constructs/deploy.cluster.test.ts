/**
 * `cdktf deploy` itself with the real kubernetes and helm providers, a real API server (RBAC, restricted pod security),
 * real controllers and scheduler, and nodes that kwok plays: what exists is taken over; the flag off, on, off again,
 * each followed by an empty plan; what holds state survives; a destroy leaves nothing.
 */
import { toManifests, type KubernetesObject } from "../../manifests/kubernetes-objects";
import {
  extras,
  missingForControlPlane,
  startControlPlane,
  type ControlPlane,
} from "../../tools/test-assets/control-plane";
import { missingForTerraform, realProviders } from "../../tools/test-assets/providers";
import {
  furnish,
  inventory,
  nodeOf,
  outcome,
  storageClassName,
  until,
  zones,
  type Pods,
} from "../helpers/played-cluster";
import { projectFolder, type Outcome, type ProjectFolder } from "../helpers/project-folder";
import { opensshKey } from "../helpers/openssh-key";
import { delegates, digest, sshKey } from "../helpers/synthesized";

const missing = missingForControlPlane(extras) ?? missingForTerraform(["kubernetes", "helm"]);
if (missing !== undefined) console.warn(`skipped: ${missing}`);

const namespace = "bakery";
const [aliceKey, authenticationKey] = delegates;
const otherKey = sshKey.replace("IIII", "KKKK").replace("home1", "home2");
const bobKey = "tz1ffLLmU2ia11BN2yThvHTm12a9aDikvFn7";
const watermark = "wm-6b82198cb179e8306c1bedd08f12dc863f328886";
const secrets = {
  hot_keys: { bob: { [bobKey]: "unencrypted:a-dummy" } },
  authentication_keys: { alice: "unencrypted:a-dummy" },
  signer_link_host_key: opensshKey().privateKey,
};
const configuration = (plane: ControlPlane, changes: object = {}) => ({
  network: "shadownet",
  namespace,
  zones,
  cluster: { existing: { context: "test", kubeconfig: plane.adminKubeconfig, storage_class: storageClassName } },
  images: {
    runtime: `example.org/runtime${digest}`,
    baker: `example.org/baker${digest}`,
    signer_link: `example.org/signer-link${digest}`,
  },
  bakers: {
    alice: {
      delegate: aliceKey,
      accuser: true,
      authentication_key: authenticationKey,
      signers: { home1: { ssh_public_key: sshKey, port: 8443 }, home2: { ssh_public_key: otherKey, port: 8445 } },
      private_peers: ["sentry.example.org:9732"],
    },
    bob: { delegate: bobKey, hot_test_key: true, dal: { enabled: false } },
  },
  signer_link: { source_ranges: ["203.0.113.7/32"] },
  ...changes,
});

type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
/**
 * The lists of a Role's rule and of a selector are sets, which the provider writes in an order of its own; the API
 * drops a false that is the default.
 */
function unordered(value: JsonValue, key = ""): JsonValue {
  if (Array.isArray(value)) {
    const items = value.map((item) => unordered(item));
    return ["apiGroups", "resources", "resourceNames", "verbs", "values"].includes(key) ? items.sort() : items;
  }
  if (typeof value !== "object" || value === null) return value;
  const told = Object.entries(value).filter(([, item]) => item !== false);
  return Object.fromEntries(told.map(([inner, item]) => [inner, unordered(item, inner)]));
}

(missing === undefined ? describe : describe.skip)("the stack baker, deployed by cdktf with the real provider", () => {
  let plane: ControlPlane;
  let folder: ProjectFolder;
  let before: string[];
  const path = `/api/v1/namespaces/${namespace}`;
  const write = (changes: object): void =>
    folder.write("terraform.tfvars.json", JSON.stringify(configuration(plane, changes)));
  const environment = () => ({ ...realProviders()?.environment, TF_VAR_secrets: JSON.stringify(secrets) });
  const cdktf = (command: string, ...options: string[]): Promise<Outcome> =>
    folder.cdktf([command, "baker", "--skip-provider-lock", "--no-color", ...options], environment());
  const deploy = async (changes: object): Promise<string> => {
    write(changes);
    const { code, output } = await cdktf("deploy", "--auto-approve");
    if (code !== 0) throw new Error(output.slice(-6000));
    return output;
  };
  const expectNothingToDo = async (): Promise<void> => {
    const { code, output } = await cdktf("diff");
    expect(output).toContain("No changes. Your infrastructure matches the configuration.");
    expect(code).toBe(0);
  };
  const get = async <T>(what: string): Promise<T> => {
    const answer = await plane.call("GET", what);
    if (answer.status !== 200) throw new Error(`${what}: ${outcome(answer)}`);
    return answer.body as T;
  };
  const pods = (selector: string): Promise<Pods> => get(`${path}/pods?labelSelector=${selector}`);
  const names = async (selector: string): Promise<string[]> =>
    (await pods(selector)).items.map(({ metadata }) => metadata.name).sort();
  const placed = async (selector: string, count: number): Promise<void> =>
    until(`${count} pods of ${selector} run`, async () => {
      const { items } = await pods(selector);
      return (
        items.length === count &&
        items.every(({ spec, status }) => spec.nodeName !== undefined && status.phase === "Running")
      );
    });
  /** uids of what must outlive every change of the flag. */
  const keepers = async (): Promise<Record<string, string>> => {
    const paths = [
      path,
      `${path}/configmaps/${watermark}`,
      `${path}/secrets/signer-link-host-key`,
      `${path}/services/signer-link`,
    ];
    const found = await Promise.all(paths.map((one) => get<{ metadata: { uid: string } }>(one)));
    return Object.fromEntries(paths.map((one, i) => [one, found[i]?.metadata.uid ?? ""]));
  };
  const objects = (): KubernetesObject[] => toManifests(folder.stack("baker") as Parameters<typeof toManifests>[0]);

  beforeAll(async () => {
    plane = await startControlPlane({ with: extras, podSecurity: "restricted" });
    await furnish(plane);
    await until("the controllers have made what they make", async () => {
      const { status } = await plane.call("GET", "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt");
      return (
        status === 200 && (await plane.call("GET", "/api/v1/namespaces/default/serviceaccounts/default")).status === 200
      );
    });
    before = await inventory(plane);
    folder = projectFolder({});
  }, 120_000);
  afterAll(async () => {
    await plane?.stop();
    folder?.remove();
  });

  let kept: Record<string, string>;

  test("a namespace and a watermark that exist are taken over with their content, not made anew", async () => {
    const made = async (where: string, object: object): Promise<string> => {
      const answer = await plane.call("POST", where, object);
      if (answer.status !== 201) throw new Error(`${where}: ${outcome(answer)}`);
      return (answer.body as { metadata: { uid: string } }).metadata.uid;
    };
    const data = { watermark: '{"a":"mark"}' };
    const uids = [
      await made("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } }),
      await made(`${path}/configmaps`, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: watermark }, data }),
    ];
    const imports = {
      "kubernetes_namespace_v1.namespace": namespace,
      [`kubernetes_config_map_v1.${watermark}`]: `${namespace}/${watermark}`,
    };
    expect(await deploy({ imports })).toMatch(/Resources: 2 imported, \d+ added, [012] changed, 0 destroyed/);
    const found = [
      await get<{ metadata: { uid: string } }>(path),
      await get<{ metadata: { uid: string }; data: object }>(`${path}/configmaps/${watermark}`),
    ];
    expect(found.map(({ metadata }) => metadata.uid)).toEqual(uids);
    expect(found[1]).toMatchObject({ data });
    await expectNothingToDo();
    expect(await deploy({})).toMatch(/Resources: 0 added, 0 changed, 0 destroyed/);
  });

  test("flag off: one baking pod of each baker runs, and a second plan is empty", async () => {
    const output = await deploy({});
    expect(output).toContain("Apply complete!");
    await placed("topology=solo", 2);
    expect(await names("topology=solo")).toEqual(["alice-solo-0", "bob-solo-0"]);
    await placed("app.kubernetes.io/component=signer-link", 4);
    await placed("app.kubernetes.io/component=hot-signer", 1);
    await expectNothingToDo();
    kept = await keepers();
    // A tenure's traces, which Terraform must never touch.
    const map = await get<object>(`${path}/configmaps/${watermark}`);
    expect(
      (await plane.call("PUT", `${path}/configmaps/${watermark}`, { ...map, data: { watermark: "{}" } })).status,
    ).toBe(200);
    await expectNothingToDo();
  });

  test("what the provider made is what `npm run manifests` prints", async () => {
    const plurals: Record<string, string> = { StorageClass: "storageclasses", NetworkPolicy: "networkpolicies" };
    for (const { apiVersion, kind, metadata, ...rest } of objects()) {
      if (kind === "Secret") continue; // Their values are Terraform's.
      const base = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
      const within = metadata.namespace === undefined ? "" : `/namespaces/${String(metadata.namespace)}`;
      const real = await get<JsonValue>(
        `${base}${within}/${plurals[kind] ?? `${kind.toLowerCase()}s`}/${String(metadata.name)}`,
      );
      const expected = kind === "ConfigMap" && metadata.name === watermark ? {} : rest;
      expect(unordered(real)).toMatchObject(unordered({ ...expected, metadata }) as object);
    }
  });

  test("a drain is given no second tunnel of a signer that is up, and every one of a signer that is down", async () => {
    const evict = async (name: string): Promise<number> => {
      const object = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace } };
      return (await plane.call("POST", `${path}/pods/${name}/eviction?dryRun=All`, object)).status;
    };
    const down = async (name: string): Promise<void> => {
      const patch = { status: { conditions: [{ type: "Ready", status: "False" }] } };
      const contentType = "application/strategic-merge-patch+json";
      expect((await plane.call("PATCH", `${path}/pods/${name}/status`, patch, { contentType })).status).toBe(200);
    };
    const budget = () =>
      get<{ status?: { currentHealthy?: number; disruptionsAllowed?: number } }>(
        `/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets/alice-signer-home1-tunnels`,
      );
    const [one = "", other = ""] = await names("app.kubernetes.io/component=signer-link,tezos-on-gke/signer=home1");
    await until("both tunnels are up", async () => (await budget()).status?.disruptionsAllowed === 1);
    await down(one);
    await until("one is down", async () => (await budget()).status?.currentHealthy === 1);
    expect([await evict(one), await evict(other)]).toEqual([201, 429]);
    await down(other);
    await until("both are down", async () => (await budget()).status?.currentHealthy === 0);
    expect([await evict(one), await evict(other)]).toEqual([201, 201]);
  });

  test("flag on: a baking pod in each zone instead, and what holds state is untouched", async () => {
    const output = await deploy({ experimental_active_standby_mode: true });
    expect(output).toContain("Apply complete!");
    await placed("topology=active-standby", 4);
    expect(await names("app.kubernetes.io/component=baking-pod")).toEqual([
      "alice-as-0",
      "alice-as-1",
      "bob-as-0",
      "bob-as-1",
    ]);
    for (const baker of ["alice", "bob"]) {
      const { items } = await pods(`baker=${baker},topology=active-standby`);
      expect(items.map(({ spec }) => spec.nodeName).sort()).toEqual(zones.map(nodeOf));
    }
    await expectNothingToDo();
    expect(await keepers()).toEqual(kept);
    const { data } = await get<{ data: object }>(`${path}/configmaps/${watermark}`);
    expect(data).toEqual({ watermark: "{}" });
    const claims = await get<{ items: { metadata: { name: string } }[] }>(`${path}/persistentvolumeclaims`);
    const wanted = ["alice", "bob"].flatMap((b) => [`regional-${b}-solo-0`, `zonal-${b}-as-0`, `zonal-${b}-as-1`]);
    expect(claims.items.map(({ metadata }) => metadata.name).sort()).toEqual(wanted.sort());
  });

  test("a changed disk size and new key of a signer restart no baking pod", async () => {
    const uids = async () => (await pods("topology=active-standby")).items.map(({ metadata }) => metadata.uid).sort();
    const old = await uids();
    const { alice, bob } = configuration(plane).bakers;
    const home1 = { ...alice.signers.home1, ssh_public_key: sshKey.replace("IIII", "JJJJ") };
    const bakers = { alice: { ...alice, signers: { ...alice.signers, home1 } }, bob };
    const output = await deploy({ experimental_active_standby_mode: true, disk: { size_gib: 90 }, bakers });
    expect(output).toMatch(/Resources: 0 added, 3 changed, 0 destroyed/);
    await placed("app.kubernetes.io/component=signer-link", 4);
    await placed("topology=active-standby", 4);
    expect(await uids()).toEqual(old);
    await expectNothingToDo();
  });

  test("flag off again: the old pods go, the solo pods come back to their old disks", async () => {
    await deploy({});
    await placed("topology=solo", 2);
    await until(
      "the pods of the other topology are gone",
      async () => (await names("topology=active-standby")).length === 0,
    );
    await expectNothingToDo();
    expect(await keepers()).toEqual(kept);
  });

  test("the namespace takes only restricted pods", async () => {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "x" },
      spec: { containers: [{ name: "x", image: "x" }] },
    };
    expect(outcome(await plane.call("POST", `${path}/pods`, pod))).toMatch(
      /^403 Forbidden: .*violates PodSecurity "restricted:latest"/,
    );
  });

  test("destroy is refused while deletion_protection is on, and leaves nothing when it is off", async () => {
    expect(await cdktf("destroy", "--auto-approve")).toMatchObject({
      code: 1,
      output: expect.stringMatching(/Instance cannot be destroyed/) as string,
    });
    expect(await keepers()).toEqual(kept);
    await deploy({ deletion_protection: false });
    const { code, output } = await cdktf("destroy", "--auto-approve");
    expect(output).toContain("Destroy complete!");
    expect(code).toBe(0);
    await until(
      "the API holds what it held before",
      async () => (await inventory(plane)).join() === before.join(),
      30_000,
    ).catch(() => undefined);
    expect(await inventory(plane)).toEqual(before);
  });
});
