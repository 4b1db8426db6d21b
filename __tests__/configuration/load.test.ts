/**
 * Where values come from: Terraform's order of files, options, environment and context; and what is wrong with a file
 * as a whole.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { cdktfProcess, optionsOf, refuseIgnoredOptions } from "../../configuration/cdktf-options";
import { ConfigurationError } from "../../configuration/errors";
import { exampleFolder } from "../../configuration/folder";
import { lineOf } from "../../configuration/lines";
import { resolveConfiguration, type ResolveOptions, type Resolved } from "../../configuration/load";

const delegate = "tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5";
const secretKey = "edsk2gbxRomx4Yci1xseFsNKJYuZW8hTmgsj8eardFMfVRTDzVSiht";
const hcl = `project = "my-tezos-project"\nnetwork = "shadownet"\nbakers = { alice = { delegate = "${delegate}", hot_test_key = true } }\n`;
const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

/** A folder with these files. */
function folderOf(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), "tog-configuration-"));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}
const load = (files: Record<string, string>, options: Partial<ResolveOptions> = {}): Promise<Resolved> =>
  resolveConfiguration({ folder: folderOf(files), ...options });
const failure = async (promise: Promise<unknown>): Promise<string> => {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConfigurationError)) throw new Error(`expected a ConfigurationError, got ${String(error)}`);
  return error.message;
};

test("later files win in Terraform's order, HCL and JSON mixed, and a value replaces the earlier one whole", async () => {
  const files = {
    "terraform.tfvars": `${hcl}name = "t1"\ndisk = { size_gib = 60 }\n`,
    "terraform.tfvars.json": JSON.stringify({ name: "t2", namespace: "from-json" }),
    "a.auto.tfvars": 'name = "t3"\n',
    "b.auto.tfvars.json": JSON.stringify({ name: "t4", disk: { type: "pd-balanced" } }),
    "c.auto.tfvars": 'labels = { a = "b" }\n',
  };
  const { configuration, sources } = await load(files);
  expect(configuration).toMatchObject({
    name: "t4",
    namespace: "from-json",
    disk: { type: "pd-balanced", size_gib: 100 },
    labels: { a: "b" },
  });
  expect(sources).toMatchObject({
    name: "b.auto.tfvars.json",
    namespace: "terraform.tfvars.json",
    project: "terraform.tfvars",
    labels: "c.auto.tfvars",
  });
  const rest = Object.fromEntries(Object.entries(files).filter(([name]) => name !== "b.auto.tfvars.json"));
  expect((await load(rest)).configuration).toMatchObject({ name: "t3", disk: { size_gib: 60 } });
});

test("options win over files in their own order, files over TF_VAR_, and that over the context", async () => {
  const folder = folderOf({
    "terraform.tfvars": `${hcl}name = "file"\n`,
    "more.tfvars": 'name = "varfile"\nnamespace = "varfile"\n',
  });
  const context = { name: "context", machine_type: "n2-standard-4", region: "europe-west1" };
  const environment = { name: "env", machine_type: "n2-highmem-4", zones: '["europe-west1-b", "europe-west1-d"]' };
  const first = await resolveConfiguration({
    folder,
    context,
    handed: { environment, options: [{ var: "name=option" }, { varFile: "more.tfvars" }] },
  });
  expect(first.configuration).toMatchObject({
    name: "varfile",
    namespace: "varfile",
    machine_type: "n2-highmem-4",
    region: "europe-west1",
  });
  expect(first.configuration.zones).toEqual(["europe-west1-b", "europe-west1-d"]);
  const second = await resolveConfiguration({
    folder,
    context,
    handed: { environment, options: [{ varFile: "more.tfvars" }, { var: "name=option" }] },
  });
  expect(second.configuration.name).toBe("option");
  expect(second.sources).toMatchObject({
    name: "--var name",
    machine_type: "TF_VAR_machine_type",
    region: "context of cdktf.json",
    network: "terraform.tfvars",
  });
  expect(
    (await resolveConfiguration({ folder, context, handed: { environment, options: [] } })).configuration.name,
  ).toBe("file");
});

