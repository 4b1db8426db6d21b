/** Which Terraform is new enough, with a program that says what Terraform and OpenTofu say. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireTerraform } from "../../configuration/terraform-version";

const folder = mkdtempSync(join(tmpdir(), "tog-terraform-"));
afterAll(() => rmSync(folder, { recursive: true }));
const program = (version: string, name = "Terraform"): string => {
  const file = join(folder, `${name}-${version}`);
  writeFileSync(file, `#!/bin/sh\nprintf '\\nWarning: no file\\n\\n${name} v${version}\\non linux_amd64\\n'\n`);
  chmodSync(file, 0o755);
  return file;
};
const encrypted = {
  state: { bucket: "b", prefix: "p", encryption_key: "projects/p/locations/l/keyRings/r/cryptoKeys/k" },
};

test.each(["1.11.0", "1.11.4", "1.15.2", "1.12.0-beta1", "2.0.0"])("%s of either program is new enough", (version) => {
  requireTerraform({}, program(version));
  requireTerraform(encrypted, program(version, "OpenTofu"));
});
test.each(["1.10.5", "1.9.8", "0.15.1"])("%s is too old", (version) => {
  expect(() => requireTerraform({}, program(version))).toThrow(`must be 1.11 or newer, because`);
  expect(() => requireTerraform({}, program(version, "OpenTofu"))).toThrow(`this is ${version}.`);
});
test("an encrypted state needs OpenTofu", () => {
  expect(() => requireTerraform(encrypted, program("1.13.0"))).toThrow(
    "state.encryption_key needs OpenTofu, because Terraform cannot encrypt its state; this is Terraform 1.13.0. Set TERRAFORM_BINARY_NAME=tofu",
  );
});
test("a program that is not there is nobody's fault here", () => {
  requireTerraform(encrypted, join(folder, "nobody"));
});
