/** What an operator writes on the leader lease: annotations, which the electors read. */
import { ClusterError, type Cluster } from "./cluster";
import type { LeaseView } from "../diagnosis/objects";
import type { ViewOptions } from "./view";

/** @returns the lease as it was before */
export async function writeLeaderNotes(
  cluster: Cluster,
  name: string,
  notes: Record<string, string>,
  options: Pick<ViewOptions, "sleep">,
): Promise<LeaseView> {
  // The holder renews every second: a conflict only means that somebody was faster.
  for (let attempt = 0; ; attempt++) {
    const lease = await cluster.lease(name);
    if (!lease) throw new Error(`lease ${name} is gone`);
    try {
      await cluster.annotateLease(lease, notes);
      return lease;
    } catch (error) {
      if (!(error instanceof ClusterError) || error.kind !== "conflict" || attempt >= 20) throw error;
      await options.sleep(50);
    }
  }
}
