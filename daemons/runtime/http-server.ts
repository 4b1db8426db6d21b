/** The small HTTP server of every daemon: routes, bounded sizes and times, /live, /ready, /metrics, /status. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Registry } from "prom-client";

export type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => void | Promise<void>;
export interface Health {
  ok: boolean;
  reason: string;
}
export interface HttpServer {
  port: number;
  /** Serves a connection that somebody else accepted. */
  accept(socket: Socket): void;
  close(): Promise<void>;
}

export function sendJson(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text), ...headers });
  response.end(text);
}

/** Reads a body of at most `limit` bytes. @throws Error("too-large") beyond it, Error("aborted") where the peer goes away */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > limit) throw new Error("too-large");
    chunks.push(chunk as Buffer);
  }
  if (!request.complete) throw new Error("aborted");
  return Buffer.concat(chunks);
}

/**
 * Listens on `host:port` (0 = any free port). `routes` maps a path, or a prefix ending in `/`, to its handler.
 * A handler that throws becomes a 500 without details. Unknown paths are 404.
 */
export async function serveHttp(options: {
  host: string;
  port: number;
  routes: Record<string, Handler>;
  live?: () => Health;
  ready?: () => Health;
  status?: () => unknown;
  metrics?: Registry;
  requestTimeoutMs?: number;
  maxHeaderSize?: number;
  maxConnections?: number;
  /** False: opens no port, serves only what accept() gets. @default true */
  listen?: boolean;
}): Promise<HttpServer> {
  const health =
    (check: (() => Health) | undefined): Handler =>
    (_request, response) => {
      const result = check?.() ?? { ok: true, reason: "" };
      sendJson(response, result.ok ? 200 : 503, result);
    };
  const routes: Record<string, Handler> = {
    "/live": health(options.live),
    "/ready": health(options.ready),
    "/status": (_request, response) => sendJson(response, 200, options.status?.() ?? {}),
    "/metrics": async (_request, response) => {
      const text = (await options.metrics?.metrics()) ?? "";
      response.writeHead(200, { "content-type": options.metrics?.contentType ?? "text/plain" }).end(text);
    },
    ...options.routes,
  };
  const prefixes = Object.keys(routes)
    .filter((path) => path.endsWith("/") && path !== "/")
    .sort((a, b) => b.length - a.length);
  const server: Server = createServer(
    {
      maxHeaderSize: options.maxHeaderSize ?? 8192,
      requestTimeout: options.requestTimeoutMs ?? 10_000,
      headersTimeout: 5_000,
      keepAliveTimeout: 30_000,
    },
    (request, response) => {
      void (async () => {
        try {
          const url = new URL(request.url ?? "/", "http://pod");
          const prefix = prefixes.find((path) => url.pathname.startsWith(path));
          const handler = routes[url.pathname] ?? (prefix === undefined ? undefined : routes[prefix]);
          if (handler) await handler(request, response, url);
          else sendJson(response, 404, { error: "not-found" });
        } catch {
          sendJson(response, 500, { error: "internal" });
        }
      })();
    },
  );
  if (options.maxConnections !== undefined) server.maxConnections = options.maxConnections;
  if (options.listen !== false)
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port, options.host, resolve);
    });
  const address = server.address();
  return {
    accept: (socket) => void server.emit("connection", socket),
    port: typeof address === "object" && address ? address.port : options.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
