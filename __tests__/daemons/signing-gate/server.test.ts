/** The gate as octez-client, octez-baker and other people's clients see it. */
import { RemoteSigner } from "@taquito/remote-signer";
import * as http from "node:http";
import { testKey } from "../../../lab/doubles/signing-keys";
import { encodeBase58 } from "../../../tezos/base58";
import { verifySignature } from "../../../tezos/keys";
import { leastDalBits, mostDalBits } from "../../../tezos/protocols";
import { maxRequestBytes } from "../../../tezos/signing-request";
import { GateWorld, quick, request, type GatePod } from "../../helpers/gates";

const ed = testKey("tz1", "baker");
const bls = testKey("tz4", "baker");
const client = testKey("tz1", "client");

let world: GateWorld | undefined;
let pod: GatePod;
/** BLS in JavaScript needs 0.1 s and more on a busy machine; and where nothing is to run out of time. */
const patient = { ...quick, signerTimeoutMs: 5000, gateBudgetMs: 10_000, requestTimeoutMs: 5000 };
async function begin(signers?: Parameters<GateWorld["start"]>[0], timings = quick): Promise<GateWorld> {
  world = await new GateWorld([ed, bls], timings).start(signers);
  pod = await world.pod("alice-as-0", "u1");
  return world;
}
afterEach(async () => {
  const violations = world?.violations();
  await world?.close();
  world = undefined;
  expect(violations).toEqual([]);
});
const get = async (path: string) => {
  const response = await fetch(pod.url + path);
  return [response.status, await response.json()] as [number, unknown];
};
const reasonOf = (body: unknown) => (body as { id: string }[])[0]?.id;

test("Taquito's remote signer gets the key and a signature that verifies", async () => {
  await begin();
  pod.lead(1);
  const signer = new RemoteSigner(ed.address, pod.url);
  expect(await signer.publicKey()).toBe(ed.publicKey);
  await signer.verifyPublicKey(ed.publicKey);
  const bytes = request("attestation", 1001);
  const { prefixSig, sbytes } = await signer.sign(Buffer.from(bytes.subarray(1)).toString("hex"), Uint8Array.of(0x13));
  expect(verifySignature(ed.publicKey, bytes, prefixSig)).toBe(true);
  expect(sbytes.startsWith(Buffer.from(bytes.subarray(1)).toString("hex"))).toBe(true);
});

test("a BLS key is shown, proves possession and signs both layouts; the query string passes through", async () => {
  const made = await begin([{ allowToProvePossession: true }], patient);
  pod.lead(1);
  expect(await get(`/keys/${bls.address}`)).toEqual([200, { public_key: bls.publicKey }]);
  const [status, body] = await get(`/bls_prove_possession/${bls.address}?override_pk=x`);
  expect([status, Object.keys(body as object)]).toEqual([200, ["bls_prove_possession"]]);
  made.aggregates = false;
  for (const [level, tag] of [
    [1001, 41],
    [1002, 21],
  ] as const) {
    const bytes = request("attestation", level, 0, 1, { tag });
    const answer = await pod.sign(bls.address, bytes, "?version=3");
    expect(verifySignature(bls.publicKey, bytes, answer.signature ?? "")).toBe(true);
  }
  expect(made.signers[0]?.queries).toEqual(["?override_pk=x", "?version=3", "?version=3"]);
});

test("authorized keys are those of the signers, and their authentication is checked by the signer", async () => {
  const made = await begin([{ requireAuthentication: true, authorizedKeys: [client.publicKey] }, {}]);
  expect(await get("/authorized_keys")).toEqual([200, { authorized_keys: [client.address] }]);
  pod.lead(1);
  await made.signers[1]?.close();
  expect(await pod.sign(ed.address, request("attestation", 1001))).toMatchObject({ status: 504 });
});

test("without authentication authorized keys are an empty object; known keys are the signer's answer", async () => {
  await begin([{ allowListKnownKeys: true }]);
  expect(await get("/authorized_keys")).toEqual([200, {}]);
  expect(await get("/known_keys")).toEqual([200, { known_keys: [ed.address, bls.address] }]);
});

test("a signer behind a path prefix is found", async () => {
  await begin([{ prefix: "/some/prefix" }]);
  pod.lead(1);
  expect((await pod.sign(ed.address, request("block", 1001))).status).toBe(200);
});

