/**
 * The nodes of the bakers: one per zone, never preemptible ones (they are the failure that we survive, not a saving).
 */
import { ContainerNodePool } from "@cdktf/provider-google/lib/container-node-pool";
import type { ITerraformDependable } from "cdktf";
import { Construct } from "constructs";
import { pin } from "../element";
import { type GkeCluster, nodeSecurity } from "./gke-cluster";
import { poolLabel } from "./names";

export interface BakerNodePoolProps {
  readonly cluster: GkeCluster;
  readonly project: string;
  readonly region: string;
  readonly zones: readonly string[];
  readonly machineType: string;
  readonly nodeAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly dependsOn: ITerraformDependable[];
}

/**
 * GKE waits one hour for a disruption budget and then drains all the same. A baking node that has to synchronize may
 * need longer, so GKE waits another hour between two nodes, and one before it deletes the old ones.
 */
const oneNodeAfterTheOther = {
  strategy: "BLUE_GREEN",
  blueGreenSettings: {
    standardRolloutPolicy: { batchNodeCount: 1, batchSoakDuration: "3600s" },
    nodePoolSoakDuration: "3600s",
  },
};

export class BakerNodePool extends Construct {
  constructor(scope: Construct, id: string, props: BakerNodePoolProps) {
    super(scope, id);
    pin(
      new ContainerNodePool(this, "pool", {
        project: props.project,
        name: "bakers",
        cluster: props.cluster.clusterName,
        location: props.region,
        nodeLocations: [...props.zones],
        nodeCount: 1,
        management: { autoUpgrade: true, autoRepair: true },
        upgradeSettings: oneNodeAfterTheOther,
        nodeConfig: {
          ...nodeSecurity,
          machineType: props.machineType,
          // Hyperdisk machine types take no pd boot disk but balanced ones of both kinds; pd-balanced is what E2, N2
          // and T2D take.
          ...(/^(e2|n1|n2|n2d|t2d|t2a|c2|c2d|c3)-/.test(props.machineType) ? { diskType: "pd-balanced" } : {}),
          diskSizeGb: 50,
          spot: false,
          preemptible: false,
          serviceAccount: props.nodeAccount,
          labels: { ...poolLabel },
          resourceLabels: { ...props.labels },
        },
        lifecycle: { ignoreChanges: ["initial_node_count"] },
        dependsOn: props.dependsOn,
      }),
      "bakers",
    );
  }
}
