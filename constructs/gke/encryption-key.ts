/** The KMS key that encrypts the cluster's secrets; rotated every 90 days. */
import { DataGoogleProject } from "@cdktf/provider-google/lib/data-google-project";
import { KmsCryptoKey } from "@cdktf/provider-google/lib/kms-crypto-key";
import { KmsCryptoKeyIamMember } from "@cdktf/provider-google/lib/kms-crypto-key-iam-member";
import { KmsKeyRing } from "@cdktf/provider-google/lib/kms-key-ring";
import type { ITerraformDependable } from "cdktf";
import { Construct } from "constructs";
import { pin, protect } from "../element";

export interface EncryptionKeyProps {
  readonly project: string;
  readonly region: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly deletionProtection: boolean;
  readonly dependsOn: ITerraformDependable[];
}

export class EncryptionKey extends Construct {
  readonly keyId: string;
  /** The cluster may be made only after GKE may use the key. */
  readonly grant: ITerraformDependable;

  constructor(scope: Construct, id: string, props: EncryptionKeyProps) {
    super(scope, id);
    const { project, region, name, dependsOn } = props;
    const lifecycle = protect(props.deletionProtection);
    const ring = pin(new KmsKeyRing(this, "ring", { project, location: region, name, lifecycle, dependsOn }), "keys");
    const key = pin(
      new KmsCryptoKey(this, "key", {
        keyRing: ring.id,
        name: "cluster-secrets",
        purpose: "ENCRYPT_DECRYPT",
        rotationPeriod: "7776000s",
        labels: { ...props.labels },
        lifecycle,
      }),
      "cluster_secrets",
    );
    const data = pin(new DataGoogleProject(this, "project", { projectId: project, dependsOn }), "project");
    this.grant = pin(
      new KmsCryptoKeyIamMember(this, "grant", {
        cryptoKeyId: key.id,
        role: "roles/cloudkms.cryptoKeyEncrypterDecrypter",
        member: `serviceAccount:service-${data.number}@container-engine-robot.iam.gserviceaccount.com`,
      }),
      "cluster_secrets",
    );
    this.keyId = key.id;
  }
}
