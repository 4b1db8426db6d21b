/** A TCP proxy between a pod and something else that can be cut, silenced or slowed: the laboratory's network. */
import { connect, createServer, type Server, type Socket } from "node:net";

export interface Endpoint {
  host: string;
  port: number;
}
/**
 * `refuse`: connections are reset, new ones too. `silent`: nothing arrives and nobody is told; what was sent arrives
 * after the end of it.
 */
export type LinkMode = "open" | "refuse" | "silent";

interface Pair {
  client: Socket;
  server: Socket | undefined;
  held: (() => void)[];
}

export class Link {
  private server: Server | undefined;
  private readonly pairs = new Set<Pair>();
  private mode_: LinkMode = "open";
  /** Added to each chunk, each way. */
  delayMs = 0;
  address: Endpoint = { host: "", port: 0 };

  /** @param target asked at each connection; undefined = nobody there: reset */
  constructor(
    readonly name: string,
    private readonly target: () => Endpoint | undefined,
  ) {}

  get mode(): LinkMode {
    return this.mode_;
  }
  set mode(mode: LinkMode) {
    this.mode_ = mode;
    if (mode === "refuse") for (const pair of [...this.pairs]) this.reset(pair);
    if (mode === "open") for (const pair of this.pairs) for (const action of pair.held.splice(0)) action();
  }

  async listen(host: string, port: number): Promise<this> {
    const server = createServer({ allowHalfOpen: true }, (client) => this.accept(client));
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    const address = server.address();
    this.address = { host, port: typeof address === "object" && address ? address.port : port };
    return this;
  }

  close(): void {
    this.server?.close();
    for (const pair of [...this.pairs]) this.reset(pair);
  }

  private reset(pair: Pair): void {
    this.pairs.delete(pair);
    for (const socket of [pair.client, pair.server]) if (socket && !socket.destroyed) socket.resetAndDestroy();
  }

  /** Runs now, after the delay, or when the silence ends. */
  private pass(pair: Pair, action: () => void): void {
    const run = () => (this.mode_ === "silent" ? void pair.held.push(action) : action());
    if (this.delayMs > 0) setTimeout(run, this.delayMs);
    else if (this.mode_ === "silent" || pair.held.length > 0) pair.held.push(action);
    else action();
  }

  private accept(client: Socket): void {
    if (this.mode_ === "refuse") return void client.resetAndDestroy();
    const pair: Pair = { client, server: undefined, held: [] };
    this.pairs.add(pair);
    client.setNoDelay(true);
    client.on("error", () => this.reset(pair));
    // Before the other side is there, its data wait in the kernel.
    client.pause();
    this.pass(pair, () => {
      const target = this.target();
      if (!target) return this.reset(pair);
      const server = connect({ ...target, allowHalfOpen: true, noDelay: true });
      pair.server = server;
      server.on("error", () => this.reset(pair));
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        from.on("data", (chunk) => this.pass(pair, () => void (to.writable && to.write(chunk))));
        from.on("end", () => this.pass(pair, () => void (to.writable && to.end())));
        from.on("close", () => {
          if (client.destroyed && server.destroyed) this.pairs.delete(pair);
          else if (!from.readableEnded) this.pass(pair, () => this.reset(pair));
        });
      }
      client.resume();
    });
  }
}
