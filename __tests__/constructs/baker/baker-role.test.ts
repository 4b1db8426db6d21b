/** What the pods may do at the Kubernetes API: by name, in their namespace, and no more than protocols need. */
import { RoleV1 } from "@cdktf/provider-kubernetes/lib/role-v1";
import { RoleBindingV1 } from "@cdktf/provider-kubernetes/lib/role-binding-v1";
import { addresses, baker, resource } from "../../helpers/synthesized";

const watermark = "wm-6b82198cb179e8306c1bedd08f12dc863f328886";
const leases = { api_groups: ["coordination.k8s.io"], resources: ["leases"] };

test("active-standby: its leases and watermarks by name, events, and the pod of the other topology", () => {
  expect(resource(baker(true), RoleV1, "alice-as").rule).toEqual([
    {
      ...leases,
      resource_names: ["alice.leader", "alice.member-0", "alice.member-1"],
      verbs: ["get", "update", "watch", "list"],
    },
    { ...leases, verbs: ["create"] },
    { api_groups: [""], resources: ["configmaps"], resource_names: [watermark], verbs: ["get", "update"] },
    { api_groups: ["", "events.k8s.io"], resources: ["events"], verbs: ["create"] },
    { api_groups: [""], resources: ["pods"], resource_names: ["alice-solo-0"], verbs: ["get"] },
  ]);
});
test("solo: reads the lease, marks the watermarks, and asks for every pod that the other topology can have", () => {
  expect(resource(baker(false), RoleV1, "alice-solo").rule).toEqual([
    { ...leases, resource_names: ["alice.leader"], verbs: ["get"] },
    { api_groups: [""], resources: ["configmaps"], resource_names: [watermark], verbs: ["get", "update"] },
    {
      api_groups: [""],
      resources: ["pods"],
      resource_names: ["alice-as-0", "alice-as-1", "alice-as-2"],
      verbs: ["get"],
    },
  ]);
});
test("three zones: three member leases", () => {
  const rules = resource(
    baker(true, { zones: ["us-central1-a", "us-central1-b", "us-central1-f"] }),
    RoleV1,
    "alice-as",
  ).rule;
  expect(rules?.[0]?.resource_names).toEqual(["alice.leader", "alice.member-0", "alice.member-1", "alice.member-2"]);
});
test("the Role is bound to the pods' own account only, and nothing is granted cluster-wide", () => {
  expect(resource(baker(true), RoleBindingV1, "alice-as")).toMatchObject({
    role_ref: { kind: "Role", name: "alice-as" },
    subject: [{ kind: "ServiceAccount", name: "alice-as", namespace: "tezos" }],
  });
  expect(addresses(baker(true)).filter((address) => address.includes("cluster_role"))).toEqual([]);
});
