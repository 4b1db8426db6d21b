/** How the API answers. */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { ApiError } from "./status";

/** What a request is answered with. */
export interface Result {
  status: number;
  body: unknown;
  warnings?: readonly string[];
  contentType?: string;
  retryAfterSeconds?: number;
}
export function respond(response: ServerResponse, result: Result): void {
  if (response.destroyed || response.headersSent) return;
  const body = typeof result.body === "string" ? result.body : JSON.stringify(result.body);
  response.writeHead(result.status, {
    "cache-control": "no-cache, private",
    "content-type": result.contentType ?? "application/json",
    "content-length": Buffer.byteLength(body),
    ...(result.retryAfterSeconds === undefined ? {} : { "retry-after": String(result.retryAfterSeconds) }),
    ...(result.warnings && result.warnings.length > 0
      ? { warning: result.warnings.map((text) => `299 - "${text.replaceAll('"', '\\"')}"`).join(", ") }
      : {}),
  });
  response.end(body);
}

/** The answer to an error; one that is none of the API's is its own fault. */
export function failed(error: unknown): Result {
  if (!(error instanceof ApiError)) {
    const message = error instanceof Error ? error.message : String(error);
    return failed(new ApiError(500, "InternalError", `Internal error occurred: ${message}`));
  }
  const seconds = error.details?.retryAfterSeconds;
  return {
    status: error.code,
    body: error.status(),
    ...(seconds === undefined ? {} : { retryAfterSeconds: seconds }),
  };
}

/** The request will never be answered: its connection is reset. */
export class ConnectionLost extends Error {}
/** A TLS socket of Node 20 cannot be reset, only closed. */
export function reset(socket: Socket | null): void {
  if (!socket) return;
  if ("encrypted" in socket) socket.destroy();
  else socket.resetAndDestroy();
}
