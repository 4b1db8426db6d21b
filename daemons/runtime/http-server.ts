/**
 * The small HTTP server of every daemon: routes, bounded sizes and times, /live, /ready, /metrics, /status. /status and
 * other documents can be followed (document-stream.ts).
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Registry } from "prom-client";
import { FollowedDocument } from "./document-stream";
import { sendJson } from "./http-bodies";

export type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => void | Promise<void>;
export interface Health {
  ok: boolean;
  reason: string;
}
export interface HttpServer {
  port: number;
  /** The document of this path has changed: its followers hear it now. */
  changed(path: string): void;
  /** Serves a connection that somebody else accepted. */
  accept(socket: Socket): void;
  close(): Promise<void>;
}
export interface ServerOptions {
  host: string;
  port: number;
  routes: Record<string, Handler>;
  live?: () => Health;
  ready?: () => Health;
  status?: () => unknown;
  /** Further paths that are served, and can be followed, like /status. */
  documents?: Record<string, () => unknown>;
  metrics?: Registry;
  requestTimeoutMs?: number;
  maxHeaderSize?: number;
  maxConnections?: number;
  /** False: opens no port, serves only what accept() gets. @default true */
  listen?: boolean;
}

const healthOf =
  (check: (() => Health) | undefined): Handler =>
  (_request, response) => {
    const result = check?.() ?? { ok: true, reason: "" };
    sendJson(response, result.ok ? 200 : 503, result);
  };

const metricsOf =
  (registry: Registry | undefined): Handler =>
  async (_request, response) => {
    const text = (await registry?.metrics()) ?? "";
    response.writeHead(200, { "content-type": registry?.contentType ?? "text/plain" }).end(text);
  };

/** Answers by the longest route that fits. */
function router(routes: Record<string, Handler>): (request: IncomingMessage, response: ServerResponse) => void {
  const prefixes = Object.keys(routes)
    .filter((path) => path.endsWith("/") && path !== "/")
    .sort((a, b) => b.length - a.length);
  return (request, response) =>
    void (async () => {
      try {
        const url = URL.canParse(request.url ?? "/", "http://pod") && new URL(request.url ?? "/", "http://pod");
        if (!url) return sendJson(response, 400, { error: "malformed-url" });
        const prefix = prefixes.find((path) => url.pathname.startsWith(path));
        const handler = routes[url.pathname] ?? (prefix === undefined ? undefined : routes[prefix]);
        if (handler) await handler(request, response, url);
        else sendJson(response, 404, { error: "not-found" });
      } catch {
        sendJson(response, 500, { error: "internal" });
      }
    })();
}

/**
 * Listens on `host:port` (0 = any free port). `routes` maps a path, or a prefix ending in `/`, to its handler.
 * A handler that throws becomes a 500 without details. Unknown paths are 404.
 */
export async function serveHttp(options: ServerOptions): Promise<HttpServer> {
  const documents = new Map(
    Object.entries({ "/status": options.status ?? (() => ({})), ...options.documents }).map(
      ([path, read]) => [path, new FollowedDocument(read, options.host)] as const,
    ),
  );
  const routes: Record<string, Handler> = {
    "/live": healthOf(options.live),
    "/ready": healthOf(options.ready),
    "/metrics": metricsOf(options.metrics),
    ...options.routes,
  };
  for (const [path, document] of documents) routes[path] ??= document.serve.bind(document);
  const limits = {
    maxHeaderSize: options.maxHeaderSize ?? 8192,
    requestTimeout: options.requestTimeoutMs ?? 10_000,
    headersTimeout: 5_000,
    keepAliveTimeout: 30_000,
  };
  const server = createServer(limits, router(routes));
  if (options.maxConnections !== undefined) server.maxConnections = options.maxConnections;
  if (options.listen !== false)
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port, options.host, resolve);
    });
  const address = server.address();
  return {
    changed: (path) => documents.get(path)?.changed(),
    accept: (socket) => void server.emit("connection", socket),
    port: typeof address === "object" && address ? address.port : options.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
