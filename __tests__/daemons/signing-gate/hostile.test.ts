/**
 * Two gates and two signers with the same key, over real sockets, against everything that may go wrong around them.
 * Every test ends with the checker.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { planRaise } from "../../../cockpit/watermark-plan";
import type { Timings } from "../../../contract/timings";
import type { SigningKey } from "../../../lab/doubles/signing-keys";
import { testKey } from "../../../lab/doubles/signing-keys";
import { verifySignature } from "../../../tezos/keys";
import { requestDigest } from "../../../tezos/signing-request";
import { GateWorld, quick, request, type GatePod } from "../../helpers/gates";

const ed = testKey("tz1", "baker");
const secp = testKey("tz2", "baker");

let world: GateWorld | undefined;
async function begin(
  options: { key?: SigningKey; signers?: number; deterministic?: boolean; timings?: Timings } = {},
): Promise<{ world: GateWorld; a: GatePod; b: GatePod; key: string }> {
  const key = options.key ?? ed;
  const made = await new GateWorld([key], options.timings).start(
    Array.from({ length: options.signers ?? 2 }, () => ({})),
  );
  world = made;
  const pod = (ordinal: number) =>
    made.pod(`alice-as-${ordinal}`, "u1", { deterministic: options.deterministic ?? true });
  return { world: made, a: await pod(0), b: await pod(1), key: key.address };
}
afterEach(async () => {
  const violations = world?.violations();
  await world?.close();
  world = undefined;
  expect(violations).toEqual([]);
});
/** For what a slow machine must not hand to the next signer. */
const patient: Timings = {
  ...quick,
  gateBudgetMs: 15_000,
  markWriteMs: 4000,
  signerTimeoutMs: 8000,
  requestTimeoutMs: 4000,
};
const count = (signed: readonly unknown[]) => signed.length;

test("the master's requests are signed, by one signer each, and the signature verifies", async () => {
  const { world, a, key } = await begin({ timings: patient });
  a.lead(1);
  for (const kind of ["block", "preattestation", "attestation"] as const) {
    const answer = await a.sign(key, request(kind, 1001));
    expect(answer.status).toBe(200);
    expect(verifySignature(ed.publicKey, request(kind, 1001), answer.signature ?? "")).toBe(true);
  }
  expect(count(world.signed)).toBe(3);
  expect(world.read(key)).toMatchObject({
    epoch: 1,
    holder: "alice-as-0_u1",
    floor: 999,
    marks: { block: { level: 1001, round: 0 } },
  });
});

test("both believe to be master: the later epoch wins, the other one learns that its tenure is over", async () => {
  const { a, b, key } = await begin();
  a.lead(1);
  expect((await a.sign(key, request("attestation", 1001, 0, 1))).status).toBe(200);
  b.lead(2);
  expect(await b.sign(key, request("attestation", 1001, 0, 2))).toMatchObject({ status: 409, reason: "conflict" });
  const [mine, yours] = await Promise.all([
    a.sign(key, request("attestation", 1002, 0, 1)),
    b.sign(key, request("attestation", 1002, 0, 2)),
  ]);
  expect(mine).toMatchObject({ status: 503, reason: "not-master" });
  expect(yours.status).toBe(200);
  expect(a.gate.status()).toMatchObject({ open: false, tenureLost: "higher-epoch" });
  expect(b.gate.status()).toMatchObject({ open: true, tenureLost: null });
});

test("two masters of one epoch, and twin pods of one name: the first to raise keeps it", async () => {
  const { world, a, key } = await begin();
  const twin = await world.pod("alice-as-0", "u2");
  a.lead(1);
  expect((await a.sign(key, request("block", 1001, 0, 1))).status).toBe(200);
  twin.lead(1);
  expect(await twin.sign(key, request("block", 1001, 0, 2))).toMatchObject({ status: 503, reason: "not-master" });
  expect(twin.gate.status().tenureLost).toBe("other-holder");
  expect((await a.sign(key, request("block", 1002, 0, 1))).status).toBe(200);
});

