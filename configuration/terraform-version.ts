/** Secrets reach the cluster as write-only attributes, which Terraform and OpenTofu know since 1.11. */
import { spawnSync } from "node:child_process";

const [leastMajor, leastMinor] = [1, 11];

/** Its message is for a person. */
export class TerraformError extends Error {}

/**
 * Says nothing where the program cannot be asked: cdktf tells that itself.
 * @param binary what cdktf runs: TERRAFORM_BINARY_NAME
 * @throws TerraformError with one sentence where it is too old
 */
export function requireTerraform(binary = "terraform"): void {
  const { stdout } = spawnSync(binary, ["version", "-json"], {
    encoding: "utf8",
    env: { ...process.env, CHECKPOINT_DISABLE: "1" },
    timeout: 20_000,
  });
  const [, version, major, minor] = /"terraform_version":\s*"((\d+)\.(\d+)[^"]*)"/.exec(stdout ?? "") ?? [];
  const ahead = Number(major) - leastMajor || Number(minor) - leastMinor;
  if (version === undefined || ahead >= 0) return;
  throw new TerraformError(
    `${binary} must be ${leastMajor}.${leastMinor} or newer, because secrets are handed over as write-only attributes; this is ${version}.`,
  );
}
