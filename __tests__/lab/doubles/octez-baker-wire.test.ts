/**
 * What octez-baker 25.1 asked its remote signer and what octez-signer answered, replayed against both doubles: the one
 * sends the recorded requests to the letter, the other answers them as recorded.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as httpRequest, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeHeader, encodeBlockRequest, encodeVoteRequest, toBase58 } from "../../../lab/chain/encode";
import { RemoteSigner } from "../../../lab/doubles/remote-signer";
import { call } from "../../../lab/doubles/node-client";
import { OctezSigner } from "../../../lab/doubles/signer-server";
import { testKey, type SigningKey } from "../../../lab/doubles/signing-keys";
import { expectBase58 } from "../../../tezos/base58";
import { publicKeyHash, verifySignature, type Curve } from "../../../tezos/keys";
import { parseSigningRequest } from "../../../tezos/signing-request";
import { exchangesOf, type Exchange } from "../../helpers/octez-recordings";

const recordings = exchangesOf("octez-baker");
/** These recordings write the headers of an answer as a flat list. */
const flat = (headers: unknown): Record<string, string> => {
  const list = headers as string[];
  return Object.fromEntries(list.flatMap((name, i) => (i % 2 === 0 ? [[name, list[i + 1] ?? ""]] : [])));
};
const addressOf = (path: string): string => /^\/keys\/(\w+)/.exec(path)?.[1] ?? "";
const bytesOf = (body: string | null): Buffer => Buffer.from(JSON.parse(body ?? '""') as string, "hex");
const publicKeys = recordings.flatMap(([, { response }]) => /"public_key":"(\w+)"/.exec(response.body)?.[1] ?? []);
const authenticated = (name: string): boolean => name.includes("authenticated");
const client = testKey("tz1", "client");

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "octez-baker-wire-"));
  const write = (name: string, value: string) =>
    writeFileSync(join(folder, name), JSON.stringify([{ name: "client", value }]));
  write("public_key_hashs", client.address);
  write("secret_keys", `unencrypted:${client.secret}`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Received {
  method: string;
  path: string;
  headers: [string, string][];
  body: string;
  socket: Socket;
}
/** A server that answers as it is told and keeps what it was asked. */
async function recorder(answer: (request: Received) => Exchange["response"]) {
  const received: Received[] = [];
  const server: Server = createServer((request: IncomingMessage, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const raw = request.rawHeaders;
      const headers = raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1] ?? ""] as [string, string]] : []));
      const { method = "", url: path = "", socket } = request;
      const asked = { method, path, headers, body, socket };
      received.push(asked);
      const { status, body: text } = answer(asked);
      response.writeHead(status, { "content-type": "application/json" }).end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, received, close: () => (server.close(), server.closeAllConnections()) };
}

/** What must be the same: all but the port, the key of an authentication and what it signed. */
const comparable = ({ method, path, headers, body }: Exchange["request"]) => ({
  ...{ method, body: body ?? "", path: path.replace(/authentication=edsig\w+/, "authentication=edsig...") },
  headers: headers.map(([name, value]) => [name, name === "host" ? value.replace(/:\d+$/, "") : value]),
});

test("the baker's double asks for keys and signatures with the recorded requests, each on its own connection", async () => {
  for (const [name, { request, response }] of recordings) {
    const list = authenticated(name) ? { authorized_keys: [client.address] } : {};
    const server = await recorder(({ path }) =>
      path === "/authorized_keys" ? { status: 200, headers: [], body: JSON.stringify(list) } : response,
    );
    try {
      if (request.method === "GET") await call(server.url + request.path);
      else {
        const signer = new RemoteSigner({ signer: server.url, clientDir: folder, callTimeoutMs: 5000 });
        const signature = await signer.sign(addressOf(request.path), bytesOf(request.body), () => undefined);
        expect([name, signature]).toEqual([name, (JSON.parse(response.body) as { signature: string }).signature]);
        expect(server.received[0]).toMatchObject({ method: "GET", path: "/authorized_keys" });
      }
      const got = server.received.at(-1);
      if (!got) throw new Error(`${name}: nothing was asked`);
      expect([name, comparable(got)]).toEqual([name, comparable(request)]);
      expect(new Set(server.received.map(({ socket }) => socket)).size).toBe(server.received.length);
      if (authenticated(name) && request.method === "POST") {
        const address = addressOf(request.path);
        const curve = address.slice(0, 3) as Curve;
        const tag = ["tz1", "tz2", "tz3", "tz4"].indexOf(curve);
        const message = Buffer.concat([...[Buffer.of(4, 1, tag), expectBase58(curve, address), bytesOf(request.body)]]);
        const given = /authentication=(\w+)/.exec(got.path)?.[1] ?? "";
        expect(verifySignature(client.publicKey, message, given)).toBe(true);
      }
    } finally {
      server.close();
    }
  }
});