test.each([
  ["a file", { "terraform.tfvars": `${hcl}experimental_active_standby_mode = true\n` }, {}],
  ["an option", {}, { handed: { environment: {}, options: [{ var: "experimental_active_standby_mode=true" }] } }],
  ["TF_VAR_", {}, { handed: { environment: { experimental_active_standby_mode: "true" }, options: [] } }],
  ["the context", {}, { context: { experimental_active_standby_mode: true } }],
])("the flag can be given by %s", async (_way, files, options) => {
  const { configuration } = await load({ "terraform.tfvars": hcl, ...files }, options);
  expect(configuration.experimental_active_standby_mode).toBe(true);
});

test("null in a file means not written, as in Terraform", async () => {
  const { configuration } = await load({ "terraform.tfvars": `${hcl}region = null\ndisk = { size_gib = null }\n` });
  expect(configuration).toMatchObject({ region: "us-central1", disk: { size_gib: 100 } });
});

test.each([
  ["an empty file", { "terraform.tfvars": "" }, /terraform\.tfvars\n\s+found: an empty file/],
  ["a file of comments", { "terraform.tfvars": "# later\n" }, /found: an empty file/],
  ["an empty JSON file", { "terraform.tfvars.json": "" }, /terraform\.tfvars\.json\n\s+found: an empty file/],
  [
    "broken HCL",
    { "terraform.tfvars": 'project = "x\nnetwork = ' },
    /terraform\.tfvars\n\s+found: not readable as HCL: terraform\.tfvars:1,\d+/,
  ],
  [
    "broken JSON",
    { "terraform.tfvars.json": '{"project": ' },
    /found: not readable as JSON: line 1, column 13: the file ends where a value belongs/,
  ],
  ["a comment that never ends", { "terraform.tfvars": `/* mine\n${hcl}` }, /found: a comment .* never ends/],
  [
    "a file of declarations",
    { "terraform.tfvars": 'variable "project" {\n  type = string\n}\n' },
    /found: declarations of variables\n\s+write: values only/,
  ],
  [
    "a key twice in HCL",
    { "terraform.tfvars": `${hcl}network = "mainnet"\n` },
    /found: network twice, first in line \d+\n\s+write: network once/,
  ],
  ["a key twice in JSON", { "terraform.tfvars.json": '{"name": "a",\n "name": "b"}' }, /line 2, column 2: .*twice/],
  ["deep JSON", { "terraform.tfvars.json": `${'{"a":'.repeat(50_000)}1` }, /nested deeper than 32 levels/],
  [
    "a baker named __proto__",
    { "terraform.tfvars.json": '{"network": "shadownet", "bakers": {"__proto__": {"hot_test_key": true}}}' },
    /bakers\.__proto__ \(?terraform\.tfvars\.json\)?\n\s+found: the name __proto__/,
  ],
  ["JSON that is no object", { "terraform.tfvars.json": "[1]" }, /found: JSON that is no object/],
  [
    "a block instead of a value",
    { "terraform.tfvars": `${hcl}disk { size_gib = 10 }\n` },
    /disk \(terraform\.tfvars:4\)\n\s+found: a list, or a block without "="\n\s+write: disk = \{/,
  ],
  [
    "a function",
    { "terraform.tfvars": `${hcl}name = lower("X")\n` },
    /name \(terraform\.tfvars:4\)\n\s+found: an expression/,
  ],
  ["no file at all", {}, /found: no terraform\.tfvars\n\s+write: one: cp examples\/shadownet/],
])("%s is a clear error", async (_what, files, pattern) => {
  expect(await failure(load(files))).toMatch(pattern);
});

test("a file that does not exist and a folder are clear errors, and nothing is called missing because of them", async () => {
  const folder = folderOf({});
  mkdirSync(join(folder, "folder.tfvars"));
  const message = await failure(
    resolveConfiguration({
      folder,
      handed: { environment: {}, options: [{ varFile: "no.tfvars" }, { varFile: "folder.tfvars" }] },
    }),
  );
  expect(message).toMatch(/no\.tfvars\n\s+found: no file/);
  expect(message).toMatch(/folder\.tfvars\n\s+found: .* which is no file/);
  expect(message).toContain("has 2 errors");
});

test("an option without a value or with an unreadable one is refused", async () => {
  const handed = { environment: {}, options: [{ var: "zones" }, { var: 'zones=["a"' }, { var: "nmae=x" }] };
  const message = await failure(load({ "terraform.tfvars": hcl }, { handed }));
  expect(message).toMatch(/--var\n\s+found: a text without = \(not shown\)/);
  expect(message).toMatch(/zones \(--var zones\)\n\s+found: not readable as a value/);
  expect(message).toMatch(/nmae \(--var nmae\)\n\s+found: a key that does not exist here; did you mean name\?/);
});

test("a misspelt key in the context is refused, cdktf's own keys are not", async () => {
  expect(
    await failure(load({ "terraform.tfvars": hcl }, { context: { experimentalActiveStandbyMode: true } })),
  ).toContain("did you mean experimental_active_standby_mode?");
  await expect(
    load({ "terraform.tfvars": hcl }, { context: { cdktfRelativeModules: [], excludeStackIdFromLogicalIds: "true" } }),
  ).resolves.toBeDefined();
});

test("without any file the example is taken and said, and what little is given changes it", async () => {
  const { configuration } = await load(
    {},
    { exampleFolder, handed: { environment: { experimental_active_standby_mode: "true" }, options: [] } },
  );
  expect(configuration).toMatchObject({
    network: "shadownet",
    experimental_active_standby_mode: true,
    example: "shadownet",
  });
  expect((await load({ "terraform.tfvars": hcl }, { exampleFolder })).configuration.example).toBeUndefined();
});

test("secrets in a file never reach the result", async () => {
  const secrets = `secrets = { hot_keys = { alice = { "${delegate}" = "unencrypted:${secretKey}" } } }\n`;
  const resolved = await load({ "terraform.tfvars": hcl, "secrets.auto.tfvars": secrets });
  expect(JSON.stringify(resolved)).not.toContain(secretKey);
  expect(resolved.sources.secrets).toBe("secrets.auto.tfvars");
});

test("a key that Terraform and the cdktf command would take from different files is warned about", async () => {
  const files = { "terraform.tfvars": hcl, "a.auto.tfvars.json": '{"name": "aa"}', "b.auto.tfvars": 'name = "bb"\n' };
  const { configuration, warnings } = await load(files);
  expect(configuration.name).toBe("bb");
  expect(warnings).toContainEqual(expect.stringMatching(/^name is in a\.auto\.tfvars\.json and in b\.auto\.tfvars/));
});

test("options of a bare cdktf command that synth would not see are refused, those that agree are not", async () => {
  const folder = folderOf({ "terraform.tfvars": hcl });
  const resolved = await resolveConfiguration({ folder });
  const refuse = (...argv: string[]) => refuseIgnoredOptions(argv, resolved, { folder });
  await expect(refuse("diff", "baker", "--var", "network=shadownet")).resolves.toBeDefined();
  await expect(refuse("diff", "baker", "--no-color")).resolves.toBeDefined();
  expect(await failure(refuse("diff", "baker", "--var=experimental_active_standby_mode=true"))).toMatch(
    /npm run deploy -- --var experimental_active_standby_mode/,
  );
  expect(await failure(refuse("synth", "-c", "experimental_active_standby_mode=true"))).toContain(
    "an option that the cdktf command ignores",
  );
});

test("cdktf's own reading of its command line is followed", () => {
  expect(optionsOf(["deploy", "a", "--var", "x=1", "y=2", "--auto-approve", "b", "--var-file=f", "-c", "z=3"])).toEqual(
    {
      options: [{ var: "x=1" }, { var: "y=2" }, { varFile: "f" }],
      contexts: ["z=3"],
    },
  );
  expect(cdktfProcess(process.pid)).toBeUndefined();
});

test.each(["shadownet", "mainnet-two-ledgers", "existing-cluster"])("the example %s is accepted", async (name) => {
  const { configuration } = await resolveConfiguration({ folder: resolve(__dirname, "../../examples", name) });
  expect(Object.keys(configuration.bakers)).toHaveLength(1);
});

test("a key that is missing in a block has the line of the block, not that of the same key in the next one", () => {
  const hcl = [
    "signers = {",
    "  home1 = { # no }",
    '    ssh_public_key = "a } b"',
    "  }",
    "  home2 = {",
    "    port = 1",
    "  }",
    "}",
  ].join("\n");
  expect(lineOf(hcl, ["signers", "home1", "port"])).toBe(2);
  expect(lineOf(hcl, ["signers", "home2", "port"])).toBe(6);
  const json = JSON.stringify({ signers: { home1: { url: "a" }, home2: { port: 1 } } }, null, 1);
  expect(lineOf(json, ["signers", "home1", "port"])).toBe(3);
  expect(lineOf(json, ["signers", "home2", "port"])).toBe(7);
  expect(lineOf("a = 1\nb = 2", ["a", "b"])).toBe(1);
});
