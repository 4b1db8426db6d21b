/** Which Terraform is new enough, with a program that says what Terraform and OpenTofu say. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireTerraform } from "../../configuration/terraform-version";

const folder = mkdtempSync(join(tmpdir(), "tog-terraform-"));
afterAll(() => rmSync(folder, { recursive: true }));
const program = (version: string): string => {
  const file = join(folder, `terraform-${version}`);
  writeFileSync(
    file,
    `#!/bin/sh\nprintf '{\n  "terraform_version": "${version}",\n  "platform": "linux_amd64"\n}\n'\n`,
  );
  chmodSync(file, 0o755);
  return file;
};

test.each(["1.11.0", "1.11.4", "1.15.2", "1.12.0-beta1", "2.0.0"])("%s is new enough", (version) => {
  requireTerraform(program(version));
});
test.each(["1.10.5", "1.9.8", "0.15.1"])("%s is too old", (version) => {
  expect(() => requireTerraform(program(version))).toThrow(`must be 1.11 or newer, because`);
  expect(() => requireTerraform(program(version))).toThrow(`this is ${version}.`);
});
test("a program that is not there is nobody's fault here", () => {
  requireTerraform(join(folder, "nobody"));
});
