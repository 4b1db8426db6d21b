/**
 * `npm run manifests` before a real API server: kubectl's server-side dry run accepts every object, with strict fields
 * and restricted pod security.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { toYaml, type KubernetesObject } from "../../manifests/kubernetes-objects";
import { manifestsOf } from "../../scripts/manifests";
import { controlPlaneFolder, defaultCache } from "../../tools/test-assets";
import { missingForControlPlane, startControlPlane, type ControlPlane } from "../../tools/test-assets/control-plane";

const kubectl = [
  join(process.env.KUBEBUILDER_ASSETS ?? controlPlaneFolder(defaultCache()), "kubectl"),
  "/usr/bin/kubectl",
].find((path) => spawnSync(path, ["version", "--client"]).status === 0);
const missing = missingForControlPlane() ?? (kubectl === undefined ? "no kubectl" : undefined);
if (missing !== undefined) console.warn(`skipped: ${missing}`);

(missing === undefined ? describe : describe.skip)("a real API server", () => {
  let plane: ControlPlane;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "tog-manifests-"));
    plane = await startControlPlane();
  });
  afterAll(async () => {
    await plane?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const apply = (objects: readonly KubernetesObject[], ...options: string[]) => {
    const file = join(folder, "objects.yaml");
    writeFileSync(file, toYaml(objects));
    const words = [
      "--kubeconfig",
      plane.adminKubeconfig,
      "apply",
      "--validate=strict",
      "--warnings-as-errors",
      ...options,
      "-f",
      file,
    ];
    const { status, stdout, stderr } = spawnSync(kubectl ?? "", words, {
      encoding: "utf8",
      env: { ...process.env, HOME: folder, PATH: `${dirname(kubectl ?? "")}:${process.env.PATH}` },
    });
    return { status, stderr, applied: stdout.trim().split("\n").length };
  };

  test.each([
    ["shadownet", false],
    ["mainnet-two-ledgers", true],
    ["existing-cluster", true],
  ])("accepts every object of %s (flag %s) without a warning", async (example, flag) => {
    const handed = { environment: {}, options: [{ var: `experimental_active_standby_mode=${flag}` }] };
    const objects = await manifestsOf(resolve(__dirname, "../../examples", example), handed, () => undefined);
    // The dry run needs the namespaces: ours, and those that GKE makes (gmp-public).
    const ours = objects.filter(({ kind }) => kind === "Namespace");
    const known = ours.map(({ metadata }) => metadata.name);
    const foreign = [...new Set(objects.map(({ metadata }) => metadata.namespace))].filter(
      (name) => name !== undefined && !known.includes(name),
    );
    const namespaces = [
      ...ours,
      ...foreign.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name: name ?? null } })),
    ];
    expect(apply(namespaces)).toEqual({ status: 0, stderr: "", applied: namespaces.length });
    expect(apply(objects, "--dry-run=server")).toEqual({ status: 0, stderr: "", applied: objects.length });
  });

  test("refuses a field that does not exist, so that its silence means something", () => {
    const wrong: KubernetesObject = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "x" },
      spec: { clusterIp: "None", ports: [{ port: 80 }] },
    };
    expect(apply([wrong], "--dry-run=server")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("clusterIp") as string,
    });
  });
});
