/** Signers that speak Octez' protocol over TCP: through the whole gate, to a strict double, over real sockets. */
import { judge } from "../../../daemons/signing-gate/signer-answer";
import { lookAtSigners } from "../../../daemons/sidecar/signers";
import { watermarkName } from "../../../contract/names";
import { signBytes, testKey } from "../../../lab/doubles/signing-keys";
import type { FrameFault, TcpSigner } from "../../../lab/doubles/tcp-signer";
import { decodeBase58 } from "../../../tezos/base58";
import { verifySignature } from "../../../tezos/keys";
import { encodeSignerRequest } from "../../../tezos/signer-messages";
import { solidBakerFile } from "../../helpers/baker-file";
import { until } from "../../helpers/nonce-pods";
import { GateWorld, request, unhurried, type GatePod } from "../../helpers/gates";

jest.setTimeout(30_000);

const all = (["tz1", "tz2", "tz3", "tz4"] as const).map((curve) => testKey(curve, "baker"));
const key = testKey("tz1", "baker").address;
const bls = testKey("tz4", "baker");
const client = testKey("tz1", "client");

let world: GateWorld;
let pod: GatePod;
async function begin(signers: Parameters<GateWorld["start"]>[0]): Promise<void> {
  world = await new GateWorld(all, unhurried).start(signers);
  pod = await world.pod("alice-as-0", "u1", { deterministic: false });
  pod.lead(1);
}
afterEach(async () => {
  // Among them: a mark is durable before a signer hears of the request.
  const violations = world.violations();
  await world.close();
  expect(violations).toEqual([]);
});
const first = (): TcpSigner => {
  const signer = world.tcpSigners.get(0);
  if (!signer) throw new Error("the first signer is not asked over TCP");
  return signer;
};
const askedOf = (name: string) => world.signed.filter(({ signer }) => signer === name).length;

test("keys of all curves sign, and their signatures verify", async () => {
  await begin([{ tcp: "octez-signer" }]);
  for (const { address, publicKey } of all) {
    const bytes = request("block", 1001);
    const answer = await pod.sign(address, bytes);
    expect(answer.status).toBe(200);
    const { signature } = answer as unknown as { signature: string };
    expect(verifySignature(publicKey, bytes, signature)).toBe(true);
    expect(await pod.upstream.publicKey(address)).toBe(publicKey);
  }
});

test("Russignol signs for tz4 keys, and a key that it does not have goes to the other signer, a block too", async () => {
  await begin([{ tcp: "russignol", keys: [bls] }, {}]);
  expect((await pod.sign(bls.address, request("block", 1001))).status).toBe(200);
  expect([askedOf("s1"), askedOf("s2")]).toEqual([1, 0]);
  await world.close();
  await begin([{ tcp: "russignol", keys: [] }, {}]);
  expect((await pod.sign(bls.address, request("block", 1001))).status).toBe(200);
  expect([askedOf("s1"), askedOf("s2")]).toEqual([0, 1]);
});

test("the baker's authentication reaches a signer that demands it, and without it the signer refuses", async () => {
  await begin([{ tcp: "octez-signer", requireAuthentication: true, authorizedKeys: [client.publicKey] }]);
  expect(await pod.upstream.authorizedKeys()).toEqual({ authorized_keys: [client.address] });
  const bytes = request("attestation", 1001);
  const refused = await pod.sign(key, bytes);
  expect(refused.status).not.toBe(200);
  expect(pod.logged.join()).toContain("an error: missing authentication signature field");
  const hash = decodeBase58(key)?.payload ?? [];
  const authentication = signBytes(client, Buffer.from([4, 1, 0, ...hash, ...bytes]));
  expect((await pod.sign(key, bytes, `?authentication=${authentication}&version=3`)).status).toBe(200);
});

test("a signer that asks nobody says so", async () => {
  await begin([{ tcp: "russignol" }]);
  expect(await pod.upstream.authorizedKeys()).toEqual({});
});

test("an authentication or a version that is none never leaves, and so may be asked for again", async () => {
  await begin([{ tcp: "octez-signer" }]);
  const bytes = request("block", 1001);
  for (const query of ["?authentication=x", "?version=4"])
    expect((await pod.sign(bls.address, bytes, query)).status).not.toBe(200);
  expect(world.signed).toEqual([]);
  expect((await pod.sign(bls.address, bytes, "?version=2")).status).toBe(200);
});

const frameFaults: FrameFault[] = ["short", "long", "oversized", "unknown-tag", "cut", "broken-error", "empty"];
test.each(frameFaults)(
  "an answer that is %s counts as one that may have signed: no other signer gets the block",
  async (fault) => {
    await begin([{ tcp: "octez-signer" }, {}]);
    first().fault = fault;
    expect((await pod.sign(key, request("block", 1001))).status).not.toBe(200);
    expect([askedOf("s1"), askedOf("s2")]).toEqual([1, 0]);
    // Identical votes may be signed twice.
    expect((await pod.sign(key, request("attestation", 1001))).status).toBe(200);
    expect(askedOf("s2")).toBe(1);
  },
);

