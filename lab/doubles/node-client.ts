/** An Octez node as a daemon beside it asks it. */
import { Agent, get, request } from "node:http";
import { lines, sleep } from "./common";

const agent = new Agent({ keepAlive: true, maxSockets: 16 });
export function call(url: string, body?: string, timeoutMs = 0): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const exchange = request(
      url,
      { agent, method: body === undefined ? "GET" : "POST", timeout: timeoutMs || undefined },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
        response.on("error", reject);
      },
    );
    exchange.on("timeout", () => exchange.destroy(new Error(`timeout after ${timeoutMs} ms`)));
    exchange.on("error", reject);
    if (body !== undefined) exchange.setHeader("content-type", "application/json");
    exchange.end(body);
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
   * Follows again where the node ends the answer in order, as it does with the mempool at each head. @param lost is
   * called where the answer ends in another way, before it is followed again
   */
  async follow(path: string, onValue: (value: unknown) => void, lost: () => void): Promise<void> {
    for (;;) {
      const ended = await new Promise<boolean>((resolve) => {
        get(this.url + path, (response) => {
          if (response.statusCode !== 200) return resolve((response.resume(), false));
          lines(response, (line) => onValue(JSON.parse(line)));
          response.on("close", () => resolve(response.complete));
        }).on("error", () => resolve(false));
      });
      if (ended) continue;
      lost();
      await sleep(500);
    }
  }
}
