/** One bounded HTTP exchange with a hard deadline, and the one thing that a signature needs to know: could the request have left? */
import * as http from "node:http";
import * as https from "node:https";

export type Exchange =
  { ok: true; status: number; body: string } | { ok: false; reason: "timeout" | "network" | "too-large"; detail: string; sent: boolean };

export interface ExchangeOptions {
  method: "GET" | "POST";
  body?: string;
  timeoutMs: number;
  /** Keep-alive agent, or false for a connection of its own. */
  agent: http.Agent | https.Agent | false;
  maxBytes?: number;
  signal?: AbortSignal;
}

/** Never rejects. A connection whose exchange failed is destroyed. `sent` is false only where no connection was established. */
export function exchange(url: URL, options: ExchangeOptions): Promise<Exchange> {
  return new Promise((resolve) => {
    let sent = false;
    let finished = false;
    const finish = (result: Exchange) => {
      if (finished) return;
      finished = true;
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", abort);
      resolve(result);
      if (!result.ok) request.destroy();
    };
    const fail = (reason: "timeout" | "network" | "too-large", detail: string) => finish({ ok: false, reason, detail, sent });
    const abort = () => fail("network", "aborted");
    const secure = url.protocol === "https:";
    const request = (secure ? https : http).request(
      url,
      {
        method: options.method,
        agent: options.agent,
        headers: {
          accept: "application/json",
          ...(options.body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(options.body) }),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > (options.maxBytes ?? 16_384)) fail("too-large", `more than ${options.maxBytes ?? 16_384} bytes`);
          else chunks.push(chunk);
        });
        response.on("end", () =>
          response.complete
            ? finish({ ok: true, status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") })
            : fail("network", "cut"),
        );
        response.on("error", (error) => fail("network", error.message));
        response.on("close", () => fail("network", "cut"));
      },
    );
    const timer = setTimeout(() => fail("timeout", `no answer within ${Math.round(options.timeoutMs)} ms`), Math.max(0, options.timeoutMs));
    request.on("socket", (socket) => {
      if (!socket.connecting) sent = true;
      else
        socket.once(secure ? "secureConnect" : "connect", () => {
          sent = true;
        });
    });
    request.on("error", (error) => fail("network", error.message));
    if (options.signal?.aborted) return abort();
    options.signal?.addEventListener("abort", abort);
    request.end(options.body);
  });
}
