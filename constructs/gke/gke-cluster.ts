/**
 * The regional cluster over exactly the configured zones: its regional control plane is what keeps the lease available
 * when a zone is lost. Deviations from the usual scanner rules, with their reasons:
 * docs/decisions/2026-11-23-hardening-deviations.md.
 */
import { ContainerCluster, type ContainerClusterConfig } from "@cdktf/provider-google/lib/container-cluster";
import type { ITerraformDependable } from "cdktf";
import { Construct } from "constructs";
import type { Configuration } from "../../configuration/schema";
import { pin, protect } from "../element";
import { clusterName } from "./names";
import type { Network } from "./network";

export interface GkeClusterProps {
  readonly configuration: Configuration;
  readonly project: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly network: Network;
  /** KMS key of the cluster's secrets. */
  readonly keyId: string;
  /** Service account of the nodes. */
  readonly nodeAccount: string;
  readonly dependsOn: ITerraformDependable[];
}

type Access = Pick<
  ContainerClusterConfig,
  "privateClusterConfig" | "controlPlaneEndpointsConfig" | "masterAuthorizedNetworksConfig"
>;

/**
 * How the control plane is reached: Google's IAM-gated name without any address, or an address for authorized networks
 * only.
 */
const controlPlane: Record<Configuration["control_plane"]["endpoint"], (configuration: Configuration) => Access> = {
  dns: () => ({
    // enable_private_endpoint: without it the provider shows a difference for ever.
    privateClusterConfig: { enablePrivateNodes: true, enablePrivateEndpoint: true },
    controlPlaneEndpointsConfig: {
      dnsEndpointConfig: { allowExternalTraffic: true },
      ipEndpointsConfig: { enabled: false },
    },
  }),
  ip: ({ control_plane }) => ({
    privateClusterConfig: { enablePrivateNodes: true, enablePrivateEndpoint: false },
    controlPlaneEndpointsConfig: {
      dnsEndpointConfig: { allowExternalTraffic: false },
      ipEndpointsConfig: { enabled: true },
    },
    masterAuthorizedNetworksConfig: {
      gcpPublicCidrsAccessEnabled: false,
      cidrBlocks: Object.entries(control_plane.authorized_networks).map(([displayName, cidrBlock]) => ({
        displayName,
        cidrBlock,
      })),
    },
  }),
};

/** What every node has, also the one that Google makes and removes at creation. */
export const nodeSecurity = {
  imageType: "COS_CONTAINERD",
  oauthScopes: ["https://www.googleapis.com/auth/cloud-platform"],
  metadata: { "disable-legacy-endpoints": "true" },
  shieldedInstanceConfig: { enableSecureBoot: true, enableIntegrityMonitoring: true },
  workloadMetadataConfig: { mode: "GKE_METADATA" },
  kubeletConfig: { insecureKubeletReadonlyPortEnabled: "FALSE" },
};

const dataplane = {
  datapathProvider: "ADVANCED_DATAPATH",
  enableIntranodeVisibility: true,
  // Dataplane V2 enforces policies by itself; the old add-on must be said to be off.
  networkPolicy: { enabled: false },
  addonsConfig: {
    networkPolicyConfig: { disabled: true },
    dnsCacheConfig: { enabled: true },
    gcePersistentDiskCsiDriverConfig: { enabled: true },
    httpLoadBalancing: { disabled: false },
  },
};

export class GkeCluster extends Construct {
  readonly clusterName: string;
  readonly clusterId: string;
  readonly resource: ContainerCluster;

  constructor(scope: Construct, id: string, props: GkeClusterProps) {
    super(scope, id);
    const { configuration, project, network } = props;
    const { maintenance } = configuration;
    this.resource = pin(
      new ContainerCluster(this, "cluster", {
        project,
        name: clusterName(configuration),
        location: configuration.region,
        nodeLocations: [...configuration.zones],
        network: network.networkId,
        subnetwork: network.subnetworkId,
        networkingMode: "VPC_NATIVE",
        ipAllocationPolicy: {
          clusterSecondaryRangeName: network.podsRange,
          servicesSecondaryRangeName: network.servicesRange,
        },
        ...controlPlane[configuration.control_plane.endpoint](configuration),

        removeDefaultNodePool: true,
        initialNodeCount: 1,
        nodeConfig: { ...nodeSecurity, serviceAccount: props.nodeAccount },
        nodePoolDefaults: { nodeConfigDefaults: { insecureKubeletReadonlyPortEnabled: "FALSE" } },

        workloadIdentityConfig: { workloadPool: `${project}.svc.id.goog` },
        enableShieldedNodes: true,
        enableLegacyAbac: false,
        masterAuth: { clientCertificateConfig: { issueClientCertificate: false } },
        anonymousAuthenticationConfig: { mode: "LIMITED" },
        databaseEncryption: { state: "ENCRYPTED", keyName: props.keyId },
        securityPostureConfig: { mode: "BASIC", vulnerabilityMode: "VULNERABILITY_DISABLED" },

        ...dataplane,

        releaseChannel: { channel: configuration.release_channel },
        maintenancePolicy: {
          recurringWindow: {
            startTime: maintenance.start,
            endTime: maintenance.end,
            recurrence: maintenance.recurrence,
          },
          maintenanceExclusion: Object.entries(maintenance.exclusions).map(([exclusionName, { start, end }]) => ({
            exclusionName,
            startTime: start,
            endTime: end,
            exclusionOptions: { scope: "NO_MINOR_OR_NODE_UPGRADES" },
          })),
        },

        loggingConfig: { enableComponents: ["SYSTEM_COMPONENTS", "WORKLOADS"] },
        monitoringConfig: {
          enableComponents: ["SYSTEM_COMPONENTS", "STATEFULSET", "DEPLOYMENT", "POD", "STORAGE"],
          managedPrometheus: { enabled: true },
        },
        costManagementConfig: { enabled: true },
        resourceLabels: { ...props.labels },

        deletionProtection: configuration.deletion_protection,
        lifecycle: protect(configuration.deletion_protection, ["initial_node_count", "node_config"]),
        dependsOn: props.dependsOn,
      }),
      "cluster",
    );
    this.clusterName = this.resource.name;
    this.clusterId = this.resource.id;
  }
}
