/** What is there at all: pods, lease, watermarks, and somebody who holds. */
import { wholeSeconds, type Facts } from "../facts";
import { labels, leaderLeaseName, statefulSetName } from "../../contract/names";
import { critical, stopped, warning, type Finding, type Found } from "../finding";
import type { PodView } from "../objects";
import type { Member } from "../view";

export const podsStarting = (pods: readonly PodView[], severity: typeof critical): Finding[] =>
  pods
    .filter(({ init, deleting }) => init !== "" && !deleting)
    .map(({ metadata: { name }, init }) =>
      severity(
        "pod-starting",
        `${name}: init container ${init} has not ended`,
        `kubectl logs ${name} -c ${init.split(" ")[0]}; a snapshot takes minutes to an hour, topology-guard waits for the other topology and its marks`,
      ),
    );
export const podsMissing = (facts: Facts, severity: typeof critical): Finding[] =>
  facts.missingPods
    .filter((pod) => pod !== facts.holder)
    .map((name) =>
      severity(
        "pod-missing",
        `${name}: there is no such pod`,
        `kubectl describe statefulset ${statefulSetName(facts.baker, facts.topology === "solo" ? "solo" : "active-standby")}; docs/runbooks/zone-loss.md`,
      ),
    );

const nothing = ({ topology, lease, baker }: Facts): Found =>
  topology === "none" && !lease
    ? stopped(
        "no-baker",
        `no pod and no lease of baker ${baker} in this namespace`,
        "check --baker and --namespace, or deploy",
      )
    : undefined;

const lostWatermarks = ({ watermarks, topology }: Facts): Found => [
  ...watermarks
    .filter(({ missing }) => missing === "absent")
    .map(({ address }) =>
      (watermarks.length === 1 ? stopped : critical)(
        "watermark-lost",
        `the watermark of ${address} is gone: nothing is signed with that key`,
        "docs/runbooks/watermark-lost.md",
      ),
    ),
  ...(topology === "active-standby" && watermarks.length === 0
    ? [stopped("watermark-lost", "no watermark object: nothing may be signed", "docs/runbooks/watermark-lost.md")]
    : []),
];

const startingWithoutHolder = (facts: Facts): Found => (facts.held ? [] : podsStarting(facts.pods, stopped));

const noLease = ({ topology, lease, baker }: Facts): Found =>
  topology !== "none" && !lease
    ? stopped(
        "no-lease",
        "no elector has made the lease yet",
        `kubectl get pods -l ${labels.baker}=${baker}; do the pods run?`,
      )
    : undefined;

const whyNot = ({ record, fresh, ageSeconds }: Member): string =>
  !record ? "no readable record" : fresh ? record.reason : `silent for ${wholeSeconds(ageSeconds)}`;
/** Before whatever follows from it: leases run out because nobody can renew them. */
const apiSilent = ({ apiSilentSeconds }: Facts): Found =>
  apiSilentSeconds === undefined
    ? undefined
    : critical(
        "api-silent",
        `the Kubernetes API has not answered for ${wholeSeconds(apiSilentSeconds)}`,
        "nothing to do in the pods: the master signs until its lease is over, and whoever renews first goes on",
      );

const noHolder = ({ lease, held, eligible, members }: Facts): Found => {
  if (!lease || held) return undefined;
  if (eligible.length > 0)
    return stopped(
      "no-holder",
      `nobody holds the lease; eligible: ${eligible.map((member) => member.pod).join(", ")}`,
      `a takeover takes the length of a lease; if it stays so: kubectl logs ${eligible[0]?.pod} -c elector`,
    );
  return stopped(
    "nobody-eligible",
    `nobody holds the lease and nobody is eligible (${members.map((member) => `${member.pod}: ${whyNot(member)}`).join("; ")})`,
    "see the members; docs/runbooks/zone-loss.md",
  );
};

const foreignHolder = ({ held, master, lease, baker }: Facts): Found =>
  held && !master
    ? critical(
        "foreign-holder",
        `the holder ${lease?.holderIdentity} is no known member`,
        `kubectl get lease ${leaderLeaseName(baker)} -o yaml`,
      )
    : undefined;

export const presenceRules = [
  apiSilent,
  nothing,
  lostWatermarks,
  startingWithoutHolder,
  noLease,
  noHolder,
  foreignHolder,
];

/** Rules of the pods of a baker that somebody holds for. */
export const restOfPodsRules = [
  (facts: Facts): Found => (facts.held ? podsStarting(facts.pods, warning) : []),
  (facts: Facts): Found => podsMissing(facts, warning),
];
