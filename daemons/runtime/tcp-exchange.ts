/**
 * What is asked of a signer by HTTP, asked of one that speaks Octez' protocol over TCP; its answer as
 * octez-signer's HTTP would give it, so that one place judges both. An error of the signer is HTTP 500 with its own
 * words, as octez-signer's is, but where its words say that it does not have the key.
 */
import type { LookupFunction } from "node:net";
import {
  decodeAuthorizedKeysResult,
  decodeKnownKeysResult,
  decodePublicKeyResult,
  decodeSignatureResult,
  encodeSignerRequest,
  type SignerRequest,
  type SignerResult,
} from "../../tezos/signer-messages";
import { systemClock as clock } from "./clock";
import type { ExchangeFailure } from "./http-client";
import { askTcpSigner } from "./tcp-signer";

export type SignerExchange =
  /** `protocol`: absent for HTTP. */
  | { ok: true; status: number; body: string; protocol?: "tcp" }
  /** `busy`: none of the connections that one signer may have was free in time. */
  | { ok: false; reason: ExchangeFailure | "busy"; detail: string; sent: boolean; code?: string };

export interface TcpExchangeOptions {
  method: "GET" | "POST";
  body?: string;
  timeoutMs: number;
  signal?: AbortSignal;
  lookup?: LookupFunction;
}
interface Asked {
  request: SignerRequest;
  /** The body of the answer. @throws Error for bytes that are none */
  decode: (payload: Buffer) => SignerResult<Record<string, unknown>>;
}

const named = <T>(name: string, result: SignerResult<T>): SignerResult<Record<string, unknown>> =>
  result.ok ? { ok: true, value: result.value === undefined ? {} : { [name]: result.value } } : result;

/** The version that octez-baker of today asks for. */
const latestVersion = 3;

function signing(address: string, query: URLSearchParams, body = ""): Asked {
  const hex: unknown = JSON.parse(body);
  if (typeof hex !== "string" || !/^([0-9a-f]{2})+$/i.test(hex)) throw new Error("a body is a text of hex digits");
  const version = query.get("version") ?? String(latestVersion);
  if (!/^[0-3]$/.test(version)) throw new Error(`a version is 0 to 3, got "${version.slice(0, 20)}"`);
  const authentication = query.get("authentication") ?? undefined;
  return {
    request: { kind: "sign", address, bytes: Buffer.from(hex, "hex"), version: Number(version), authentication },
    decode: (payload) => named("signature", decodeSignatureResult(payload, address)),
  };
}

/** Undefined for a path that this protocol has no request for. */
function askedOf({ pathname, searchParams }: URL, { method, body }: TcpExchangeOptions): Asked | undefined {
  const [, list, perKey, address = ""] =
    /^\/(?:(authorized_keys|known_keys)|(keys|bls_prove_possession)\/(tz[1-4]\w{33}))$/.exec(pathname) ?? [];
  if (perKey === "keys" && method === "POST") return signing(address, searchParams, body);
  if (list === "authorized_keys")
    return {
      request: { kind: "authorized-keys" },
      decode: (payload) => named(list, decodeAuthorizedKeysResult(payload)),
    };
  if (list === "known_keys")
    return { request: { kind: "known-keys" }, decode: (payload) => named(list, decodeKnownKeysResult(payload)) };
  if (perKey === "keys")
    return {
      request: { kind: "public-key", address },
      decode: (payload) => named("public_key", decodePublicKeyResult(payload)),
    };
  if (perKey === "bls_prove_possession" && address.startsWith("tz4") && searchParams.get("override_pk") === null)
    return {
      request: { kind: "prove-possession", address },
      decode: (payload) => named(perKey, decodeSignatureResult(payload, address)),
    };
  return undefined;
}

const said = (status: number, body: unknown): SignerExchange => ({
  ...{ ok: true, status, body: JSON.stringify(body), protocol: "tcp" },
});

function answerOf({ request, decode }: Asked, payload: Buffer): SignerExchange {
  try {
    const result = decode(payload);
    if (result.ok) return said(200, result.value);
    const unknown = "address" in request && result.errors[0]?.msg === `Key not found: ${request.address}`;
    return said(unknown ? 404 : 500, result.errors);
  } catch (error) {
    // Whatever it was, a signature may have been made.
    const detail = `no answer of a signer: ${error instanceof Error ? error.message : String(error)}`;
    return { ok: false, reason: "malformed", detail, sent: true };
  }
}

/** Never rejects. `sent` is false only where no connection was established. */
export async function exchangeOverTcp(url: URL, options: TcpExchangeOptions): Promise<SignerExchange> {
  let asked: Asked | undefined;
  let frame: Buffer;
  try {
    asked = askedOf(url, options);
    if (!asked) return said(404, []);
    frame = encodeSignerRequest(asked.request);
  } catch (error) {
    // Nothing has left.
    return said(400, [{ kind: "temporary", id: "failure", msg: error instanceof Error ? error.message : "" }]);
  }
  const { signal, lookup } = options;
  const timeoutMs = Math.max(0, options.timeoutMs);
  const deadlineMs = clock.now() + timeoutMs;
  const place = { host: url.hostname, port: Number(url.port) };
  const answer = await askTcpSigner(place, frame, { clock, timeoutMs, signal, lookup });
  if (answer.answered) return answerOf(asked, answer.payload);
  if (asked.request.kind === "public-key" && answer.closed) {
    // octez-signer closes the connection where it does not have the key. A proxy without its signer closes it as well,
    // and so does Russignol where it has too many: what answers before and closes then is a signer without the key.
    const before = encodeSignerRequest({ kind: "authorized-keys" });
    const rest = { clock, timeoutMs: Math.max(0, deadlineMs - clock.now()), signal, lookup };
    const again = await askTcpSigner(place, frame, { ...rest, before });
    if (again.answered) return answerOf(asked, again.payload);
    if (again.closed) return said(404, []);
  }
  const { kind: reason, message: detail, sent, code } = answer;
  return { ok: false, reason, detail, sent, ...(code === undefined ? {} : { code }) };
}
