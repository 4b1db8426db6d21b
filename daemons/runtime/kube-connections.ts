/**
 * Connections to the Kubernetes API. A connection that timed out or broke is never used again, nor is any that was idle
 * beside it; token and CA are read again at least every ten seconds and after a 401.
 */
import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { join } from "node:path";
import type { Clock } from "./clock";
import { exchange, type Exchange } from "./http-client";
import type { RequestOptions } from "./kube";
import type { Log } from "./log";

const credentialsMaxAgeMs = 10_000;
const idleSocketMs = 30_000;

export interface KubeConnectionsOptions {
  /** http(s)://HOST[:PORT] */
  url: string;
  /** Folder of `token` and, for https, `ca.crt`. */
  kubeDir: string;
  clock: Clock;
  log?: Log | undefined;
  /** Bytes of an answer at most. */
  maxBodyBytes: number;
  /** Named to the server. */
  userAgent: string;
}

export class KubeConnections {
  private readonly secure: boolean;
  private readonly host: string;
  private readonly port: number;
  private readonly closing = new AbortController();
  private credentials: { token: string; ca: string | undefined; readAtMs: number } | undefined;
  private agent: http.Agent | undefined;

  constructor(private readonly o: KubeConnectionsOptions) {
    const base = new URL(o.url);
    this.secure = base.protocol === "https:";
    this.host = base.hostname.replace(/^\[|\]$/g, "");
    this.port = base.port === "" ? (this.secure ? 443 : 80) : Number(base.port);
    setMaxListeners(0, this.closing.signal);
  }

  /** Aborted by close(). */
  get closed(): AbortSignal {
    return this.closing.signal;
  }

  close(): void {
    this.closing.abort();
    this.renew();
  }

  /** From now on requests use new connections; those in use finish and are closed then. */
  renew(): void {
    const old = this.agent;
    this.agent = undefined;
    if (!old) return;
    old.maxFreeSockets = 0;
    for (const sockets of Object.values(old.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  /** The server did not accept the token: the next request uses what the files say then. */
  rereadCredentials(): void {
    if (this.credentials) this.credentials.readAtMs = -Infinity;
  }

  private access(): { token: string; ca: string | undefined } {
    const { kubeDir, clock, log } = this.o;
    const now = clock.now();
    const known = this.credentials;
    if (known && now - known.readAtMs < credentialsMaxAgeMs) return known;
    try {
      const token = readFileSync(join(kubeDir, "token"), "utf8").trim();
      const ca = this.secure ? readFileSync(join(kubeDir, "ca.crt"), "utf8") : undefined;
      if (known && known.ca !== ca) this.renew();
      this.credentials = { token, ca, readAtMs: now };
      return this.credentials;
    } catch (error) {
      if (!known) throw error;
      const message = error instanceof Error ? error.message : String(error);
      log?.warn("kube-credentials", `using the last ones read: ${message}`);
      known.readAtMs = now;
      return known;
    }
  }

  private shared(ca: string | undefined): http.Agent {
    const options = { keepAlive: true, maxFreeSockets: 8, timeout: idleSocketMs };
    return (this.agent ??= this.secure
      ? new https.Agent({ ...options, ca, minVersion: "TLSv1.2" })
      : new http.Agent(options));
  }

  /** One HTTP request, not started where this throws. `dedicated`: a connection of its own. */
  open(method: string, path: string, body: string | undefined, dedicated: boolean): http.ClientRequest {
    const { token, ca } = this.access();
    const json =
      body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const request = {
      host: this.host,
      port: this.port,
      method,
      path,
      agent: dedicated ? false : this.shared(ca),
      headers: {
        accept: "application/json",
        "user-agent": this.o.userAgent,
        authorization: `Bearer ${token}`,
        ...json,
      },
    };
    return this.secure ? https.request({ ...request, ca, minVersion: "TLSv1.2" as const }) : http.request(request);
  }

  private async once(
    method: string,
    path: string,
    body: string | undefined,
    wanted: RequestOptions,
    dedicated: boolean,
  ): Promise<Exchange> {
    const result = await exchange(() => this.open(method, path, body, dedicated), {
      clock: this.o.clock,
      timeoutMs: wanted.timeoutMs,
      maxBytes: this.o.maxBodyBytes,
      signals: [wanted.signal, this.closed],
      ...(body === undefined ? {} : { body }),
    });
    // Whatever broke or silenced this connection has probably done the same to the idle ones.
    if (!result.answered && (result.kind === "timeout" || result.kind === "network")) this.renew();
    if (result.answered ? result.status === 401 : result.kind === "network") this.rereadCredentials();
    return result;
  }

  /** A write is sent once. `dedicated`: over a connection of its own. */
  async ask(
    method: string,
    path: string,
    body: string | undefined,
    wanted: RequestOptions,
    dedicated = false,
  ): Promise<Exchange> {
    const first = await this.once(method, path, body, wanted, dedicated);
    // An idle connection that the server had closed: a read may simply be asked again, inside the same deadline.
    if (method === "GET" && !first.answered && first.kind === "network" && first.reused) {
      const left = wanted.timeoutMs - (this.o.clock.now() - first.sentAtMs);
      if (left > 0) return this.once(method, path, body, { ...wanted, timeoutMs: left }, dedicated);
    }
    return first;
  }
}
