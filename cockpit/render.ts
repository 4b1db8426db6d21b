/** Plain text for people: tables without a library, so that pipes and screen readers get them whole. */
import type { Receipt } from "../contract/receipt";
import { diagnose, type BakerView } from "./view";

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

/** The `status` command's text. */
export function renderStatus(view: BakerView): string {
  const { sentence, findings } = diagnose(view);
  // Of a member that is silent nothing is known: what it once wrote may be long over.
  const known = view.members.map((member) => (member.fresh ? member.record : undefined));
  const highest = Math.max(0, ...known.map((record) => record?.headLevel ?? 0));
  const parts = [printable(`${view.baker}: ${sentence}`)];
  if (view.members.length > 0) {
    parts.push(
      table(
        [
          "MEMBER",
          "HOLDS",
          "ZONE",
          "READY",
          "ELIGIBLE",
          "HEAD",
          "LAG",
          "DAEMONS",
          "SIGNERS",
          "NONCES MISSING",
          "SEEN",
          "REASON",
        ],
        view.members.map(({ pod, zone, fresh, ageSeconds }, i) => {
          const record = known[i];
          return [
            pod,
            view.holder === pod ? "yes" : "",
            text(zone),
            record ? (record.ready ? "yes" : "no") : "?",
            record ? (record.eligible ? "yes" : "no") : "?",
            text(record?.headLevel),
            record?.headLevel === null || record?.headLevel === undefined ? "-" : String(highest - record.headLevel),
            text(record?.daemons),
            text(record?.signersAnswering),
            text(record?.noncesMissing),
            `${Math.max(0, Math.round(ageSeconds ?? 0))} s${fresh ? "" : " (silent)"}`,
            fresh ? text(record?.reason) : "its record is old",
          ];
        }),
      ),
    );
  }
  if (view.lease) {
    const age = `renewed ${Math.max(0, Math.round(view.leaseAgeSeconds ?? 0))} s ago`;
    parts.push(
      printable(
        `lease: ${view.lease.holderIdentity || "free"}, epoch ${view.lease.leaseTransitions}, ${age}${view.preferredHolder ? `, wished for: ${view.preferredHolder}` : ""}`,
      ),
    );
  }
  if (view.watermarks.length > 0) {
    parts.push(
      table(
        ["WATERMARK", "EPOCH", "HOLDER", "FLOOR", "BLOCK", "PREATTESTATION", "ATTESTATION"],
        view.watermarks.map(({ address, record, missing }) =>
          record
            ? [
                address,
                String(record.epoch),
                record.holder.split("_")[0] ?? "",
                String(record.floor),
                ...[record.marks.block, record.marks.preattestation, record.marks.attestation].map((mark) =>
                  mark ? `${mark.level}/${mark.round}` : "-",
                ),
              ]
            : [address, missing],
        ),
      ),
    );
  }
  const receipt = view.receipts[0];
  if (receipt) parts.push(`last transition: ${renderReceipt(receipt).split("\n")[0]}`);
  if (findings.length > 0)
    parts.push(
      findings
        .map(
          (finding) =>
            `${{ critical: "CRITICAL", warning: "warning ", note: "note    " }[finding.severity]}  ${printable(finding.text)}\n          -> ${printable(finding.remedy)}`,
        )
        .join("\n"),
    );
  return parts.join("\n\n");
}
