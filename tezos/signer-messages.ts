/**
 * Octez' remote signer protocol over TCP: one message behind two bytes of length each way. Source: Octez,
 * src/lib_signer_services/signer_messages.ml and src/lib_base/unix/socket.ml, of August 2026; Russignol 0.26.1 speaks
 * the same with tz4 keys alone. Pure.
 */
import { decodeBase58, encodeBase58, type Base58Kind } from "./base58";
import { decodeAddress } from "./addresses";
import type { Curve } from "./keys";

export type SignerRequest =
  | { kind: "sign"; address: string; bytes: Uint8Array; version: number; authentication?: string }
  | { kind: "public-key" | "prove-possession"; address: string }
  | { kind: "authorized-keys" | "known-keys" };
const tags: Readonly<Record<SignerRequest["kind"], number>> = {
  ...{ sign: 0, "public-key": 1, "authorized-keys": 2, "known-keys": 6, "prove-possession": 7 },
};

/** In the order of their tags. */
const curves = ["tz1", "tz2", "tz3", "tz4"] as const satisfies readonly Curve[];
const publicKeyKinds = ["edpk", "sppk", "p2pk", "BLpk"] as const satisfies readonly Base58Kind[];
const signatureKinds = { tz1: "edsig", tz2: "spsig1", tz3: "p2sig", tz4: "BLsig" } as const;
const hashSize = 20;

/** Length of a frame's length. */
export const prefixSize = 2;

/** @throws Error where the text is no tz1..tz4 address */
function hashOf(address: string): { tag: number; bytes: Buffer } {
  const decoded = decodeAddress(address);
  if (!decoded) throw new Error(`a key is a tz1, tz2, tz3 or tz4 address, got "${address.slice(0, 80)}"`);
  const tag = curves.indexOf(decoded.curve);
  return { tag, bytes: Buffer.concat([Buffer.of(tag), decoded.hash]) };
}
/** The key of a request for a signature. Only a BLS key has the version of its signature behind it. */
function versionedHash(address: string, version: number): Buffer {
  const { tag, bytes } = hashOf(address);
  return curves[tag] === "tz4" ? Buffer.concat([Buffer.of(tag), bytes, Buffer.of(version)]) : bytes;
}
function rawSignature(text: string): Uint8Array {
  const decoded = decodeBase58(text);
  if (!decoded || !/sig/i.test(decoded.kind)) throw new Error("an authentication is a signature in base58check");
  return decoded.payload;
}

function payloadOf(request: SignerRequest): Buffer {
  switch (request.kind) {
    case "sign": {
      const { address, bytes, version, authentication } = request;
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      // What follows the data up to the end is the authentication, without a mark of its own.
      const rest = authentication === undefined ? Buffer.alloc(0) : rawSignature(authentication);
      return Buffer.concat([versionedHash(address, version), length, bytes, rest]);
    }
    case "public-key":
      return hashOf(request.address).bytes;
    case "prove-possession":
      // No other public key than the one of the address.
      return Buffer.concat([hashOf(request.address).bytes, Buffer.of(0)]);
    case "authorized-keys":
    case "known-keys":
      return Buffer.alloc(0);
  }
}
/** The whole frame. @throws Error for what the protocol cannot say */
export function encodeSignerRequest(request: SignerRequest): Buffer {
  const payload = Buffer.concat([Buffer.of(tags[request.kind]), payloadOf(request)]);
  if (payload.length > 0xffff) throw new Error(`a message holds 65535 bytes, got ${payload.length}`);
  const length = Buffer.alloc(prefixSize);
  length.writeUInt16BE(payload.length);
  return Buffer.concat([length, payload]);
}

/** An error as octez-signer's HTTP shows it; `msg` are its words. */
export interface SignerMessageError {
  kind: string;
  id: string;
  msg: string;
}
export type SignerResult<T> = { ok: true; value: T } | { ok: false; errors: SignerMessageError[] };