test.each([
  ["late", { kind: "hang", after: true } as const],
  ["never, the connection broke", { kind: "cut", after: true } as const],
  ["as an internal error", { kind: "status", code: 500, after: true } as const],
])("a write that happened but was answered %s is read back, and its request forwarded once", async (_text, effect) => {
  const { world, a, key } = await begin({ timings: patient });
  a.lead(1);
  await a.sign(key, request("attestation", 1001));
  for (const kind of ["block", "attestation"] as const) {
    const fault = world.api.addFault({ match: { verbs: ["update"] }, times: 1, effect });
    expect((await a.sign(key, request(kind, 1002))).status).toBe(200);
    expect(fault.hits()).toBe(1);
    fault.remove();
  }
  expect(count(world.signed)).toBe(3);
});

test("a write that did not happen is repeated inside the budget; an API that is gone means no signature", async () => {
  const { world, a, key } = await begin();
  a.lead(1);
  await a.sign(key, request("attestation", 1001));
  const fault = world.api.addFault({ match: { verbs: ["update"] }, times: 1, effect: { kind: "cut" } });
  expect((await a.sign(key, request("attestation", 1002))).status).toBe(200);
  fault.remove();
  const gone = world.api.addFault({ effect: { kind: "status", code: 503 } });
  const answer = await a.sign(key, request("attestation", 1003));
  expect(answer).toMatchObject({ status: 503, reason: "watermark-unavailable" });
  gone.remove();
  expect((await a.sign(key, request("attestation", 1003))).status).toBe(200);
});

