/**
 * The quick part of `npm run model`: small bounds hold, and each rule that is left out is missed, as far as that
 * takes seconds.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { holds, needed, resultOfCase, resultOfLeftOut, type Results } from "../../model/results";
import { cases, leftOut } from "../../model/suite";

const kept = JSON.parse(readFileSync(join(__dirname, "../../docs/model-results.json"), "utf8")) as Results;

test("the kept results are of the cases and rules that there are", () => {
  expect(kept.cases.map(({ model, name }) => `${model}: ${name}`)).toEqual(
    cases.map(({ model, name }) => `${model}: ${name}`),
  );
  expect(kept.leftOut.map(({ without }) => without)).toEqual(leftOut.map(({ without }) => without));
  expect(kept.cases.filter(({ violation }) => violation !== null)).toEqual([]);
});

test.each(cases.filter(({ quick }) => quick).map((one) => [one.model, one.name, one] as const))(
  "no property breaks in any state: %s, %s",
  (model, name, one) => {
    const verdict = one.run();
    expect(verdict.violation).toBeUndefined();
    expect(holds(verdict)).toBe(true);
    expect(kept.cases.find((result) => result.model === model && result.name === name)).toEqual(
      resultOfCase(one, verdict),
    );
  },
  120_000,
);

/** The others belong to the whole run (`npm run model -- --check`). */
const soon = leftOut.filter(({ without }) => {
  const before = kept.leftOut.find((one) => one.without === without);
  return !before || before.states <= 16_000;
});
test.each(soon.map((one) => [one.rule, one.without, one] as const))(
  "left out, the rule is missed: %s, %s",
  (_, without, one) => {
    const verdict = one.run();
    expect({ property: verdict.violation?.property, found: needed(one, verdict) }).toMatchObject({ found: true });
    expect(kept.leftOut.find((result) => result.without === without)).toEqual(resultOfLeftOut(one, verdict));
  },
  120_000,
);
