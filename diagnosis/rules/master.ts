/** What keeps the holder from signing. */
import type { MemberRecord } from "../../contract/status";
import { complaint, wholeSeconds, type Facts } from "../facts";
import { critical, stopped, warning, type Finding, type Found } from "../finding";
import type { Member } from "../view";

/** The member that holds, with its record. */
interface Master {
  pod: string;
  member: Member;
  record: MemberRecord;
  /** How a sentence about it begins. */
  holds: string;
}
type MasterRule = (master: Master, facts: Facts, found: readonly Finding[]) => Found;

const podUid = (identity: string): string => identity.split("_")[1] ?? "";
/** Share of headMaxAgeSeconds (240 s) after which a head is worth a word: five blocks. */
const oldHead = 1 / 8;

const goneOrSilent: MasterRule = ({ pod, member, holds }, { missingPods }) => {
  if (missingPods.includes(pod))
    return critical(
      "pod-missing",
      `${holds} its pod is gone`,
      "another member takes over when the lease has run out; docs/runbooks/zone-loss.md",
    );
  if (member.fresh) return undefined;
  return critical(
    "member-silent",
    `${holds} has been silent for ${wholeSeconds(member.ageSeconds)}`,
    `its lease runs out soon; then: kubectl describe pod ${pod}; is its node up, can it reach the API?`,
  );
};

const lostKeys: MasterRule = ({ record, holds }) =>
  (record.keys ?? [])
    .filter(({ state }) => state === "lost" || state === "refused")
    .map(({ address, reason }) =>
      (record.keys?.length === 1 ? stopped : critical)(
        "key-lost",
        `${holds} signs nothing with ${address}: ${reason}`,
        "docs/runbooks/watermark-lost.md",
      ),
    );

/** Levels below the head within which a key that the chain asks for has signed. */
const signedLately = 2;
const floorAboveHead: MasterRule = ({ record: { headLevel, keys }, holds }, { watermarks }) =>
  watermarks.flatMap(({ address, record }) => {
    if (!record || headLevel === null || record.floor <= headLevel) return [];
    const key = keys?.find((entry) => entry.address === address);
    // A key that is made ready before its activation begins above the head, while the present one signs.
    const another = watermarks.some(
      ({ record: other, highestLevel = -1 }) =>
        other && other.floor <= headLevel && highestLevel >= headLevel - signedLately,
    );
    return (another ? warning : watermarks.length === 1 ? stopped : critical)(
      "floor-above-head",
      `${holds} signs nothing with ${address} before level ${record.floor + 1} (head ${headLevel})${key ? `: ${key.reason}` : ""}`,
      "it goes on by itself at that level; docs/runbooks/watermark-lost.md has the reasons",
    );
  });

const crashLooping: MasterRule = ({ record, pod, holds }) =>
  record.daemons === "crash-looping"
    ? critical(
        "master-crash-looping",
        `${holds} a baking daemon crashes again and again`,
        `kubectl logs ${pod} -c baker`,
      )
    : undefined;

const daemonsStopped: MasterRule = ({ record, pod, holds }) => {
  if (record.daemons !== "stopped" && record.daemons !== "unknown") return undefined;
  const ended = record.troubles?.find((text) => text.endsWith("is restarted"));
  const why = ended ?? (record.state === "active" ? "they start, or ended a moment ago" : `it is ${record.state}`);
  return (record.daemons === "stopped" ? stopped : critical)(
    "daemons-stopped",
    record.daemons === "unknown"
      ? `${holds} its supervisor does not answer`
      : `${holds} its baking daemons do not run: ${why}`,
    `kubectl logs ${pod} -c baker`,
  );
};

const noSigner: MasterRule = ({ record, holds }) =>
  record.signersAnswering === 0 && record.reason !== "gate-silent"
    ? stopped(
        "master-without-signer",
        `${holds} no signer answers it`,
        "docs/runbooks/signer-swap.md#no-signer-answers",
      )
    : undefined;

/** At most one of these: each explains the next. */
const oldChain: MasterRule = ({ record, pod, member, holds }, facts) => {
  const limitSeconds = (facts.file?.headMaxAgeSeconds ?? 240) * oldHead;
  const behind = facts.levelsBehind(member);
  if (!record.ready && facts.standbys.length === 0)
    return critical(
      "chain-halt-or-stale",
      `${holds} every node is stale or unreachable: ${complaint(member, "node: ") ?? record.reason}`,
      "is the chain itself halted? otherwise peers and disk of both nodes: docs/runbooks/node-rebuild.md",
    );
  if (facts.headAgeSeconds !== undefined && facts.headAgeSeconds > limitSeconds)
    return critical(
      "head-old",
      `the newest head of any member is ${wholeSeconds(facts.headAgeSeconds)} old: the chain stands still, or no node follows it`,
      "compare with a block explorer; a halted chain needs nothing",
    );
  if (behind < 2) return undefined;
  return critical(
    "master-behind",
    `${holds} is ${behind} levels behind`,
    `${facts.handoverPause ? "handovers are paused: npm run baker -- resume" : "it hands over to a member that is ahead"}; kubectl logs ${pod} -c octez-node`,
  );
};

/** Only where nothing else explains it. */
const notEligible: MasterRule = ({ record, pod, holds }, _facts, found) =>
  !record.eligible && record.state === "active" && !found.some(({ severity }) => severity === "critical")
    ? critical("master-not-eligible", `${holds} is not eligible: ${record.reason}`, `kubectl logs ${pod} -c elector`)
    : undefined;

const twin: MasterRule = ({ pod }, { pods, lease }) => {
  const known = pods.find(({ metadata }) => metadata.name === pod);
  const uid = podUid(lease?.holderIdentity ?? "");
  if (!known || uid === "" || uid === known.metadata.uid) return undefined;
  return warning(
    "twin",
    `the holder is another ${pod} than the one that the cluster knows: it runs on where nobody reaches it, or has just ended`,
    "the lease and the watermark keep the two apart; do not force-delete pods (docs/runbooks/zone-loss.md)",
  );
};

/** Causes before their effects. */
export const masterRules = [
  ...[goneOrSilent, lostKeys, floorAboveHead, crashLooping, daemonsStopped, noSigner, oldChain, notEligible, twin],
].map((rule) => (facts: Facts, found: readonly Finding[]): Found => {
  const { held, master: member } = facts;
  if (!held || !member?.record) return undefined;
  const { pod, record } = member;
  return rule({ pod, member, record, holds: `${pod} holds and` }, facts, found);
});
