/**
 * One bounded HTTP exchange with a signer, the node or the elector, and the one thing that a signature needs to know:
 * could the request have left?
 */
import * as http from "node:http";
import * as https from "node:https";
import type { LookupFunction } from "node:net";
import { systemClock } from "./clock";
import { exchange as bounded } from "./http-client";
import type { SignerExchange } from "./tcp-exchange";

export interface ExchangeOptions {
  method: "GET" | "POST";
  body?: string;
  timeoutMs: number;
  /** Keep-alive agent, or false for a connection of its own. */
  agent: http.Agent | https.Agent | false;
  /** @default 16 KiB */
  maxBytes?: number;
  signal?: AbortSignal;
  /** @default Node's own look-up of names */
  lookup?: LookupFunction;
}

/**
 * Never rejects. A connection whose exchange failed is destroyed. `sent` is false only where no connection was
 * established.
 */
export async function exchange(url: URL, options: ExchangeOptions): Promise<SignerExchange> {
  const { method, agent, body, timeoutMs, maxBytes = 16_384, signal, lookup } = options;
  const json =
    body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const result = await bounded(
    () =>
      (url.protocol === "https:" ? https : http).request(url, {
        method,
        agent,
        lookup,
        headers: { accept: "application/json", ...json },
      }),
    { clock: systemClock, timeoutMs: Math.max(0, timeoutMs), maxBytes, body, signals: [signal] },
  );
  if (result.answered) return { ok: true, status: result.status, body: result.body };
  const { kind: reason, message: detail, sent, code } = result;
  return { ok: false, reason, detail, sent, ...(code === undefined ? {} : { code }) };
}
