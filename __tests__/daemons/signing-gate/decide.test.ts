import { watermarkDataKey } from "../../../contract/names";
import type { Mark, Watermark } from "../../../contract/watermark";
import {
  below,
  decideRaise,
  decideRepeat,
  decideSign,
  highest,
  isSynced,
  observe,
  plausible,
  type FloorPass,
  type Memory,
  type Observed,
  type Remembered,
  type Request,
} from "../../../daemons/signing-gate/decide";

const digest = (n: number) => n.toString(16).padStart(2, "0").repeat(32);
const mark = (level: number, round = 0, n = 1): Mark => ({ level, round, digest: digest(n) });
const none: Watermark["marks"] = { block: null, preattestation: null, attestation: null };
const record = (fields: Partial<Watermark> = {}): Watermark => ({
  version: 1,
  baker: "alice",
  chain: "Net",
  epoch: 5,
  holder: "a",
  floor: 99,
  marks: none,
  unfenced: false,
  ...fields,
});
const stored = (fields: Partial<Watermark> = {}): Observed => ({ state: "record", uid: "u1", record: record(fields) });
const remembered = (fields: Partial<Remembered> = {}): Remembered => ({
  uid: "u1",
  proven: true,
  epoch: 5,
  holder: "a",
  floor: 99,
  marks: none,
  unconfirmed: null,
  ...fields,
});
/** Knows the watermark for good, but nothing that is in it. */
const justProven = remembered({ epoch: 0, floor: -1 });
const tenure = { epoch: 5, holder: "a" };

