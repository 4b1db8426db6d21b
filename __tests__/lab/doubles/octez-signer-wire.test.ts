/**
 * What octez-signer 25.1 answered, and what the double answers to the same requests, in the order of the recordings.
 */
import { request as httpRequest } from "node:http";
import { OctezSigner, type OctezSignerOptions } from "../../../lab/doubles/signer-server";
import { signBytes, testKey, type SigningKey } from "../../../lab/doubles/signing-keys";
import { expectBase58 } from "../../../tezos/base58";
import { publicKeyHash, type Curve } from "../../../tezos/keys";
import { bodyOf, exchangesOf, type Exchange } from "../../helpers/octez-recordings";

const recordings = exchangesOf("octez-signer");

/** Deliberately not modelled, with the reason. */
const notModelled: Readonly<Record<string, string>> = {
  "062-sign-version-0": "version 0 cannot read a client folder with a tz4 key in it; no baker asks for version 0",
};

// The recorded addresses and public keys, with secrets of ours: the real secrets are not recorded.
const [, known] = recordings.find(([name]) => name.startsWith("094")) ?? [];
const { known_keys: addresses } = JSON.parse(known?.response.body ?? "") as { known_keys: string[] };
const publicKeys = recordings.flatMap(([, { response }]) => /"public_key":"(\w+)"/.exec(response.body)?.[1] ?? []);
const keys = addresses.map((address): SigningKey => {
  const own = testKey(address.slice(0, 3) as Curve, address);
  return { ...own, address, publicKey: publicKeys.find((key) => publicKeyHash(key) === address) ?? own.publicKey };
});
const client = testKey("tz1", "client");

/** A good authentication is made anew, for the client's secret is not recorded; a bad one stays as it is. */
function pathOf(name: string, { path, body }: Exchange["request"]): string {
  if (!name.includes("auth-good")) return path;
  const address = /^\/keys\/(\w+)/.exec(path)?.[1] ?? "";
  const curve = address.slice(0, 3) as Curve;
  const data = Buffer.from(JSON.parse(body ?? "") as string, "hex");
  const tag = ["tz1", "tz2", "tz3", "tz4"].indexOf(curve);
  const message = Buffer.concat([Buffer.of(4, 1, tag), expectBase58(curve, address), data]);
  return path.replace(/authentication=\w+/, `authentication=${signBytes(client, message)}`);
}

interface Answer {
  status: number;
  allow: string[];
  type: string | undefined;
  body: string;
}
const valuesOf = (headers: [string, string][], name: string) =>
  headers.flatMap(([header, value]) => (header.toLowerCase() === name ? [value] : []));
const answerOf = (status: number, headers: [string, string][], body: string): Answer => ({
  status,
  allow: [...valuesOf(headers, "allow"), ...valuesOf(headers, "access-control-allow-methods")],
  type: valuesOf(headers, "content-type")[0],
  body,
});
function ask(port: number, name: string, asked: Exchange["request"]): Promise<Answer> {
  const headers: Record<string, string> = Object.fromEntries(asked.headers);
  const path = pathOf(name, asked);
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { port, host: "127.0.0.1", method: asked.method, path, headers, agent: false },
      (response) => {
        let body = "";
        response.on("data", (chunk: Buffer) => (body += chunk.toString()));
        response.on("end", () => {
          const raw = response.rawHeaders;
          const pairs = raw.flatMap((header, i) =>
            i % 2 === 0 ? [[header, raw[i + 1] ?? ""] as [string, string]] : [],
          );
          resolve(answerOf(response.statusCode ?? 0, pairs, body));
        });
      },
    );
    request.on("error", reject);
    request.end(asked.body ?? undefined);
  });
}

/** Signatures are compared by their kind, and by which of them are equal. */
const signatures = /"(signature|bls_prove_possession)":"(edsig|spsig1|p2sig|BLsig)(\w+)"/;

test("the double answers every recorded request as octez-signer 25.1 did", async () => {
  const doubles = new Map<string, { signer: OctezSigner; port: number }>();
  const mine = new Map<string, string>();
  const differences: unknown[] = [];
  try {
    for (const [name, { commandLine, request, response }] of recordings) {
      if (notModelled[name] !== undefined) continue;
      let double = doubles.get(commandLine);
      if (!double) {
        const options: OctezSignerOptions = {
          keys,
          magicBytes: [0x11, 0x12, 0x13],
          checkHighWatermark: true,
          requireAuthentication: commandLine.includes(" -A "),
          authorizedKeys: [client.publicKey],
          allowListKnownKeys: commandLine.includes("--allow-list-known-keys"),
          allowToProvePossession: commandLine.includes("--allow-to-prove-possession"),
        };
        const signer = new OctezSigner(options);
        double = { signer, port: await signer.start("127.0.0.1") };
        doubles.set(commandLine, double);
      }
      const got = await ask(double.port, name, request);
      const theirs = signatures.exec(response.body)?.[0];
      const ours = signatures.exec(got.body)?.[0];
      if (theirs !== undefined && ours !== undefined) {
        expect([name, mine.get(theirs) ?? ours]).toEqual([name, ours]);
        mine.set(theirs, ours);
      }
      const plain = (text: string) =>
        text.replace(signatures, '"$1":"$2..."').replace("tz1Zs8JsQ6rwW6bUvvNBCEviis2dKx1vDyG1", client.address);
      const expected = answerOf(response.status, response.headers, plain(bodyOf(response)));
      if (JSON.stringify({ ...got, body: plain(got.body) }) !== JSON.stringify(expected))
        differences.push({ name, got: { ...got, body: plain(got.body) }, expected });
    }
    expect(differences).toEqual([]);
    // As many different signatures as were recorded.
    const recorded = recordings.flatMap(([, { response }]) => signatures.exec(response.body)?.[0] ?? []);
    expect(new Set(mine.values()).size).toBe(new Set(recorded).size);
  } finally {
    for (const { signer } of doubles.values()) await signer.close();
  }
});
