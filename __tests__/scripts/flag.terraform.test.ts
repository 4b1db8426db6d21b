/**
 * Each way of giving the flag, with the real cdktf command, the real Terraform and stand-in providers: it either
 * reaches synth and Terraform alike, or the plan fails with instructions. Needs terraform and the stand-ins of
 * tools/verify-terraform.ts.
 */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { standInProgram } from "../../tools/verify-terraform";
import { projectFolder, smallSecrets, smallTfvars, statefulSets, type ProjectFolder } from "../helpers/project-folder";

const program = standInProgram();
const missing = spawnSync("terraform", ["version"]).error
  ? "no terraform on PATH"
  : program === undefined
    ? "no stand-in providers"
    : undefined;
if (missing !== undefined) console.warn(`skipped: ${missing}`);
const suite = missing === undefined ? describe : describe.skip;

const on = "experimental_active_standby_mode = true\n";
const secrets = { TF_VAR_secrets: smallSecrets };
const plain = ["--skip-provider-lock", "--no-color"];
const folders: ProjectFolder[] = [];
function folderOf(files: Record<string, string>, context: Record<string, unknown> = {}): ProjectFolder {
  const folder = projectFolder(files, context, [
    process.execPath,
    program ?? "",
    resolve(__dirname, "../../node_modules"),
  ]);
  folders.push(folder);
  return folder;
}
afterAll(() => folders.forEach((folder) => folder.remove()));

suite("the flag from a file works with the bare cdktf command", () => {
  const folder = folderOf({ "terraform.tfvars": smallTfvars + on });
  test("synth, then diff of the baker stack", async () => {
    expect(await folder.cdktf(["synth"], secrets)).toMatchObject({ code: 0 });
    expect(statefulSets(folder)).toEqual(["alice-as"]);
    const { code, output } = await folder.cdktf(["diff", "baker", ...plain], secrets);
    expect(output).toContain("kubernetes_stateful_set_v1.alice-as (alice/stateful-set) will be created");
    expect(code).toBe(0);
  });
  test("deploy of both stacks in order, after which a diff is empty", async () => {
    const deployed = await folder.cdktf(["deploy", "platform", "baker", "--auto-approve", ...plain], secrets);
    expect(deployed).toMatchObject({ code: 0 });
    expect(deployed.output.indexOf("google_container_cluster.cluster")).toBeLessThan(
      deployed.output.indexOf("kubernetes_stateful_set_v1.alice-as"),
    );
    const { output } = await folder.cdktf(["diff", "baker", ...plain], secrets);
    expect(output).toContain("No changes. Your infrastructure matches the configuration.");
  });
  test("the wrapper's diff ends with what another version of Octez does to the pods", async () => {
    folder.write("terraform.tfvars", `${smallTfvars}${on}octez_version = "v25.0"\n`);
    const { code, output } = await folder.wrapper(["diff", ...plain], secrets);
    expect(code).toBe(0);
    expect(output).toMatch(/What this plan does to the bakers stack platform: no change stack baker: \d+ to update/);
    expect(output).toContain("baker alice (levels at risk): alice-as-1, then alice-as-0: each restarts");
    expect(output).toMatch(/About \d+( to \d+)? USD a month, \d+( to \d+)? before\.\s*$/);
  });
});

suite("the flag through the wrapper", () => {
  const off = `${smallTfvars}experimental_active_standby_mode = false\n`;
  test.each<[string, string, string[], Record<string, string>]>([
    ["--var over a file that says false", off, ["--var", "experimental_active_standby_mode=true"], {}],
    ["--var-file over a file that says false", off, ["--var-file", "more.tfvars"], {}],
    ["TF_VAR_", smallTfvars, [], { TF_VAR_experimental_active_standby_mode: "true" }],
  ])("%s reaches synth and Terraform alike", async (_way, tfvars, options, environment) => {
    const folder = folderOf({ "terraform.tfvars": tfvars, "more.tfvars": on });
    const diff = await folder.wrapper(["diff", "--only", "baker", ...options, ...plain], {
      ...environment,
      ...secrets,
    });
    expect(diff.output).toContain("kubernetes_stateful_set_v1.alice-as (alice/stateful-set) will be created");
    expect(diff.code).toBe(0);
    expect(statefulSets(folder)).toEqual(["alice-as"]);
  });
  test("deploy and destroy work in order with options of both kinds", async () => {
    const folder = folderOf({ "terraform.tfvars": smallTfvars, "more.tfvars": on });
    const options = ["--var-file", "more.tfvars", "--var", "deletion_protection=false", "--auto-approve", ...plain];
    expect(await folder.wrapper(["deploy", ...options], secrets)).toMatchObject({ code: 0 });
    const { code, output } = await folder.wrapper(["destroy", ...options], secrets);
    expect(code).toBe(0);
    expect(output.indexOf("kubernetes_namespace_v1.namespace (namespace): Destroying")).toBeLessThan(
      output.indexOf("google_container_cluster.cluster (cluster/cluster): Destroying"),
    );
  });
});

