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
import { type ITerraformDependable, TerraformOutput, TerraformStack } from "cdktf";
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

/** What the parts of this stack have in common. */
interface Common {
  readonly project: string;
  readonly region: string;
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly deletionProtection: boolean;
  /** Google's services, switched on. */
  readonly dependsOn: ITerraformDependable[];
}

export class PlatformStack extends TerraformStack {
  constructor(scope: Construct, id: string, props: PlatformStackProps) {
    super(scope, id);
    withoutCreationTraces(() => this.declare(id, props));
  }

  private declare(id: string, { configuration }: PlatformStackProps): void {
    const { project, region, name, deletion_protection: deletionProtection } = configuration;
    if (project === undefined)
      throw new Error('project must name a Google Cloud project for the stack "platform"; got none');
    declareVariables(this, configuration);
    stateBackend(this, id, configuration);
    new GoogleProvider(this, "google", { project, region });
    const labels = { ...configuration.labels, "part-of": partOf, environment: name };

    const enabled = this.services(project);
    const common: Common = { project, region, name, labels, deletionProtection, dependsOn: enabled };
    const network = new Network(this, "network", common);
    const key = new EncryptionKey(this, "key", common);
    const nodes = this.nodes(common);
    const cluster = new GkeCluster(this, "cluster", {
      configuration,
      project,
      labels,
      network,
      keyId: key.keyId,
      nodeAccount: nodes.email,
      dependsOn: [...enabled, key.grant, nodes.role],
    });
    new BakerNodePool(this, "bakers", {
      cluster,
      project,
      region,
      zones: configuration.zones,
      machineType: configuration.machine_type,
      nodeAccount: nodes.email,
      labels,
      dependsOn: [nodes.role, nodes.pull],
    });
    const signerLink = this.signerLinkAddress(common, signerLinkAddressName(configuration));
    for (const [baker, { cloud_key }] of Object.entries(configuration.bakers))
      if (cloud_key !== undefined) this.cloudSigner(configuration, common, { baker, key: cloud_key, cluster });

    this.output("cluster_name", cluster.clusterName, "Name of the cluster.");
    this.output("get_credentials_command", credentialsCommand(configuration), "Gives kubectl access to the cluster.");
    this.output("nat_addresses", [network.natAddress], "Addresses from which the nodes reach the internet.");
    this.output(
      "signer_link_address",
      signerLink.address,
      "Address to which the signer hosts at home open their tunnels.",
    );
    this.output("registry", `${region}-docker.pkg.dev/${project}/${name}`, "Where `npm run publish-images` pushes to.");
  }

  private output(name: string, value: unknown, description: string): void {
    pin(new TerraformOutput(this, `output-${name}`, { value, description }), name);
  }

  private services(project: string): ITerraformDependable[] {
    return services.map((service) =>
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
  }

  /** The account of the nodes with its rights, and the registry from which they pull. */
  private nodes({ project, region, name, labels, deletionProtection, dependsOn }: Common) {
    const account = pin(
      new ServiceAccount(this, "nodes", {
        project,
        accountId: `${name}-nodes`,
        displayName: "Nodes of the bakers",
        dependsOn,
      }),
      "nodes",
    );
    const role = pin(
      new ProjectIamMember(this, "nodes-role", {
        project,
        role: "roles/container.defaultNodeServiceAccount",
        member: account.member,
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
        lifecycle: protect(deletionProtection),
        dependsOn,
      }),
      "registry",
    );
    const pull = pin(
      new ArtifactRegistryRepositoryIamMember(this, "registry-nodes", {
        project,
        location: region,
        repository: registry.repositoryId,
        role: "roles/artifactregistry.reader",
        member: account.member,
      }),
      "nodes",
    );
    return { email: account.email, role, pull };
  }

  private signerLinkAddress(common: Common, name: string): ComputeAddress {
    const { project, region, labels, deletionProtection, dependsOn } = common;
    return pin(
      new ComputeAddress(this, "signer-link", {
        project,
        region,
        name,
        addressType: "EXTERNAL",
        networkTier: "PREMIUM",
        labels,
        // The signer hosts know it.
        lifecycle: protect(deletionProtection),
        dependsOn,
      }),
      "signer_link",
    );
  }

  /** The Google account of a baker's signer in the cluster, which may sign with the key in KMS. */
  private cloudSigner(
    configuration: Configuration,
    { project, dependsOn }: Common,
    { baker, key, cluster }: { baker: string; key: string; cluster: GkeCluster },
  ): void {
    const accountId = cloudSignerAccountId(configuration, baker);
    const account = pin(
      new ServiceAccount(this, `cloud-signer-${baker}`, {
        project,
        accountId,
        displayName: `Signer of the baker ${baker}`,
        dependsOn,
      }),
      "cloud_signer",
      baker,
    );
    for (const role of ["signer", "publicKeyViewer", "viewer"])
      pin(
        new KmsCryptoKeyIamMember(this, `cloud-signer-${baker}-${role}`, {
          cryptoKeyId: key.replace(/\/cryptoKeyVersions\/\d+$/, ""),
          role: `roles/cloudkms.${role}`,
          member: account.member,
        }),
        ...["cloud_signer", baker, role],
      );
    const pods = `${configuration.namespace}/${signerServiceName(baker, cloudSignerName)}`;
    pin(
      new ServiceAccountIamMember(this, `cloud-signer-${baker}-pods`, {
        serviceAccountId: `projects/${project}/serviceAccounts/${accountEmail(accountId, project)}`,
        role: "roles/iam.workloadIdentityUser",
        member: `serviceAccount:${project}.svc.id.goog[${pods}]`,
        // The pool of identities begins to exist with the cluster.
        dependsOn: [account, cluster.resource],
      }),
      "cloud_signer",
      baker,
    );
  }
}
