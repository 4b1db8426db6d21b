/**
 * The client against a real API server (KUBEBUILDER_ASSETS, or `npm run test:assets`): the suite that the embedded API
 * passes.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { missingForControlPlane, startControlPlane } from "../../../tools/test-assets/control-plane";
import { adminOf, kubeSuite, suiteRules } from "../../suites/kube-suite";

const missing = missingForControlPlane();
if (missing !== undefined) console.log(`skipped: ${missing}`);

(missing === undefined ? describe : describe.skip)("with a real API server", () => {
  kubeSuite(async () => {
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
      metadata: { name: "elector-0" },
    });
    const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
    const apiVersion = "rbac.authorization.k8s.io/v1";
    await created(`${rbac}/roles`, { apiVersion, kind: "Role", metadata: { name: "suite" }, rules: suiteRules });
    await created(`${rbac}/rolebindings`, {
      apiVersion,
      kind: "RoleBinding",
      metadata: { name: "suite" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "suite" },
      subjects: [{ kind: "ServiceAccount", name: "elector-0", namespace }],
    });
    const kubeDir = join(plane.folder, "kube");
    mkdirSync(kubeDir);
    writeFileSync(join(kubeDir, "token"), await plane.serviceAccountToken(namespace, "elector-0"), { mode: 0o600 });
    copyFileSync(plane.caFile, join(kubeDir, "ca.crt"));
    return {
      url: plane.url,
      namespace,
      kubeDir,
      admin: adminOf(plane.url, plane.adminToken, readFileSync(plane.caFile, "utf8")),
      stop: plane.stop,
    };
  });
});
