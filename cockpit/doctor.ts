/**
 * From the operator's machine to the signer: each check with its remedy, in the order in which things depend on each
 * other.
 */
import { leaderLeaseName } from "../contract/names";
import { ClusterError, type Cluster } from "./cluster";
import { diagnose, type BakerView } from "./view";

export interface Check {
  name: string;
  state: "ok" | "warning" | "failed" | "skipped";
  text: string;
  remedy: string;
}

/** Later checks are skipped, and say so, where one that they need has failed. */
export async function doctor(cluster: Cluster, baker: string, view: () => Promise<BakerView>): Promise<Check[]> {
  const checks: Check[] = [];
  const add = (name: string, state: Check["state"], text: string, remedy = "") =>
    checks.push({ name, state, text, remedy });
  const attempt = async (name: string, remedy: string, action: () => Promise<string>): Promise<boolean> => {
    try {
      add(name, "ok", await action());
      return true;
    } catch (error) {
      const kind = error instanceof ClusterError ? error.kind : "other";
      add(
        name,
        "failed",
        error instanceof Error ? error.message : String(error),
        kind === "forbidden"
          ? "ask for the role that allows it (roles/container.developer, or a Role in the namespace)"
          : remedy,
      );
      return false;
    }
  };
  const reached = await attempt(
    "cluster",
    "run the get-credentials command of the stack's outputs; is gke-gcloud-auth-plugin installed?",
    async () => {
      await cluster.version();
      return `context ${cluster.context}, namespace ${cluster.namespace}`;
    },
  );
  if (!reached) {
    for (const name of ["rights", "lease", "pods", "members", "watermarks", "verdict"])
      add(name, "skipped", "the cluster was not reached");
    return checks;
  }
  await attempt("rights", "kubectl auth can-i ...", async () => {
    const needed: [string, string, string][] = [
      ["get", "coordination.k8s.io", "leases"],
      ["update", "coordination.k8s.io", "leases"],
      ["list", "", "configmaps"],
      ["list", "", "pods"],
    ];
    const refused: string[] = [];
    for (const [verb, group, resource] of needed)
      if ((await cluster.allowed(verb, group, resource)) === false) refused.push(`${verb} ${resource}`);
    if (refused.length > 0) throw new ClusterError("forbidden", `not allowed: ${refused.join(", ")}`);
    return "may read leases, watermarks and pods, and write the lease";
  });
  let seen: BakerView;
  try {
    seen = await view();
  } catch (error) {
    add("lease", "failed", error instanceof Error ? error.message : String(error), "see the checks above");
    return checks;
  }
  if (seen.topology === "solo") add("lease", "skipped", "solo: no election");
  else if (!seen.lease)
    add(
      "lease",
      "failed",
      `lease ${leaderLeaseName(baker)} does not exist`,
      "no elector has run yet: kubectl get pods; is an init container still importing its snapshot?",
    );
  else
    add(
      "lease",
      seen.held ? "ok" : "failed",
      seen.held
        ? `${seen.holder} holds, epoch ${seen.lease.leaseTransitions}, renewed ${Math.max(0, Math.round(seen.leaseAgeSeconds ?? 0))} s ago`
        : "nobody renews it",
      "kubectl logs -c elector",
    );
  if (seen.pods.length === 0)
    add("pods", "failed", `no pod with the label baker=${baker}`, "npm run deploy; check --baker and --namespace");
  for (const pod of seen.pods) {
    const down = pod.containers.filter((container) => !container.ready);
    const text = down
      .map(
        (container) =>
          `${container.name}${container.waiting ? ` ${container.waiting}` : ""}${container.restarts > 0 ? ` (${container.restarts} restarts)` : ""}`,
      )
      .join(", ");
    add(
      `pod ${pod.metadata.name}`,
      pod.phase === "Running" && down.length === 0 ? "ok" : pod.phase === "Running" ? "warning" : "failed",
      `${pod.phase}${pod.node ? ` on ${pod.node}` : ""}${text ? `; not ready: ${text}` : ""}`,
      `kubectl describe pod ${pod.metadata.name}`,
    );
  }
  for (const finding of diagnose(seen).findings)
    add(
      finding.code,
      ({ critical: "failed", warning: "warning", note: "ok" } as const)[finding.severity],
      finding.text,
      finding.remedy,
    );
  for (const member of seen.members) {
    if (member.fresh && member.record?.eligible)
      add(
        `member ${member.pod}`,
        "ok",
        `zone ${member.record.zone || "unknown"}, head ${member.record.headLevel}, ${member.record.signersAnswering} signers answer`,
      );
  }
  for (const mark of seen.watermarks)
    if (mark.record)
      add(
        `watermark ${mark.name}`,
        "ok",
        `epoch ${mark.record.epoch}, floor ${mark.record.floor}, highest level ${mark.highestLevel ?? "none"}`,
      );
  const verdict = diagnose(seen);
  add(
    "verdict",
    verdict.signing ? "ok" : "failed",
    verdict.sentence,
    verdict.signing ? "" : "the first failed check above is where to begin",
  );
  return checks;
}
