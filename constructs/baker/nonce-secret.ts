/**
 * What the members of one baker share to know each other in the nonce exchange: 32 random bytes in hex. Terraform draws
 * them once, at creation (docs/decisions/2026-11-23-nonce-secret.md). New ones: `terraform
 * apply -replace=kubernetes_secret_v1.<baker>_nonce`.
 */
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { Construct } from "constructs";
import { secretFiles } from "../../contract/env";
import { labels } from "../../contract/names";
import { objectLabels, pin } from "../element";

export interface NonceSecretProps {
  readonly namespace: string;
  readonly baker: string;
}

export class NonceSecret extends Construct {
  static nameOf(baker: string): string {
    return `${baker}-nonce`;
  }

  constructor(scope: Construct, id: string, props: NonceSecretProps) {
    super(scope, id);
    pin(
      new SecretV1(this, "secret", {
        metadata: {
          name: NonceSecret.nameOf(props.baker),
          namespace: props.namespace,
          labels: objectLabels({ [labels.baker]: props.baker }),
        },
        // uuid() is known at apply only and draws 122 random bits; three of them fill a SHA-256. What is write-only is
        // in no state, and is written again only where its revision changes.
        dataWo: { [secretFiles.nonceSecret]: '${sha256(join("", [uuid(), uuid(), uuid()]))}' },
        dataWoRevision: 1,
      }),
      props.baker,
      "nonce",
    );
  }
}
