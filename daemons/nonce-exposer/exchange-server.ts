/**
 * The exposer's port: plain HTTP for probes, metrics and status, and the authenticated exchange (runtime/nonce-wire),
 * told apart by the first byte.
 */
import { createServer as createNetServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Clock } from "../runtime/clock";
import { pskOptions, type ServerMessage } from "../runtime/nonce-wire";
import { MemberConnection } from "./member-connection";

const tlsHandshake = 0x16;
const firstByteMs = 5000;
const plainIdleMs = 60_000;
const maxConnections = 64;

export interface ExchangeOptions {
  host: string;
  port: number;
  chainId: string;
  /** Pod names that may connect. */
  members: readonly string[];
  key: () => Buffer;
  /** What a member is to know now. */
  message: () => ServerMessage | undefined;
  onConnected: (pod: string, identity: string) => void;
  onDisconnected: (pod: string) => void;
  onAcknowledged: (pod: string, contentHash: string) => void;
  onRefused: (code: string, reason: string) => void;
  /** Takes over a connection that speaks plain HTTP. */
  plain: (socket: Socket) => void;
  beatMs: number;
  silenceMs: number;
  clock: Clock;
}

export class ExchangeServer {
  private readonly members = new Map<string, MemberConnection>();
  private readonly sockets = new Set<Socket>();
  private readonly tls: ReturnType<typeof createTlsServer>;
  private readonly server: Server;

  constructor(private readonly o: ExchangeOptions) {
    this.tls = createTlsServer({
      ...pskOptions,
      handshakeTimeout: firstByteMs,
      pskCallback: (_socket, identity) => this.keyFor(identity),
    });
    this.tls.on("tlsClientError", (error, socket) => {
      o.onRefused("authentication", (error as NodeJS.ErrnoException).code ?? error.message);
      socket.destroy();
    });
    this.tls.on("secureConnection", (socket) => this.accept(socket));
    this.server = createNetServer((socket) => this.admit(socket));
    this.server.maxConnections = maxConnections;
  }

  /** @returns the port */
  async listen(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(this.o.port, this.o.host, resolve);
    });
    const address = this.server.address();
    return typeof address === "object" && address ? address.port : this.o.port;
  }

  /** Sends to every connected member; a slow one gets only the newest. */
  push(): void {
    for (const member of this.members.values()) member.send();
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      for (const member of [...this.members.values()]) member.end();
      for (const socket of this.sockets) socket.destroy();
      this.server.close(() => resolve());
    });
  }

  private keyFor(identity: string): Buffer | null {
    if (!this.o.members.includes(identity)) return null;
    try {
      return this.o.key();
    } catch (error) {
      this.o.onRefused("secret", error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  /** Looks at the first byte of a connection, and hands it on. */
  private admit(socket: Socket): void {
    this.sockets.add(socket);
    socket.setTimeout(firstByteMs, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.sockets.delete(socket));
    const look = (): void => {
      const first = socket.read(1) as Buffer | null;
      if (first === null) {
        socket.once("readable", look);
        return;
      }
      const isExchange = first[0] === tlsHandshake;
      socket.setTimeout(isExchange ? 0 : plainIdleMs);
      socket.unshift(first);
      if (isExchange) this.tls.emit("connection", socket);
      else this.o.plain(socket);
    };
    socket.once("readable", look);
  }

  private accept(socket: TLSSocket): void {
    new MemberConnection(
      socket,
      this.o,
      (connection, identity) => {
        const pod = connection.pod ?? "";
        const before = this.members.get(pod);
        if (before !== connection) before?.end();
        this.members.set(pod, connection);
        this.o.onConnected(pod, identity);
      },
      (connection) => {
        const pod = connection.pod ?? "";
        if (this.members.get(pod) !== connection) return;
        this.members.delete(pod);
        this.o.onDisconnected(pod);
      },
    );
  }
}
