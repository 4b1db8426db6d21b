/** What a baking pod may do at the Kubernetes API: by the names of its own baker's objects, nothing cluster-wide. */
import { RoleBindingV1 } from "@cdktf/provider-kubernetes/lib/role-binding-v1";
import { RoleV1, type RoleV1Rule } from "@cdktf/provider-kubernetes/lib/role-v1";
import { ServiceAccountV1 } from "@cdktf/provider-kubernetes/lib/service-account-v1";
import { Construct } from "constructs";
import { type BakerFile, otherPods } from "../../contract/baker-file";
import { labels, leaderLeaseName, memberLeaseName } from "../../contract/names";
import { objectLabels, pin } from "../element";

const watermarks = (file: BakerFile): RoleV1Rule => ({
  apiGroups: [""],
  resources: ["configmaps"],
  resourceNames: file.keys.map(({ watermark }) => watermark),
  verbs: ["get", "update"],
});
const guard = (file: BakerFile): RoleV1Rule => ({
  apiGroups: [""],
  resources: ["pods"],
  resourceNames: otherPods(file),
  verbs: ["get"],
});

/** Solo: the topology guard looks for pods and the lease of the other topology, the supervisor marks the watermarks. */
export const soloRules = (file: BakerFile): RoleV1Rule[] => [
  {
    apiGroups: ["coordination.k8s.io"],
    resources: ["leases"],
    resourceNames: [leaderLeaseName(file.baker)],
    verbs: ["get"],
  },
  watermarks(file),
  guard(file),
];

/** Watch and list by name work with a field selector on metadata.name; creating cannot be limited by name. */
export const activeStandbyRules = (file: BakerFile): RoleV1Rule[] => [
  {
    apiGroups: ["coordination.k8s.io"],
    resources: ["leases"],
    resourceNames: [
      leaderLeaseName(file.baker),
      ...Array.from({ length: file.members }, (_, i) => memberLeaseName(file.baker, i)),
    ],
    verbs: ["get", "update", "watch", "list"],
  },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
  watermarks(file),
  { apiGroups: ["", "events.k8s.io"], resources: ["events"], verbs: ["create"] },
  guard(file),
];

export interface BakerRoleProps {
  readonly namespace: string;
  readonly baker: string;
  /** Name of service account, Role and RoleBinding. */
  readonly name: string;
  readonly rules: readonly RoleV1Rule[];
}

export class BakerRole extends Construct {
  readonly serviceAccountName: string;
  readonly binding: RoleBindingV1;

  constructor(scope: Construct, id: string, props: BakerRoleProps) {
    super(scope, id);
    const metadata = {
      name: props.name,
      namespace: props.namespace,
      labels: objectLabels({ [labels.baker]: props.baker }),
    };
    const ids = props.name;
    const account = pin(new ServiceAccountV1(this, "account", { metadata, automountServiceAccountToken: false }), ids);
    const role = pin(new RoleV1(this, "role", { metadata, rule: [...props.rules] }), ids);
    this.binding = pin(
      new RoleBindingV1(this, "binding", {
        metadata,
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: props.name },
        subject: [{ kind: "ServiceAccount", name: props.name, namespace: props.namespace }],
        dependsOn: [account, role],
      }),
      ids,
    );
    this.serviceAccountName = props.name;
  }
}
