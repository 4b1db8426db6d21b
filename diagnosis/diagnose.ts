/**
 * What a view means: who signs, and if nobody, why. The command `status`, the doctor and the laboratory's page show
 * this one diagnosis.
 */
import { factsOf, type Facts } from "./facts";
import { inPlace, type Diagnosis, type Finding, type Found } from "./finding";
import { masterRules } from "./rules/master";
import { memberRules } from "./rules/members";
import { noteRules } from "./rules/notes";
import { presenceRules, restOfPodsRules } from "./rules/presence";
import { protocolRules } from "./rules/protocols";
import { soloPod, soloRules } from "./rules/solo";
import { watermarkRules } from "./rules/watermarks";
import type { BakerView } from "./view";

/** A rule may look at what the rules before it have found. */
type Rule = (facts: Facts, found: readonly Finding[]) => Found;

/** The first critical finding is the reason in the sentence, so causes come before their effects. */
const activeStandbyRules: readonly Rule[] = [
  ...presenceRules,
  ...masterRules,
  ...watermarkRules,
  ...restOfPodsRules,
  ...memberRules,
  ...protocolRules,
  ...noteRules,
];

const sentenceOf = (findings: readonly Finding[], well: string): string => {
  const first = findings.find(({ severity }) => severity === "critical");
  if (first) return `${first.certain ? "nobody signs" : "perhaps nobody signs"}: ${first.text}`;
  const count = findings.filter(({ severity }) => severity === "warning").length;
  return well + (count > 0 ? `; ${count} warning${count > 1 ? "s" : ""}` : "");
};

/** Pure. */
export function diagnose(view: BakerView): Diagnosis {
  const facts = factsOf(view);
  const solo = view.topology === "solo";
  const findings: Finding[] = [];
  for (const rule of solo ? [...soloRules, ...noteRules] : activeStandbyRules)
    findings.push(...[rule(facts, findings) ?? []].flat());
  const well = solo
    ? `${soloPod(facts)?.metadata.name} bakes alone (no standby, no fence)`
    : `${view.holder} signs (epoch ${facts.epoch})`;
  return {
    signing: !findings.some(({ severity }) => severity === "critical"),
    sentence: sentenceOf(findings, well),
    findings: findings.map((finding) => ({ ...finding, remedy: inPlace(finding.remedy, view.place) })),
  };
}
