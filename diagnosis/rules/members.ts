/** What is wrong with members, whoever holds. */
import type { MemberRecord } from "../../contract/status";
import { complaint, wholeSeconds, type Facts } from "../facts";
import { critical, warning, type Found } from "../finding";
import { keyWithoutSigner } from "../keys";
import { pauseText } from "../pause";
import type { Member } from "../view";

/** Of a member that renews: what its record says is so now. */
type MemberRule = (member: Member, record: MemberRecord, facts: Facts) => Found;

const clock: MemberRule = ({ pod, clockSeconds }) =>
  clockSeconds !== 0
    ? warning(
        "clock",
        `${pod}: its clock is at least ${Math.abs(clockSeconds)} s ${clockSeconds > 0 ? "ahead of" : "behind"} this machine's`,
        "one of the two is wrong: the ages of heads are judged by it",
      )
    : undefined;

const nodeNotReady: MemberRule = (member, record) =>
  !record.ready
    ? warning(
        "node-not-ready",
        `${member.pod}: node not ready: ${complaint(member, "node: ") ?? record.reason}`,
        `kubectl logs ${member.pod} -c octez-node; docs/runbooks/node-rebuild.md`,
      )
    : undefined;

const noSigner: MemberRule = ({ pod }, record) =>
  record.signersAnswering === 0
    ? warning("no-signer", `${pod}: no signer answers`, "docs/runbooks/signer-swap.md#no-signer-answers")
    : undefined;

/** Of the master's gate. Where octez-baker was started without the key, its container complains of just that. */
const keysWithoutSigner: MemberRule = (member, record, { master }) => {
  if (member !== master || record.signersAnswering === 0) return undefined;
  const said = (address: string) =>
    record.troubles?.some((text) => text.startsWith("octez-baker runs without " + address));
  return (record.keys ?? [])
    .filter(({ address, signers }) => signers === 0 && !said(address))
    .map(({ address }) => keyWithoutSigner(address));
};

const crashLooping: MemberRule = (member, record, { master }) =>
  record.daemons === "crash-looping" && member !== master
    ? warning(
        "crash-looping",
        `${member.pod}: a baking daemon crashes again and again`,
        `kubectl logs ${member.pod} -c baker`,
      )
    : undefined;

const noncesMissing: MemberRule = ({ pod }, record) =>
  record.noncesMissing > 0
    ? warning(
        "nonces-missing",
        `${pod}: ${record.noncesMissing} nonce commitments are not on another member`,
        "docs/runbooks/nonces.md",
      )
    : undefined;

const behind: MemberRule = (member, _record, facts) =>
  member !== facts.master && facts.levelsBehind(member) >= 2
    ? warning(
        "behind",
        `${member.pod}: ${facts.levelsBehind(member)} levels behind`,
        `kubectl logs ${member.pod} -c octez-node`,
      )
    : undefined;

/** It waits for its octez-node, whose own finding speaks until then. */
const dalNode: MemberRule = (member, record) => {
  const reason = complaint(member, "DAL node: ");
  return reason === undefined || !record.ready
    ? undefined
    : warning(
        "dal-node",
        `${member.pod}: DAL node not well: ${reason}`,
        `kubectl logs ${member.pod} -c octez-dal-node; docs/runbooks/dal.md`,
      );
};

/** As in the alert: one slot missed of a few, at the start of a cycle, says nothing. */
const fewestSlots = 20;
const dalSlotsMissed: MemberRule = (member, { dal }, { master }) =>
  member === master && dal?.sufficient === false && (dal.attestableSlots ?? 0) >= fewestSlots
    ? warning(
        "dal-slots-missed",
        `the delegate attested ${dal.attestedSlots} of ${dal.attestableSlots} slots of the DAL in this cycle: ` +
          "too few for the DAL's rewards as of now",
        "docs/runbooks/dal.md#slots-are-missed",
      )
    : undefined;

const logsOf = (pod: string): string => `kubectl logs ${pod} --all-containers --prefix --since=15m`;
const troubleRemedy = (pod: string, text: string): string =>
  text.startsWith("nonces")
    ? "docs/runbooks/nonces.md"
    : text.startsWith("disk")
      ? "docs/runbooks/resize.md"
      : text.startsWith("signer")
        ? `kubectl logs ${pod} -c signing-gate`
        : text.startsWith("octez-baker runs without")
          ? "docs/runbooks/key-rotation.md#what-keys-says"
          : logsOf(pod);
const troubles: MemberRule = ({ pod }, record) =>
  (record.troubles ?? [])
    .filter((text) => !["node: ", "DAL node: ", "key "].some((start) => text.startsWith(start)))
    .map((text) => warning("trouble", `${pod}: ${text}`, troubleRemedy(pod, text)));

const ofLiving = [
  clock,
  nodeNotReady,
  dalNode,
  dalSlotsMissed,
  noSigner,
  keysWithoutSigner,
  crashLooping,
  noncesMissing,
  behind,
  troubles,
];

const memberRule = (member: Member, facts: Facts): Found => {
  const { pod, record, fresh, ageSeconds } = member;
  if (!record)
    return critical(
      "member-record-broken",
      `${pod}: its member lease holds no readable record`,
      `kubectl logs ${pod} -c elector`,
    );
  if (fresh) return ofLiving.flatMap((rule) => rule(member, record, facts) ?? []);
  // Of a silent master the rules of the master speak.
  return member === facts.master && facts.held
    ? undefined
    : warning(
        "member-silent",
        `${pod}: silent for ${wholeSeconds(ageSeconds)}`,
        `kubectl describe pod ${pod}; is its node up, can it reach the API?`,
      );
};

const noStandby = ({ held, members, standbys }: Facts): Found =>
  held && members.length > 1 && standbys.length === 0
    ? warning("no-standby", "no other member could take over now", "see the members above; docs/runbooks/zone-loss.md")
    : undefined;

const paused = ({ handoverPause, atMs }: Facts): Found =>
  handoverPause
    ? warning("handovers-paused", pauseText(handoverPause, atMs), "npm run baker -- resume; it ends by itself")
    : undefined;

export const memberRules = [
  (facts: Facts): Found => facts.members.flatMap((member) => memberRule(member, facts) ?? []),
  noStandby,
  paused,
];