test.each([
  ["hangs", { hang: "sign" } as const],
  ["loses its answer", { loseAnswers: 1 } as const],
])("a signer that %s may have signed: no other one gets the block", async (_, faults) => {
  await begin([{ tcp: "octez-signer", faults }, {}]);
  expect((await pod.sign(key, request("block", 1001))).status).not.toBe(200);
  expect([askedOf("s1"), askedOf("s2")]).toEqual([1, 0]);
});

test("where nothing listens nothing was signed: the other signer gets the block", async () => {
  await begin([{ tcp: "octez-signer" }, {}]);
  await first().close();
  expect((await pod.sign(key, request("block", 1001))).status).toBe(200);
  expect([askedOf("s1"), askedOf("s2")]).toEqual([0, 1]);
});

test("a refusal by the signer's own watermark is recognised, and nobody else is asked", async () => {
  // What it signed for somebody else is none of the gate's requests.
  await begin([{ tcp: "octez-signer", checkHighWatermark: true, onRequest: () => undefined }, {}]);
  const signer = world.signers[0];
  const own = all.find(({ address }) => address === key);
  if (!signer || !own) throw new Error("no signer");
  await signer.sign(own, Uint8Array.from(request("attestation", 1005)), null, () => undefined);
  expect(await pod.sign(key, request("attestation", 1001))).toMatchObject({ status: 409, reason: "signer-watermark" });
  expect(pod.logged.join()).toContain("attestation level 1001 below high watermark 1005");
  expect(first().asked.filter((tag) => tag === 0)).toHaveLength(1);
  expect(askedOf("s2")).toBe(0);
});

test.each([
  ["Level too low: requested 1001, current high watermark 1005", "signer-watermark", false],
  ["Round too low at level 1001: requested 0, current high watermark 0", "signer-watermark", false],
  ["Level too low: requested 1002, current high watermark 1005", "signer-error", true],
  ["Large level gap: 60000 blocks (~4 cycles). Current: 5, requested: 1001", "signer-refused", false],
  ["Watermark not initialized for chain NetX, key tz4. Configure watermarks before signing.", "signer-refused", false],
  ["Chain mismatch: provisioned for NetX, operation for NetY", "signer-refused", false],
  ["IO error: no space left on device", "signer-error", true],
])('Russignol\'s "%s" is %s', (words, reason, mayHaveSigned) => {
  const answer = { ok: true, status: 500, body: JSON.stringify([{ msg: `Watermark error: ${words}` }]) } as const;
  const bytes = request("attestation", 1001);
  const asked = { address: bls.address, bytes, digest: new Uint8Array(32) };
  expect(judge(asked, { ...answer, protocol: "tcp" }, undefined)).toMatchObject({ ok: false, reason, mayHaveSigned });
});

test("the health checks tell what a signer has, and one that hangs", async () => {
  await begin([{ tcp: "octez-signer", keys: [bls] }, {}]);
  await pod.upstream.check();
  expect([pod.upstream.having(key), pod.upstream.having(bls.address)]).toEqual([1, 2]);
  const signer = world.signers[0];
  if (signer) signer.faults = { hang: "all" };
  await pod.upstream.check();
  expect(pod.upstream.status()[0]).toMatchObject({ answers: false, reason: "no answer within 2000 ms" });
});

