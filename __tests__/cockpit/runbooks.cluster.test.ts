/**
 * A real API server: the runbooks' kubectl commands do what they say, and the operator's own commands read and write
 * what is there.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { annotations, labels, watermarkDataKey } from "../../contract/names";
import { microTime } from "../../daemons/runtime/kube";
import { toYaml, type KubernetesObject } from "../../manifests/kubernetes-objects";
import { manifestsOf } from "../../scripts/manifests";
import { controlPlaneFolder, defaultCache } from "../../tools/test-assets";
import { missingForControlPlane, startControlPlane, type ControlPlane } from "../../tools/test-assets/control-plane";
import { commandPath } from "../helpers/bundle";
import { runbookCommands, standIns, yamlOf } from "../helpers/runbooks";

const kubectl = [
  join(process.env.KUBEBUILDER_ASSETS ?? controlPlaneFolder(defaultCache()), "kubectl"),
  "/usr/bin/kubectl",
].find((path) => spawnSync(path, ["version", "--client"]).status === 0);
const missing = missingForControlPlane() ?? (kubectl === undefined ? "no kubectl" : undefined);
if (missing !== undefined) console.warn(`skipped: ${missing}`);

const commands = [...new Map(runbookCommands().map((command) => [command.words.join(" "), command])).values()].filter(
  ({ words }) => words[0] === "kubectl" && words[1] !== "tezos-baker",
);
/** Asks a kubelet, of which there is none. */
const needsKubelet = (words: readonly string[]) => words.includes("logs");

