/** The wrapper around the cdktf command: what it hands to synth and to Terraform, and once the real command. */
import { readFileSync } from "node:fs";
import { asVarFiles, commandLines, handedOf, handedOn, parseRequest } from "../../scripts/cdktf";
import { projectFolder, smallSecrets, smallTfvars } from "../helpers/project-folder";

test("options, stacks and cdktf's own options are told apart, in every spelling that Terraform's users know", () => {
  const request = parseRequest([
    "deploy",
    "baker",
    "--var",
    "a=1",
    "--var=b=x=y",
    "-var-file",
    "f",
    "--auto-approve",
    "--parallelism",
    "2",
  ]);
  expect(request).toEqual({
    command: "deploy",
    options: [{ var: "a=1" }, { var: "b=x=y" }, { varFile: "f" }],
    stacks: ["baker"],
    review: "text",
    others: ["--auto-approve", "--parallelism", "2"],
  });
});

test.each([[[]], [["apply"]], [["diff", "bakre"]], [["diff", "--var"]], [["diff", "--only", "all"]]])(
  "%j is refused with the usage",
  (argv) => {
    expect(() => parseRequest(argv)).toThrow("usage: npm run synth|diff|deploy|destroy");
  },
);

test("synth is told every TF_VAR_, --var and --var-file but never secrets", () => {
  const request = parseRequest(["diff", "--var", "secrets={}", "--var", "name=x", "--var-file", "f"]);
  const handed = handedOf(request, { TF_VAR_name: "y", TF_VAR_secrets: "s", HOME: "/" });
  expect(handedOn(handed, ["/t/0.json", "/t/1.json", "f"], { smtp_password: 5 })).toEqual({
    secretRevisions: { smtp_password: 5 },
    environment: { name: "y" },
    options: [{ varFile: "/t/0.json" }, { var: "name=x" }, { varFile: "f" }],
  });
});

test("Terraform gets each --var as a file in its place, because cdktf would put it below the tfvars files", async () => {
  const written: string[] = [];
  const { options } = parseRequest([
    "diff",
    "--var",
    "name=x",
    "--var-file",
    "f.tfvars",
    "--var",
    'zones=["a", "b"]',
    "--var",
    "deletion_protection=false",
  ]);
  const files = await asVarFiles(options, "/folder", (content, index) => {
    written.push(content);
    return `/tmp/${index}`;
  });
  expect(files).toEqual(["/tmp/0", "/folder/f.tfvars", "/tmp/2", "/tmp/3"]);
  expect(written).toEqual(['{"name":"x"}', '{"zones":["a","b"]}', '{"deletion_protection":false}']);
});

test("both stacks are handled in order; on an existing cluster there is one", () => {
  const lines = (words: string[], existing = false) =>
    commandLines(parseRequest(words), existing, ["/v"]).map((line) => line.join(" "));
  expect(lines(["diff"])).toEqual(["diff platform --var-file /v", "diff baker --var-file /v"]);
  expect(lines(["deploy", "--auto-approve"])).toEqual(["deploy platform baker --var-file /v --auto-approve"]);
  expect(lines(["deploy", "baker"])).toEqual(["deploy baker --var-file /v --ignore-missing-stack-dependencies"]);
  expect(lines(["diff", "--only", "platform"])).toEqual(["diff platform --var-file /v"]);
  expect(lines(["deploy"], true)).toEqual(["deploy baker --var-file /v"]);
  expect(lines(["destroy"])).toEqual(["destroy platform baker --var-file /v"]);
  expect(lines(["synth", "--hcl"])).toEqual(["synth --hcl"]);
});

test("without a terraform.tfvars diff refuses with instructions, before anything is started", async () => {
  const folder = projectFolder({});
  try {
    const { code, output } = await folder.wrapper(["diff"]);
    expect(code).toBe(1);
    expect(output).toContain("found: no terraform.tfvars write: one: cp examples/shadownet/terraform.tfvars .");
  } finally {
    folder.remove();
  }
});

test("destroy refuses while deletion_protection is on, and says how", async () => {
  const folder = projectFolder({ "terraform.tfvars": smallTfvars });
  try {
    const { code, output } = await folder.wrapper(["destroy"]);
    expect(code).toBe(1);
    expect(output).toContain("Write deletion_protection = false, run npm run deploy, then npm run destroy");
  } finally {
    folder.remove();
  }
});

test("the real cdktf command synthesizes both stacks offline with a flag given by --var", async () => {
  const folder = projectFolder({ "terraform.tfvars": smallTfvars });
  try {
    const { code, output } = await folder.wrapper(["synth", "--var", "experimental_active_standby_mode=true"], {
      TF_VAR_secrets: smallSecrets,
    });
    expect({ code, output }).toMatchObject({ code: 0 });
    const sets = folder.stack("baker").resource.kubernetes_stateful_set_v1 ?? {};
    expect(Object.values(sets)).toEqual([
      expect.objectContaining({ spec: expect.objectContaining({ replicas: "2" }) as unknown }),
    ]);
    expect(readFileSync(`${folder.path}/cdktf.out/stacks/platform/cdk.tf.json`, "utf8")).toContain(
      "google_container_cluster",
    );
  } finally {
    folder.remove();
  }
}, 300_000);
