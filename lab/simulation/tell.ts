/** The story of one simulation, for people. */
import { inSeconds, sentenceOf } from "./faults";
import type { SimulationResult } from "./simulate";
import { nameOf } from "./stage";

const at = (ms: number): string => inSeconds(ms).padStart(9);

export function tell({ seed, plan, findings, story, healedMs, missedLevels }: SimulationResult): string {
  const healed = healedMs === null ? "The baker was not well again" : `The baker was well after ${inSeconds(healedMs)}`;
  const judged = findings.map((finding) => ({ ...finding, text: `JUDGE ${finding.code}: ${finding.text}` }));
  return [
    `Seed ${seed}, ${plan.length} faults:`,
    ...plan.map((fault) => `${at(fault.atMs)}  ${sentenceOf(fault, nameOf)}`),
    "",
    "What happened:",
    ...[...story, ...judged].sort((a, b) => a.atMs - b.atMs).map((line) => `${at(line.atMs)}  ${line.text}`),
    "",
    `${healed}; ${missedLevels} levels were missed.`,
    ...(findings.length === 0 ? ["Nothing was found."] : [`Found: ${findings[0]?.code}: ${findings[0]?.text}.`]),
  ].join("\n");
}
