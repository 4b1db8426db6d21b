/**
 * OpenTofu takes the block that encrypts the state, reads an older state in plain text and writes it encrypted. Cloud
 * KMS cannot be asked here: a passphrase stands in its place.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Testing, TerraformStack } from "cdktf";
import { terraformProgram } from "../../configuration/terraform-version";
import { stateBackend } from "../../constructs/state-backend";
import { defaultCache } from "../../tools/test-assets";
import { configurationWith } from "../helpers/synthesized";

const tofu = [join(defaultCache(), "bin/tofu"), "tofu"].find((program) => terraformProgram(program) !== undefined);
if (tofu === undefined) console.warn("skipped: no tofu: npm run test:assets -- --only tofu");
const folder = mkdtempSync(join(tmpdir(), "tog-encryption-"));
afterAll(() => rmSync(folder, { recursive: true }));

(tofu === undefined ? test.skip : test)("an older state in plain text is encrypted when it is next written", () => {
  const stack = new TerraformStack(Testing.app(), "baker");
  const encryption_key = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
  stateBackend(stack, "baker", configurationWith({ state: { bucket: "my-state", encryption_key } }));
  const { terraform } = JSON.parse(Testing.synth(stack)) as {
    terraform: { encryption: Record<string, object> };
  };
  const { encryption } = terraform;
  const passphrase = { passphrase: "a passphrase of more than sixteen letters" };
  const block = JSON.parse(
    JSON.stringify({ ...encryption, key_provider: { pbkdf2: { state: passphrase } } }).replaceAll("gcp_kms", "pbkdf2"),
  ) as object;
  const write = (extra: object) =>
    writeFileSync(
      join(folder, "main.tf.json"),
      JSON.stringify({ ...extra, resource: { terraform_data: { one: { input: "to-be-hidden" } } } }),
    );
  const apply = () => {
    const env = { ...process.env, TF_CLI_CONFIG_FILE: "/dev/null" };
    for (const words of [["init"], ["plan", "-out=plan"], ["apply", "plan"]]) {
      const { status, stderr } = spawnSync(tofu ?? "", words, { cwd: folder, encoding: "utf8", env });
      if (status !== 0) throw new Error(stderr);
    }
    return ["terraform.tfstate", "plan"].map((file) => readFileSync(join(folder, file), "latin1"));
  };
  write({});
  expect(apply()[0]).toContain("to-be-hidden");
  write({ terraform: { encryption: block } });
  const [state, plan] = apply();
  expect(state).not.toContain("to-be-hidden");
  expect(state).toContain('"encrypted_data"');
  // An archive, where it is not encrypted.
  expect(plan?.startsWith("PK")).toBe(false);
});