test("no signer: 504 for what needs one, never 502", async () => {
  const made = await begin();
  for (const signer of made.signers) await signer.close();
  await pod.upstream.check();
  pod.lead(1);
  for (const path of ["/authorized_keys", "/known_keys", `/bls_prove_possession/${bls.address}`])
    expect((await get(path))[0]).toBe(504);
  expect(await pod.sign(ed.address, request("block", 1001))).toMatchObject({ status: 504, reason: "signer-network" });
  expect(pod.upstream.answering()).toBe(0);
  // The public key was checked before.
  expect((await get(`/keys/${ed.address}`))[0]).toBe(200);
});

test.each<[string, string, unknown, number, string]>([
  ["a body that is no JSON", "", "zz", 400, "body"],
  ["a body that is an object", "", '{"bytes":"11"}', 400, "body"],
  ["half a byte", "", '"111"', 400, "body"],
  ["no hex", "", '"11zz"', 400, "body"],
  ["a generic operation", "", JSON.stringify("03" + "00".repeat(60)), 400, "kind-tenderbake-only"],
  ["nothing", "", '""', 400, "empty"],
  ["too much", "", JSON.stringify("11".repeat(5000)), 400, "body-length"],
  ["a long query", `?authentication=${"e".repeat(2000)}`, '"11"', 400, "query-length"],
])("%s is refused with a stable code and reaches no signer", async (_text, query, body, status, reason) => {
  const made = await begin();
  pod.lead(1);
  const response = await fetch(`${pod.url}/keys/${ed.address}${query}`, { method: "POST", body: String(body) });
  expect([response.status, reasonOf(await response.json())]).toEqual([status, `signing-gate.${reason}`]);
  expect(made.signed).toEqual([]);
});

test("another chain, another key, another method and another path are refused", async () => {
  await begin();
  pod.lead(1);
  const foreign = request("attestation", 1001);
  foreign.set([1, 2, 3, 4], 1);
  expect(await pod.sign(ed.address, foreign)).toMatchObject({ status: 400, reason: "other-chain" });
  const other = testKey("tz2", "other").address;
  expect(await pod.sign(other, request("attestation", 1001))).toMatchObject({ status: 404, reason: "unknown-key" });
  expect((await get(`/keys/${other}`))[0]).toBe(404);
  expect((await get(`/bls_prove_possession/${other}`))[0]).toBe(404);
  expect((await get("/keys/..%2f"))[0]).toBe(404);
  expect((await fetch(`${pod.url}/keys/${ed.address}`, { method: "PUT", body: '""' })).status).toBe(400);
  expect((await get("/nothing"))[0]).toBe(404);
});

test("a header that is too long and a body that never ends are cut off", async () => {
  await begin();
  pod.lead(1);
  const answer = await new Promise<number>((resolve) => {
    const asked = http.request(
      `${pod.url}/keys/${ed.address}`,
      { method: "POST", headers: { "x-long": "a".repeat(20_000) } },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    asked.on("error", () => resolve(0));
    asked.end('""');
  });
  expect([0, 431]).toContain(answer);
  expect((await pod.sign(ed.address, request("attestation", 1001))).status).toBe(200);
});

test("a request waits for leadership inside its budget instead of failing at once", async () => {
  await begin(undefined, patient);
  const waiting = pod.sign(ed.address, request("attestation", 1001));
  await new Promise((resolve) => setTimeout(resolve, 150));
  pod.lead(1);
  expect((await waiting).status).toBe(200);
});

test("without leadership, or after its deadline, the answer is 503 after the budget", async () => {
  const made = await begin();
  const refused = await pod.sign(ed.address, request("attestation", 1001));
  expect(refused).toMatchObject({ status: 503, reason: "not-master" });
  expect(refused.ms).toBeGreaterThan(quick.gateBudgetMs - 20);
  pod.lead(1, { validMs: 1500 });
  expect((await pod.sign(ed.address, request("attestation", 1001))).status).toBe(200);
  await new Promise((resolve) => setTimeout(resolve, 1550));
  expect(await pod.sign(ed.address, request("attestation", 1002))).toMatchObject({ status: 503 });
  expect(made.signed.length).toBe(1);
});

test("shut: nothing new begins, what is under way ends, and the status says when", async () => {
  const made = await begin(undefined, patient);
  pod.lead(1);
  await pod.sign(ed.address, request("attestation", 1001));
  for (const signer of made.signers) signer.faults = { delayMs: 150 };
  const running = pod.sign(ed.address, request("attestation", 1002));
  while (pod.gate.status().inFlight === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  while (!made.commits.some((commit) => commit.record?.marks.attestation?.level === 1002))
    await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, 50));
  pod.lead(1, { gate: "shut" });
  expect(pod.gate.status()).toMatchObject({ open: false, inFlight: 1, reason: "gate-shut-active" });
  const late = pod.sign(ed.address, request("attestation", 1003));
  expect((await running).status).toBe(200);
  expect(pod.gate.status().inFlight).toBe(0);
  pod.lead(1);
  expect((await late).status).toBe(200);
});