describe("the first act of a tenure", () => {
  const raise = (
    observed: Observed,
    options: { memory?: Memory; syncedHead?: number | null; epoch?: number; holder?: string } = {},
  ) =>
    decideRaise({
      observed,
      memory: "memory" in options || observed.state !== "record" ? options.memory : justProven,
      tenure: { epoch: options.epoch ?? 6, holder: options.holder ?? "b" },
      syncedHead: options.syncedHead === undefined ? null : options.syncedHead,
      baker: "alice",
      chain: "Net",
    });

  test("an unconfirmed mark: a watermark below it is lost and opens above it without it; one that has it is as good as any", () => {
    const memory = remembered({
      marks: { ...none, block: mark(100) },
      unconfirmed: { kind: "attestation", mark: mark(1004) },
    });
    const without = stored({ marks: { ...none, block: mark(100) } });
    expect(raise(without, { memory })).toMatchObject({ action: "wait", reason: "no-synced-head", lost: "rewound" });
    expect(raise(without, { memory, syncedHead: 900 })).toMatchObject({
      action: "write",
      reason: "rewound",
      record: { floor: 1005, marks: { ...none, block: mark(100) } },
    });
    const other = stored({ marks: { ...none, attestation: mark(1004, 0, 2) } });
    expect(raise(other, { memory, syncedHead: 900 })).toMatchObject({ reason: "rewound", record: { floor: 1005 } });
    for (const attestation of [mark(1004), mark(1004, 1, 2), mark(1005)])
      expect(raise(stored({ marks: { ...none, block: mark(100), attestation } }), { memory })).toMatchObject({
        reason: "raise",
      });
  });

  test("raises epoch, holder and floor to the highest level of any kind, and keeps the marks", () => {
    const marks = { block: mark(100), preattestation: mark(103, 2), attestation: mark(102) };
    expect(raise(stored({ marks }))).toEqual({
      action: "write",
      reason: "raise",
      record: record({ epoch: 6, holder: "b", floor: 103, marks }),
    });
  });
  test("begins right above the floor that a time without the gate has left, and nothing opens it there", () => {
    const left = record({ epoch: 0, holder: "alice-solo-0_u", floor: 140, marks: none });
    const decision = raise({ state: "record", uid: "u1", record: left }, { memory: undefined });
    expect(decision).toMatchObject({ action: "write", reason: "raise", record: { floor: 140, marks: none } });
    expect(
      raise({ state: "record", uid: "u1", record: { ...left, unfenced: true } }, { syncedHead: 141 }),
    ).toMatchObject({ reason: "unfenced", record: { floor: 146 } });
  });
  test("never lowers a floor that is above all marks", () => {
    expect(raise(stored({ floor: 200, marks: { ...none, block: mark(100) } }))).toMatchObject({
      action: "write",
      record: { floor: 200 },
    });
  });
  test("opens without a write where this tenure has raised already", () => {
    expect(raise(stored({ epoch: 6, holder: "b" }))).toEqual({ action: "open", reason: "raised-already" });
  });
  test("is over where a higher epoch, or this one with another holder, is recorded", () => {
    expect(raise(stored({ epoch: 7 }))).toEqual({ action: "over", reason: "higher-epoch" });
    expect(raise(stored({ epoch: 6, holder: "a" }))).toEqual({ action: "over", reason: "other-holder" });
    expect(raise(stored({ epoch: 6, holder: "b_uid2" }), { holder: "b_uid1" })).toMatchObject({ action: "over" });
  });
  test("waits while the watermark is missing, even with a synced head", () => {
    expect(raise({ state: "missing" }, { syncedHead: 100 })).toMatchObject({
      action: "wait",
      reason: "watermark-missing",
    });
  });
  test("refuses what belongs to another or cannot be read", () => {
    expect(raise({ state: "refused", reason: "watermark-other-baker", detail: "bob" })).toMatchObject({
      action: "refuse",
      reason: "watermark-other-baker",
    });
  });

  const lost: [string, Observed, Memory, string][] = [
    ["a first installation", { state: "empty", uid: "u1" }, undefined, "first-installation"],
    ["an emptied object", { state: "empty", uid: "u1" }, remembered(), "rewound"],
    ["another uid", stored(), remembered({ uid: "u0" }), "other-uid"],
    [
      "a lower mark than remembered",
      stored({ marks: { ...none, block: mark(100) } }),
      remembered({ marks: { ...none, block: mark(101) } }),
      "rewound",
    ],
    [
      "a lower round than remembered",
      stored({ marks: { ...none, block: mark(100, 1) } }),
      remembered({ marks: { ...none, block: mark(100, 2) } }),
      "rewound",
    ],
    [
      "another digest than remembered",
      stored({ marks: { ...none, block: mark(100, 1, 1) } }),
      remembered({ marks: { ...none, block: mark(100, 1, 2) } }),
      "rewound",
    ],
    ["a lower floor than remembered", stored({ floor: 98 }), remembered(), "rewound"],
    ["a lower epoch than remembered", stored({ epoch: 4 }), remembered(), "rewound"],
    ["an unreadable memory", stored(), "unreadable", "memory-unreadable"],
    ["a solo pod that signed without the gate", stored({ unfenced: true }), remembered(), "unfenced"],
  ];
  test.each(lost)(
    "%s is lost: no synced head, no signature; with one it starts 5 above",
    (_text, observed, memory, reason) => {
      expect(raise(observed, { memory })).toEqual({ action: "wait", reason: "no-synced-head", lost: reason });
      expect(raise(observed, { memory, syncedHead: 1000 })).toMatchObject({
        action: "write",
        reason,
        record: { epoch: 6, holder: "b", floor: 1005, unfenced: false },
      });
    },
  );
  test("a lost watermark starts above everything remembered and gets the remembered marks back", () => {
    const marks = { block: mark(2000, 1), preattestation: null, attestation: mark(1999) };
    expect(
      raise(stored({ marks: { ...none, attestation: mark(90) } }), { memory: remembered({ marks }), syncedHead: 1000 }),
    ).toMatchObject({
      action: "write",
      reason: "rewound",
      record: { floor: 2001, marks },
    });
    expect(raise(stored(), { memory: remembered({ floor: 3000 }), syncedHead: 1000 })).toMatchObject({
      record: { floor: 3000 },
    });
  });
  test("a tenure that was seen to be superseded restores the higher epoch and is over", () => {
    expect(
      raise(stored({ epoch: 3 }), { memory: remembered({ epoch: 8, holder: "c" }), syncedHead: 1000 }),
    ).toMatchObject({
      action: "restore",
      lost: "higher-epoch",
      record: { epoch: 8, holder: "c", floor: 1005 },
    });
    expect(
      raise({ state: "empty", uid: "u2" }, { memory: remembered({ epoch: 6, holder: "c" }), syncedHead: 1000 }),
    ).toMatchObject({
      action: "restore",
      lost: "other-holder",
    });
  });
  test("a rewound watermark of the same tenure is raised again under its own epoch", () => {
    expect(
      raise(stored({ epoch: 6, holder: "b", floor: 50 }), {
        memory: remembered({ epoch: 6, holder: "b", floor: 99 }),
        syncedHead: 1000,
      }),
    ).toMatchObject({
      action: "write",
      reason: "rewound",
      record: { epoch: 6, floor: 1005 },
    });
  });
});