test("a raise that was applied, its answer lost and the gate restarted: the tenure goes on with its floor", async () => {
  const { world, a, key } = await begin();
  a.lead(1);
  await a.sign(key, request("attestation", 1001));
  const fault = world.api.addFault({ match: { verbs: ["update"] }, times: 1, effect: { kind: "hang", after: true } });
  a.lead(2);
  while (fault.hits() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await a.close();
  fault.remove();
  const again = await world.pod("alice-as-0", "u1");
  again.lead(2);
  expect(await again.sign(key, request("attestation", 1001, 1, 2))).toMatchObject({
    status: 409,
    reason: "at-or-below-floor",
  });
  expect((await again.sign(key, request("attestation", 1002))).status).toBe(200);
  expect(again.gate.status().keys[0]).toMatchObject({ state: "open", reason: "raised-already", floor: 1001 });
});

test.each([
  ["its process alone", "boot 1", "raised-already"],
  ["its machine", "boot 2", "raised-rewound"],
])(
  "a gate ended while the API is asked for a mark, by the end of %s: nothing was forwarded, and that is known or guarded",
  async (_what, boot, reason) => {
    // The gate waits for the API as long as it lives: neither of the two decides when it ends.
    const patient = { gateBudgetMs: 5000, requestTimeoutMs: 5000, markWriteMs: 5000 };
    const { world, a, key } = await begin({ timings: { ...quick, ...patient } });
    a.lead(1);
    await a.sign(key, request("attestation", 1001));
    const fault = world.api.addFault({ match: { verbs: ["update"] }, times: 1, effect: { kind: "hang" } });
    const unanswered = a.sign(key, request("attestation", 1002, 0, 1)).catch(() => undefined);
    const marks = join(world.folder, "alice-as-0", "gate", "marks");
    const announced = requestDigest(request("attestation", 1002, 0, 1));
    while (fault.hits() === 0 || !readFileSync(marks, "latin1").includes(announced))
      await new Promise((resolve) => setTimeout(resolve, 5));
    // What the disk says at the end, whatever the ended gate still does here with a file that the next one does not
    // have.
    const left = readFileSync(marks);
    a.lead(1, { gate: "shut" });
    await a.close();
    expect((await unanswered)?.status).not.toBe(200);
    rmSync(marks);
    writeFileSync(marks, left);
    const again = await world.pod("alice-as-0", "u1", { boot });
    again.lead(1);
    const other = await again.sign(key, request("attestation", 1002, 0, 2));
    if (boot === "boot 1") expect(other.status).toBe(200);
    else expect(other).toMatchObject({ status: 409, reason: "at-or-below-floor" });
    expect(again.gate.status().keys[0]).toMatchObject({ state: "open", reason });
    // Not put back, so that the same bytes are refused as well.
    expect(world.read(key).marks.attestation).toMatchObject(boot === "boot 1" ? { level: 1002 } : { level: 1001 });
    if (boot === "boot 2")
      expect(await again.sign(key, request("attestation", 1002, 0, 1))).toMatchObject({ status: 409 });
  },
);

test("a lease lost and won again by the same pod is a new tenure: nothing at the floor but the same bytes", async () => {
  const { world, a, key } = await begin();
  a.lead(1);
  const vote = request("attestation", 1001);
  await a.sign(key, vote);
  a.lead(2);
  expect(await a.sign(key, request("block", 1001))).toMatchObject({ status: 409, reason: "at-or-below-floor" });
  expect((await a.sign(key, vote)).status).toBe(200);
  expect((await a.sign(key, request("block", 1002))).status).toBe(200);
  expect(world.read(key)).toMatchObject({ epoch: 2, floor: 1001 });
});

test("a deleted watermark: refused until it exists again, and then until a synced head is known", async () => {
  const { world, a, key } = await begin();
  a.lead(1);
  await a.sign(key, request("attestation", 1001, 0, 1));
  world.remove(key);
  expect(await a.sign(key, request("attestation", 1002))).toMatchObject({ status: 409, reason: "watermark-missing" });
  world.synced = false;
  await world.put(key, undefined);
  const until = async (reason: string) => {
    for (let i = 0; i < 200 && a.gate.status().keys[0]?.reason !== reason; i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(a.gate.status().keys[0]?.reason).toBe(reason);
  };
  await until("no-synced-head");
  expect(await a.sign(key, request("attestation", 1002))).toMatchObject({ status: 409, reason: "no-synced-head" });
  world.head = { level: 1003, ageSeconds: 0 };
  world.synced = true;
  await until("raised-other-uid");
  expect(await a.sign(key, request("attestation", 1008))).toMatchObject({ status: 409, reason: "at-or-below-floor" });
  world.head = { level: 1008, ageSeconds: 0 };
  expect((await a.sign(key, request("attestation", 1009))).status).toBe(200);
});

test("a watermark that is put back while the floor lies ahead is raised at the next request, below that floor or not", async () => {
  const { world, a, key } = await begin();
  a.lead(1);
  await a.sign(key, request("attestation", 1001));
  const old = world.read(key);
  if (!old) throw new Error("a watermark is there");
  await world.put(key, { ...old, floor: 1010 });
  a.gate.look(key, world.stored(key));
  expect(await a.sign(key, request("attestation", 1002))).toMatchObject({ status: 409, reason: "at-or-below-floor" });
  await world.put(key, old);
  a.gate.look(key, world.stored(key));
  expect(await a.sign(key, request("attestation", 1002))).toMatchObject({ status: 409, reason: "at-or-below-floor" });
  expect(world.read(key)?.floor).toBeGreaterThanOrEqual(1010);
});

test.each(["rewound", "replaced"] as const)(
  "a %s watermark with both heads stale: no signature, by either pod, until a head is synced",
  async (how) => {
    const { world, a, b, key } = await begin();
    a.lead(1);
    await a.sign(key, request("attestation", 1001, 0, 1));
    const old = world.read(key);
    await a.sign(key, request("attestation", 1002, 0, 1));
    // The other pod saw it, as it looks every two seconds.
    b.gate.look(key, world.stored(key));
    if (how === "replaced") world.remove(key);
    await world.put(key, old);
    world.head = { level: 1000, ageSeconds: 300 };
    for (const [pod, epoch] of [
      [a, 1],
      [b, 2],
    ] as const) {
      pod.lead(epoch);
      expect(await pod.sign(key, request("attestation", 1003))).toMatchObject({
        status: 409,
        reason: "no-synced-head",
      });
      pod.lead(epoch, { gate: "shut" });
    }
    world.head = { level: 1002, ageSeconds: 0 };
    b.lead(3);
    for (let i = 0; i < 200 && b.gate.status().keys[0]?.state !== "open"; i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await b.sign(key, request("attestation", 1002, 0, 2))).toMatchObject({ status: 409, reason: "conflict" });
    expect(world.read(key)).toMatchObject({ floor: 1007, marks: { attestation: { level: 1002 } } });
  },
);

test("a halted chain at a high round with a sole baker: rounds above all recorded ones open after a while", async () => {
  const { world, a, key } = await begin();
  world.head = { level: 1000, ageSeconds: 0 };
  a.lead(1);
  for (const kind of ["block", "preattestation", "attestation"] as const)
    expect((await a.sign(key, request(kind, 1001, 40))).status).toBe(200);
  a.lead(2);
  expect(await a.sign(key, request("block", 1001, 41, 2))).toMatchObject({ status: 409, reason: "at-or-below-floor" });
  await new Promise((resolve) => setTimeout(resolve, quick.floorPassSeconds * 1000 + 50));
  expect(await a.sign(key, request("block", 1001, 40, 2))).toMatchObject({ status: 409, reason: "conflict" });
  for (const kind of ["block", "preattestation", "attestation"] as const)
    expect((await a.sign(key, request(kind, 1001, 41, 2))).status).toBe(200);
});

test.each(["a person raised", "a lost watermark set"] as const)(
  "a floor that %s never opens on a halted chain, in the running tenure and in a new one",
  async (who) => {
    const { world, a, b, key } = await begin({ timings: patient });
    a.lead(1);
    expect((await a.sign(key, request("attestation", 1001, 3))).status).toBe(200);
    // So that no synced head + 5 hides what the marks alone say.
    world.head = { level: 997, ageSeconds: 0 };
    if (who === "a person raised") {
      const text = JSON.stringify(world.read(key));
      const plan = planRaise({ name: key, uid: "", resourceVersion: "", baker: "", text }, key, 1001, {
        head: 1000,
        far: false,
      });
      if (plan.action !== "write") throw new Error(plan.text);
      await world.put(key, plan.record);
    } else await world.put(key, world.record());
    expect((await a.sign(key, request("attestation", 1001, 4, 2))).status).toBe(409);
    b.gate.look(key, world.stored(key));
    for (const [pod, epoch] of [
      [a, 1],
      [b, 2],
    ] as const) {
      pod.lead(epoch);
      await pod.sign(key, request("attestation", 1001, 4, 2));
      await new Promise((resolve) => setTimeout(resolve, quick.floorPassSeconds * 1000 + 50));
      for (const level of [1001, 1002])
        expect(await pod.sign(key, request("attestation", level, 4, 2))).toMatchObject({
          status: 409,
          reason: "at-or-below-floor",
        });
    }
  },
);

test("a signer with random ECDSA whose first answer was lost: a block is never signed twice, a vote may be", async () => {
  const { world, a, key } = await begin({ key: secp, deterministic: false });
  for (const signer of world.signers) signer.faults = { randomEcdsa: true, loseAnswers: 1 };
  a.lead(1);
  const block = request("block", 1001);
  expect(await a.sign(key, block)).toMatchObject({ status: 504 });
  expect(await a.sign(key, block)).toMatchObject({ status: 409, reason: "block-repeated" });
  expect(world.signed.filter((entry) => entry.signature !== null).length).toBe(1);
  expect((await a.sign(key, request("attestation", 1001))).status).toBe(200);
  const again = request("block", 1002);
  const [first, second] = [await a.sign(key, again), await a.sign(key, again)];
  expect(first.status).toBe(200);
  expect(second.signature).toBe(first.signature);
});

test("a block that went to a signer that is not deterministic is never repeated, whatever signers are declared later", async () => {
  const { world, a, key } = await begin({ key: secp, deterministic: false });
  const lose = () => world.signers.forEach((signer) => (signer.faults = { loseAnswers: 1 }));
  lose();
  a.lead(1);
  const block = request("block", 1001);
  expect(await a.sign(key, block)).toMatchObject({ status: 504 });
  a.gate.configure([{ address: key, deterministic: true }]);
  expect(await a.sign(key, block)).toMatchObject({ status: 409, reason: "block-repeated" });
  lose();
  expect((await a.sign(key, request("block", 1002))).status).toBe(200);
  a.gate.configure([{ address: key, deterministic: false }]);
  lose();
  expect((await a.sign(key, request("block", 1003))).status).toBe(504);
});

test("a request under way ends at the signer where it began, though the signer is taken out meanwhile", async () => {
  const { world, a, key } = await begin({ timings: patient });
  a.lead(1);
  for (const signer of world.signers) signer.faults = { delayMs: 150 };
  const pending = a.sign(key, request("attestation", 1001));
  while (world.signers.every(({ queries }) => queries.length === 0)) await new Promise((done) => setTimeout(done, 5));
  const url = world.urls[1] ?? "";
  a.upstream.configure({
    keys: [{ address: key, alias: key, watermark: "", signers: ["s2"] }],
    signers: [{ name: "s2", deterministic: true, endpoints: [{ url, zone: null }] }],
  });
  expect((await pending).status).toBe(200);
  expect((await a.sign(key, request("attestation", 1002))).status).toBe(200);
  expect(world.signed.map(({ signer }) => signer)).toEqual(["s1", "s2"]);
});

test("a signer that is not deterministic and refuses the connection loses no block", async () => {
  const { world, a, key } = await begin({ key: secp, deterministic: false });
  await world.signers[0]?.close();
  a.lead(1);
  expect((await a.sign(key, request("block", 1001))).status).toBe(200);
  expect(world.signed).toMatchObject([{ signer: "s2" }]);
});

test("one request with level 2147483647 is refused, with a fresh head and with a stale one, and bricks nothing", async () => {
  const { world, a, key } = await begin();
  a.lead(1);
  for (const ageSeconds of [0, 3600]) {
    world.head = { level: 1000, ageSeconds };
    expect(await a.sign(key, request("attestation", 2147483647))).toMatchObject({
      status: 409,
      reason: "level-implausible",
    });
  }
  expect((await a.sign(key, request("attestation", 1001))).status).toBe(200);
});

test.each(["block", "preattestation", "attestation"] as const)(
  "of 100 concurrent requests for one %s with different payloads exactly one wins",
  async (kind) => {
    // What is fast enough on a busy machine is not the question here.
    const { world, a, b, key } = await begin({
      timings: { ...quick, gateBudgetMs: 2500, requestTimeoutMs: 2500, signerTimeoutMs: 2500, markWriteMs: 2500 },
    });
    a.lead(1);
    b.lead(2);
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? b : a).sign(key, request(kind, 1001, 0, i))),
    );
    expect(answers.filter((answer) => answer.status === 200).length).toBe(1);
    // Which of the two depends on who marked first: where it was the older tenure, all its other requests may meet
    // their own mark.
    for (const { status, reason } of answers) if (status !== 200) expect(["conflict", "not-master"]).toContain(reason);
    expect(count(world.signed)).toBe(1);
  },
);

