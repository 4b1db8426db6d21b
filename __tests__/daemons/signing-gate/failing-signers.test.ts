/** Signers that answer but do not sign: a locked Ledger, a watermark of their own, a request that they do not allow. */
import type { SignerFaults } from "../../../lab/doubles/signer-server";
import { testKey } from "../../../lab/doubles/signing-keys";
import { parseSigningRequest } from "../../../tezos/signing-request";
import { GateWorld, request, unhurried, type GatePod } from "../../helpers/gates";

const key = testKey("tz1", "baker").address;
const bls = testKey("tz4", "baker").address;

let world: GateWorld;
let pod: GatePod;
async function begin(signers: Parameters<GateWorld["start"]>[0]): Promise<void> {
  world = await new GateWorld([testKey("tz1", "baker"), testKey("tz4", "baker")], unhurried).start(signers);
  pod = await world.pod("alice-as-0", "u1", { deterministic: false });
  pod.lead(1);
}
afterEach(async () => {
  const violations = world.violations();
  await world.close();
  expect(violations).toEqual([]);
});
/** Who was asked for which level, in order. */
const asked = () =>
  world.signed.map(({ signer, bytes }) => {
    const parsed = parseSigningRequest(Buffer.from(bytes, "hex"));
    return `${signer} ${parsed.ok ? parsed.request.level : ""}`;
  });
const until = async (done: () => boolean) => {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 5));
};

test.each<[string, SignerFaults, string]>([
  ["refuses", { refuse: 500 }, "does not sign: HTTP 500: refused"],
  ["hangs", { hang: "sign" }, "does not sign: no answer within"],
])("a signer that %s signatures loses no block: it comes last until it signs a vote again", async (_, faults, why) => {
  await begin([{ faults }, {}]);
  const s1 = world.signers[0];
  if (!s1) throw new Error("no signer");
  expect((await pod.sign(key, request("attestation", 1001))).status).toBe(200);
  expect(asked()).toEqual(["s1 1001", "s2 1001"]);
  // Its health is well again: it answers whatever is not a signature.
  await pod.upstream.check();
  expect(pod.upstream.status()).toMatchObject([
    { name: "s1", answers: true, reason: expect.stringContaining(why) as string },
    { name: "s2", answers: true, reason: "" },
  ]);
  expect((await pod.sign(key, request("block", 1002))).status).toBe(200);
  expect(asked().at(-1)).toBe("s2 1002");

  s1.faults = {};
  for (let level = 1003; pod.upstream.status()[0]?.reason !== ""; level++) {
    world.head = { level, ageSeconds: 0 };
    expect((await pod.sign(key, request("attestation", level))).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  const next = (world.head?.level ?? 0) + 1;
  expect((await pod.sign(key, request("block", next))).status).toBe(200);
  expect(asked().at(-1)).toBe(`s1 ${next}`);
});

test("a signer that still fails is tried again with votes only, and in the background", async () => {
  await begin([{ faults: { refuse: 500 } }, {}]);
  expect((await pod.sign(key, request("attestation", 1001))).status).toBe(200);
  await new Promise((resolve) => setTimeout(resolve, 250));
  expect((await pod.sign(key, request("block", 1002))).status).toBe(200);
  expect(asked()).not.toContain("s1 1002");
  expect((await pod.sign(key, request("attestation", 1002))).status).toBe(200);
  await until(() => asked().includes("s1 1002"));
  expect(asked()).toContain("s2 1002");
});

test("a signer that does not hold a key is no failing one, although it was asked where the others failed", async () => {
  await begin([{ keys: [testKey("tz4", "baker")] }, { faults: { refuse: 500 } }]);
  await pod.upstream.check();
  expect([pod.upstream.having(key), pod.upstream.answeringWith(key), pod.upstream.answeringWith(bls)]).toEqual([
    1, 1, 2,
  ]);
  expect((await pod.sign(key, request("attestation", 1001))).status).toBe(504);
  expect(pod.logged.join("\n")).toMatch(/"signer":"s1".*no keys for/);
  await pod.upstream.check();
  const reasons = pod.upstream.status().map(({ reason }) => reason);
  expect(reasons).toEqual(["", "does not sign: HTTP 500: refused"]);
  await world.signers[1]?.close();
  await pod.upstream.check();
  expect([pod.upstream.having(key), pod.upstream.answeringWith(key), pod.upstream.answeringWith(bls)]).toEqual([
    1, 0, 1,
  ]);
});

test("what a signer says when it refuses reaches the log, the status and the baker", async () => {
  await begin([{ faults: { refuse: 500 } }]);
  const response = await fetch(`${pod.url}/keys/${key}`, {
    method: "POST",
    body: JSON.stringify(Buffer.from(request("attestation", 1001)).toString("hex")),
  });
  expect(await response.json()).toMatchObject([{ id: "signing-gate.signer-error", message: "s1: HTTP 500: refused" }]);
  expect(pod.logged.join("\n")).toContain("HTTP 500: refused");
});

test("what a signer's own watermark refuses is asked of no other signer, and may be asked again", async () => {
  await begin([{ checkHighWatermark: true }, {}]);
  const [url] = world.urls;
  const around = await fetch(`${url ?? ""}/keys/${key}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(Buffer.from(request("block", 1001, 0, 9)).toString("hex")),
  });
  expect(around.status).toBe(200);
  world.signed.length = 0;
  const block = request("block", 1001);
  for (let i = 0; i < 2; i++)
    expect(await pod.sign(key, block)).toMatchObject({ status: 409, reason: "signer-watermark" });
  expect(asked()).toEqual(["s1 1001", "s1 1001"]);
  expect(pod.upstream.status()[0]?.reason).toBe("");
});

test("a list of keys or a proof of possession that the signer does not allow is answered in its own words", async () => {
  await begin([{}]);
  for (const [path, msg] of [
    ["/known_keys", "List known keys request not allowed."],
    [`/bls_prove_possession/${bls}`, "Request to prove possession is not allowed."],
  ] as const) {
    const response = await fetch(pod.url + path);
    expect([response.status, await response.json()]).toEqual([500, [{ kind: "temporary", id: "failure", msg }]]);
  }
});
