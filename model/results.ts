/**
 * What a whole run of the model said, as it is kept in docs/model-results.json: no times, no machine, so that every
 * run gives the same.
 */
import type { Case, LeftOut } from "./cases";
import type { Verdict } from "./checker";

export interface Results {
  cases: {
    model: string;
    name: string;
    states: number;
    steps: number;
    depth: number;
    violation: Verdict["violation"] | null;
  }[];
  leftOut: { model: string; rule: string; without: string; states: number; property: string; story: string[] }[];
}

export const resultOfCase = ({ model, name }: Case, verdict: Verdict): Results["cases"][number] => ({
  model,
  name,
  states: verdict.states,
  steps: verdict.steps,
  depth: verdict.depth,
  violation: verdict.violation ?? null,
});

export const resultOfLeftOut = ({ model, rule, without }: LeftOut, verdict: Verdict): Results["leftOut"][number] => ({
  model,
  rule,
  without,
  states: verdict.states,
  property: verdict.violation?.property ?? "",
  story: verdict.violation?.story ?? [],
});

/**
 * A case holds where nothing broke and nothing was left unvisited; a rule is needed where leaving it out breaks what
 * it should.
 */
export const holds = (verdict: Verdict): boolean => verdict.complete && !verdict.violation;
export const needed = ({ breaks }: LeftOut, verdict: Verdict): boolean =>
  verdict.violation?.property.startsWith(breaks) ?? false;
