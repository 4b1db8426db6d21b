/** Requests to a real API server. */
import type * as http from "node:http";
import * as https from "node:https";
import type { Json } from "./objects";

export interface Upstream {
  /** https, without a path. */
  url: string;
  /** PEM. */
  ca: string;
  /** May do everything. */
  adminToken: string;
  /** A token of a service account, as a pod has it. */
  serviceAccountToken(namespace: string, name: string): Promise<string>;
}

interface Reply {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}
export const pathOf = (resource: string, namespace: string, name?: string): string => {
  const group = {
    leases: "apis/coordination.k8s.io/v1",
    roles: "apis/rbac.authorization.k8s.io/v1",
    rolebindings: "apis/rbac.authorization.k8s.io/v1",
  }[resource];
  return `/${group ?? "api/v1"}/namespaces/${namespace}/${resource}${name === undefined ? "" : `/${name}`}`;
};

export class UpstreamClient {
  private readonly agent: https.Agent;
  constructor(readonly upstream: Upstream) {
    this.agent = new https.Agent({ keepAlive: true, ca: upstream.ca, maxSockets: 200 });
  }
  open(
    method: string,
    path: string,
    token: string,
    headers: http.OutgoingHttpHeaders,
    body: Buffer | string,
    signal?: AbortSignal,
  ) {
    return new Promise<http.IncomingMessage>((resolve, reject) => {
      const length = Buffer.byteLength(body);
      const request = https.request(
        this.upstream.url + path,
        {
          method,
          agent: this.agent,
          signal,
          headers: {
            ...headers,
            authorization: `Bearer ${token}`,
            ...(length > 0 ? { "content-length": length } : {}),
          },
        },
        resolve,
      );
      request.once("error", reject);
      request.end(body);
    });
  }
  async ask(...request: Parameters<UpstreamClient["open"]>): Promise<Reply> {
    const answer = await this.open(...request);
    const chunks: Buffer[] = [];
    for await (const chunk of answer) chunks.push(chunk as Buffer);
    return { status: answer.statusCode ?? 500, headers: answer.headers, text: Buffer.concat(chunks).toString("utf8") };
  }
  /** As the admin. @throws Error for any other status than those expected */
  async admin(method: string, path: string, body: object | undefined, expected: readonly number[]): Promise<Json> {
    const headers = { "content-type": "application/json" };
    const text = body === undefined ? "" : JSON.stringify(body);
    const { status, text: answer } = await this.ask(method, path, this.upstream.adminToken, headers, text);
    if (!expected.includes(status)) throw new Error(`${method} ${path}: ${status} ${answer.slice(0, 500)}`);
    return status < 300 ? (JSON.parse(answer) as Json) : {};
  }
  close(): void {
    this.agent.destroy();
  }
}
