/**
 * The monitoring chart, installed, upgraded, rolled back and removed by the real cdktf command and the real helm
 * provider at a real API server that knows its kinds.
 */
import { spawnSync } from "node:child_process";
import { missingForControlPlane, startControlPlane, type ControlPlane } from "../../../tools/test-assets/control-plane";
import { missingForTerraform, realProviders } from "../../../tools/test-assets/providers";
import { define, helm, missingForCharts } from "../../helpers/monitoring-kinds";
import { projectFolder, smallTfvars, type ProjectFolder } from "../../helpers/project-folder";

const missing = missingForControlPlane() ?? missingForTerraform(["kubernetes", "helm"]) ?? missingForCharts();
if (missing !== undefined) console.warn(`skipped: ${missing}`);

const release = "tezos-baker-monitoring";
const namespace = "tezos";
jest.setTimeout(300_000);

(missing === undefined ? describe : describe.skip)("the monitoring chart, by cdktf deploy", () => {
  let plane: ControlPlane;
  let folder: ProjectFolder;
  const runbooks = (url: string): void =>
    folder.write("terraform.tfvars", `${smallTfvars}monitoring = { runbooks_url = "${url}" }\n`);
  const cdktf = (command: string, ...options: string[]) =>
    folder.cdktf([command, "monitoring", "--skip-provider-lock", "--no-color", ...options], {
      ...realProviders()?.environment,
      TOG_KUBECONFIG: plane.adminKubeconfig,
    });
  const deploy = async (): Promise<void> => {
    const { code, output } = await cdktf("deploy", "--auto-approve");
    if (code !== 0) throw new Error(output.slice(-4000));
  };
  const runHelm = (...words: string[]): string => {
    const env = { ...process.env, KUBECONFIG: plane.adminKubeconfig };
    const { status, stdout, stderr } = spawnSync(helm ?? "", ["-n", namespace, ...words], { encoding: "utf8", env });
    if (status !== 0) throw new Error(stderr);
    return stdout;
  };
  const installed = () =>
    (JSON.parse(runHelm("list", "-o", "json")) as { name: string; revision: string; status: string }[]).map(
      ({ name, revision, status }) => `${name} ${revision} ${status}`,
    );
  const rules = async (): Promise<string> => {
    const path = `/apis/monitoring.googleapis.com/v1/namespaces/${namespace}/rules`;
    return JSON.stringify((await plane.call("GET", path)).body);
  };

  beforeAll(async () => {
    plane = await startControlPlane();
    await define(plane);
    const object = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
    await plane.call("POST", "/api/v1/namespaces", object);
    folder = projectFolder({}, {}, [], "__tests__/fixtures/monitoring-app.ts");
  });
  afterAll(async () => {
    folder?.remove();
    await plane?.stop();
  });

  test("deploy installs it, and then there is nothing to do", async () => {
    runbooks("https://example.org/first");
    await deploy();
    expect(installed()).toEqual([`${release} 1 deployed`]);
    expect(await rules()).toContain("https://example.org/first/");
    expect((await cdktf("diff")).output).toContain("No changes. Your infrastructure matches the configuration.");
  });
  test("another setting upgrades it", async () => {
    runbooks("https://example.org/second");
    await deploy();
    expect(installed()).toEqual([`${release} 2 deployed`]);
    expect(await rules()).toContain("https://example.org/second/");
  });
  test("the former setting rolls it back", async () => {
    runbooks("https://example.org/first");
    await deploy();
    expect(installed()).toEqual([`${release} 3 deployed`]);
    expect(await rules()).toContain("https://example.org/first/");
  });
  test("what helm rolled back by hand stays, and is not seen, until a setting changes", async () => {
    runHelm("rollback", release, "2");
    expect(installed()).toEqual([`${release} 4 deployed`]);
    expect(await rules()).toContain("https://example.org/second/");
    expect((await cdktf("diff")).output).toContain("No changes. Your infrastructure matches the configuration.");
    runbooks("https://example.org/third");
    await deploy();
    expect(installed()).toEqual([`${release} 5 deployed`]);
    expect(await rules()).toContain("https://example.org/third/");
  });
  test("destroy removes it with all its objects", async () => {
    expect(await cdktf("destroy", "--auto-approve")).toMatchObject({ code: 0 });
    expect(installed()).toEqual([]);
    expect(JSON.parse(await rules())).toMatchObject({ items: [] });
  });
});
