/**
 * Kubernetes objects of which Terraform's kubernetes provider lacks a field, as a Helm release of a chart that prints
 * what it is given. `kubernetes_manifest` would do, too, but asks the cluster already for a plan.
 */
import { resolve } from "node:path";
import { Release } from "@cdktf/provider-helm/lib/release";
import { AssetType, TerraformAsset } from "cdktf";
import { Construct } from "constructs";
import type { ClusterAccess } from "./cluster-access";
import { pin } from "./element";
import { needHelm } from "./helm-provider";

/** Whole, with its namespace: `npm run manifests` prints it as it is. */
export interface ChartObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string; readonly labels: Record<string, string> };
  readonly spec: object;
}

export interface ObjectReleaseProps {
  readonly access: ClusterAccess;
  readonly namespace: string;
  /** Of the release; at most 53 characters. */
  readonly name: string;
  readonly objects: readonly ChartObject[];
}

export class ObjectRelease extends Construct {
  constructor(scope: Construct, id: string, { access, namespace, name, objects }: ObjectReleaseProps) {
    super(scope, id);
    needHelm(this, access);
    const path = resolve(__dirname, "charts/objects");
    const chart = new TerraformAsset(this, "chart", { path, type: AssetType.DIRECTORY });
    pin(
      new Release(this, "release", {
        ...{ name, namespace, chart: `./${chart.path}`, values: [JSON.stringify({ objects })], atomic: true },
      }),
      name,
    );
  }
}
