/** VPC, one subnet with ranges for pods and services, and NAT with one fixed address: nodes have none of their own. */
import { ComputeAddress } from "@cdktf/provider-google/lib/compute-address";
import { ComputeNetwork } from "@cdktf/provider-google/lib/compute-network";
import { ComputeRouter } from "@cdktf/provider-google/lib/compute-router";
import { ComputeRouterNat } from "@cdktf/provider-google/lib/compute-router-nat";
import { ComputeSubnetwork } from "@cdktf/provider-google/lib/compute-subnetwork";
import type { ITerraformDependable } from "cdktf";
import { Construct } from "constructs";
import { pin } from "../element";

export interface NetworkProps {
  readonly project: string;
  readonly region: string;
  /** Prefix of the names. */
  readonly name: string;
  readonly dependsOn: ITerraformDependable[];
}

export class Network extends Construct {
  readonly networkId: string;
  readonly subnetworkId: string;
  readonly podsRange = "pods";
  readonly servicesRange = "services";
  readonly natAddress: string;

  constructor(scope: Construct, id: string, props: NetworkProps) {
    super(scope, id);
    const { project, region, name } = props;
    const network = pin(
      new ComputeNetwork(this, "network", {
        project,
        name,
        autoCreateSubnetworks: false,
        routingMode: "REGIONAL",
        dependsOn: props.dependsOn,
      }),
      "network",
    );
    const subnetwork = pin(
      new ComputeSubnetwork(this, "subnetwork", {
        project,
        region,
        name,
        network: network.id,
        ipCidrRange: "10.10.0.0/20",
        secondaryIpRange: [
          { rangeName: this.podsRange, ipCidrRange: "10.20.0.0/16" },
          { rangeName: this.servicesRange, ipCidrRange: "10.30.0.0/20" },
        ],
        privateIpGoogleAccess: true,
        logConfig: { aggregationInterval: "INTERVAL_5_MIN", flowSampling: 0.1, metadata: "INCLUDE_ALL_METADATA" },
      }),
      "subnetwork",
    );
    const address = pin(
      new ComputeAddress(this, "nat-address", {
        project,
        region,
        name: `${name}-nat`,
        addressType: "EXTERNAL",
        dependsOn: props.dependsOn,
      }),
      "nat",
    );
    const router = pin(new ComputeRouter(this, "router", { project, region, name, network: network.id }), "router");
    pin(
      new ComputeRouterNat(this, "nat", {
        project,
        region,
        name,
        router: router.name,
        natIpAllocateOption: "MANUAL_ONLY",
        natIps: [address.selfLink],
        sourceSubnetworkIpRangesToNat: "LIST_OF_SUBNETWORKS",
        subnetwork: [{ name: subnetwork.id, sourceIpRangesToNat: ["ALL_IP_RANGES"] }],
        // A node with DAL holds some hundred connections to peers.
        minPortsPerVm: 4096,
        enableEndpointIndependentMapping: false,
        logConfig: { enable: true, filter: "ERRORS_ONLY" },
      }),
      "nat",
    );
    this.networkId = network.id;
    this.subnetworkId = subnetwork.id;
    this.natAddress = address.address;
  }
}
