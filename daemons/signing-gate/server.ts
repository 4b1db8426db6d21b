/**
 * The HTTP remote-signer protocol as octez-client and octez-baker speak it, on the pod's loopback address only.
 *
 *   GET  /authorized_keys                    -> {} | {"authorized_keys": [...]}
 *   GET  /keys/<pkh>                         -> {"public_key": "..."}
 *   POST /keys/<pkh>[?authentication=<sig>]  "<hex>" -> {"signature": "..."}
 *   GET  /bls_prove_possession/<pkh>, GET /known_keys: passed to a signer, as is every query string; what it refuses
 *   is answered as it said it.
 *
 * Refusals are Octez' list of errors with a stable id: 400 not understood, 404 unknown key, 409 watermark, 503 not now,
 * 504 signer; never 502, on which Octez repeats.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Handler } from "../runtime/http-server";
import { readBody, sendJson } from "../runtime/http-bodies";
import type { Gate } from "./gate";
import { errorMessage, signerError, signerWords } from "./signer-answer";
import type { Upstream } from "./upstream";

/** The hex, two quotes and generous white space. */
const bodyBytes = (requestBytes: number): number => 2 * requestBytes + 512;
const maxQueryBytes = 1024;

export function sendRefusal(response: ServerResponse, status: number, reason: string, detail: string): void {
  const kind = status === 503 || status === 504 ? "temporary" : "permanent";
  sendJson(response, status, [{ kind, id: `signing-gate.${reason}`, error: reason, message: detail }]);
}

/** Bytes of a body that is a JSON string of hex digits, or undefined. */
export function decodeBody(body: Buffer): Uint8Array | undefined {
  let text: unknown;
  try {
    text = JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof text !== "string" || text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined;
  return Uint8Array.from(Buffer.from(text, "hex"));
}

type Asked = Pick<Gate, "sign" | "askedForVote" | "maxRequestBytes">;

export function gateRoutes(gate: Asked, upstream: Upstream): Record<string, Handler> {
  const only = (method: string, request: IncomingMessage, response: ServerResponse): boolean => {
    if (request.method === method) return true;
    sendRefusal(response, 400, "method", `this path takes ${method}, got ${request.method ?? ""}`);
    return false;
  };
  const passed = (answer: { status: number; body: string } | undefined, response: ServerResponse) => {
    if (!answer) return sendRefusal(response, 504, "signer-unavailable", "no signer answers");
    // octez-signer's own form of a refusal; whatever else stands before it is no answer of a signer.
    if (answer.status === 500 && errorMessage(answer.body) !== undefined)
      return sendJson(response, 500, [{ kind: "temporary", id: "failure", msg: signerWords(answer.body) }]);
    if (answer.status >= 500) return sendRefusal(response, 504, "signer-error", signerError(answer));
    if (response.destroyed) return;
    response
      .writeHead(answer.status, {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(answer.body),
      })
      .end(answer.body);
  };
  return {
    "/authorized_keys": async (request, response) => {
      if (!only("GET", request, response)) return;
      const keys = await upstream.authorizedKeys();
      if (keys) sendJson(response, 200, keys);
      else sendRefusal(response, 504, "signer-unavailable", "no signer answers");
    },
    "/known_keys": async (request, response, url) => {
      if (only("GET", request, response)) passed(await upstream.pass("/known_keys", url.search), response);
    },
    "/bls_prove_possession/": async (request, response, url) => {
      const address = url.pathname.slice("/bls_prove_possession/".length);
      if (!only("GET", request, response)) return;
      if (!upstream.serves(address)) return sendRefusal(response, 404, "unknown-key", "no key of this baker");
      passed(await upstream.pass(url.pathname, url.search, address), response);
    },
    "/keys/": async (request, response, url) => {
      const address = url.pathname.slice("/keys/".length);
      // What is refused before the gate itself sees it was asked for all the same.
      const refused = (status: number, reason: string, detail: string) => {
        if (request.method === "POST") gate.askedForVote();
        sendRefusal(response, status, reason, detail);
      };
      if (!upstream.serves(address)) return refused(404, "unknown-key", "no key of this baker");
      if (request.method === "GET") {
        const publicKey = await upstream.publicKey(address);
        if (publicKey === undefined)
          sendRefusal(response, 504, "signer-unavailable", "no signer answers with this key");
        else sendJson(response, 200, { public_key: publicKey });
        return;
      }
      if (!only("POST", request, response)) return;
      if (url.search.length > maxQueryBytes)
        return refused(400, "query-length", `at most ${maxQueryBytes} bytes of query`);
      const maxBodyBytes = bodyBytes(gate.maxRequestBytes());
      let body: Buffer;
      try {
        body = await readBody(request, maxBodyBytes);
      } catch {
        return refused(400, "body-length", `at most ${maxBodyBytes} bytes`);
      }
      const bytes = decodeBody(body);
      if (!bytes) return refused(400, "body", "the body is a JSON string of hex digits");
      const answer = await gate.sign(address, bytes, url.search);
      if (answer.status === 200) sendJson(response, 200, { signature: answer.signature });
      else sendRefusal(response, answer.status, answer.reason, answer.detail);
    },
  };
}