/** @throws Error for bytes that are none of the protocol */
class Reader {
  private at = 0;
  constructor(private readonly bytes: Buffer) {}
  get rest(): number {
    return this.bytes.length - this.at;
  }
  take(size: number): Buffer {
    if (size < 0 || size > this.rest) throw new Error(`${size} bytes were expected, and ${this.rest} are left`);
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }
  byte(): number {
    return this.take(1)[0] ?? 0;
  }
  /** What stands behind four bytes of length. */
  sized(): Reader {
    return new Reader(this.take(this.take(4).readUInt32BE()));
  }
  text(): string {
    const end = this.bytes.indexOf(0, this.at);
    if (end < 0) throw new Error("a text without its end");
    const text = this.bytes.toString("utf8", this.at, end);
    this.at = end + 1;
    return text;
  }
  end(): void {
    if (this.rest > 0) throw new Error(`${this.rest} bytes too many`);
  }
}

/** Sizes of BSON's values of one length; of a text and a document the length comes first. */
const bsonSizes: Readonly<Record<number, number>> = { 0x01: 8, 0x08: 1, 0x0a: 0, 0x10: 4, 0x12: 8 };
/** The texts of a BSON document; what is in it besides is passed over. */
function bsonTexts(reader: Reader): Record<string, string> {
  const texts: Record<string, string> = {};
  const length = reader.take(4).readInt32LE();
  const body = new Reader(reader.take(length - 4));
  for (let type = body.byte(); type !== 0; type = body.byte()) {
    const name = body.text();
    const size = bsonSizes[type];
    if (size !== undefined) body.take(size);
    else if (type === 0x02) texts[name] = body.take(body.take(4).readInt32LE()).subarray(0, -1).toString("utf8");
    else if (type === 0x03 || type === 0x04) body.take(body.take(4).readInt32LE() - 4);
    else throw new Error(`a BSON value of type ${type}`);
  }
  return texts;
}

function errorsOf(reader: Reader): SignerMessageError[] {
  const trace = reader.sized();
  reader.end();
  const errors: SignerMessageError[] = [];
  while (trace.rest > 0) {
    const { kind = "", id = "", msg, error } = bsonTexts(trace.sized());
    errors.push({ kind, id, msg: msg ?? error ?? "" });
  }
  return errors;
}

/** @param payload of the frame @throws Error for bytes that are no answer to such a request */
function decodeResult<T>(payload: Buffer, value: (reader: Reader) => T): SignerResult<T> {
  const reader = new Reader(payload);
  const tag = reader.byte();
  if (tag === 1) return { ok: false, errors: errorsOf(reader) };
  if (tag !== 0) throw new Error(`a result begins with 0 or 1, got ${tag}`);
  const decoded = value(reader);
  reader.end();
  return { ok: true, value: decoded };
}

function curveOf(reader: Reader): number {
  const tag = reader.byte();
  if (tag >= curves.length) throw new Error(`a key of the unknown curve ${tag}`);
  return tag;
}
function addressesOf(reader: Reader): string[] {
  const list = reader.sized();
  const addresses: string[] = [];
  while (list.rest > 0) addresses.push(encodeBase58(curves[curveOf(list)] ?? "tz1", list.take(hashSize)));
  return addresses;
}

/** In base58check, of the kind of the address' curve; a signature is 64 bytes, a BLS one 96. */
export const decodeSignatureResult = (payload: Buffer, address: string): SignerResult<string> =>
  decodeResult(payload, (reader) =>
    encodeBase58(signatureKinds[curves[hashOf(address).tag] ?? "tz1"], reader.take(reader.rest)),
  );
export const decodePublicKeyResult = (payload: Buffer): SignerResult<string> =>
  decodeResult(payload, (reader) => encodeBase58(publicKeyKinds[curveOf(reader)] ?? "edpk", reader.take(reader.rest)));
/** Undefined where the signer asks for no authentication. */
export const decodeAuthorizedKeysResult = (payload: Buffer): SignerResult<string[] | undefined> =>
  decodeResult(payload, (reader) => {
    const tag = reader.byte();
    if (tag > 1) throw new Error(`authorized keys begin with 0 or 1, got ${tag}`);
    return tag === 0 ? undefined : addressesOf(reader);
  });
export const decodeKnownKeysResult = (payload: Buffer): SignerResult<string[]> => decodeResult(payload, addressesOf);
