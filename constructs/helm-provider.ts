/** The helm provider of a stack: one for all its releases, and none where there is no release. */
import { HelmProvider } from "@cdktf/provider-helm/lib/provider";
import { TerraformStack } from "cdktf";
import type { IConstruct } from "constructs";
import type { ClusterAccess } from "./cluster-access";

export function needHelm(scope: IConstruct, { connection }: ClusterAccess): void {
  const stack = TerraformStack.of(scope);
  if (stack.node.tryFindChild("helm")) return;
  const { exec, ...rest } = connection;
  new HelmProvider(stack, "helm", { kubernetes: { ...rest, ...(Array.isArray(exec) ? { exec: exec[0] } : {}) } });
}
