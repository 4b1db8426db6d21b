import { lastPossibleLevel, soloConditions, type SoloFacts } from "../../../daemons/baker-supervisor/solo";

const record = {
  ...{ version: 1 as const, baker: "alice", chain: "Net", epoch: 3, holder: "x", floor: 90, unfenced: false },
  marks: { block: { level: 100, round: 0, digest: "0".repeat(64) }, preattestation: null, attestation: null },
};
const judge = (facts: Partial<SoloFacts>, chain = "Net") =>
  soloConditions(
    {
      ...{ records: [{ name: "wm-a", record }], headLevel: 101, signedUpTo: null },
      ...{ own: { pod: "alice-solo-0", level: null }, ...facts },
    },
    "alice",
    chain,
  );

test("a solo baker starts above every mark of its own chain", () => {
  expect(judge({})).toMatchObject({ ok: true });
  expect(judge({ headLevel: 100 })).toMatchObject({ ok: false, reason: "head-not-above-marks" });
  expect(judge({}, "Other")).toMatchObject({ ok: false, reason: "watermark-of-another-chain" });
});

test("the floor that this pod has left from the same client folder holds back nothing that octez-baker does not", () => {
  const left = (holder: string, ownLevel: number | null) =>
    judge({
      records: [{ name: "wm-a", record: { ...record, holder, floor: 102 } }],
      ...{ headLevel: 101, own: { pod: "alice-solo-0", level: ownLevel } },
    });
  expect(left("alice-solo-0_u1", 102)).toMatchObject({ ok: true });
  expect(left("alice-solo-0_u1", 101)).toMatchObject({ ok: false, reason: "head-not-above-marks" });
  expect(left("alice-solo-0_u1", null)).toMatchObject({ ok: false, reason: "head-not-above-marks" });
  expect(left("alice-as-0_u1", 102)).toMatchObject({ ok: false, reason: "head-not-above-marks" });
});

test("with broken high watermarks it waits until the head has passed what can have been signed", () => {
  expect(judge({ signedUpTo: "unknown" })).toMatchObject({ ok: false, reason: "high-watermarks-broken" });
  expect(judge({ signedUpTo: 106, headLevel: 106 })).toMatchObject({ ok: false, reason: "high-watermarks-broken" });
  expect(judge({ records: [], signedUpTo: 106, headLevel: null })).toMatchObject({ reason: "high-watermarks-broken" });
  expect(judge({ signedUpTo: 106, headLevel: 107 })).toMatchObject({ ok: true });
});

test("only a synced head says what can have been signed", () => {
  expect(lastPossibleLevel({ level: 101, ageSeconds: 24 }, 60)).toBe(106);
  expect(lastPossibleLevel({ level: 101, ageSeconds: 25 }, 60)).toBe("unknown");
  expect(lastPossibleLevel({ level: 101, ageSeconds: -7 }, 60)).toBe("unknown");
  expect(lastPossibleLevel(null, 60)).toBe("unknown");
});