test("identical requests, at once and later, get one signature", async () => {
  const { world, a, key } = await begin({ key: secp, deterministic: false });
  for (const signer of world.signers) signer.faults = { randomEcdsa: true, delayMs: 30 };
  a.lead(1);
  const block = request("block", 1001);
  const answers = [
    ...(await Promise.all(Array.from({ length: 20 }, () => a.sign(key, block)))),
    await a.sign(key, block),
  ];
  expect(new Set(answers.map((answer) => answer.signature)).size).toBe(1);
  expect(count(world.signed)).toBe(1);
});

test.each([
  ["hangs", { hang: "sign" as const }],
  ["answers a web page", { garbage: "text" as const }],
  ["answers JSON without a signature", { garbage: "json" as const }],
  ["answers a broken signature", { garbage: "signature" as const }],
  ["signs with another key", { otherKey: testKey("tz1", "other") }],
  ["fails", { refuse: 500 }],
  ["loses its answer", { loseAnswers: 99 }],
])(
  "a signer that %s: the other one is asked with the same bytes; without it the answer is 504, never 502",
  async (_text, faults) => {
    const { world, a, key } = await begin();
    a.lead(1);
    await a.sign(key, request("attestation", 1001));
    Object.assign(world.signers[0]?.faults ?? {}, faults);
    const answer = await a.sign(key, request("attestation", 1002));
    expect(answer.status).toBe(200);
    expect(verifySignature(ed.publicKey, request("attestation", 1002), answer.signature ?? "")).toBe(true);
    Object.assign(world.signers[1]?.faults ?? {}, faults);
    const failed = await a.sign(key, request("attestation", 1003));
    expect(failed.status).toBe(504);
  },
);

