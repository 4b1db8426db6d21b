/** What can go wrong between a client and the API, and for whom. */
import { once, setMaxListeners } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { sleep } from "../../daemons/runtime/clock";
import { failed, reset, respond } from "./answers";
import { ApiError } from "./status";

export type Verb = "get" | "list" | "watch" | "create" | "update" | "patch" | "delete";
export const writeVerbs: readonly Verb[] = ["create", "update", "patch", "delete"];
export const isWrite = (verb: Verb): boolean => writeVerbs.includes(verb);

/** All given fields must match. */
export interface FaultMatch {
  /** As given to addToken. */
  client?: string;
  verbs?: readonly Verb[];
  resource?: string;
  name?: string | RegExp;
  /** Of the path with its query. */
  path?: RegExp;
}
/** `after`: the write has taken effect, only its answer suffers. */
export type FaultEffect =
  /** `dropped`: not carried out where the client has given up meanwhile, as behind a slow admission webhook. */
  | { kind: "latency"; ms: number | readonly [number, number]; after?: boolean; dropped?: boolean }
  /** The request is not carried out (or its result is replaced by this failure). */
  | { kind: "status"; code: 401 | 403 | 409 | 410 | 429 | 500 | 503 | 504; retryAfterSeconds?: number; after?: boolean }
  /**
   * Silence on an open connection; running watches fall silent too and catch up afterwards. When the fault ends,
   * requests whose client still waits are carried out; those whose client has given up are dropped, or with `late`
   * carried out all the same.
   */
  | { kind: "hang"; after?: boolean; late?: boolean }
  /** The connection is reset; running watches too. */
  | { kind: "cut"; after?: boolean }
  /** An answer that is not the API's: a proxy's page. */
  | { kind: "html"; code: number };
export interface Fault {
  match?: FaultMatch;
  /** Number of requests that it hits. @default no limit */
  times?: number;
  /** 0..1 for each request. @default 1 */
  probability?: number;
  effect: FaultEffect;
}
export interface FaultHandle {
  remove(): void;
  hits(): number;
}

export interface RequestInfo {
  atMs: number;
  client: string;
  user: string;
  verb: Verb;
  group: string;
  resource: string;
  namespace: string;
  name: string;
  path: string;
  /** Port of the client's end: one connection. */
  remotePort: number;
}

export class ActiveFault implements FaultHandle {
  private count = 0;
  private readonly ending = new AbortController();

  constructor(
    readonly fault: Fault,
    private readonly random: () => number,
    private readonly onRemove: (fault: ActiveFault) => void,
  ) {
    setMaxListeners(0, this.ended);
  }

  /** Aborted when the fault ends. */
  get ended(): AbortSignal {
    return this.ending.signal;
  }

  matches(request: Pick<RequestInfo, "client" | "verb" | "resource" | "name" | "path">): boolean {
    const { client, verbs, resource, name, path } = this.fault.match ?? {};
    return (
      (client === undefined || client === request.client) &&
      (verbs === undefined || verbs.includes(request.verb)) &&
      (resource === undefined || resource === request.resource) &&
      (name === undefined || (typeof name === "string" ? name === request.name : name.test(request.name))) &&
      (path === undefined || path.test(request.path))
    );
  }
  /** True where this request suffers; counts it. */
  take(): boolean {
    if (this.ended.aborted || this.count >= (this.fault.times ?? Infinity)) return false;
    if (this.fault.probability !== undefined && this.random() >= this.fault.probability) return false;
    this.count++;
    return true;
  }
  /** Also for running watches: only what hits every request does. */
  get total(): boolean {
    return !this.ended.aborted && this.fault.times === undefined && this.fault.probability === undefined;
  }
  remove(): void {
    if (this.ended.aborted) return;
    this.onRemove(this);
    this.ending.abort();
  }
  hits(): number {
    return this.count;
  }
}

const texts: Record<Extract<FaultEffect, { kind: "status" }>["code"], [string, string]> = {
  401: ["Unauthorized", "Unauthorized"],
  403: ["Forbidden", "forbidden by a fault"],
  409: [
    "Conflict",
    "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
  ],
  410: ["Expired", "The resourceVersion for the provided list is too old."],
  429: ["TooManyRequests", "Too many requests, please try again later."],
  500: ["InternalError", "Internal error occurred: etcdserver: request timed out"],
  503: ["ServiceUnavailable", "the server is currently unable to handle the request"],
  504: ["Timeout", "Timeout: request did not complete within the allotted timeout"],
};

/** True where the request has been answered, or never will be. */
export async function suffer(
  active: ActiveFault,
  request: IncomingMessage,
  response: ServerResponse,
  api: { random: () => number; running: () => boolean },
): Promise<boolean> {
  const { effect } = active.fault;
  switch (effect.kind) {
    case "latency": {
      const [low, high] = typeof effect.ms === "number" ? [effect.ms, effect.ms] : effect.ms;
      await sleep(low + api.random() * (high - low), active.ended);
      return effect.dropped === true && request.socket.destroyed;
    }
    case "status": {
      const seconds = effect.retryAfterSeconds ?? (effect.code === 429 ? 1 : undefined);
      const [reason, message] = texts[effect.code];
      respond(
        response,
        failed(new ApiError(effect.code, reason, message, seconds === undefined ? {} : { retryAfterSeconds: seconds })),
      );
      return true;
    }
    case "hang": {
      if (!active.ended.aborted) await once(active.ended, "abort");
      const gone = request.socket.destroyed || !api.running();
      return gone && (effect.late !== true || !api.running());
    }
    case "cut":
      reset(request.socket);
      return true;
    case "html":
      response
        .writeHead(effect.code, { "content-type": "text/html" })
        .end("<html><body><h1>Bad Gateway</h1></body></html>");
      return true;
  }
}
