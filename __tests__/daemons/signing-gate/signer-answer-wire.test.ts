/** What the gate makes of every answer that was recorded of octez-signer 25.1. */
import { blake2b } from "@noble/hashes/blake2b";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { judge } from "../../../daemons/signing-gate/signer-answer";
import { testKey } from "../../../lab/doubles/signing-keys";
import { publicKeyHash } from "../../../tezos/keys";
import { GateWorld, quick } from "../../helpers/gates";
import { bodyOf, exchangesOf } from "../../helpers/octez-recordings";

const exchanges = exchangesOf("octez-signer");
const publicKeys = exchanges.flatMap(([, { response }]) => /"public_key":"(\w+)"/.exec(response.body)?.[1] ?? []);

const verdictOf = ([, { request, response }]: (typeof exchanges)[number]) => {
  const address = /^\/keys\/(\w+)/.exec(request.path)?.[1] ?? "";
  let hex: unknown;
  try {
    hex = JSON.parse(request.body ?? "");
  } catch {
    hex = "";
  }
  const bytes = Buffer.from(typeof hex === "string" ? hex : "", "hex");
  const answer = { ok: true as const, status: response.status, body: bodyOf(response) };
  const publicKey = publicKeys.find((key) => publicKeyHash(key) === address);
  return judge({ address, bytes, digest: blake2b(bytes, { dkLen: 32 }) }, answer, publicKey);
};
const signing = exchanges.filter(([, { request }]) => request.method === "POST" && request.path.startsWith("/keys/"));

test("every recorded refusal by octez-signer's own watermark has signed nothing, and is known as such", () => {
  const refused = signing.filter(([, { response }]) => /high watermark|already signed/.test(response.body));
  const verdicts = refused.map((exchange) => [exchange[0], verdictOf(exchange)] as const);
  // Their words are of another request than ours: bytes that no gate forwards, read by the signer in its own way.
  const others = ["060-sign-dal-tz4", "073-sign-negative-level"];
  expect(verdicts.length - others.length).toBeGreaterThan(20);
  for (const [name, verdict] of verdicts)
    expect([name, verdict]).toEqual([
      name,
      others.includes(name)
        ? expect.objectContaining({ ok: false, reason: "signer-error", mayHaveSigned: true })
        : expect.objectContaining({ reason: "signer-watermark", mayHaveSigned: false, bySignerWatermark: true }),
    ]);
});

test("a recorded signature is a signature, and every other recorded refusal is told in the signer's own words", () => {
  for (const exchange of signing) {
    const [name, { response }] = exchange;
    const verdict = verdictOf(exchange);
    const { msg } = (/^\[/.test(response.body) ? (JSON.parse(response.body) as { msg: string }[])[0] : null) ?? {};
    expect([name, verdict.ok]).toEqual([name, response.status === 200]);
    if (!verdict.ok && msg !== undefined) expect([name, verdict.detail]).toEqual([name, `HTTP 500: ${cut(msg)}`]);
    if (!verdict.ok && response.status === 400)
      expect([name, verdict]).toEqual([name, expect.objectContaining({ reason: "signer-refused" })]);
  }
});
const cut = (msg: string) => {
  const line = msg.replace(/\s+/g, " ").trim();
  return line.length > 200 ? `${line.slice(0, 197)}...` : line;
};

test("a list of keys and a proof of possession reach the client as octez-signer answered them", async () => {
  const baker = testKey("tz4", "baker");
  const recorded = new Map(exchanges);
  let answer = { status: 0, body: "" };
  const signer: Server = createServer((request, response) => {
    const path = (request.url ?? "").split("?")[0] ?? "";
    const mine: Record<string, unknown> = {
      "/authorized_keys": {},
      [`/keys/${baker.address}`]: { public_key: baker.publicKey },
    };
    const { status, body } = path in mine ? { status: 200, body: JSON.stringify(mine[path]) } : answer;
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
  await new Promise<void>((resolve) => signer.listen(0, "127.0.0.1", resolve));
  const world = await new GateWorld([baker], quick).start([]);
  try {
    world.urls.push(`http://127.0.0.1:${(signer.address() as AddressInfo).port}`);
    const pod = await world.pod("alice-as-0", "u1");
    for (const [name, path] of [
      ["092-known-keys-not-allowed", "/known_keys"],
      ["094-known-keys-allowed", "/known_keys"],
      ["093-bls-prove-possession-not-allowed", `/bls_prove_possession/${baker.address}`],
      ["095-bls-prove-possession-allowed", `/bls_prove_possession/${baker.address}`],
      ["096-bls-prove-possession-tz1", `/bls_prove_possession/${baker.address}`],
    ] as const) {
      const { response } = recorded.get(name) ?? fail(name);
      answer = { status: response.status, body: bodyOf(response) };
      const got = await fetch(pod.url + path);
      expect([name, got.status, got.headers.get("content-type"), JSON.parse(await got.text())]).toEqual([
        ...[name, response.status, "application/json", JSON.parse(answer.body) as unknown],
      ]);
    }
  } finally {
    await world.close();
    signer.close();
    signer.closeAllConnections();
  }
});
const fail = (name: string): never => {
  throw new Error(`no recording ${name}`);
};
