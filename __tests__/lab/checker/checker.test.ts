import {
  check,
  violationCodes,
  type CommitEntry,
  type SignerEntry,
  type ViolationCode,
} from "../../../lab/checker/checker";
import type { Mark, MarkKind, Watermark } from "../../../contract/watermark";
import { encodeBase58, expectBase58 } from "../../../tezos/base58";
import { encodeBlockRequest, encodeVoteRequest, requestDigest } from "../../../tezos/signing-request";

const chain = "NetXdQprcVkpaWU";
const chainId = expectBase58("chainId", chain);
const address = encodeBase58("tz1", new Uint8Array(20).fill(1));
const none: Watermark["marks"] = { block: null, preattestation: null, attestation: null };

interface Ask {
  kind: MarkKind;
  level: number;
  round: number;
  bytes: Uint8Array;
}
const ask = (kind: MarkKind, level: number, round = 0, payload = 1): Ask => {
  const payloadHash = new Uint8Array(32).fill(payload);
  const fields = { chainId, level, round, payloadHash };
  const bytes =
    kind === "block"
      ? encodeBlockRequest(fields)
      : encodeVoteRequest({ ...fields, tag: kind === "attestation" ? 21 : 20 });
  return { kind, level, round, bytes };
};
const markOf = (asked: Ask): Mark => ({ level: asked.level, round: asked.round, digest: requestDigest(asked.bytes) });

/** Writes the two logs as a run would. */
class Story {
  signed: SignerEntry[] = [];
  commits: CommitEntry[] = [];
  private at = 0;
  record: Watermark = {
    version: 1,
    baker: "alice",
    chain,
    epoch: 0,
    holder: "",
    floor: -1,
    marks: none,
    unfenced: false,
  };
  uid = "u1";

  commit(fields: Partial<Watermark>, by: "gate" | "other" = "gate"): this {
    this.record = { ...this.record, ...fields };
    this.commits.push({ at: ++this.at, address, uid: this.uid, by, record: this.record });
    return this;
  }
  remove(): this {
    this.commits.push({ at: ++this.at, address, uid: this.uid, by: "other", record: null });
    return this;
  }
  raise(epoch: number, holder: string): this {
    const levels = Object.values(this.record.marks).map((mark) => mark?.level ?? -1);
    return this.commit({ epoch, holder, floor: Math.max(this.record.floor, ...levels) });
  }
  mark(asked: Ask): this {
    return this.commit({ marks: { ...this.record.marks, [asked.kind]: markOf(asked) } });
  }
  forward(asked: Ask, signature: string | null = "sig", signer = "s1"): this {
    this.signed.push({ at: ++this.at, signer, address, bytes: Buffer.from(asked.bytes).toString("hex"), signature });
    return this;
  }
  sign(asked: Ask, signature?: string): this {
    return this.mark(asked).forward(asked, signature);
  }
  wait(time: number): this {
    this.at += time;
    return this;
  }
  codes(options?: Parameters<typeof check>[2]): ViolationCode[] {
    return check(this.signed, this.commits, options).map((violation) => violation.code);
  }
}
const begin = () => new Story().commit({ floor: 99, epoch: 0, holder: "" }, "other").raise(1, "a");

test("a good history has no violation: takeovers, repeated votes, a late forward, a loss and a restore", () => {
  const story = begin()
    .sign(ask("block", 100))
    .sign(ask("preattestation", 100))
    .sign(ask("attestation", 100))
    .forward(ask("attestation", 100));
  const late = ask("attestation", 101);
  story.mark(late).raise(2, "b").forward(late).forward(ask("block", 100));
  story.sign(ask("block", 102)).sign(ask("block", 102, 1));
  expect(story.codes()).toEqual([]);
  const old = story.record;
  story.sign(ask("attestation", 103));
  const newest = story.record;
  // Rewound by a backup; the gate remembers, starts above the head and puts its marks back.
  story.commit(old, "other").commit({ ...newest, floor: 108 });
  story.sign(ask("attestation", 109));
  story.remove();
  story.uid = "u2";
  story.commit({ marks: none, floor: 114, epoch: 3, holder: "a" }).sign(ask("block", 115));
  expect(story.codes()).toEqual([]);
});

test("a gate may put back, late and below its floor, a mark that an outsider took away; any other way back is a violation", () => {
  const story = (floor: number) => {
    const made = begin().sign(ask("preattestation", 110));
    const old = made.record;
    made.sign(ask("preattestation", 110, 3));
    const newest = made.record;
    // Its memory was broken: it starts above the head and knows nothing of round 3.
    made.commit(old, "other").commit({ ...old, epoch: 2, holder: "b", floor });
    return { made, old, newest };
  };
  const { made, old, newest } = story(115);
  expect(made.commit({ marks: newest.marks, floor: 116 }).codes()).toEqual([]);
  expect(made.commit({ marks: old.marks }).codes()).toEqual(["mark-not-monotone", "mark-at-or-below-floor"]);
  const at = story(110);
  expect(at.made.commit({ marks: at.newest.marks }).codes()).toContain("mark-at-or-below-floor");
  const never = story(115).made;
  expect(never.mark(ask("preattestation", 110, 4)).codes()).toEqual(["mark-at-or-below-floor"]);
});

