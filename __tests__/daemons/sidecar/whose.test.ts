import { Asked } from "../../../daemons/signing-gate/asked";
import { mostLikely, whoseSlot, type Slot, type Verdict, type Witness } from "../../../daemons/sidecar/whose";

const next = 1_800_000_006_000;
const missed = (fields: Partial<Slot> = {}): Slot => ({
  ...{ kind: "attestation", level: 100, round: 0, deadlineMs: next, arrivedMs: next - 5000, ...fields },
});
type Request = NonNullable<Witness["asked"]>[number];
const request = (fields: Partial<Request> = {}): Request => ({
  ...{ kind: "attestation", level: 100, round: 0, key: "tz4consensus", result: "signed", atMs: next - 4200, ...fields },
});
const seen = (asked: Witness["asked"], fields: Partial<Witness> = {}): Witness => ({
  ...{ asked, sinceMs: 0, master: true, nowMs: next + 1500, ...fields },
});

const cases: [string, Slot, Witness, Verdict["whose"], string][] = [
  ["signed in time", missed(), seen([request()]), "producer", "signed 4.2 s before the next round began"],
  ["signed late", missed(), seen([request({ atMs: next + 700 })]), "ours", "signed 0.7 s after the next round began"],
  [
    "signed 0.4 s before the next block",
    missed(),
    seen([request({ atMs: next - 400 })]),
    "unknown",
    "signed 0.4 s before the next block: too close to tell",
  ],
  ["signed a second before it", missed(), seen([request({ atMs: next - 1000 })]), "producer", "signed 1.0 s before"],
  [
    "signed by the companion key only",
    missed({ key: "tz4consensus" }),
    seen([request({ result: "no-signer" }), request({ key: "tz4companion" })]),
    "ours",
    "not signed: no-signer",
  ],
  [
    "refused to the companion key only",
    missed({ key: "tz4consensus" }),
    seen([request(), request({ key: "tz4companion", result: "no-signer" })]),
    "producer",
    "signed 4.2 s before",
  ],
  [
    "refused to one of two keys, of which nobody knows the active one",
    missed(),
    seen([request({ result: "no-signer" }), request({ key: "tz4companion" })]),
    "ours",
    "not signed: no-signer",
  ],
  ["refused", missed(), seen([request({ result: "no-signer" })]), "ours", "not signed: no-signer"],
  ["under way", missed(), seen([request({ result: "under-way", atMs: 0 })]), "ours", "not signed 1.5 s after"],
  ["never asked for", missed(), seen([request({ level: 99 })]), "ours", "octez-baker had not asked for it 1.5 s after"],
  [
    "signed at the second try",
    missed(),
    seen([request({ result: "raising", atMs: next - 4500 }), request()]),
    "producer",
    "signed 4.2 s before",
  ],
  ["only its block was signed", missed(), seen([request({ kind: "block" })]), "ours", "had not asked"],
  ["signed for a round that lost", missed({ round: 1 }), seen([request()]), "unknown", "went on with round 1"],
  ["of a round that nobody knows", missed({ round: null }), seen([request()]), "producer", "signed 4.2 s before"],
  [
    "of a block that came too late",
    missed({ arrivedMs: next + 900 }),
    seen([request({ atMs: next + 1000 })]),
    "unknown",
    "reached this node 0.9 s after the next round began",
  ],
  ["of another master", missed(), seen([], { master: false }), "unknown", "not master all the time"],
  ["signed before the tenure moved", missed(), seen([request()], { master: false }), "producer", "signed 4.2 s before"],
  ["with a gate that has started since", missed(), seen([], { sinceMs: next - 4999 }), "unknown", "started anew"],
  ["without a gate", missed(), seen(undefined), "unknown", "no signing gate"],
  [
    "a block of ours that another round replaced",
    missed({ kind: "block" }),
    seen([request({ kind: "block", atMs: next - 5500 })]),
    "producer",
    "signed 5.5 s before the next round began",
  ],
];
test.each(cases)("a slot that was %s", (_name, slot, witness, whose, why) => {
  const verdict = whoseSlot(slot, witness);
  expect(verdict.whose).toBe(whose);
  expect(verdict.why).toContain(why);
});

test("where the chain tells only a number, what is surely ours comes first", () => {
  const slots = (["producer", "ours", "unknown"] as const).map((whose) => ({ verdict: { whose, why: "" } }));
  expect(mostLikely(slots, 2).map(({ verdict }) => verdict.whose)).toEqual(["ours", "unknown"]);
});

test("the gate remembers what it was asked for and what became of it, and no more than it needs", () => {
  const asked = new Asked();
  const ended = asked.begin("tz4a", { kind: "attestation", level: 7, round: 1 });
  asked.begin("tz4a", { kind: "preattestation", level: 7, round: 1 })("signed", 5);
  expect(asked.list()).toEqual([
    { kind: "attestation", level: 7, round: 1, key: "tz4a", result: "under-way", atMs: 0 },
  ]);
  ended("signed", 12.4);
  expect(asked.list()).toEqual([{ kind: "attestation", level: 7, round: 1, key: "tz4a", result: "signed", atMs: 12 }]);
  for (let level = 8; level < 100; level++) asked.begin("tz4a", { kind: "block", level, round: 0 });
  expect(asked.list()).toHaveLength(24);
  expect(asked.list().at(-1)?.level).toBe(99);
});
