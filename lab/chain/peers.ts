/** The nodes that follow the simulated chain, each at its own distance. */
import { createServer, type ServerResponse } from "node:http";

interface Peer {
  pod: string;
  response: ServerResponse;
  /** What is on its way to it, oldest first. */
  late: { line: string; atMs: number }[];
}
export class Peers {
  private readonly all = new Set<Peer>();
  private readonly delayMs = new Map<string, number>();

  constructor(private readonly now: () => number) {}

  /** Everything reaches this pod so much later. */
  slow(pod: string, ms: number): void {
    this.delayMs.set(pod, ms);
  }

  /** Tells all, or those whose pod fits. */
  broadcast(line: string, sees: (pod: string) => boolean = () => true): void {
    for (const peer of this.all) if (sees(peer.pod)) this.send(peer, line);
  }

  close(): void {
    for (const peer of this.all) peer.response.destroy();
  }

  /** A node follows from now on. */
  add(pod: string, response: ServerResponse): void {
    const peer: Peer = { pod, response, late: [] };
    this.all.add(peer);
    response.on("close", () => this.all.delete(peer));
  }

  /** In order, as on one connection: where a delay ends, nothing overtakes what is still on its way. */
  private send(peer: Peer, line: string): void {
    const atMs = Math.max(this.now() + (this.delayMs.get(peer.pod) ?? 0), peer.late.at(-1)?.atMs ?? 0);
    peer.late.push({ line, atMs });
    if (peer.late.length === 1) this.deliver(peer);
  }
  private deliver(peer: Peer): void {
    for (let next = peer.late[0]; next; next = peer.late[0]) {
      const waitMs = next.atMs - this.now();
      if (waitMs > 0) return void setTimeout(() => this.deliver(peer), waitMs).unref();
      if (peer.response.writable) peer.response.write(next.line + "\n");
      peer.late.shift();
    }
  }
}

/**
 * What nodes ask the chain for over HTTP. `stream` answers `/stream?pod=P`; each other path has a function of its query
 * and its body.
 */
export async function serveNodes(
  stream: (pod: string, response: ServerResponse) => void,
  answers: Readonly<Record<string, (query: URLSearchParams, body: string) => unknown>>,
  host: string,
  port: number,
): Promise<{ host: string; port: number; close(): void }> {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://chain");
    if (pathname === "/stream") return stream(searchParams.get("pod") ?? "", response);
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      let answer: unknown;
      try {
        answer = answers[pathname]?.(searchParams, body) ?? {};
      } catch (error) {
        answer = { error: `malformed: ${String(error)}` };
      }
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const address = server.address();
  return {
    host,
    port: typeof address === "object" && address ? address.port : port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