test("marks put back below the floor where the record has none are not new ones; any others are", () => {
  const story = (floor: number) => {
    const made = begin().sign(ask("block", 110)).sign(ask("attestation", 110));
    const { marks } = made.record;
    // An outsider takes the record away; the gate that begins on the empty one learns of its marks later.
    made.commit({ epoch: 0, holder: "", floor: 99, marks: none }, "other").commit({ epoch: 2, holder: "b", floor });
    return { made, marks };
  };
  const { made, marks } = story(115);
  expect(made.commit({ marks }).codes()).toEqual([]);
  const at = story(110);
  expect(at.made.commit({ marks: at.marks }).codes()).toContain("mark-at-or-below-floor");
  expect(
    story(115)
      .made.mark(ask("block", 110, 0, 2))
      .codes(),
  ).toEqual(["mark-not-monotone", "mark-at-or-below-floor"]);
});

test("what an outsider takes away and puts back, or raises above, is not lost; part of it still is", () => {
  const story = () => {
    const made = begin().sign(ask("attestation", 110));
    const whole = made.record;
    return { made: made.commit({ floor: 90 }, "other"), whole };
  };
  const back = story();
  expect(
    back.made
      .commit({ ...back.whole, floor: 111 }, "other")
      .sign(ask("attestation", 112))
      .codes(),
  ).toEqual([]);
  const part = story();
  expect(part.made.commit({ floor: 95 }, "other").sign(ask("attestation", 112)).codes()).toContain(
    "tenure-without-raise",
  );
  const marks = story();
  expect(
    marks.made
      .commit({ ...marks.whole, marks: none }, "other")
      .sign(ask("attestation", 112))
      .codes(),
  ).toContain("tenure-without-raise");
});

test("rounds at the floor of a halted chain count as good only after their time and above the recorded rounds", () => {
  const story = () =>
    begin()
      .sign(ask("block", 100, 2))
      .raise(2, "b");
  const pass = { floorPassAfter: 50 };
  expect(
    story()
      .wait(60)
      .sign(ask("block", 100, 3))
      .sign(ask("attestation", 100, 3))
      .codes(pass),
  ).toEqual([]);
  expect(
    story()
      .wait(60)
      .sign(ask("block", 100, 3))
      .codes(),
  ).toEqual(["mark-at-or-below-floor"]);
  expect(
    story()
      .wait(10)
      .sign(ask("block", 100, 3))
      .codes(pass),
  ).toEqual(["mark-at-or-below-floor"]);
  expect(
    story()
      .wait(60)
      .sign(ask("attestation", 100, 2))
      .codes(pass),
  ).toEqual(["mark-at-or-below-floor"]);
  expect(
    story()
      .wait(60)
      .sign(ask("attestation", 99, 3))
      .codes(pass),
  ).toEqual(["mark-at-or-below-floor"]);
});

const planted: Record<ViolationCode, () => Story> = {
  "not-understood": () => begin().forward({ kind: "block", level: 1, round: 0, bytes: Uint8Array.of(3, 1, 2, 3) }),
  "two-digests": () =>
    begin()
      .sign(ask("attestation", 100, 0, 1))
      .forward(ask("attestation", 100, 0, 2)),
  "two-signatures-of-a-block": () => begin().sign(ask("block", 100), "one").forward(ask("block", 100), "two", "s2"),
  "forward-before-commit": () => begin().forward(ask("attestation", 100)).mark(ask("attestation", 100)),
  "mark-not-monotone": () => begin().sign(ask("attestation", 105)).mark(ask("attestation", 104)),
  "epoch-not-monotone": () => begin().raise(3, "b").raise(2, "c"),
  "floor-not-monotone": () => begin().sign(ask("attestation", 100)).commit({ floor: 50 }),
  "below-highest-epoch": () => {
    const story = begin().raise(5, "b").remove();
    story.uid = "u2";
    return story.commit({ epoch: 4, holder: "c" });
  },
  "two-holders-of-an-epoch": () => begin().raise(2, "b").commit({ holder: "c" }),
  "mark-at-or-below-floor": () => begin().sign(ask("attestation", 99)),
  "tenure-without-raise": () =>
    begin().commit({
      epoch: 2,
      holder: "b",
      marks: { ...none, attestation: markOf(ask("attestation", 120)) },
      floor: 120,
    }),
  "opened-at-signed-level": () => {
    const story = begin().sign(ask("attestation", 110)).remove();
    story.uid = "u2";
    return story.commit({ epoch: 2, holder: "b", marks: none, floor: 109 });
  },
};
test.each([...violationCodes])("it notices: %s", (code) => {
  expect(planted[code]().codes()).toContain(code);
});

test("it remembers across deletion and rollback: what was signed once stays signed", () => {
  const story = begin().sign(ask("attestation", 110, 0, 1));
  story.remove();
  story.uid = "u2";
  story.commit({ marks: none, floor: 105, epoch: 2, holder: "b" }).sign(ask("attestation", 110, 0, 2));
  expect(story.codes()).toEqual(expect.arrayContaining(["opened-at-signed-level", "two-digests", "mark-not-monotone"]));
});

test("a signature counts whether or not its answer arrived, and a key is judged for itself", () => {
  expect(
    begin().mark(ask("block", 100)).forward(ask("block", 100), null).forward(ask("block", 100), "one").codes(),
  ).toEqual([]);
  const other = encodeBase58("tz1", new Uint8Array(20).fill(2));
  const story = begin().sign(ask("attestation", 100));
  const foreign = story.signed.map((entry) => ({ ...entry, at: 99, address: other }));
  const violations = check([...story.signed, ...foreign], story.commits);
  expect(violations).toMatchObject([{ code: "forward-before-commit", address: other }]);
});