test("a restarted gate refuses a block that it may have sent, and repeats it for a deterministic signer", async () => {
  const { world, a, b, key } = await begin({ key: secp, deterministic: false, timings: patient });
  a.lead(1);
  const block = request("block", 1001);
  const first = await a.sign(key, block);
  expect(first.status).toBe(200);
  await a.close();
  const again = await world.pod("alice-as-0", "u1", { deterministic: false });
  again.lead(1);
  expect(await again.sign(key, block)).toMatchObject({ status: 409, reason: "block-repeated" });
  await again.close();
  const trusting = await world.pod("alice-as-0", "u1", { deterministic: true });
  trusting.lead(1);
  expect((await trusting.sign(key, block)).signature).toBe(first.signature);
  b.lead(2);
  expect(await b.sign(key, block)).toMatchObject({ status: 409, reason: "block-repeated" });
});

test("a memory that cannot be written means no signature; one that is broken means lost", async () => {
  const { world, a, key } = await begin();
  a.lead(1);
  await a.sign(key, request("attestation", 1001));
  await a.close();
  const { writeFile } = await import("node:fs/promises");
  await writeFile(`${world.folder}/alice-as-0/gate/marks`, "{");
  const again = await world.pod("alice-as-0", "u1");
  again.lead(1);
  for (let i = 0; i < 200 && again.gate.status().keys[0]?.state !== "open"; i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(again.gate.status().keys[0]).toMatchObject({ reason: "raised-memory-unreadable", floor: 1005 });
});

test.each(["the same object", "an object made anew"])(
  "a new disk beside a watermark that was put back, as %s: the pod starts above a synced head, not at the old floor",
  async (how) => {
    const { world, a, key } = await begin();
    a.lead(1);
    await a.sign(key, request("attestation", 1001, 0, 1));
    const old = world.read(key);
    for (const level of [1002, 1003]) await a.sign(key, request("attestation", level, 0, 1));
    a.lead(1, { gate: "shut" });
    if (how !== "the same object") world.remove(key);
    await world.put(key, old);
    world.head = { level: 1003, ageSeconds: 0 };
    const fresh = await world.pod("alice-as-2", "u9", { newDisk: true });
    fresh.lead(2);
    for (const level of [1002, 1003, 1008])
      expect(await fresh.sign(key, request("attestation", level, 0, 2))).toMatchObject({ status: 409 });
    expect(world.read(key)).toMatchObject({ epoch: 2, floor: 1008 });
    world.head = { level: 1008, ageSeconds: 0 };
    expect((await fresh.sign(key, request("attestation", 1009))).status).toBe(200);
  },
);

test("a new disk that has seen the holder sign takes over without a gap", async () => {
  const { world, a, key } = await begin();
  a.lead(1);
  await a.sign(key, request("attestation", 1001));
  const fresh = await world.pod("alice-as-2", "u9", { newDisk: true });
  fresh.gate.look(key, world.stored(key));
  await a.sign(key, request("attestation", 1002));
  fresh.gate.look(key, world.stored(key));
  a.lead(1, { gate: "shut" });
  fresh.lead(2);
  expect((await fresh.sign(key, request("attestation", 1003))).status).toBe(200);
  expect(world.read(key)).toMatchObject({ epoch: 2, floor: 1002 });
});