suite("the flag in the context of cdktf.json", () => {
  test("reaches synth and Terraform alike", async () => {
    const folder = folderOf({ "terraform.tfvars": smallTfvars }, { experimental_active_standby_mode: true });
    const { code, output } = await folder.cdktf(["diff", "baker", ...plain], secrets);
    expect(output).toContain("kubernetes_stateful_set_v1.alice-as (alice/stateful-set) will be created");
    expect(code).toBe(0);
  });
});

suite("a value that would be ignored fails the plan with instructions", () => {
  const off = `${smallTfvars}experimental_active_standby_mode = false\n`;
  test.each<[string, string, string[], Record<string, string>, string]>([
    [
      "--var of the bare command",
      smallTfvars,
      ["--var", "experimental_active_standby_mode=true"],
      {},
      "so that it would be ignored",
    ],
    [
      "--var of the bare command below a file",
      off,
      ["--var", "experimental_active_standby_mode=true"],
      {},
      "so that it would be ignored",
    ],
    ["--var-file of the bare command", smallTfvars, ["--var-file", "more.tfvars"], {}, "so that it would be ignored"],
    [
      "TF_VAR_ of the bare command",
      smallTfvars,
      [],
      { TF_VAR_experimental_active_standby_mode: "true" },
      "Terraform was given another value than synth",
    ],
    [
      "--context of the bare command",
      smallTfvars,
      ["-c", "experimental_active_standby_mode=true"],
      {},
      "an option that the cdktf command ignores",
    ],
  ])("%s", async (_way, tfvars, options, environment, message) => {
    const folder = folderOf({ "terraform.tfvars": tfvars, "more.tfvars": on });
    const { code, output } = await folder.cdktf(["diff", "baker", ...options, ...plain], {
      ...environment,
      ...secrets,
    });
    expect(code).not.toBe(0);
    expect(output).toContain(message);
    expect(output).toMatch(/npm run diff\|deploy/);
  });
  test("the pin itself, where the options cannot be seen: Terraform started by hand", async () => {
    const folder = folderOf({ "terraform.tfvars": smallTfvars });
    expect(await folder.cdktf(["diff", "baker", ...plain], secrets)).toMatchObject({ code: 0 });
    const words = [
      program ?? "",
      resolve(__dirname, "../../node_modules"),
      "terraform",
      "plan",
      "-no-color",
      "-var=experimental_active_standby_mode=true",
    ];
    const { status, stderr } = spawnSync(process.execPath, words, {
      cwd: `${folder.path}/cdktf.out/stacks/baker`,
      encoding: "utf8",
      env: { ...process.env, ...secrets, CHECKPOINT_DISABLE: "1", TF_CLI_CONFIG_FILE: "/dev/null" },
    });
    expect(status).toBe(1);
    expect(stderr.replace(/\s+/g, " ")).toContain(
      "experimental_active_standby_mode: Terraform was given another value than synth",
    );
  });
});

suite("what must not be deployed is not", () => {
  test("the example that is shown where there is no terraform.tfvars", async () => {
    const { code, output } = await folderOf({}).cdktf(["diff", "platform", ...plain], secrets);
    expect(code).not.toBe(0);
    expect(output).toContain("There is no terraform.tfvars: this is the example shadownet, for looking only");
  });
  test("a configuration whose secret is missing", async () => {
    const { code, output } = await folderOf({ "terraform.tfvars": smallTfvars }).cdktf(["diff", "baker", ...plain]);
    expect(code).not.toBe(0);
    expect(output).toContain("secrets.hot_keys.alice.tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5 found: nothing");
    expect(output).toContain("secrets.auto.tfvars");
  });
});