describe("a signer over TCP has two requests of a pod at once", () => {
  const timings = { ...unhurried, signerTimeoutMs: 4000, gateBudgetMs: 30_000 };
  let release: () => void;
  beforeEach(async () => {
    world = await new GateWorld(all, timings).start([{ tcp: "octez-signer" }, { tcp: "octez-signer" }]);
  });
  /** From now on no request is answered before `release`. */
  function hold(): TcpSigner[] {
    const ways = [...world.tcpSigners.values()];
    const held = new Promise<void>((done) => (release = done));
    for (const way of ways) {
      [way.mostAtOnce, way.asked.length] = [0, 0];
      way.held = held;
    }
    return ways;
  }
  const block = ({ address }: { address: string }) => pod.sign(address, request("block", 1001));
  const twoAt = (way: TcpSigner | undefined) =>
    until("two requests are at the signer", () => (way?.asked.length ?? 0) >= 2 || undefined);

  test("by all its ways together; no check begins beside them, and checks go one after the other", async () => {
    pod = await world.pod("alice-as-0", "u1", { oneSigner: true, zones: ["a", "b"] });
    pod.lead(1);
    const ways = hold();
    const answers = Promise.all(all.map(block));
    await twoAt(ways[0]);
    await pod.upstream.check();
    expect(ways.map(({ asked }) => asked)).toEqual([[0, 0], []]);
    release();
    expect((await answers).map(({ status }) => status)).toEqual(all.map(() => 200));
    expect(ways.map(({ mostAtOnce }) => mostAtOnce)).toEqual([2, 0]);
    for (const way of ways) way.mostAtOnce = 0;
    await pod.upstream.check();
    expect(ways.map(({ mostAtOnce }) => mostAtOnce)).toEqual([1, 1]);
  });
  test("a third one, a block too, goes to the other signer, and the first is not taken for dead", async () => {
    pod = await world.pod("alice-as-0", "u1");
    pod.lead(1);
    const [way, other] = hold();
    if (other) other.held = undefined;
    const answers = Promise.all(all.slice(0, 2).map(block));
    await twoAt(way);
    const [third] = all.slice(2);
    expect((await block(third ?? bls)).status).toBe(200);
    expect(pod.upstream.status().map(({ answers }) => answers)).toEqual([true, true]);
    release();
    expect((await answers).map(({ status }) => status)).toEqual([200, 200]);
    expect([askedOf("s1"), askedOf("s2")]).toEqual([2, 1]);
  });
  test("the doctor's look has one, whatever ways there are", async () => {
    const ways = hold();
    const [url = ""] = world.urls;
    const file = solidBakerFile({
      ...{ delegate: key, keys: [{ address: key, alias: "own", watermark: watermarkName(key), signers: ["x"] }] },
      signers: [{ name: "x", endpoints: ["a", "b"].map((zone) => ({ zone, url })), deterministic: false }],
    });
    const reports = lookAtSigners(file);
    await until("it has asked", () => ways[0]?.asked.length || undefined);
    release();
    expect(await reports).toMatchObject([{ problem: null }, { problem: null }]);
    expect(ways[0]?.mostAtOnce).toBe(1);
  });
});

test("a signer that signs answers, without another health check", async () => {
  await begin([{ tcp: "octez-signer", faults: { hang: "all" } }]);
  expect(pod.upstream.status()).toMatchObject([{ answers: false }]);
  const [signer] = world.signers;
  if (signer) signer.faults = {};
  expect((await pod.sign(key, request("attestation", 1001))).status).toBe(200);
  expect(pod.upstream.status()).toMatchObject([{ answers: true }]);
});

test("what a pod tells the doctor of a signer over TCP, and of one that speaks HTTP there", async () => {
  await begin([{ tcp: "russignol", keys: [bls] }, {}]);
  const [tcp = "", http = ""] = world.urls;
  const file = (url: string, { address } = bls) =>
    solidBakerFile({
      ...{ delegate: address, keys: [{ address, alias: "own", watermark: watermarkName(address), signers: ["x"] }] },
      signers: [{ name: "x", endpoints: [{ zone: null, url }], deterministic: false }],
    });
  expect(await lookAtSigners(file(tcp))).toMatchObject([{ problem: null, authorized: null, keys: [{ found: true }] }]);
  const other = testKey("tz4", "another");
  expect(await lookAtSigners(file(tcp, other))).toMatchObject([{ problem: null, keys: [{ found: false }] }]);
  const [wrong] = await lookAtSigners(file(http.replace("http:", "tcp:")));
  expect(wrong?.problem).not.toBeNull();
});

test("the frames are those of Octez' encoding", () => {
  const hash = (address: string) => Buffer.from(decodeBase58(address)?.payload ?? []).toString("hex");
  const hex = (...of: Parameters<typeof encodeSignerRequest>) => encodeSignerRequest(...of).toString("hex");
  const bytes = Buffer.from("12aabb", "hex");
  expect(hex({ kind: "authorized-keys" })).toBe("000102");
  expect(hex({ kind: "known-keys" })).toBe("000106");
  expect(hex({ kind: "public-key", address: bls.address })).toBe(`00160103${hash(bls.address)}`);
  expect(hex({ kind: "prove-possession", address: bls.address })).toBe(`00170703${hash(bls.address)}00`);
  // A BLS key has its curve twice and the version of its signature behind it; the others have neither.
  const sign = { kind: "sign", bytes, version: 3 } as const;
  expect(hex({ ...sign, address: bls.address })).toBe(`001f000303${hash(bls.address)}0300000003` + "12aabb");
  expect(hex({ ...sign, address: key })).toBe(`001d0000${hash(key)}00000003` + "12aabb");
  // The authentication has no mark before it.
  const authentication = signBytes(client, bytes);
  const raw = Buffer.from(decodeBase58(authentication)?.payload ?? []).toString("hex");
  expect(hex({ ...sign, address: key, authentication })).toBe(`005d0000${hash(key)}0000000312aabb${raw}`);
  expect(() => encodeSignerRequest({ ...sign, address: key, bytes: Buffer.alloc(65_536) })).toThrow("65535 bytes");
});
