/**
 * The HTTP protocol of `octez-signer`, strictly, with real signatures, and with the ways in which signers fail. Its
 * answers are those that were recorded of octez-signer 25.1. Its high watermarks live in memory.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { readBody } from "../../daemons/runtime/http-bodies";
import { decodeBase58 } from "../../tezos/base58";
import { publicKeyHash, verifySignature } from "../../tezos/keys";
import type { SignerEntry } from "../checker/checker";
import { provesPossession, signBytes, type SigningKey } from "./signing-keys";

/** What is wrong with the signer, from the next request on. Counted ones end by themselves. */
export interface SignerFaults {
  /** Accepts and never answers: signatures only, or everything. */
  hang?: "sign" | "all";
  /** Answers signatures with something else. */
  garbage?: "text" | "json" | "signature";
  /** Signs with this key whatever was asked for, and shows its public key. */
  otherKey?: SigningKey;
  /** A fresh ECDSA nonce each time. */
  randomEcdsa?: boolean;
  delayMs?: number;
  /** So many signatures are made, but the connection breaks instead of an answer. */
  loseAnswers?: number;
  /** Refuses signatures with this HTTP status. */
  refuse?: number;
}
export interface OctezSignerOptions {
  keys: readonly SigningKey[];
  requireAuthentication?: boolean;
  /** Public keys that may ask, with requireAuthentication. */
  authorizedKeys?: readonly string[];
  /** Watermark bytes that may be signed; default all. */
  magicBytes?: readonly number[];
  checkHighWatermark?: boolean;
  allowListKnownKeys?: boolean;
  allowToProvePossession?: boolean;
  /** Path before every route, for instance "/prefix". */
  prefix?: string;
  name?: string;
  faults?: SignerFaults;
  /** Every signature request that arrived, when it is decided. */
  onRequest?: (entry: SignerEntry) => void;
  /** Clock of the entries. */
  now?: () => number;
}

/** Every refusal of octez-signer has this form; the text alone tells them apart. */
const failure = (msg: string) => [{ kind: "temporary", id: "failure", msg }];
const sendJson = (response: ServerResponse, status: number, body: unknown): void => {
  const text = JSON.stringify(body) + "\n";
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
};
const sendText = (response: ServerResponse, text: string): void => {
  response.writeHead(400, { "content-type": "text/plain" });
  response.write(text);
  response.end();
};
const mediaTypes = ["application/json", "application/bson", "application/octet-stream"];

