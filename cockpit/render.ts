/** Plain text for people: tables without a library, so that pipes and screen readers get them whole. */
import type { Receipt } from "../contract/receipt";
import { diagnose, type BakerView } from "./view";

/** Columns padded to their widest cell; two spaces between. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
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
    (entry) => `  ${(entry.atMs / 1000).toFixed(2).padStart(8)} s  ${entry.event}  ${entry.reason}`,
  );
  const missed =
    receipt.missedLevels === null
      ? "missed levels not counted yet"
      : `${receipt.missedLevels} missed level${receipt.missedLevels === 1 ? "" : "s"}`;
  return [
    `${receipt.at}  epoch ${receipt.epoch}  ${receipt.from || "nobody"} -> ${receipt.to}  ${receipt.cause}  ${missed}`,
    ...steps,
  ].join("\n");
}

/** The `status` command's text. */
export function renderStatus(view: BakerView): string {
  const { sentence, findings } = diagnose(view);
  const highest = Math.max(0, ...view.members.map((member) => member.record?.headLevel ?? 0));
  const parts = [`${view.baker}: ${sentence}`];
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
        view.members.map(({ pod, zone, record, fresh, ageSeconds }) => [
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
          text(record?.reason),
        ]),
      ),
    );
  }
  if (view.lease) {
    const age = `renewed ${Math.max(0, Math.round(view.leaseAgeSeconds ?? 0))} s ago`;
    parts.push(
      `lease: ${view.lease.holderIdentity || "free"}, epoch ${view.lease.leaseTransitions}, ${age}${view.preferredHolder ? `, wished for: ${view.preferredHolder}` : ""}`,
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
            `${{ critical: "CRITICAL", warning: "warning ", note: "note    " }[finding.severity]}  ${finding.text}\n          -> ${finding.remedy}`,
        )
        .join("\n"),
    );
  return parts.join("\n\n");
}