test("an epoch that no lease can have stops its own key alone", async () => {
  const made = await begin();
  await made.put(bls.address, made.record({ epoch: 2 ** 31 - 2 }));
  pod.lead(1);
  expect((await pod.sign(ed.address, request("attestation", 1001))).status).toBe(200);
  expect(await pod.sign(bls.address, request("attestation", 1001, 0, 1, { tag: 41 }))).toMatchObject({
    status: 409,
    reason: "watermark-unreadable",
  });
  expect(pod.gate.status().tenureLost).toBeNull();
});

test("keys are raised and opened one by one: one that is refused does not stop the other", async () => {
  const made = await begin();
  await made.put(bls.address, made.record({ baker: "bob" }));
  pod.lead(1);
  expect((await pod.sign(ed.address, request("attestation", 1001))).status).toBe(200);
  expect(await pod.sign(bls.address, request("attestation", 1001, 0, 1, { tag: 41 }))).toMatchObject({
    status: 409,
    reason: "watermark-other-baker",
  });
  expect(pod.gate.status()).toMatchObject({
    open: true,
    epoch: 1,
    keys: [
      {
        address: ed.address,
        state: "open",
        floor: 999,
        highestLevel: 1001,
        attestedBefore: null,
        lastAttestation: { level: 1001, round: 0 },
      },
      { address: bls.address, state: "refused", reason: "watermark-other-baker" },
    ],
  });
});

test("blocks with a seed nonce hash are listed for the nonce accounting, also after a restart", async () => {
  const made = await begin();
  pod.lead(1);
  const seedNonceHash = new Uint8Array(32).fill(9);
  await pod.sign(ed.address, request("block", 1001, 2, 1, { seedNonceHash }));
  await pod.sign(ed.address, request("block", 1002));
  await pod.close();
  const again = await made.pod("alice-as-0", "u1");
  const expected = {
    address: ed.address,
    level: 1001,
    round: 2,
    seedNonceHash: encodeBase58("nonceHash", seedNonceHash),
    blockPayloadHash: encodeBase58("payloadHash", new Uint8Array(32).fill(1, 0, 31)),
  };
  expect(again.commitments.all()).toMatchObject([expected]);
});

test("its own zone's way to the signer comes first; the other one takes over", async () => {
  const made = await new GateWorld([ed], patient).start([{}, {}]);
  world = made;
  pod = await made.pod("alice-as-0", "u1", { zone: "z2", zones: ["z1", "z2"], oneSigner: true });
  pod.lead(1);
  await pod.sign(ed.address, request("attestation", 1001));
  await made.signers[1]?.close();
  await pod.sign(ed.address, request("attestation", 1002));
  expect(made.signed.map((entry) => entry.signer)).toEqual(["s2", "s1"]);
  expect(pod.upstream.status().map((entry) => [entry.zone, entry.answers])).toEqual([
    ["z1", true],
    ["z2", false],
  ]);
});

test("a vote whose layout is another key type's is refused before it is marked: a signer would take its round for a level", async () => {
  const made = await begin(undefined, patient);
  const keyOf = { tz1: ed.address, tz4: bls.address };
  pod.lead(1);
  const votes = async (aggregates: boolean | null) => {
    made.aggregates = aggregates;
    const level = aggregates === null ? 1001 : aggregates ? 1002 : 1003;
    const signed: string[] = [];
    for (const [curve, address] of Object.entries(keyOf))
      for (const [round, tag] of [20, 21, 23, 40, 41].entries()) {
        const kind = tag === 20 || tag === 40 ? "preattestation" : "attestation";
        const answer = await pod.sign(address, request(kind, level, round, 1, { tag }));
        if (answer.status === 200) signed.push(`${curve} ${tag}`);
        else expect(answer).toMatchObject({ status: 400, reason: "tag-of-other-key" });
      }
    return signed;
  };
  const slots = ["tz1 20", "tz1 21", "tz1 23"];
  // A node that has not told its constants counts as one of a chain that aggregates.
  expect(await votes(null)).toEqual([...slots, "tz4 40", "tz4 41"]);
  expect(await votes(true)).toEqual([...slots, "tz4 40", "tz4 41"]);
  expect(await votes(false)).toEqual([...slots, "tz4 20", "tz4 21", "tz4 23", "tz4 40", "tz4 41"]);
});

