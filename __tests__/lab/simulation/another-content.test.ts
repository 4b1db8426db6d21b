/** S1 is exercised: a gate that signs another content of a place is found. */
import type * as rules from "../../../daemons/signing-gate/decide";
import { simulate } from "../../../lab/simulation/simulate";

/** As the mutant `another-content-of-a-place`: the place is marked again with the other content. */
jest.mock("../../../daemons/signing-gate/decide", () => {
  const real = jest.requireActual<typeof rules>("../../../daemons/signing-gate/decide");
  const decideSign: typeof rules.decideSign = (input) => {
    const decision = real.decideSign(input);
    const { observed, request } = input;
    if (decision.reason !== "conflict" || observed.state !== "record") return decision;
    const { kind, level, round, digest } = request;
    const marks = { ...observed.record.marks, [kind]: { level, round, digest } };
    return { action: "mark", record: { ...observed.record, marks }, reason: "above" };
  };
  return { ...real, decideSign };
});

test("with a gate that signs another content of a place seed 2 is judged as two-digests", async () => {
  const { findings } = await simulate({ seed: 2 });
  expect(findings.map(({ code }) => code)).toContain("two-digests");
});
