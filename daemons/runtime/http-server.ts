/**
 * The small HTTP server of every daemon: routes, bounded sizes and times, /live, /ready, /metrics, /status.
 * `GET /status?watch=MS` (and other documents) repeats the document as JSON lines `{atNs, document}`: at once, at each
 * change that the daemon announces, and else about every MS (`longestPause`). `atNs` is the CLOCK_MONOTONIC at which it
 * was true; the containers of a pod share that clock. A line costs a fraction of a request.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Registry } from "prom-client";
import { afterBeat, systemClock, untilBeat } from "./clock";
import { StreamPlaces } from "./stream-places";

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

/** Between two lines of a stream, in units of the MS that its follower asked for: a beat, and a little. */
export const longestPause = 1.5 + afterBeat;
/** A reader that lets this much pile up is cut off: it comes back and gets the newest. */
const maxBacklogBytes = 256 * 1024;

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}

/**
 * Reads a body of at most `limit` bytes. @throws Error("too-large") beyond it, Error("aborted") where the peer goes
 * away
 */
export function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) reject(new Error("too-large"));
      else chunks.push(chunk);
    });
    request.on("end", () => resolve(Buffer.concat(chunks)));
    for (const event of ["error", "close"]) request.on(event, () => reject(new Error("aborted")));
  });
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
  /** Further paths that are served, and can be followed, like /status. */
  documents?: Record<string, () => unknown>;
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
  const followers = new Map<string, Set<() => void>>();
  const places = new Map<string, StreamPlaces>();
  const document =
    (path: string, read: () => unknown): Handler =>
    (request, response, url) => {
      const everyMs = Number(url.searchParams.get("watch") ?? NaN);
      if (Number.isNaN(everyMs)) return sendJson(response, 200, read());
      const mine = followers.get(path) ?? new Set();
      followers.set(path, mine);
      const allPlaces = places.get(path) ?? new StreamPlaces();
      places.set(path, allPlaces);
      const leave = allPlaces.take(request);
      if (!leave) return sendJson(response, 503, { error: "too-many-streams" }, { "retry-after": "1" });
      response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
      request.socket.setNoDelay(true);
      const periodMs = Math.min(60_000, Math.max(20, everyMs));
      let timer: NodeJS.Timeout | undefined;
      const push = (): void => {
        clearTimeout(timer);
        const atNs = process.hrtime.bigint().toString();
        if (response.writableLength > maxBacklogBytes) return void response.destroy();
        response.write(JSON.stringify({ atNs, document: read() }) + "\n");
        // A little after the beat at which daemons ask around: what they learn is a change that counts as this
        // repetition.
        timer = setTimeout(push, untilBeat(systemClock, periodMs, options.host) + afterBeat * periodMs);
      };
      mine.add(push);
      response.on("close", () => {
        clearTimeout(timer);
        mine.delete(push);
        leave();
      });
      push();
    };
  const documents = { "/status": options.status ?? (() => ({})), ...options.documents };
  const routes: Record<string, Handler> = {
    "/live": health(options.live),
    "/ready": health(options.ready),
    ...Object.fromEntries(Object.entries(documents).map(([path, read]) => [path, document(path, read)])),
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
    changed: (path) => followers.get(path)?.forEach((push) => push()),
    accept: (socket) => void server.emit("connection", socket),
    port: typeof address === "object" && address ? address.port : options.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
