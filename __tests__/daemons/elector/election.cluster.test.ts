/** The election suite, unchanged, against a real API server (KUBEBUILDER_ASSETS, or `npm run test:assets`). */
import { readFileSync } from "node:fs";
import { missingForControlPlane, startControlPlane } from "../../../scripts/test-assets/control-plane";
import { openRules } from "../../helpers/kube";
import { adminOf } from "../../suites/kube-suite";
import { electionSuite } from "../../suites/election-suite";

const missing = missingForControlPlane();
if (missing !== undefined) console.log(`skipped: ${missing}`);
const k = Number(process.env.TOG_ELECTION_SPEED ?? "2");

(missing === undefined ? describe : describe.skip)("with a real API server", () => {
  electionSuite(
    `elections, real API server, ${k} times as fast`,
    async () => {
      const plane = await startControlPlane();
      const namespace = "bakers";
      const created = async (path: string, body: unknown) => {
        const { status, body: answer } = await plane.call("POST", path, body);
        if (status !== 201) throw new Error(`${path}: ${status} ${JSON.stringify(answer)}`);
      };
      await created("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
      await created(`/api/v1/namespaces/${namespace}/serviceaccounts`, {
        apiVersion: "v1",
        kind: "ServiceAccount",
        metadata: { name: "baker" },
      });
      const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
      const apiVersion = "rbac.authorization.k8s.io/v1";
      await created(`${rbac}/roles`, { apiVersion, kind: "Role", metadata: { name: "baker" }, rules: openRules });
      await created(`${rbac}/rolebindings`, {
        apiVersion,
        kind: "RoleBinding",
        metadata: { name: "baker" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "baker" },
        subjects: [{ kind: "ServiceAccount", name: "baker", namespace }],
      });
      const ca = readFileSync(plane.caFile, "utf8");
      return {
        url: plane.url,
        ca,
        namespace,
        token: () => plane.serviceAccountToken(namespace, "baker"),
        admin: adminOf(plane.url, plane.adminToken, ca),
        stop: plane.stop,
      };
    },
    { k, cases: "all" },
  );
});