/** The bytes of a request's body. @throws Error with octez-signer's words */
function bytesOfBody(text: string): Uint8Array {
  if (text.trim() === "") throw new Error("Malformed value");
  let hex: unknown;
  try {
    hex = JSON.parse(text);
  } catch {
    throw new Error("JSON.of_buffer expected value or array end (value or ']')");
  }
  if (typeof hex !== "string") throw new Error("Unexpected empty object instead of string");
  const bad = /[^0-9a-f]/i.exec(hex)?.[0];
  if (hex.length % 2 !== 0)
    throw new Error(
      'Unhandled error Invalid_argument("Hex conversion: Hex string cannot have an odd number of characters.")',
    );
  if (bad !== undefined)
    throw new Error(`Unhandled error Invalid_argument("Hex.to_char: ${bad.charCodeAt(0)} is an invalid char")`);
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

const kinds: Readonly<Record<number, string>> = { 0x11: "block", 0x12: "preattestation", 0x13: "attestation" };
/**
 * Level and round as octez-signer's high watermark reads them: the layout of a vote follows the type of the key, not
 * the tag, and nothing behind the round is looked at. Undefined for other bytes, which it does not watch. @throws Error
 * with octez-signer's words
 */
function placeOf(curve: string, bytes: Uint8Array): { kind: string; level: number; round: number } | undefined {
  const kind = kinds[bytes[0] ?? -1];
  if (kind === undefined) return undefined;
  if (bytes.length < 5) throw new Error(`byte sequence too short to be ${kind === "attestation" ? "an" : "a"} ${kind}`);
  const view = Buffer.from(bytes);
  try {
    if (kind !== "block") {
      const at = curve === "tz4" ? 38 : 40;
      return { kind, level: view.readInt32BE(at), round: view.readInt32BE(at + 4) };
    }
    // The fitness, behind its length at 83, ends with the round.
    return { kind, level: view.readInt32BE(5), round: view.readInt32BE(83 + view.readInt32BE(83)) };
  } catch {
    const what = kind === "block" ? "a block" : "an attestation or preattestation";
    throw new Error(`Failed to retrieve level and round of ${what} (Invalid_argument("index out of bounds"))`);
  }
}

export class OctezSigner {
  faults: SignerFaults;
  /** Queries as they arrived, newest last. */
  readonly queries: string[] = [];
  connections = 0;
  private readonly marks = new Map<string, { level: number; round: number; bytes: string; signature: string }>();
  private readonly seen = new WeakSet<Socket>();
  private server: Server | undefined;

  constructor(private readonly options: OctezSignerOptions) {
    this.faults = options.faults ?? {};
  }

  /** Port 0: any free one, which is returned. */
  async start(host: string, port = 0): Promise<number> {
    const server = createServer((request, response) => {
      this.handle(request, response).catch(() => response.destroy());
    });
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    return (server.address() as AddressInfo).port;
  }
  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      if (!this.server) return resolve();
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://signer");
    const prefix = this.options.prefix ?? "";
    const path = url.pathname.startsWith(`${prefix}/`) ? url.pathname.slice(prefix.length + 1) : "";
    const found = /^(?:(authorized_keys|known_keys)|(keys|bls_prove_possession)\/([^/]+))$/.exec(path);
    if (!found) return void response.writeHead(404, { "transfer-encoding": "chunked" }).end();
    const [, list, perKey, address = ""] = found;
    const methods = perKey === "keys" ? ["GET", "POST"] : ["GET"];
    const listing = (status: number, header: string) => {
      response.setHeader(header, methods);
      response.writeHead(status).end();
    };
    if (request.method === "OPTIONS") return listing(200, "access-control-allow-methods");
    if (!methods.includes(request.method ?? "")) return listing(405, "allow");
    const { accept } = request.headers;
    if (accept !== undefined && !["*/*", "application/*", ...mediaTypes].some((type) => accept.includes(type))) {
      response.writeHead(406, { "transfer-encoding": "chunked" });
      return void response.end(mediaTypes.join(", "));
    }
    if (list === "known_keys") return this.listKeys(response);
    if (this.faults.hang === "all") return;
    if (list === "authorized_keys") {
      const authorized = (this.options.authorizedKeys ?? []).map((key) => publicKeyHash(key) ?? "");
      return sendJson(response, 200, this.options.requireAuthentication ? { authorized_keys: authorized } : {});
    }
    if (!/^tz[1-4]$/.test(decodeBase58(address)?.kind ?? "")) {
      const why = `failed to decode Base58Check-encoded data (Signature.Public_key_hash): "${address}"`;
      const text = `the value "${why}" is not acceptable for type "pkh"`;
      return sendText(response, `Failed to parsed an argument in path. After "${path}", ${text}`);
    }
    const key = this.key(address);
    if (perKey === "bls_prove_possession") return this.prove(key, url, response);
    if (!this.seen.has(request.socket)) this.connections++;
    this.seen.add(request.socket);
    if (request.method === "POST") return this.post(address, key, url, request, response);
    if (key) return sendJson(response, 200, { public_key: (this.faults.otherKey ?? key).publicKey });
    response.writeHead(404, { "content-type": "application/json", "content-length": 0 }).end();
  }
  private listKeys(response: ServerResponse): void {
    if (!this.options.allowListKnownKeys)
      return sendJson(response, 500, failure("List known keys request not allowed."));
    sendJson(response, 200, { known_keys: this.options.keys.map((key) => key.address) });
  }
  private prove(key: SigningKey | undefined, url: URL, response: ServerResponse): void {
    if (!this.options.allowToProvePossession)
      return sendJson(response, 500, failure("Request to prove possession is not allowed."));
    if (!key?.address.startsWith("tz4"))
      return sendJson(response, 500, failure("Proof of possession can only be requested for BLS keys."));
    this.queries.push(url.search);
    sendJson(response, 200, { bls_prove_possession: provesPossession(key) });
  }
  private async post(
    address: string,
    key: SigningKey | undefined,
    url: URL,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const type = (request.headers["content-type"] ?? "application/json").split(";")[0] ?? "";
    if (!mediaTypes.includes(type)) return void response.writeHead(415, { "transfer-encoding": "chunked" }).end();
    const wrong = (name: string, value: string, why: string) =>
      sendText(response, `Failed to parse the query string: Failed to parse argument '${name}' ("${value}"): ${why}`);
    const version = url.searchParams.get("version");
    if (version !== null && !/^[0-3]$/.test(version)) return wrong("version", version, "Invalid signature version");
    const authentication = url.searchParams.get("authentication");
    if (authentication !== null && !/sig/i.test(decodeBase58(authentication)?.kind ?? "")) {
      const why = `failed to decode Base58Check-encoded data (Signature.V3): "${authentication}"`;
      return wrong("authentication", authentication, why);
    }
    const badBody = (why: string) => sendText(response, `Failed to parse the request body: ${why}`);
    const body = await readBody(request, 65_536);
    if (type !== "application/json") return badBody("Failed to parse binary data: Not enough data.");
    let bytes: Uint8Array;
    try {
      bytes = bytesOfBody(body.toString("utf8"));
    } catch (error) {
      return badBody(error instanceof Error ? error.message : "");
    }
    if (!key) return sendJson(response, 500, failure(`no keys for the source contract ${address}`));
    if (version === "0" && address.startsWith("tz4"))
      return sendJson(response, 500, failure("Failed to handle secret key in Signature version 0"));
    this.queries.push(url.search);
    await this.sign(key, bytes, authentication, (status, answer) => {
      if (status === 0) response.socket?.destroy();
      else if (typeof answer === "string") response.writeHead(status, { "content-type": "text/plain" }).end(answer);
      else sendJson(response, status, answer);
    });
  }

  private key(address: string): SigningKey | undefined {
    return this.options.keys.find((key) => key.address === address);
  }

  /** What is signed, whatever protocol it was asked by; status 0: the connection breaks. */
  async sign(
    asked: SigningKey,
    bytes: Uint8Array,
    authentication: string | null,
    answer: (status: number, body: unknown) => void,
  ): Promise<void> {
    const { faults, options } = this;
    const entry = (signature: string | null) =>
      options.onRequest?.({
        at: options.now?.() ?? performance.now(),
        signer: options.name ?? "octez-signer",
        address: asked.address,
        bytes: Buffer.from(bytes).toString("hex"),
        signature,
      });
    const refused = (message: string, status = 500) => {
      entry(null);
      answer(status, failure(message));
    };
    if (options.requireAuthentication) {
      const curve = Buffer.of(["tz1", "tz2", "tz3", "tz4"].indexOf(asked.address.slice(0, 3)));
      const hash = decodeBase58(asked.address)?.payload ?? new Uint8Array(0);
      const message = Buffer.concat([Buffer.of(4, 1), curve, hash, bytes]);
      if (authentication === null) return refused("missing authentication signature field");
      if (!(options.authorizedKeys ?? []).some((key) => verifySignature(key, message, authentication)))
        return refused("invalid authentication signature");
    }
    if (bytes.length === 0) return refused('Invalid_argument("index out of bounds")');
    if (options.magicBytes && !options.magicBytes.includes(bytes[0] ?? -1))
      return refused(`magic byte 0x${Buffer.from(bytes.slice(0, 1)).toString("hex")} not allowed`);
    if (faults.refuse !== undefined) return refused("refused", faults.refuse);
    if (faults.delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, faults.delayMs));
    if (faults.hang === "sign") return entry(null);
    const hex = Buffer.from(bytes).toString("hex");
    let signature: string | undefined;
    if (options.checkHighWatermark) {
      const decided = this.watch(asked, bytes, hex);
      if (decided.refused !== undefined) return refused(decided.refused);
      signature = decided.signature;
    }
    signature ??= signBytes(faults.otherKey ?? asked, bytes, faults.randomEcdsa);
    entry(signature);
    if ((faults.loseAnswers ?? 0) > 0) {
      faults.loseAnswers = (faults.loseAnswers ?? 0) - 1;
      return answer(0, undefined);
    }
    if (faults.garbage === "text") return answer(200, "<html>proxy</html>");
    if (faults.garbage === "json") return answer(200, { error: "?" });
    // The last character is part of the checksum.
    if (faults.garbage === "signature")
      return answer(200, { signature: signature.slice(0, -1) + (signature.endsWith("1") ? "2" : "1") });
    answer(200, { signature });
  }

  /** The high watermark: what it refuses, or the signature, which is the first one where the bytes are the same. */
  private watch(asked: SigningKey, bytes: Uint8Array, hex: string): { refused?: string; signature?: string } {
    let place: ReturnType<typeof placeOf>;
    try {
      place = placeOf(asked.address.slice(0, 3), bytes);
    } catch (error) {
      return { refused: error instanceof Error ? error.message : "" };
    }
    if (!place) return {};
    const { kind, level, round } = place;
    const slot = `${asked.address} ${hex.slice(2, 10)} ${kind}`;
    const mark = this.marks.get(slot);
    if (mark && level < mark.level) return { refused: `${kind} level ${level} below high watermark ${mark.level}` };
    const at = `${kind} level ${level} and round ${round}`;
    if (mark?.level === level && round < mark.round)
      return { refused: `${at} not above high watermark (${mark.level},${mark.round})` };
    if (mark?.level === level && round === mark.round)
      return mark.bytes === hex
        ? { signature: mark.signature }
        : { refused: `${at} already signed with different data` };
    const signature = signBytes(this.faults.otherKey ?? asked, bytes, this.faults.randomEcdsa);
    this.marks.set(slot, { level, round, bytes: hex, signature });
    return { signature };
  }
}
