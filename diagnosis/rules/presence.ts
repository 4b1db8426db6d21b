/** What is there at all: pods, lease, watermarks, and somebody who holds. */
import { wholeSeconds, type Facts } from "../facts";
import { critical, warning, type Finding, type Found } from "../finding";
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
        "kubectl describe statefulset; docs/runbooks/zone-loss.md",
      ),
    );

const nothing = ({ topology, lease, baker }: Facts): Found =>
  topology === "none" && !lease
    ? critical(
        "no-baker",
        `no pod and no lease of baker ${baker} in this namespace`,
        "check --baker and --namespace, or deploy",
      )
    : undefined;

const lostWatermarks = ({ watermarks, topology }: Facts): Found => [
  ...watermarks
    .filter(({ missing }) => missing === "absent")
    .map(({ address }) =>
      critical(
        "watermark-lost",
        `the watermark of ${address} is gone: nothing is signed with that key`,
        "docs/runbooks/watermark-lost.md",
      ),
    ),
  ...(topology === "active-standby" && watermarks.length === 0
    ? [critical("watermark-lost", "no watermark object: nothing may be signed", "docs/runbooks/watermark-lost.md")]
    : []),
];

const startingWithoutHolder = (facts: Facts): Found => (facts.held ? [] : podsStarting(facts.pods, critical));

const noLease = ({ topology, lease }: Facts): Found =>
  topology !== "none" && !lease
    ? critical("no-lease", "no elector has made the lease yet", "kubectl get pods: do the pods run?")
    : undefined;

const whyNot = ({ record, fresh, ageSeconds }: Member): string =>
  !record ? "no readable record" : fresh ? record.reason : `silent for ${wholeSeconds(ageSeconds)}`;
const noHolder = ({ lease, held, eligible, members }: Facts): Found => {
  if (!lease || held) return undefined;
  if (eligible.length > 0)
    return critical(
      "no-holder",
      `nobody holds the lease; eligible: ${eligible.map((member) => member.pod).join(", ")}`,
      "a takeover is under way (lease + retry); if it stays: kubectl logs -c elector",
    );
  return critical(
    "nobody-eligible",
    `nobody holds the lease and nobody is eligible (${members.map((member) => `${member.pod}: ${whyNot(member)}`).join("; ")})`,
    "see the members; docs/runbooks/zone-loss.md",
  );
};

const foreignHolder = ({ held, master, lease }: Facts): Found =>
  held && !master
    ? critical("foreign-holder", `the holder ${lease?.holderIdentity} is no known member`, "kubectl get lease -o yaml")
    : undefined;

export const presenceRules = [nothing, lostWatermarks, startingWithoutHolder, noLease, noHolder, foreignHolder];

/** Rules of the pods of a baker that somebody holds for. */
export const restOfPodsRules = [
  (facts: Facts): Found => (facts.held ? podsStarting(facts.pods, warning) : []),
  (facts: Facts): Found => podsMissing(facts, warning),
];
