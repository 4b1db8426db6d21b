/**
 * Rules between keys. They work on the values as written, before the schema has accepted them, so that everything is
 * reported at once. Each rule is a small function of its subject's file in rules/; this is their order.
 */
import type { ConfigurationIssue } from "./errors";
import { bakerRules, bakerWarnings } from "./rules/baker-rules";
import { bakeryRules, firstBakeryRules } from "./rules/bakery-rules";
import { clusterRules, lastRules } from "./rules/cluster-rules";
import { type BakerRule, factsOf, type Finding, type Rule, type Values } from "./rules/facts";

/** A rule about one baker, asked about each. */
const ofEach =
  (rules: readonly BakerRule[]): Rule =>
  (facts) =>
    facts.bakers.flatMap((baker) => rules.flatMap((rule) => rule(baker, facts)));

const rules: readonly Rule[] = [
  ...clusterRules,
  ...firstBakeryRules,
  ofEach(bakerRules),
  ...bakeryRules,
  ofEach(bakerWarnings),
  ...lastRules,
];

export interface Findings {
  issues: ConfigurationIssue[];
  warnings: string[];
}

/** @param values merged top-level keys as written, without `secrets`; null means not written */
export function crossFieldFindings(values: Values): Findings {
  const facts = factsOf(values);
  const findings: Finding[] = rules.flatMap((rule) => rule(facts));
  return {
    issues: findings.flatMap((finding) => ("warning" in finding ? [] : [finding])),
    warnings: findings.flatMap((finding) => ("warning" in finding ? [finding.warning] : [])),
  };
}
