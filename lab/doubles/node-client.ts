/**
 * How octez-baker and the other daemons ask their node and their signers, as it was recorded of version 25.1: a
 * connection for each request, the same headers in the same order, a chunked body that ends in a newline.
 */
import { get, request } from "node:http";
import { lines } from "./common";

const accept = "application/json;q=1,application/bson;q=0.100,application/octet-stream;q=0.200";
const userAgent = "ocaml-cohttp/5.3.0";

/** @param body JSON text @param timeoutMs 0 waits for ever */
export function call(
  url: string,
  body?: string,
  timeoutMs = 0,
  method = body === undefined ? "GET" : "POST",
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = {
      host: new URL(url).host,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...{ accept, "user-agent": userAgent },
      ...(body === undefined ? {} : { "transfer-encoding": "chunked" }),
    };
    const options = { agent: false, method, headers, timeout: timeoutMs || undefined } as const;
    const exchange = request(url, options, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", reject);
    });
    // Octez says nothing about the connection, and never uses it twice.
    exchange.removeHeader("connection");
    exchange.on("timeout", () => exchange.destroy(new Error(`timeout after ${timeoutMs} ms`)));
    exchange.on("error", reject);
    exchange.end(body === undefined ? undefined : `${body}\n`);
  });
}

export class NodeClient {
  /** @param timeoutMs of a call; 0: none */
  constructor(
    private readonly url: string,
    private readonly timeoutMs: number,
  ) {}

  async rpc<T>(path: string): Promise<T> {
    const { status, text } = await call(this.url + path, undefined, this.timeoutMs);
    if (status !== 200) throw new Error(`GET ${path}: ${status}`);
    return JSON.parse(text) as T;
  }

  inject(what: "block" | "operation", value: unknown): Promise<{ status: number; text: string }> {
    return call(`${this.url}/injection/${what}?chain=main`, JSON.stringify(value), this.timeoutMs);
  }

  /**
   * Follows again where the node ends the answer in order, as it does with the mempool at each head, unless `once`.
   * Resolves where the answer ends in another way, or the signal aborts.
   */
  async follow(
    path: string,
    signal: AbortSignal,
    onValue: (value: unknown) => void,
    times: "again" | "once" = "again",
  ): Promise<void> {
    for (let ended = true, first = true; ended && !signal.aborted && (first || times === "again"); first = false)
      ended = await new Promise<boolean>((resolve) => {
        get(this.url + path, { agent: false, signal }, (response) => {
          if (response.statusCode !== 200) return resolve((response.resume(), false));
          lines(response, (line) => onValue(JSON.parse(line)));
          response.on("error", () => resolve(false));
          response.on("close", () => resolve(response.complete));
        }).on("error", () => resolve(false));
      });
  }
}
