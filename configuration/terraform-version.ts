/**
 * Which program may deploy: secrets reach the cluster as write-only attributes, which Terraform and OpenTofu know since
 * 1.11; only OpenTofu encrypts the state.
 */
import { spawnSync } from "node:child_process";
import type { Configuration } from "./schema";

const [leastMajor, leastMinor] = [1, 11];

/** Its message is for a person. */
export class TerraformError extends Error {}

/** What cdktf runs. */
export const terraformBinary = (): string => process.env.TERRAFORM_BINARY_NAME ?? "terraform";

/** What `version` says first, from either program; undefined where the program cannot be asked. */
export function terraformProgram(
  binary: string,
): { name: "Terraform" | "OpenTofu"; version: string; major: number; minor: number } | undefined {
  const { stdout } = spawnSync(binary, ["version"], {
    encoding: "utf8",
    env: { ...process.env, CHECKPOINT_DISABLE: "1" },
    timeout: 20_000,
  });
  const [, name, version, major, minor] = /^(Terraform|OpenTofu) v((\d+)\.(\d+)\S*)/m.exec(stdout ?? "") ?? [];
  if (name === undefined || version === undefined) return undefined;
  return { name: name as "Terraform" | "OpenTofu", version, major: Number(major), minor: Number(minor) };
}

/**
 * Says nothing where the program cannot be asked: cdktf tells that itself.
 * @throws TerraformError with one sentence where it is too old, or cannot do what the configuration asks for
 */
export function requireTerraform({ state }: Pick<Configuration, "state">, binary = terraformBinary()): void {
  const program = terraformProgram(binary);
  if (program === undefined) return;
  const { name, version, major, minor } = program;
  if ((major - leastMajor || minor - leastMinor) < 0)
    throw new TerraformError(
      `${binary} must be ${leastMajor}.${leastMinor} or newer, because secrets are handed over as write-only attributes; this is ${version}.`,
    );
  if (state?.encryption_key !== undefined && name !== "OpenTofu")
    throw new TerraformError(
      `state.encryption_key needs OpenTofu, because Terraform cannot encrypt its state; this is ${name} ${version}. Set TERRAFORM_BINARY_NAME=tofu, or take the key out.`,
    );
}