describe("one request", () => {
  const request = (fields: Partial<Request> = {}): Request => ({
    kind: "attestation",
    level: 105,
    round: 0,
    digest: digest(9),
    ...fields,
  });
  const shut: FloorPass = { open: false, aboveRound: -1 };
  const marks = { block: mark(104, 1), preattestation: mark(105, 0), attestation: mark(104, 2) };
  const decide = (
    asked: Request,
    observed: Observed = stored({ marks }),
    options: { memory?: Memory; pass?: FloorPass } = {},
  ) =>
    decideSign({
      request: asked,
      observed,
      memory: options.memory ?? remembered(),
      tenure,
      pass: options.pass ?? shut,
    });

  test.each<[string, Request, string, string]>([
    ["a higher level", request(), "mark", "above"],
    ["a higher round at the marked level", request({ level: 104, round: 3 }), "mark", "above"],
    ["the marked bytes again", request({ level: 104, round: 2, digest: digest(1) }), "repeat", "identical"],
    ["other bytes at the mark", request({ level: 104, round: 2 }), "refuse", "conflict"],
    ["a lower round", request({ level: 104, round: 1 }), "refuse", "below-mark"],
    ["a lower level", request({ level: 103, round: 9 }), "refuse", "below-mark"],
    ["a kind of its own mark", request({ kind: "block", level: 104, round: 2 }), "mark", "above"],
    ["the level of another kind's mark", request({ kind: "block", level: 105, round: 0 }), "mark", "above"],
  ])("%s", (_text, asked, action, reason) => {
    expect(decide(asked)).toMatchObject({ action, reason });
  });
  test("a mark changes its own kind only", () => {
    expect(decide(request())).toMatchObject({ record: record({ marks: { ...marks, attestation: mark(105, 0, 9) } }) });
  });
  test("nothing at or below the floor, except the marked bytes", () => {
    const observed = stored({ floor: 106, marks: { ...none, attestation: mark(104, 2) } });
    expect(decide(request({ level: 106 }), observed)).toMatchObject({ action: "refuse", reason: "at-or-below-floor" });
    expect(decide(request({ kind: "block", level: 106, round: 5 }), observed)).toMatchObject({
      reason: "at-or-below-floor",
    });
    expect(
      decide(request({ level: 104, round: 2, digest: digest(1) }), observed, { memory: remembered() }),
    ).toMatchObject({
      action: "repeat",
    });
    expect(decide(request({ level: 107 }), observed)).toMatchObject({ action: "mark" });
  });
  test("is over where another tenure is recorded", () => {
    expect(decide(request(), stored({ epoch: 6, holder: "b" }))).toEqual({ action: "over", reason: "higher-epoch" });
    expect(decide(request(), stored({ holder: "b" }))).toEqual({ action: "over", reason: "other-holder" });
  });
  test.each<[string, Observed, Memory]>([
    ["watermark-missing", { state: "missing" }, remembered()],
    ["rewound", { state: "empty", uid: "u1" }, remembered()],
    ["other-uid", stored(), remembered({ uid: "u0" })],
    ["rewound", stored({ floor: 90 }), remembered()],
    ["older-epoch", stored({ epoch: 4 }), remembered({ epoch: 4 })],
    ["unfenced", stored({ unfenced: true }), remembered()],
  ])("raises again where the watermark is not as this tenure left it: %s", (reason, observed, memory) => {
    expect(decide(request(), observed, { memory })).toEqual({ action: "raise", reason });
  });

  describe("the halted chain", () => {
    const halted = stored({
      floor: 105,
      marks: { block: mark(105, 2), preattestation: mark(105, 3), attestation: mark(104, 7) },
    });
    const pass: FloorPass = { open: true, aboveRound: 7 };
    test("opens rounds above every recorded one at the floor level, after its time", () => {
      expect(decide(request({ level: 105, round: 8 }), halted, { pass })).toMatchObject({
        action: "mark",
        reason: "floor-pass",
      });
      expect(decide(request({ level: 105, round: 8 }), halted)).toMatchObject({ reason: "at-or-below-floor" });
      expect(decide(request({ level: 105, round: 7 }), halted, { pass })).toMatchObject({
        reason: "at-or-below-floor",
      });
      expect(decide(request({ level: 104, round: 8 }), halted, { pass })).toMatchObject({
        reason: "at-or-below-floor",
      });
    });
    test("lets all kinds of one round through: the round recorded when the key was opened counts", () => {
      const after = stored({
        floor: 105,
        marks: { block: mark(105, 8), preattestation: mark(105, 8), attestation: mark(104, 7) },
      });
      expect(decide(request({ level: 105, round: 8 }), after, { pass })).toMatchObject({
        action: "mark",
        reason: "floor-pass",
      });
    });
    test("opens nothing where the floor comes from a lost watermark: what was signed there is unknown", () => {
      const unknown = stored({ floor: 106, marks: { ...none, block: mark(105, 2) } });
      expect(decide(request({ level: 106, round: 50 }), unknown, { pass })).toMatchObject({
        reason: "at-or-below-floor",
      });
    });
  });
});