(missing === undefined ? describe : describe.skip)("a real API server", () => {
  let plane: ControlPlane;
  let folder: string;
  let environment: NodeJS.ProcessEnv;
  let renewing: NodeJS.Timeout | undefined;
  const run = (...words: string[]) => {
    const { status, stdout, stderr } = spawnSync(kubectl ?? "", words, {
      encoding: "utf8",
      env: environment,
      cwd: folder,
    });
    return { status, text: stdout + stderr };
  };
  const apply = (objects: readonly KubernetesObject[]) => {
    const file = join(folder, "objects.yaml");
    writeFileSync(file, toYaml(objects));
    const { status, text } = run("apply", "--server-side", "--force-conflicts", "-f", file);
    if (status !== 0) throw new Error(text);
  };
  const watermark = standIns.WATERMARK ?? "";
  const namespace = "tezos";
  const pods = ["alice-as-0", "alice-as-1"];
  const securityContext = {
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ["ALL"] },
    seccompProfile: { type: "RuntimeDefault" },
  };
  const scene = () => {
    run("-n", namespace, "delete", "pvc", "--all");
    apply([
      { apiVersion: "v1", kind: "Node", metadata: { name: "node-1" } },
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: watermark, namespace, labels: { [labels.baker]: "alice" } },
        data: { [watermarkDataKey]: "{" },
      },
      ...pods.map((name) => ({
        ...{ apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels: { [labels.baker]: "alice" } } },
        spec: { automountServiceAccountToken: false, containers: [{ name: "baker", image: "x", securityContext }] },
      })),
      ...[...pods.map((pod) => `zonal-${pod}`), "regional-alice-solo-0"].map((name) => ({
        ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name, namespace } },
        spec: {
          accessModes: ["ReadWriteOnce"],
          storageClassName: "growing",
          volumeName: `pv-${name}`,
          resources: { requests: { storage: "100Gi" } },
        },
      })),
    ] as KubernetesObject[]);
    const claims = [...pods.map((pod) => `zonal-${pod}`), "regional-alice-solo-0"];
    // What the controllers would do: nobody else takes the protection off, or binds.
    run("-n", namespace, "patch", "pvc", ...claims, "-p", '{"metadata":{"finalizers":null}}');
    const bound = '{"status":{"phase":"Bound","capacity":{"storage":"100Gi"}}}';
    run("-n", namespace, "patch", "pvc", ...claims, "--subresource=status", "-p", bound);
  };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "tog-runbooks-"));
    plane = await startControlPlane();
    environment = {
      ...process.env,
      HOME: folder,
      KUBECONFIG: plane.adminKubeconfig,
      PATH: `${dirname(kubectl ?? "")}:${process.env.PATH}`,
    };
    writeFileSync(join(folder, "existing-disk.yaml"), yamlOf("taking-over.md"));
    const handed = { environment: {}, options: [{ var: "experimental_active_standby_mode=true" }] };
    const objects = await manifestsOf(resolve(__dirname, "../../examples/shadownet"), handed, () => undefined);
    const wanted = ["Namespace", "StatefulSet", "PodDisruptionBudget", "ServiceAccount"];
    const ours = objects.filter(
      ({ kind, metadata }) => wanted.includes(kind) || (kind === "ConfigMap" && metadata.namespace === namespace),
    );
    apply(ours.filter(({ kind }) => kind === "Namespace"));
    apply([
      ...ours.filter(({ kind }) => kind !== "Namespace"),
      // Without a controller manager nobody makes it.
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace } },
      {
        apiVersion: "storage.k8s.io/v1",
        kind: "StorageClass",
        metadata: { name: "growing" },
        provisioner: "x",
        allowVolumeExpansion: true,
      } as KubernetesObject,
    ]);
  });
  afterAll(async () => {
    clearInterval(renewing);
    await plane?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test("there are commands of each kind", () => {
    expect(commands.length).toBeGreaterThan(15);
    expect(commands.filter(({ words }) => needsKubelet(words)).length).toBeGreaterThan(3);
  });

  test.each(
    commands
      .filter(({ words }) => !needsKubelet(words))
      .map(({ page, words }) => [`${page}: ${words.join(" ")}`, words] as const),
  )("%s", (_name, words) => {
    scene();
    if (words.includes("create")) run("-n", namespace, "delete", "configmap", watermark);
    expect(run(...words.slice(1))).toMatchObject({ status: 0 });
  });

  test("status, doctor, drill, history, switchover and the watermarks, as processes", async () => {
    scene();
    const command = await commandPath("baker");
    const cockpit = (...words: string[]) =>
      new Promise<{ code: number | null; text: string }>((done) => {
        const child = spawn(process.execPath, [command, ...words], { env: environment });
        let text = "";
        for (const stream of [child.stdout, child.stderr])
          stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
        child.on("exit", (code) => done({ code, text }));
      });
    const uids = pods.map((pod) => run("-n", namespace, "get", "pod", pod, "-o", "jsonpath={.metadata.uid}").text);
    const receipt = {
      epoch: 4,
      from: "",
      to: "alice-as-0",
      cause: "first",
      at: new Date().toISOString(),
      timeline: [],
      missedLevels: 0,
    };
    const member = (i: number) => ({
      ...{
        identity: `${pods[i]}_${uids[i]}`,
        address: "10.0.0.1",
        zone: "z",
        ready: true,
        eligible: true,
        reason: "eligible",
        headLevel: 100,
      },
      ...{
        headTimestamp: new Date().toISOString(),
        noncesMissing: 0,
        daemons: i === 0 ? "running" : "stopped",
        signersAnswering: 1,
        state: "active",
      },
    });
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
    const lease = async (name: string, holder: string, notes: Record<string, string>) => {
      const spec = {
        holderIdentity: holder,
        leaseDurationSeconds: 6,
        renewTime: microTime(Date.now()),
        leaseTransitions: 4,
      };
      const body = {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name, namespace, annotations: notes },
        spec,
      };
      const { status } = await plane.call("PATCH", `${path}/${name}`, body, {
        contentType: "application/merge-patch+json",
      });
      if (status === 404) await plane.call("POST", path, body);
    };
    const renew = async () => {
      await lease("alice.leader", `${pods[0]}_${uids[0]}`, { [annotations.receipts]: JSON.stringify([receipt]) });
      for (const i of [0, 1])
        await lease(`alice.member-${i}`, `${pods[i]}_${uids[i]}`, { [annotations.member]: JSON.stringify(member(i)) });
    };
    await renew();
    renewing = setInterval(() => void renew(), 1000);

    run("-n", namespace, "delete", "configmap", watermark);
    expect(await cockpit("status")).toMatchObject({
      code: 0,
      text: expect.stringContaining("alice: alice-as-0 signs (epoch 4)") as string,
    });
    expect(await cockpit("drill")).toMatchObject({
      code: 0,
      text: expect.stringMatching(/write the wish \(dry run\) +ok/) as string,
    });
    expect(await cockpit("history")).toMatchObject({
      code: 0,
      text: expect.stringContaining("nobody -> alice-as-0  first  0 missed levels") as string,
    });
    expect(await cockpit("switchover")).toMatchObject({
      code: 0,
      text: expect.stringContaining("Nothing was changed") as string,
    });
    // The pods have no node: the doctor says so, and that the user may do everything.
    expect(await cockpit("doctor")).toMatchObject({
      code: 1,
      text: expect.stringContaining("ok       rights") as string,
    });
    expect(await cockpit("watermark", "show")).toMatchObject({
      code: 0,
      text: expect.stringContaining("never written") as string,
    });
    // Nobody honours the wish here: it is written, waited for, and taken back.
    expect(await cockpit("switchover", "--yes", "--timeout", "3")).toMatchObject({
      code: 1,
      text: expect.stringContaining("the wish was taken back") as string,
    });
    // An exec into a pod without a node is refused by the server, and told as what it is.
    expect(await cockpit("nonces", "export")).toMatchObject({ code: 3 });
    run("-n", namespace, "delete", "configmap", "-l", `${labels.baker}=alice`);
    expect(await cockpit("status")).toMatchObject({
      code: 1,
      text: expect.stringContaining("no watermark object") as string,
    });
  });
});