test("an endpoint that shows another key is never asked to sign", async () => {
  const made = await new GateWorld([bls], patient).start([{ faults: { otherKey: testKey("tz4", "other") } }, {}]);
  world = made;
  pod = await made.pod("alice-as-0", "u1");
  pod.lead(1);
  expect((await pod.sign(bls.address, request("attestation", 1001, 0, 1, { tag: 41 }))).status).toBe(200);
  expect(made.signed.map((entry) => entry.signer)).toEqual(["s2"]);
});

test("a list of keys that a signer does not serve yet does not keep the others from being checked", async () => {
  const keys = Array.from({ length: 12 }, (_, i) => testKey("tz1", `key ${i}`));
  const made = await new GateWorld(keys).start([{ keys: keys.slice(10) }]);
  world = made;
  pod = await made.pod("alice-as-0", "u1");
  for (let i = 0; i < 2; i++) await pod.upstream.check();
  await made.signers[0]?.close();
  for (const { address, publicKey } of keys.slice(10))
    expect(await get(`/keys/${address}`)).toEqual([200, { public_key: publicKey }]);
});

test("the log tells every decision and no signature or request body", async () => {
  await begin();
  pod.lead(1);
  const bytes = request("attestation", 1001);
  const { signature } = await pod.sign(ed.address, bytes);
  await pod.sign(ed.address, request("attestation", 1001, 0, 2), "?authentication=edsigsecret");
  const log = pod.logged.join("\n");
  expect(log).toMatch(/"event":"signed","reason":"above".*"blockLevel":1001/);
  expect(log).toMatch(/"event":"refused","reason":"conflict"/);
  expect(log).not.toContain(signature);
  expect(log).not.toContain(Buffer.from(bytes).toString("hex"));
  expect(log).not.toContain("edsigsecret");
});

test("a long DAL bitset is signed once the node has told constants that allow it, and a body grows no further", async () => {
  const made = await begin();
  pod.lead(1);
  const attestation = (level: number, dalBytes: number) =>
    request("attestation", level, 0, 1, { tag: 23, dal: new Uint8Array(dalBytes).fill(0x81, 0, -1).fill(1, -1) });
  expect(await pod.sign(ed.address, attestation(1001, 134))).toMatchObject({ status: 400, reason: "dal-content" });
  expect(await pod.sign(ed.address, attestation(1001, 1000))).toMatchObject({ status: 400, reason: "body-length" });
  made.dalBits = 7000;
  expect(await pod.sign(ed.address, attestation(1001, 1000))).toMatchObject({ status: 200 });
  expect(await pod.sign(ed.address, attestation(1002, 1002))).toMatchObject({ status: 400, reason: "length" });
  made.dalBits = mostDalBits;
  expect(await pod.sign(ed.address, attestation(1002, 2340))).toMatchObject({ status: 200 });
  expect(await pod.sign(ed.address, attestation(1003, 10_000))).toMatchObject({ status: 400, reason: "body-length" });
  made.dalBits = leastDalBits;
  expect(await pod.sign(ed.address, attestation(1003, 133))).toMatchObject({ status: 200 });
});

test("the gate counts the attestations that it is asked for, whatever becomes of them", async () => {
  await begin();
  expect(pod.gate.status().attestationsAsked).toBe(0);
  pod.lead(1);
  await pod.sign(ed.address, request("preattestation", 1001));
  await pod.sign(ed.address, request("attestation", 1001));
  await pod.sign(ed.address, request("attestation", 1000));
  expect(pod.gate.status().attestationsAsked).toBe(2);
  await pod.sign(ed.address, request("block", 1001));
  expect(pod.gate.status().attestationsAsked).toBe(2);
  expect(pod.gate.status().asked?.map(({ kind, level, result }) => [kind, level, result])).toEqual([
    ["attestation", 1001, "signed"],
    ["attestation", 1000, expect.stringMatching(/below/)],
    ["block", 1001, expect.any(String)],
  ]);
  // A vote of a coming protocol, and one that this key has no layout for.
  const coming = request("attestation", 1002);
  coming.set([99], 37);
  expect(await pod.sign(ed.address, coming)).toMatchObject({ reason: "tag-unknown" });
  await pod.sign(ed.address, request("attestation", 1002, 0, 1, { tag: 41 }));
  expect(pod.gate.status().attestationsAsked).toBe(4);
  await pod.sign(testKey("tz1", "nobody").address, request("attestation", 1002));
  await pod.sign(ed.address, new Uint8Array(maxRequestBytes() + 1000));
  await pod.sign(ed.address, request("attestation", 1002), `?${"x".repeat(2000)}`);
  expect(pod.gate.status().attestationsAsked).toBe(7);
});
