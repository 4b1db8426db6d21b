/** What the cluster stands on: services, network, keys, cluster, nodes, registry, the signer link's address. */
import { ArtifactRegistryRepository } from "@cdktf/provider-google/lib/artifact-registry-repository";
import { ArtifactRegistryRepositoryIamMember } from "@cdktf/provider-google/lib/artifact-registry-repository-iam-member";
import { ComputeAddress } from "@cdktf/provider-google/lib/compute-address";
import { KmsCryptoKeyIamMember } from "@cdktf/provider-google/lib/kms-crypto-key-iam-member";
import { ProjectIamMember } from "@cdktf/provider-google/lib/project-iam-member";
import { ProjectService } from "@cdktf/provider-google/lib/project-service";
import { GoogleProvider } from "@cdktf/provider-google/lib/provider";
import { ServiceAccount } from "@cdktf/provider-google/lib/service-account";
import { ServiceAccountIamMember } from "@cdktf/provider-google/lib/service-account-iam-member";
import { TerraformOutput, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { partOf, signerServiceName } from "../contract/names";
import type { Configuration } from "../configuration/schema";
import { declareVariables } from "./variables";
import { pin, protect, withoutCreationTraces } from "./element";
import { BakerNodePool } from "./gke/baker-node-pool";
import { EncryptionKey } from "./gke/encryption-key";
import { GkeCluster } from "./gke/gke-cluster";
import { accountEmail, cloudSignerAccountId, credentialsCommand, signerLinkAddressName } from "./gke/names";
import { Network } from "./gke/network";
import { cloudSignerName } from "./signer/baker-signers";
import { stateBackend } from "./state-backend";

const services = [
  "artifactregistry",
  "cloudkms",
  "cloudresourcemanager",
  "compute",
  "container",
  "iam",
  "logging",
  "monitoring",
];

export interface PlatformStackProps {
  readonly configuration: Configuration;
}

export class PlatformStack extends TerraformStack {
  constructor(scope: Construct, id: string, props: PlatformStackProps) {
    super(scope, id);
    withoutCreationTraces(() => this.declare(id, props));
  }

  private declare(id: string, { configuration }: PlatformStackProps): void {
    const { project, region, name, namespace, deletion_protection: deletionProtection } = configuration;
    if (project === undefined)
      throw new Error('project must name a Google Cloud project for the stack "platform"; got none');
    declareVariables(this, configuration);
    stateBackend(this, id, configuration);
    new GoogleProvider(this, "google", { project, region });
    const labels = { ...configuration.labels, "part-of": partOf, environment: name };
    const lifecycle = protect(deletionProtection);

    const enabled = services.map((service) =>
      pin(
        new ProjectService(this, `service-${service}`, {
          project,
          service: `${service}.googleapis.com`,
          // Others in the project may use it.
          disableOnDestroy: false,
        }),
        "service",
        service,
      ),
    );
    const common = { project, region, name, labels, deletionProtection, dependsOn: enabled };
    const network = new Network(this, "network", common);
    const key = new EncryptionKey(this, "key", common);

    const nodes = pin(
      new ServiceAccount(this, "nodes", {
        project,
        accountId: `${name}-nodes`,
        displayName: "Nodes of the bakers",
        dependsOn: enabled,
      }),
      "nodes",
    );
    const nodeRole = pin(
      new ProjectIamMember(this, "nodes-role", {
        project,
        role: "roles/container.defaultNodeServiceAccount",
        member: nodes.member,
      }),
      "nodes",
    );
    const registry = pin(
      new ArtifactRegistryRepository(this, "registry", {
        project,
        location: region,
        repositoryId: name,
        format: "DOCKER",
        description: "Images of the bakers",
        labels,
        lifecycle,
        dependsOn: enabled,
      }),
      "registry",
    );
    const pull = pin(
      new ArtifactRegistryRepositoryIamMember(this, "registry-nodes", {
        project,
        location: region,
        repository: registry.repositoryId,
        role: "roles/artifactregistry.reader",
        member: nodes.member,
      }),
      "nodes",
    );

    const cluster = new GkeCluster(this, "cluster", {
      configuration,
      project,
      labels,
      network,
      keyId: key.keyId,
      nodeAccount: nodes.email,
      dependsOn: [...enabled, key.grant, nodeRole],
    });
    new BakerNodePool(this, "bakers", {
      cluster,
      project,
      region,
      zones: configuration.zones,
      machineType: configuration.machine_type,
      nodeAccount: nodes.email,
      labels,
      dependsOn: [nodeRole, pull],
    });

    const signerLink = pin(
      new ComputeAddress(this, "signer-link", {
        project,
        region,
        name: signerLinkAddressName(configuration),
        addressType: "EXTERNAL",
        networkTier: "PREMIUM",
        labels,
        // The signer hosts know it.
        lifecycle,
        dependsOn: enabled,
      }),
      "signer_link",
    );

    for (const [baker, { cloud_key }] of Object.entries(configuration.bakers)) {
      if (cloud_key === undefined) continue;
      const accountId = cloudSignerAccountId(configuration, baker);
      const account = pin(
        new ServiceAccount(this, `cloud-signer-${baker}`, {
          project,
          accountId,
          displayName: `Signer of the baker ${baker}`,
          dependsOn: enabled,
        }),
        "cloud_signer",
        baker,
      );
      for (const role of ["signer", "publicKeyViewer", "viewer"])
        pin(
          new KmsCryptoKeyIamMember(this, `cloud-signer-${baker}-${role}`, {
            cryptoKeyId: cloud_key.replace(/\/cryptoKeyVersions\/\d+$/, ""),
            role: `roles/cloudkms.${role}`,
            member: account.member,
          }),
          ...["cloud_signer", baker, role],
        );
      pin(
        new ServiceAccountIamMember(this, `cloud-signer-${baker}-pods`, {
          serviceAccountId: `projects/${project}/serviceAccounts/${accountEmail(accountId, project)}`,
          role: "roles/iam.workloadIdentityUser",
          member: `serviceAccount:${project}.svc.id.goog[${namespace}/${signerServiceName(baker, cloudSignerName)}]`,
          // The pool of identities begins to exist with the cluster.
          dependsOn: [account, cluster.resource],
        }),
        "cloud_signer",
        baker,
      );
    }

    const output = (outputName: string, value: unknown, description: string): void => {
      pin(new TerraformOutput(this, `output-${outputName}`, { value, description }), outputName);
    };
    output("cluster_name", cluster.clusterName, "Name of the cluster.");
    output("get_credentials_command", credentialsCommand(configuration), "Gives kubectl access to the cluster.");
    output("nat_addresses", [network.natAddress], "Addresses from which the nodes reach the internet.");
    output("signer_link_address", signerLink.address, "Address to which the signer hosts at home open their tunnels.");
    output("registry", `${region}-docker.pkg.dev/${project}/${name}`, "Where `npm run publish-images` pushes to.");
  }
}
