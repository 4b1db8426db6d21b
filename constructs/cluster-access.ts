/**
 * How the stack `baker` reaches Kubernetes: the cluster of the stack `platform` by Google's exec plugin, or any
 * kubeconfig context.
 */
import { DataGoogleComputeAddress } from "@cdktf/provider-google/lib/data-google-compute-address";
import { DataGoogleContainerCluster } from "@cdktf/provider-google/lib/data-google-container-cluster";
import { GoogleProvider } from "@cdktf/provider-google/lib/provider";
import { KubernetesProvider, type KubernetesProviderConfig } from "@cdktf/provider-kubernetes/lib/provider";
import { Fn } from "cdktf";
import { Construct } from "constructs";
import type { Configuration } from "../configuration/schema";
import { pin } from "./element";
import { clusterName, credentialsCommand, poolLabel, signerLinkAddressName } from "./gke/names";

export type Connection = Pick<
  KubernetesProviderConfig,
  "host" | "clusterCaCertificate" | "exec" | "configPath" | "configContext"
>;

export interface ClusterAccess {
  /** For the helm provider too. */
  readonly connection: Connection;
  /** Static address of the signer link; undefined where a load balancer chooses one. */
  readonly signerLinkAddress: string | undefined;
  /** Labels of the nodes for baking pods; undefined = any. */
  readonly nodeSelector: Readonly<Record<string, string>> | undefined;
  /** Command that gives a person access; undefined where the person has it. */
  readonly credentialsCommand: string | undefined;
}

/** GKE writes `cloud.google.com/neg*` annotations into services: never ours to remove. */
const ignoreAnnotations = ["cloud[.]google[.]com/neg.*"];

export interface ClusterAccessProps {
  readonly configuration: Configuration;
}

export class GkeAccess extends Construct implements ClusterAccess {
  readonly connection: Connection;
  readonly signerLinkAddress: string;
  readonly nodeSelector = poolLabel;
  readonly credentialsCommand: string;

  constructor(scope: Construct, id: string, { configuration }: ClusterAccessProps) {
    super(scope, id);
    const { project, region, control_plane } = configuration;
    new GoogleProvider(this, "google", { project, region });
    const cluster = pin(
      new DataGoogleContainerCluster(this, "cluster", { name: clusterName(configuration), location: region, project }),
      "cluster",
    );
    const address = pin(
      new DataGoogleComputeAddress(this, "address", { name: signerLinkAddressName(configuration), region, project }),
      "signer_link",
    );
    // The DNS endpoint has a public certificate, so it takes no CA; a token would end up in the plan: exec plugin only.
    const endpoint: Record<Configuration["control_plane"]["endpoint"], () => Connection> = {
      dns: () => ({ host: `https://${cluster.controlPlaneEndpointsConfig.get(0).dnsEndpointConfig.get(0).endpoint}` }),
      ip: () => ({
        host: `https://${cluster.endpoint}`,
        clusterCaCertificate: Fn.base64decode(cluster.masterAuth.get(0).clusterCaCertificate),
      }),
    };
    this.connection = {
      ...endpoint[control_plane.endpoint](),
      exec: [{ apiVersion: "client.authentication.k8s.io/v1beta1", command: "gke-gcloud-auth-plugin" }],
    };
    new KubernetesProvider(this, "kubernetes", { ...this.connection, ignoreAnnotations });
    this.signerLinkAddress = address.address;
    this.credentialsCommand = credentialsCommand(configuration);
  }
}

export class ExistingAccess extends Construct implements ClusterAccess {
  readonly connection: Connection;
  readonly signerLinkAddress: string | undefined;
  readonly nodeSelector = undefined;
  readonly credentialsCommand = undefined;

  constructor(
    scope: Construct,
    id: string,
    props: ClusterAccessProps & { readonly context: string; readonly kubeconfig: string },
  ) {
    super(scope, id);
    this.connection = { configPath: props.kubeconfig, configContext: props.context };
    new KubernetesProvider(this, "kubernetes", { ...this.connection, ignoreAnnotations });
    this.signerLinkAddress = props.configuration.signer_link.address;
  }
}
