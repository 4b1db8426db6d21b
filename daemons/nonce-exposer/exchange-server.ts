/**
 * The exposer's port: plain HTTP for probes, metrics and status, and the authenticated exchange (runtime/nonce-wire),
 * told apart by the first byte.
 */
import { createServer as createNetServer, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Clock } from "../runtime/clock";
import { clientMessageSchema, line, pskOptions, readLines, type ServerMessage } from "../runtime/nonce-wire";

const tlsHandshake = 0x16;
const maxMessageBytes = 4096;
const firstByteMs = 5000;
const plainIdleMs = 60_000;

export interface ExchangeServer {
  port: number;
  /** Sends to every connected member; a slow one gets only the newest. */
  push(): void;
  close(): Promise<void>;
}
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

interface Member {
  pod: string;
  send(): void;
  end(): void;
}

export async function serveExchange(options: ExchangeOptions): Promise<ExchangeServer> {
  const members = new Map<string, Member>();
  const sockets = new Set<Socket>();
  const tls = createTlsServer({
    ...pskOptions,
    handshakeTimeout: firstByteMs,
    pskCallback: (_socket, identity) => {
      if (!options.members.includes(identity)) return null;
      try {
        return options.key();
      } catch (error) {
        options.onRefused("secret", error instanceof Error ? error.message : String(error));
        return null;
      }
    },
  });
  tls.on("tlsClientError", (error, socket) => {
    options.onRefused("authentication", (error as NodeJS.ErrnoException).code ?? error.message);
    socket.destroy();
  });
  tls.on("secureConnection", (socket) => accept(socket));

  const accept = (socket: TLSSocket): void => {
    socket.setNoDelay(true);
    let heardAtMs = options.clock.now();
    let member: Member | undefined;
    let sending = false;
    let owed = false;
    const send = (): void => {
      const message = options.message();
      if (!message || socket.destroyed) return;
      // A member that does not read gets the newest content when it does, not a queue.
      owed = sending;
      if (sending) return;
      sending = true;
      socket.write(line(message), () => {
        sending = false;
        if (owed) send();
      });
    };
    const end = (): void => {
      clearInterval(timer);
      socket.destroy();
      if (member && members.get(member.pod) === member) {
        members.delete(member.pod);
        options.onDisconnected(member.pod);
      }
      member = undefined;
    };
    const refuse = (code: string, reason: string): void => {
      options.onRefused(code, reason);
      end();
    };
    const timer = setInterval(() => {
      if (options.clock.now() - heardAtMs > options.silenceMs)
        refuse("silent", `${member?.pod ?? "a connection"} said nothing for ${options.silenceMs} ms`);
      else if (member && socket.writableLength === 0) socket.write(line({ type: "beat" }));
    }, options.beatMs);
    socket.on("error", end);
    socket.on("close", end);
    socket.on("end", end);
    readLines(
      socket,
      maxMessageBytes,
      (text) => {
        heardAtMs = options.clock.now();
        let value: unknown;
        try {
          value = JSON.parse(text);
        } catch {
          return refuse("not-json", `a line of ${text.length} characters is no JSON`);
        }
        const parsed = clientMessageSchema.safeParse(value);
        if (!parsed.success) return refuse("malformed", "no known message");
        const message = parsed.data;
        switch (message.type) {
          case "beat":
            return;
          case "hello":
            if (!options.members.includes(message.pod)) return refuse("other-pod", message.pod.slice(0, 80));
            if (message.chain !== options.chainId) return refuse("other-chain", message.chain.slice(0, 20));
            members.get(message.pod)?.end();
            member = { pod: message.pod, send, end };
            members.set(message.pod, member);
            options.onConnected(message.pod, message.identity);
            return send();
          case "ack":
            if (member) options.onAcknowledged(member.pod, message.hash);
            return;
        }
      },
      () => refuse("too-long", `a message of more than ${maxMessageBytes} bytes`),
    );
  };

  const server = createNetServer((socket) => {
    sockets.add(socket);
    socket.setTimeout(firstByteMs, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    const look = (): void => {
      const first = socket.read(1) as Buffer | null;
      if (first === null) {
        socket.once("readable", look);
        return;
      }
      const isExchange = first[0] === tlsHandshake;
      socket.setTimeout(isExchange ? 0 : plainIdleMs);
      socket.unshift(first);
      if (isExchange) tls.emit("connection", socket);
      else options.plain(socket);
    };
    socket.once("readable", look);
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : options.port,
    push: () => {
      for (const member of members.values()) member.send();
    },
    close: () =>
      new Promise((resolve) => {
        for (const member of [...members.values()]) member.end();
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
