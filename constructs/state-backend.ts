/** Where a stack's state lies: the configured bucket, one prefix per environment and stack; otherwise a local file. */
import { Annotations, GcsBackend, LocalBackend, type TerraformStack } from "cdktf";
import type { Configuration } from "../configuration/schema";

export function stateBackend(stack: TerraformStack, name: string, { state }: Configuration): void {
  if (state) {
    new GcsBackend(stack, { bucket: state.bucket, prefix: `${state.prefix}/${name}` });
    return;
  }
  // Relative to cdktf.out/stacks/<name>, where Terraform runs: the project's own folder, which no clean-up empties.
  new LocalBackend(stack, { path: `../../../terraform.${name}.tfstate` });
  Annotations.of(stack).addWarning(
    `state: without \`state = { bucket = "..." }\` the state of "${name}" is the local file terraform.${name}.tfstate: nobody else can deploy, and whoever loses it must import everything`,
  );
}
