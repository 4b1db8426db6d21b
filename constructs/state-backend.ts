/** Where a stack's state lies: the configured bucket, one prefix per environment and stack; otherwise a local file. */
import { Annotations, GcsBackend, LocalBackend, type TerraformStack } from "cdktf";
import type { Configuration } from "../configuration/schema";

/**
 * OpenTofu's block. An older state in plain text is still read, and written encrypted. A method is named, not an
 * expression: OpenTofu refuses `${...}` there.
 */
const encryption = (kmsKey: string): object => ({
  key_provider: { gcp_kms: { state: { kms_encryption_key: kmsKey, key_length: 32 } } },
  method: { aes_gcm: { state: { keys: "${key_provider.gcp_kms.state}" } }, unencrypted: { before: {} } },
  state: { method: "method.aes_gcm.state", fallback: { method: "method.unencrypted.before" } },
  plan: { method: "method.aes_gcm.state", enforced: true },
});

export function stateBackend(stack: TerraformStack, name: string, { state }: Configuration): void {
  if (state) {
    new GcsBackend(stack, { bucket: state.bucket, prefix: `${state.prefix}/${name}` });
    if (state.encryption_key !== undefined) stack.addOverride("terraform.encryption", encryption(state.encryption_key));
    return;
  }
  // Relative to cdktf.out/stacks/<name>, where Terraform runs: the project's own folder, which no clean-up empties.
  new LocalBackend(stack, { path: `../../../terraform.${name}.tfstate` });
  Annotations.of(stack).addWarning(
    `state: without \`state = { bucket = "..." }\` the state of "${name}" is the local file terraform.${name}.tfstate: nobody else can deploy, and whoever loses it must import everything`,
  );
}
