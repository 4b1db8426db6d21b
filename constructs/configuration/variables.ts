/** The configuration's keys as Terraform variables of a stack. */
import { type TerraformStack } from "cdktf";
import { type Configuration } from "./schema";

/**
 * Declares every key of the configuration, and `secrets`, as a variable of the stack. Call it once in a stack's constructor.
 * Each default is the value that synth used; a validation fails the plan where Terraform is given another one, because it would be ignored.
 */
export function declareVariables(_stack: TerraformStack, _configuration: Configuration): void {}

/** A reference to a secret for use in a resource, for instance `secretReference("hot_keys", "alice", "tz1...")`. Needs `declareVariables`. */
export const secretReference = (...path: readonly [string, ...string[]]): string =>
  `\${var.secrets${path.map((key) => (/^[a-z_]+$/.test(key) ? `.${key}` : `["${key}"]`)).join("")}}`;
