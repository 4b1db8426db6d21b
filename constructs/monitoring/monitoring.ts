/** Place of the monitoring: a helm release of the local chart in ./chart. */
import { Construct } from "constructs";
import type { ClusterAccess } from "../cluster-access";
import type { Configuration } from "../configuration/schema";

export interface MonitoringProps {
  readonly configuration: Configuration;
  readonly access: ClusterAccess;
  /** Names of the bakers. */
  readonly bakers: readonly string[];
}

/** Namespaces whose pods may read metrics: Google's managed collectors, or our own Prometheus. */
export const monitoringNamespaces = ({ monitoring }: Configuration): string[] =>
  monitoring.kube_prometheus_stack ? ["monitoring"] : ["gmp-system", "gke-gmp-system", "monitoring"];

export class Monitoring extends Construct {
  constructor(scope: Construct, id: string, _props: MonitoringProps) {
    super(scope, id);
  }
}
