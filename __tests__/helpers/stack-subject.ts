/**
 * A real API server that holds what the stack declares for the baker "alice": namespace with restricted pod security,
 * service account, Role, RoleBinding, watermarks. Tokens are those of the stack's service account, so that its Role is
 * what the daemons may do.
 */
import { readFileSync } from "node:fs";
import { toManifests, type KubernetesObject } from "../../manifests/kubernetes-objects";
import type { ControlPlane } from "../../tools/test-assets/control-plane";
import { adminOf } from "../suites/kube-suite";
import type { ElectionSubject } from "./election";
import { outcome, storageClassName, zones } from "./played-cluster";
import { baker } from "./synthesized";

export const stackBaker = "alice";
export const stackNamespace = "bakery";

/** What the stack declares, with the flag, for one baker with this key. */
const stackObjects = (key: string, namespace: string): KubernetesObject[] =>
  toManifests(
    baker(true, {
      project: undefined,
      zones,
      namespace,
      cluster: { existing: { context: "here", storage_class: storageClassName } },
      bakers: { [stackBaker]: { delegate: key, hot_test_key: true } },
    }).document,
  );

/** Creates those objects of the stack that decide what a daemon may do. */
export async function applyStack(plane: ControlPlane, key: string, inNamespace = stackNamespace): Promise<void> {
  for (const object of stackObjects(key, inNamespace)) {
    const { apiVersion, kind, metadata } = object;
    if (!["Namespace", "ServiceAccount", "Role", "RoleBinding", "ConfigMap"].includes(kind)) continue;
    const base = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
    const within = metadata.namespace === undefined ? "" : `/namespaces/${String(metadata.namespace)}`;
    const answer = await plane.call("POST", `${base}${within}/${kind.toLowerCase()}s`, object);
    if (answer.status !== 201) throw new Error(`${kind} ${String(metadata.name)}: ${outcome(answer)}`);
  }
}

/**
 * @param plane holds the stack: {@link applyStack}, or a deployment by Terraform. It is stopped by whoever started it.
 */
export function stackSubject(plane: ControlPlane): ElectionSubject {
  const ca = readFileSync(plane.caFile, "utf8");
  return {
    url: plane.url,
    ca,
    namespace: stackNamespace,
    baker: stackBaker,
    token: () => plane.serviceAccountToken(stackNamespace, `${stackBaker}-as`),
    admin: adminOf(plane.url, plane.adminToken, ca),
    stop: () => Promise.resolve(),
  };
}
