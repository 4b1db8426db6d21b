/** Plain text for people: tables without a library, so that pipes and screen readers get them whole. */
import type { Receipt } from "../contract/receipt";
import { diagnose } from "../diagnosis/diagnose";
import { wholeSeconds } from "../diagnosis/facts";
import type { Finding } from "../diagnosis/finding";
import type { BakerView, Member } from "../diagnosis/view";

/**
 * What the cluster says may come from anybody who can write there: control characters, escape sequences and marks that
 * turn the direction of text are shown as \u codes and never reach a terminal. Line ends survive only where `lines`
 * says that they are ours.
 */
export const printable = (value: string, lines: "lines" | "one-line" = "one-line"): string =>
  value.replace(/[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (char) =>
    lines === "lines" && char === "\n" ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** Columns padded to their widest cell; two spaces between. */
export function table(head: readonly string[], raw: readonly (readonly string[])[]): string {
  const rows = raw.map((row) => row.map((cell) => printable(cell)));
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => (row[column] ?? "").length)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const text = (value: string | number | null | undefined): string =>
  value === null || value === undefined || value === "" ? "-" : String(value);

export function renderReceipt(receipt: Receipt): string {
  const steps = receipt.timeline.map(
    (entry) =>
      `  ${(entry.atMs / 1000).toFixed(2).padStart(8)} s  ${printable(entry.event)}  ${printable(entry.reason)}`,
  );
  const missed =
    receipt.missedLevels === null
      ? "missed levels not counted yet"
      : `${receipt.missedLevels} missed level${receipt.missedLevels === 1 ? "" : "s"}`;
  return [
    printable(
      `${receipt.at}  epoch ${receipt.epoch}  ${receipt.from || "nobody"} -> ${receipt.to || "nobody"}  ${receipt.cause}  ${missed}`,
    ),
    ...steps,
  ].join("\n");
}

const yesNo = (value: boolean): string => (value ? "yes" : "no");
const memberHead = [
  ...["MEMBER", "HOLDS", "ZONE", "READY", "ELIGIBLE", "HEAD", "LAG", "DAEMONS", "SIGNERS", "NONCES MISSING", "SEEN"],
  "REASON",
];
function memberRow({ pod, zone, fresh, ageSeconds, record: told }: Member, holder: string, highest: number): string[] {
  // Of a member that is silent nothing is known: what it once wrote may be long over.
  const record = fresh ? told : undefined;
  const head = record?.headLevel ?? undefined;
  return [
    pod,
    holder === pod ? "yes" : "",
    text(zone),
    record ? yesNo(record.ready) : "?",
    record ? yesNo(record.eligible) : "?",
    text(head),
    head === undefined ? "-" : String(highest - head),
    text(record?.daemons),
    text(record?.signersAnswering),
    text(record?.noncesMissing),
    `${wholeSeconds(ageSeconds)}${fresh ? "" : " (silent)"}`,
    fresh ? text(record?.reason) : "its record is old",
  ];
}
function renderMembers({ members, holder }: BakerView): string {
  const highest = Math.max(0, ...members.map(({ fresh, record }) => (fresh ? (record?.headLevel ?? 0) : 0)));
  return table(
    memberHead,
    members.map((member) => memberRow(member, holder, highest)),
  );
}

function renderLease({ lease, leaseAgeSeconds, preferredHolder }: BakerView): string {
  if (!lease) return "";
  const wish = preferredHolder ? `, wished for: ${preferredHolder}` : "";
  const holder = lease.holderIdentity || "free";
  return printable(
    `lease: ${holder}, epoch ${lease.leaseTransitions}, renewed ${wholeSeconds(leaseAgeSeconds)} ago${wish}`,
  );
}

const renderMarks = ({ watermarks }: BakerView): string =>
  table(
    ["WATERMARK", "EPOCH", "HOLDER", "FLOOR", "BLOCK", "PREATTESTATION", "ATTESTATION"],
    watermarks.map(({ address, record, missing }) => {
      if (!record) return [address, missing];
      const { block, preattestation, attestation } = record.marks;
      return [
        ...[address, String(record.epoch), record.holder.split("_")[0] ?? "", String(record.floor)],
        ...[block, preattestation, attestation].map((mark) => (mark ? `${mark.level}/${mark.round}` : "-")),
      ];
    }),
  );

const severityWords = { critical: "CRITICAL", warning: "warning ", note: "note    " } as const;
const renderFinding = ({ severity, text: what, remedy }: Finding): string =>
  `${severityWords[severity]}  ${printable(what)}\n          -> ${printable(remedy)}`;

/** The `status` command's text. */
export function renderStatus(view: BakerView): string {
  const { sentence, findings } = diagnose(view);
  const receipt = view.receipts[0];
  return [
    printable(`${view.baker}: ${sentence}`),
    view.members.length > 0 ? renderMembers(view) : "",
    renderLease(view),
    view.watermarks.length > 0 ? renderMarks(view) : "",
    receipt ? `last transition: ${renderReceipt(receipt).split("\n")[0]}` : "",
    findings.map(renderFinding).join("\n"),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}
