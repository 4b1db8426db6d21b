/** What `status` and `history` print. */
import { acquiredAtMs, type Receipt } from "../contract/receipt";
import type { MemberRecord } from "../contract/status";
import { diagnose } from "../diagnosis/diagnose";
import { wholeSeconds } from "../diagnosis/facts";
import type { Finding } from "../diagnosis/finding";
import { missedSlotsOf, missedSlotText, type ToldSlot } from "../diagnosis/missed-slots";
import { causeText } from "../diagnosis/receipt";
import type { BakerView, Member } from "../diagnosis/view";
import { factsTable, hanging, printable, remedyLines } from "./text";

const text = (value: string | number | null | undefined): string =>
  value === null || value === undefined || value === "" ? "-" : String(value);

/** A tenure that is over before its node has told has no number; nor has the first one, before which nobody signed. */
const missedText = ({ missedLevels, cause }: Receipt, over: boolean): string =>
  missedLevels !== null
    ? `${missedLevels} missed level${missedLevels === 1 ? "" : "s"}`
    : over || cause === "first"
      ? "missed levels not known"
      : "missed levels not counted yet";
/** When the new master acquired the lease. Whatever somebody wrote there instead of a time is shown as it is. */
export function acquiredAt(receipt: Receipt): string {
  const acquired = new Date(acquiredAtMs(receipt));
  return Number.isNaN(acquired.getTime()) ? receipt.at : acquired.toISOString();
}
function receiptHead(first: string, receipt: Receipt, over = false): string {
  const who = `${receipt.from || "nobody"} -> ${receipt.to || "nobody"}`;
  return [
    hanging(first, `${acquiredAt(receipt)}  epoch ${receipt.epoch}  ${who}  ${missedText(receipt, over)}`),
    hanging(" ".repeat(Math.max(2, first.length)), `${receipt.cause}: ${causeText(receipt.cause)}`),
  ].join("\n");
}
/** With its steps, in seconds before and after the new master acquired the lease. `over`: another one has since. */
export function renderReceipt(receipt: Receipt, over = false): string {
  const acquiredMs = receipt.timeline.find(({ event }) => event === "acquired")?.atMs ?? 0;
  const steps = receipt.timeline.map(
    ({ atMs, event, reason }) =>
      `  ${((atMs - acquiredMs) / 1000).toFixed(2).padStart(8)} s  ${printable(event)}  ${printable(reason)}`,
  );
  return [receiptHead("", receipt, over), ...steps].join("\n");
}

/** A line each, with what is known of whose they were. */
export const renderMissedSlots = (slots: readonly ToldSlot[]): string =>
  [
    "the last missed slots, as the members saw them since they started",
    ...slots.map((slot) => hanging(`  ${printable(slot.at)}  level ${slot.level}  `, missedSlotText(slot))),
  ].join("\n");
/** What `history` prints. */
export function renderHistory(view: Pick<BakerView, "receipts" | "members">): string {
  const { receipts } = view;
  const slots = missedSlotsOf(view);
  return [
    ...(receipts.length > 0 ? receipts.map((receipt, i) => renderReceipt(receipt, i > 0)) : ["no transition yet"]),
    ...(slots.length > 0 ? [renderMissedSlots(slots)] : []),
  ].join("\n\n");
}

/** Of a pod without a DAL node, or a member of which nothing is known. */
const without = (record: MemberRecord | undefined): string => (record ? "-" : "?");
const dalNodeText = (record: MemberRecord | undefined): string => {
  const dal = record?.dal;
  if (!dal) return without(record);
  return dal.well ? `well, ${text(dal.peers)} peers` : (dal.reason.split(":")[0] ?? "");
};
/** Slots that the delegate attested, of those that it could in this cycle. */
const dalSlotsText = (record: MemberRecord | undefined): string => {
  const { attestedSlots, attestableSlots } = record?.dal ?? { attestedSlots: null, attestableSlots: null };
  return attestableSlots === null ? without(record) : `${attestedSlots} of ${attestableSlots} attested`;
};
const yesNo = (value: boolean): string => (value ? "yes" : "no");
function memberFacts({ pod, zone, fresh, ageSeconds, record: told }: Member, view: BakerView, highest: number) {
  // Of a member that is silent nothing is known: what it once wrote may be long over.
  const record = fresh ? told : undefined;
  const head = record?.headLevel ?? undefined;
  return {
    "holds the lease": view.holder === pod ? "yes" : "no",
    zone: text(zone),
    "node ready": record ? yesNo(record.ready) : "?",
    eligible: record ? yesNo(record.eligible) : "?",
    head: record ? text(head) : "?",
    "levels behind": record ? (head === undefined ? "-" : String(highest - head)) : "?",
    "baking daemons": text(record?.daemons ?? "?"),
    "signers answer": text(record?.signersAnswering ?? "?"),
    "nonces missing": text(record?.noncesMissing ?? "?"),
    "last seen": `${wholeSeconds(ageSeconds)} ago`,
    "DAL node": dalNodeText(record),
    "DAL slots": dalSlotsText(record),
    reason: fresh ? text(record?.reason) : "silent: nothing is known of it",
  };
}
function renderMembers(view: BakerView): string {
  const { members } = view;
  const highest = Math.max(0, ...members.map(({ fresh, record }) => (fresh ? (record?.headLevel ?? 0) : 0)));
  const columns = members.map((member) => memberFacts(member, view, highest));
  const names = Object.keys(columns[0] ?? {}) as (keyof ReturnType<typeof memberFacts>)[];
  return factsTable(
    members.map(({ pod }) => pod),
    names.map((name) => [name, ...columns.map((column) => column[name])] as const),
  );
}

function renderLease({ lease, leaseAgeSeconds, preferredHolder }: BakerView): string {
  if (!lease) return "";
  const [pod, uid] = lease.holderIdentity.split("_");
  const holder = pod ? `${pod} (uid ${uid})` : "free";
  return [
    hanging("lease: ", `${holder}, epoch ${lease.leaseTransitions}, renewed ${wholeSeconds(leaseAgeSeconds)} ago`),
    ...(preferredHolder ? [hanging("       ", `wished for: ${preferredHolder}`)] : []),
  ].join("\n");
}

const renderMarks = ({ watermarks }: BakerView): string =>
  watermarks
    .map(({ address, record, missing }) => {
      if (!record) return hanging("watermark: ", `${address}  ${missing}`);
      const marks = (["block", "preattestation", "attestation"] as const).map((kind) => {
        const mark = record.marks[kind];
        return `${kind} ${mark ? `${mark.level}/${mark.round}` : "-"}`;
      });
      const holder = record.holder.split("_")[0] || "nobody";
      return [
        hanging("watermark: ", `${address}  epoch ${record.epoch} of ${holder}, floor ${record.floor}`),
        hanging("           ", marks.join(", ")),
      ].join("\n");
    })
    .join("\n");

const severityWords = { critical: "CRITICAL  ", warning: "warning   ", note: "note      " } as const;
export const renderFinding = ({ severity, text: what, remedy }: Finding): string =>
  `${hanging(severityWords[severity], what)}\n${remedyLines("       -> ", remedy)}`;

/** The `status` command's text, in lines of 80 characters where names and commands allow it. */
export function renderStatus(view: BakerView): string {
  const { sentence, findings } = diagnose(view);
  const receipt = view.receipts[0];
  return [
    hanging("", `${view.baker}: ${sentence}`),
    view.members.length > 0 ? renderMembers(view) : "",
    renderLease(view),
    renderMarks(view),
    receipt ? receiptHead("last transition: ", receipt) : "",
    findings.map(renderFinding).join("\n"),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}
