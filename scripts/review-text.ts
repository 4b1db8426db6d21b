/** A review of a plan for people: for a terminal, and as Markdown for a pull request. */
import type { Finding, Review, Risk } from "./review";

const risks: Readonly<Record<Risk, string>> = {
  stops: "signing stops",
  levels: "levels at risk",
  none: "nothing at risk",
};
/** One sentence, or none. */
const costTexts = ({ cost }: Review): string[] => {
  if (cost === null) return [];
  const range = ({ low, high }: { low: number; high: number }) => (low === high ? `${low}` : `${low} to ${high}`);
  return [`About ${range(cost.after)} USD a month${cost.before === null ? "" : `, ${range(cost.before)} before`}.`];
};
const countText = ([stack, counts]: [string, Review["changes"][string]]): string => {
  const parts = Object.entries(counts).flatMap(([action, number]) => (number === 0 ? [] : [`${number} to ${action}`]));
  return `stack ${stack}: ${parts.length === 0 ? "no change" : parts.join(", ")}`;
};
const whom = ({ baker }: Finding): string => (baker === null ? "all bakers" : `baker ${baker}`);
const nothing = "No pod of a baker restarts, and no level is at risk.";

/** @returns lines with a newline at the end */
export function reviewText(review: Review): string {
  const lines = [
    "What this plan does to the bakers",
    ...Object.entries(review.changes).map((entry) => `  ${countText(entry)}`),
    ...(review.findings.length === 0 ? [`  ${nothing}`] : []),
    ...review.findings.map((finding) => `  ${whom(finding)} (${risks[finding.risk]}): ${finding.text}`),
    ...review.drift.map((text) => `  drift: ${text}`),
    ...review.hardening.map((text) => `  hardening: ${text}`),
    ...costTexts(review).map((text) => `  ${text}`),
  ];
  return `\n${lines.join("\n")}\n`;
}

/** A cell of a table may hold no bar and no tag. */
const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("<", "&lt;");

export function reviewMarkdown(review: Review): string {
  const section = (title: string, texts: readonly string[]): string[] =>
    texts.length === 0 ? [] : ["", `**${title}**`, "", ...texts.map((text) => `- ${cell(text)}`)];
  const lines = [
    "### What this plan does to the bakers",
    "",
    ...(review.findings.length === 0
      ? [nothing]
      : [
          "| baker | risk | what happens |",
          "| --- | --- | --- |",
          ...review.findings.map((one) => `| ${cell(one.baker ?? "all")} | ${risks[one.risk]} | ${cell(one.text)} |`),
        ]),
    ...section("Changed by hand", review.drift),
    ...section("Hardening that is lost", review.hardening),
    "",
    [...Object.entries(review.changes).map(countText), ...costTexts(review)].join("; "),
  ];
  return `${lines.join("\n")}\n`;
}
