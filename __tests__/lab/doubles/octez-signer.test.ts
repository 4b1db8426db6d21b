import { blake2b } from "@noble/hashes/blake2b";
import { ed25519 } from "@noble/curves/ed25519";
import { encodeBase58, expectBase58 } from "../../../tezos/base58";
import { decodeSignature, publicKeyHash, verifySignature, type Curve } from "../../../tezos/keys";
import { encodeVoteRequest } from "../../../tezos/signing-request";
import type { SignerEntry } from "../../../lab/checker/checker";
import { OctezSigner, type OctezSignerOptions } from "../../../lab/doubles/signer-server";
import { keyOf, signBytes, testKey } from "../../../lab/doubles/signing-keys";

const curves: Curve[] = ["tz1", "tz2", "tz3", "tz4"];
const vote = (level: number, payload = 1) =>
  encodeVoteRequest({
    tag: 21,
    chainId: expectBase58("chainId", "NetXdQprcVkpaWU"),
    level,
    round: 0,
    payloadHash: new Uint8Array(32).fill(payload),
  });
const asJson = { "content-type": "application/json" };
const hex = (bytes: Uint8Array) => JSON.stringify(Buffer.from(bytes).toString("hex"));

const started: OctezSigner[] = [];
async function start(options: OctezSignerOptions): Promise<{ signer: OctezSigner; url: string }> {
  const signer = new OctezSigner(options);
  started.push(signer);
  return { signer, url: `http://127.0.0.1:${await signer.start("127.0.0.1")}` };
}
afterEach(async () => {
  for (const signer of started.splice(0)) await signer.close();
});

test.each(curves)("%s: a signature verifies with the public key, whose hash is the address", (curve) => {
  const key = testKey(curve, "a");
  expect(key.address.startsWith(curve)).toBe(true);
  expect(publicKeyHash(key.publicKey)).toBe(key.address);
  expect(keyOf(key.secret)).toEqual(key);
  const signature = signBytes(key, vote(5));
  expect(verifySignature(key.publicKey, vote(5), signature)).toBe(true);
  expect(verifySignature(key.publicKey, vote(6), signature)).toBe(false);
  expect(verifySignature(testKey(curve, "b").publicKey, vote(5), signature)).toBe(false);
  expect(decodeSignature(testKey(curve === "tz1" ? "tz2" : "tz1", "a").address, signature)).toBeUndefined();
  expect(signBytes(key, vote(5))).toBe(signature);
});

test.each(["tz2", "tz3"] as const)(
  "%s with random ECDSA gives another signature each time, and all verify",
  (curve) => {
    const key = testKey(curve, "a");
    const signatures = [1, 2, 3].map(() => signBytes(key, vote(5), true));
    expect(new Set(signatures).size).toBe(3);
    for (const signature of signatures) expect(verifySignature(key.publicKey, vote(5), signature)).toBe(true);
  },
);

test("the known answer of Octez: this secret has this public key and address", () => {
  // The well-known bootstrap1 of Octez' sandbox.
  expect(keyOf("edsk3gUfUPyBSfrS9CCgmCiQsTCHGkviBDusMxDJstFtojtc1zcpsh")).toMatchObject({
    publicKey: "edpkuBknW28nW72KG6RoHtYW7p12T6GKc7nAbwYX5m8Wd9sDVC9yav",
    address: "tz1KqTpEZ7Yob7QbPE4Hy4Wo8fHG8LhKxZSx",
  });
});

test("it speaks octez-signer's protocol", async () => {
  const key = testKey("tz4", "a");
  const log: SignerEntry[] = [];
  const { url } = await start({ keys: [key], onRequest: (entry) => log.push(entry), allowToProvePossession: true });
  const get = async (path: string) => {
    const response = await fetch(url + path);
    return [response.status, await response.json()] as const;
  };
  expect(await get("/authorized_keys")).toEqual([200, {}]);
  expect(await get(`/keys/${key.address}`)).toEqual([200, { public_key: key.publicKey }]);
  expect((await fetch(`${url}/keys/${testKey("tz1", "x").address}`)).status).toBe(404);
  expect((await get("/known_keys"))[0]).toBe(500);
  expect((await get(`/bls_prove_possession/${key.address}`))[0]).toBe(200);
  const response = await fetch(`${url}/keys/${key.address}`, { method: "POST", headers: asJson, body: hex(vote(7)) });
  const { signature } = (await response.json()) as { signature: string };
  expect(verifySignature(key.publicKey, vote(7), signature)).toBe(true);
  expect(log).toMatchObject([{ address: key.address, bytes: Buffer.from(vote(7)).toString("hex"), signature }]);
});

test("with authentication only a signature of an authorized key over 04 01 pkh data is taken", async () => {
  const key = testKey("tz2", "a");
  const client = testKey("tz1", "client");
  const { url } = await start({ keys: [key], requireAuthentication: true, authorizedKeys: [client.publicKey] });
  expect(await (await fetch(`${url}/authorized_keys`)).json()).toEqual({ authorized_keys: [client.address] });
  const ask = (query: string) =>
    fetch(`${url}/keys/${key.address}${query}`, { method: "POST", headers: asJson, body: hex(vote(7)) });
  expect((await ask("")).status).toBe(500);
  const data = Buffer.concat([Buffer.of(4, 1, 1), expectBase58("tz2", key.address), vote(7)]);
  const good = encodeBase58("edsig", ed25519.sign(blake2b(data, { dkLen: 32 }), expectBase58("edsk", client.secret)));
  expect((await ask(`?authentication=${good}`)).status).toBe(200);
  expect((await ask(`?authentication=${signBytes(testKey("tz1", "other"), data)}`)).status).toBe(500);
});

test("magic bytes and high watermarks refuse as octez-signer's do", async () => {
  const key = testKey("tz1", "a");
  const { url } = await start({ keys: [key], magicBytes: [0x11, 0x12, 0x13], checkHighWatermark: true });
  const ask = async (bytes: Uint8Array) => {
    const response = await fetch(`${url}/keys/${key.address}`, { method: "POST", headers: asJson, body: hex(bytes) });
    return [response.status, ((await response.json()) as { signature?: string }).signature] as const;
  };
  expect((await ask(Uint8Array.of(3, 1, 2)))[0]).toBe(500);
  const first = await ask(vote(7));
  expect(await ask(vote(7))).toEqual(first);
  expect((await ask(vote(7, 2)))[0]).toBe(500);
  expect((await ask(vote(6)))[0]).toBe(500);
  expect((await ask(vote(8)))[0]).toBe(200);
});