test("a block is signed once; a vote again; a deterministic signer's block again", () => {
  const base = { kind: "block" as const, deterministic: false, remembered: false, neverForwarded: false };
  expect(decideRepeat(base)).toEqual({ action: "refuse", reason: "block-repeated" });
  expect(decideRepeat({ ...base, remembered: true, deterministic: true })).toEqual({
    action: "answer",
    reason: "remembered",
  });
  expect(decideRepeat({ ...base, neverForwarded: true })).toEqual({ action: "forward", reason: "never-forwarded" });
  expect(decideRepeat({ ...base, deterministic: true })).toEqual({ action: "forward", reason: "deterministic" });
  expect(decideRepeat({ ...base, kind: "attestation" })).toEqual({ action: "forward", reason: "vote" });
});

test("a level is plausible up to 5 above a fresh head; an old head allows for the blocks that may have come", () => {
  expect(plausible(105, { level: 100, ageSeconds: 60 }, 60)).toBe(true);
  expect(plausible(106, { level: 100, ageSeconds: 60 }, 60)).toBe(false);
  expect(plausible(115, { level: 100, ageSeconds: 60.1 }, 60)).toBe(true);
  expect(plausible(117, { level: 100, ageSeconds: 60.1 }, 60)).toBe(false);
  expect(plausible(2147483647, { level: 100, ageSeconds: 86_400 }, 60)).toBe(false);
  expect(plausible(1, { level: 100, ageSeconds: 0 }, 60)).toBe(true);
});

test("a head is synced while nothing can have been signed more than 5 levels above it", () => {
  expect(isSynced({ level: 1, ageSeconds: 24 }, 60)).toBe(true);
  expect(isSynced({ level: 1, ageSeconds: 24.1 }, 60)).toBe(false);
  expect(isSynced({ level: 1, ageSeconds: -7 }, 60)).toBe(false);
});

test("what an object says: whose it is, for which chain, and whether it can be read", () => {
  const expected = { baker: "alice", chain: "Net", dataKey: watermarkDataKey };
  const object = (data?: string, label?: string) => ({
    metadata: { uid: "u1", ...(label === undefined ? {} : { labels: { baker: label } }) },
    ...(data === undefined ? {} : { data: { [watermarkDataKey]: data } }),
  });
  expect(observe(undefined, expected)).toEqual({ state: "missing" });
  expect(observe(object(), expected)).toEqual({ state: "empty", uid: "u1" });
  expect(observe(object(""), expected)).toEqual({ state: "empty", uid: "u1" });
  expect(observe(object("", "bob"), expected)).toMatchObject({ state: "refused", reason: "watermark-other-baker" });
  expect(observe(object(JSON.stringify(record()), "alice"), expected)).toEqual(stored());
  expect(observe(object(JSON.stringify(record({ baker: "bob" }))), expected)).toMatchObject({
    reason: "watermark-other-baker",
  });
  expect(observe(object(JSON.stringify(record({ chain: "Other" }))), expected)).toMatchObject({
    reason: "watermark-other-chain",
  });
  expect(observe(object("{"), expected)).toMatchObject({ reason: "watermark-unreadable" });
  // Believed, it would end every tenure of the baker: only its own key is refused.
  expect(observe(object(JSON.stringify(record({ epoch: 2 ** 31 - 2 }))), expected)).toEqual({
    state: "refused",
    reason: "watermark-unreadable",
    detail: "epoch",
  });
  expect(observe(object(JSON.stringify({ ...record(), extra: 1 })), expected)).toMatchObject({
    reason: "watermark-unreadable",
  });
  expect(observe(object(JSON.stringify({ ...record(), version: 2 })), expected)).toMatchObject({
    reason: "watermark-unreadable",
  });
});

test("highest and below look at every kind", () => {
  expect(highest({ block: mark(5, 1), preattestation: mark(7, 0), attestation: mark(6, 4) })).toEqual({
    level: 7,
    round: 4,
  });
  expect(highest(none)).toEqual({ level: -1, round: -1 });
  expect(below(record(), remembered())).toBe(false);
  expect(below(record({ marks: none }), remembered({ marks: { ...none, preattestation: mark(1) } }))).toBe(true);
});
