/** The program as a whole: a folder of variable files in, Terraform's configuration out. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { synthesize } from "../main";
import { delegates } from "./helpers/synthesized";

const folder = mkdtempSync(join(tmpdir(), "main-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let runs = 0;
interface Document {
  import?: { to: string; id: string }[];
  terraform: { encryption?: unknown };
  resource: Record<string, Record<string, { spec?: { replicas?: string } }>>;
}
/** The stacks of a folder, by name. */
async function stacksOf(source: string): Promise<Record<string, Document>> {
  const outdir = join(folder, `out-${runs++}`);
  await synthesize({ folder: source, outdir, handed: { options: [], environment: {} } });
  return Object.fromEntries(
    readdirSync(join(outdir, "stacks")).map((name) => [
      name,
      JSON.parse(readFileSync(join(outdir, "stacks", name, "cdk.tf.json"), "utf8")) as Document,
    ]),
  );
}
function written(text: string): string {
  const source = mkdtempSync(join(folder, "configuration-"));
  writeFileSync(join(source, "terraform.tfvars"), text);
  return source;
}
const statefulSets = (stack: Document | undefined) =>
  Object.entries(stack?.resource.kubernetes_stateful_set_v1 ?? {}).map(([id, { spec }]) => [id, spec?.replicas]);
const shadownet = `project = "my-baker-1234"
network = "shadownet"
bakers = { alice = { delegate = "${delegates[0]}", hot_test_key = true } }
`;

test.each([
  ["shadownet", ["baker", "platform"], [["alice-solo", "1"]]],
  ["mainnet-two-ledgers", ["baker", "platform"], [["alice-solo", "1"]]],
  ["existing-cluster", ["baker"], [["bob-solo", "1"]]],
])("the example %s makes the stacks %j", async (example, names, sets) => {
  const stacks = await stacksOf(resolve(__dirname, "../examples", example));
  expect(Object.keys(stacks).sort()).toEqual(names);
  expect(statefulSets(stacks.baker)).toEqual(sets);
});
test("the flag in terraform.tfvars makes one baking node per zone", async () => {
  const stacks = await stacksOf(written(`${shadownet}experimental_active_standby_mode = true\n`));
  expect(statefulSets(stacks.baker)).toEqual([["alice-as", "2"]]);
});
test("a folder without variable files shows the shadownet example", async () => {
  expect(statefulSets((await stacksOf(mkdtempSync(join(folder, "empty-")))).baker)).toEqual([["alice-solo", "1"]]);
});
test("what exists already is imported by the stack that has its address; an unknown address is refused with its like", async () => {
  const imports = (...lines: string[]) => written(`${shadownet}imports = {\n${lines.join("\n")}\n}\n`);
  const cluster = '"google_container_cluster.cluster" = "projects/p/locations/l/clusters/c"';
  const stacks = await stacksOf(imports(cluster, '"kubernetes_namespace_v1.namespace" = "tezos"'));
  expect(stacks.platform?.import).toEqual([
    { to: "google_container_cluster.cluster", id: "projects/p/locations/l/clusters/c" },
  ]);
  expect(stacks.baker?.import).toEqual([{ to: "kubernetes_namespace_v1.namespace", id: "tezos" }]);
  await expect(stacksOf(imports(cluster, '"google_compute_address.signer" = "x"', '"a.b" = "y"'))).rejects.toThrow(
    /none is a "a"\n(.|\n)*signer.*\n.*found: "x"\n.*google_compute_address\.nat, google_compute_address\.signer_link\n/,
  );
});
test("an encrypted state is asked of OpenTofu by both stacks, which still read an older one in plain text", async () => {
  const key = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
  const stacks = await stacksOf(written(`${shadownet}state = { bucket = "my-state", encryption_key = "${key}" }\n`));
  for (const { terraform } of Object.values(stacks))
    expect(terraform.encryption).toMatchObject({
      key_provider: { gcp_kms: { state: { kms_encryption_key: key } } },
      state: { method: "method.aes_gcm.state", fallback: { method: "method.unencrypted.before" } },
      plan: { method: "method.aes_gcm.state", enforced: true },
    });
  const plain = await stacksOf(written(`${shadownet}state = { bucket = "my-state" }\n`));
  expect(plain.baker?.terraform).not.toHaveProperty("encryption");
});
test("a mistake stops before anything is written, and says all that is wrong", async () => {
  const outdir = join(folder, "none");
  const source = written(`${shadownet}machine_typ = "x"\nzones = ["europe-west4-a", "europe-west4-b"]\n`);
  await expect(synthesize({ folder: source, outdir, handed: { options: [], environment: {} } })).rejects.toThrow(
    /machine_typ(.|\n)*zones|zones(.|\n)*machine_typ/,
  );
  expect(existsSync(outdir)).toBe(false);
});