test("the baker's double encodes blocks and votes as the recorded ones, and the recorded signatures verify", () => {
  const signed = recordings.filter(([, { request }]) => request.method === "POST");
  expect(signed.length).toBeGreaterThan(10);
  for (const [name, { request, response }] of signed) {
    const bytes = bytesOf(request.body);
    const address = addressOf(request.path);
    const publicKey = publicKeys.find((key) => publicKeyHash(key) === address) ?? "";
    const parsed = parseSigningRequest(bytes);
    if (!parsed.ok) throw new Error(`${name}: ${parsed.reason}`);
    const { request: asked } = parsed;
    const { kind, chainId, level, round } = asked;
    const encoded =
      asked.kind === "block"
        ? encodeBlockRequest(chainId, decodeHeader(bytes.subarray(5)))
        : encodeVoteRequest(chainId, {
            ...{ kind: asked.kind, level, round, dal: null },
            ...{ branch: toBase58("block", asked.branch), payloadHash: toBase58("payload", asked.payloadHash) },
            slot: address.startsWith("tz4") ? null : asked.slot,
          });
    expect([name, kind, encoded.toString("hex")]).toEqual([name, kind, bytes.toString("hex")]);
    const { signature } = JSON.parse(response.body) as { signature: string };
    // Without the public key of a key there is nothing to verify with.
    if (publicKey !== "") expect([name, verifySignature(publicKey, bytes, signature)]).toEqual([name, true]);
  }
});

test("the signer's double answers the recorded requests as octez-signer did", async () => {
  const addresses = [...new Set(recordings.map(([, { request }]) => addressOf(request.path)))].filter(Boolean);
  const keys = addresses.map((address): SigningKey => {
    const own = testKey(address.slice(0, 3) as Curve, address);
    return { ...own, address, publicKey: publicKeys.find((key) => publicKeyHash(key) === address) ?? own.publicKey };
  });
  for (const withKey of [false, true]) {
    const signer = new OctezSigner({ keys, requireAuthentication: withKey, authorizedKeys: [client.publicKey] });
    const port = await signer.start("127.0.0.1");
    const url = `http://127.0.0.1:${port}`;
    try {
      for (const [name, { request, response }] of recordings) {
        if (authenticated(name) !== withKey) continue;
        const post = request.method === "POST";
        const answered = post
          ? await askThrough(url, request)
          : await ask(port, request.path, Object.fromEntries(request.headers));
        const plain = (text: string) =>
          text
            .replace(/"signature":"(edsig|spsig1|p2sig|BLsig)\w+"/, '"signature":"$1..."')
            .replace(/tz1Zs8\w+/, client.address);
        const headers = flat(response.headers);
        const length = Number(headers["content-length"]);
        expect([name, answered.status, answered.type, plain(answered.body)]).toEqual([
          ...[name, response.status, headers["content-type"], plain(response.body)],
        ]);
        // Signatures of the same kind differ by a character at most.
        expect([name, Math.abs(answered.length - length) <= 1]).toEqual([name, true]);
      }
    } finally {
      await signer.close();
    }
  }
});

interface Answered {
  status: number;
  type: string | undefined;
  length: number;
  body: string;
}
function ask(
  port: number,
  path: string,
  headers: Record<string, string>,
  body?: string,
  method = "GET",
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port, path, method, headers, agent: false }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => {
        const { "content-type": type, "content-length": length } = response.headers;
        resolve({ status: response.statusCode ?? 0, type, length: Number(length), body: text });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}
/** The recorded request as the baker's double sends it: a recorded authentication is of a key that is not recorded. */
async function askThrough(url: string, request: Exchange["request"]): Promise<Answered> {
  const target = new URL(url);
  let answered: Promise<Answered> | undefined;
  const server = createServer((incoming, response) => {
    let body = "";
    incoming.on("data", (chunk: Buffer) => (body += chunk.toString()));
    incoming.on("end", () => {
      const headers = incoming.headers as Record<string, string>;
      const exchange = ask(Number(target.port), incoming.url ?? "", headers, body || undefined, incoming.method);
      answered = exchange;
      void exchange.then(({ status, body: text }) => response.writeHead(status).end(text));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const signer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await new RemoteSigner({ signer, clientDir: folder, callTimeoutMs: 5000 }).sign(
    ...([addressOf(request.path), bytesOf(request.body), () => undefined] as const),
  );
  server.close();
  server.closeAllConnections();
  if (!answered) throw new Error("nothing was asked");
  return answered;
}
