/** Reads what a cluster says about one baker. What follows from it is in diagnosis/. */
import { labels, leaderLeaseName, memberLeaseName } from "../contract/names";
import type { LeaseView } from "../diagnosis/objects";
import { deploymentOf, looksOld, viewOf, type BakerView, type Leases } from "../diagnosis/view";
import type { Cluster } from "./cluster";

export interface ViewOptions {
  now(): number;
  sleep(ms: number): Promise<void>;
}

async function readLeases(cluster: Cluster, baker: string): Promise<Pick<Leases, "lease" | "members">> {
  const lease = await cluster.lease(leaderLeaseName(baker));
  const members: LeaseView[] = [];
  for (let ordinal = 0; ; ordinal++) {
    const member = await cluster.lease(memberLeaseName(baker, ordinal));
    if (!member) return { lease, members };
    members.push(member);
  }
}
const versions = ({ lease, members }: Pick<Leases, "lease" | "members">) =>
  [lease, ...members].flatMap((entry) =>
    entry ? [[entry.metadata.name, entry.metadata.resourceVersion] as const] : [],
  );

/**
 * Reads leases, watermarks and pods of one baker. Clocks of machines differ: where a renewal looks old, the lease is
 * read again after its renewal period, and one that has changed counts as fresh.
 */
export async function readView(cluster: Cluster, baker: string, options: ViewOptions): Promise<BakerView> {
  const [pods, configMaps] = await Promise.all([
    cluster.pods(`${labels.baker}=${baker}`),
    cluster.configMaps(`${labels.baker}=${baker}`),
  ]);
  const deployment = deploymentOf(baker, pods, configMaps);
  const from = options.now();
  const first = await readLeases(cluster, baker);
  let seen: Leases = { ...first, changed: new Set(), seenMs: { from, to: options.now() } };
  if (looksOld(seen, deployment, options.now())) {
    const before = new Map(versions(seen));
    await options.sleep(deployment.timings.memberRenewSeconds * 1250);
    const again = await readLeases(cluster, baker);
    const changed = versions(again).filter(([name, version]) => before.get(name) !== version);
    seen = { ...again, changed: new Set(changed.map(([name]) => name)), seenMs: { from, to: options.now() } };
  }
  const { context, namespace } = cluster;
  return { ...viewOf(deployment, seen, options.now()), place: { context, namespace } };
}
