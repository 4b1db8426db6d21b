/** Reads what a cluster says about one baker. What follows from it is in diagnosis/. */
import { labels, leaderLeaseName, memberLeaseName } from "../contract/names";
import type { LeaseView } from "../diagnosis/objects";
import { deploymentOf, looksOld, viewOf, type BakerView, type Leases } from "../diagnosis/view";
import type { Cluster } from "./cluster";

export interface ViewOptions {
  now(): number;
  sleep(ms: number): Promise<void>;
}

async function readLeases(cluster: Cluster, baker: string): Promise<Leases> {
  const lease = await cluster.lease(leaderLeaseName(baker));
  const members: LeaseView[] = [];
  for (let ordinal = 0; ; ordinal++) {
    const member = await cluster.lease(memberLeaseName(baker, ordinal));
    if (!member) return { lease, members, changed: new Set() };
    members.push(member);
  }
}
const versions = ({ lease, members }: Leases) =>
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
  let seen = await readLeases(cluster, baker);
  if (looksOld(seen, deployment, options.now())) {
    const before = new Map(versions(seen));
    await options.sleep(deployment.timings.memberRenewSeconds * 1250);
    const again = await readLeases(cluster, baker);
    const changed = versions(again).filter(([name, version]) => before.get(name) !== version);
    seen = { ...again, changed: new Set(changed.map(([name]) => name)) };
  }
  const { context, namespace } = cluster;
  return { ...viewOf(deployment, seen, options.now()), place: { context, namespace } };
}
