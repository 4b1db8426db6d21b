/** One authenticated connection of another member's importer: its messages in, contents and beats out. */
import type { TLSSocket } from "node:tls";
import { clientMessageSchema, line, readLines, type ClientMessage } from "../runtime/nonce-wire";
import type { ExchangeOptions } from "./exchange-server";

const maxMessageBytes = 4096;

export class MemberConnection {
  /** Known after its hello. */
  pod: string | undefined;
  private heardAtMs: number;
  private sending = false;
  /** There is newer content than what is being sent. */
  private owed = false;
  private ended = false;
  private readonly beat: NodeJS.Timeout;

  constructor(
    private readonly socket: TLSSocket,
    private readonly o: ExchangeOptions,
    /** It has said who it is. */
    private readonly onHello: (connection: MemberConnection, identity: string) => void,
    private readonly onEnd: (connection: MemberConnection) => void,
  ) {
    socket.setNoDelay(true);
    this.heardAtMs = o.clock.now();
    this.beat = setInterval(() => this.onBeat(), o.beatMs);
    for (const event of ["error", "close", "end"]) socket.on(event, () => this.end());
    readLines(
      socket,
      maxMessageBytes,
      (text) => this.receive(text),
      () => this.refuse("too-long", `a message of more than ${maxMessageBytes} bytes`),
    );
  }

  /** Sends the newest content. A member that does not read gets the newest when it does, not a queue. */
  send(): void {
    const message = this.o.message();
    if (!message || this.socket.destroyed) return;
    this.owed = this.sending;
    if (this.sending) return;
    this.sending = true;
    this.socket.write(line(message), () => {
      this.sending = false;
      if (this.owed) this.send();
    });
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.beat);
    this.socket.destroy();
    this.onEnd(this);
  }

  private refuse(code: string, reason: string): void {
    if (this.ended) return;
    this.o.onRefused(code, reason);
    this.end();
  }

  private onBeat(): void {
    if (this.o.clock.now() - this.heardAtMs > this.o.silenceMs)
      this.refuse("silent", `${this.pod ?? "a connection"} said nothing for ${this.o.silenceMs} ms`);
    else if (this.pod !== undefined && this.socket.writableLength === 0) this.socket.write(line({ type: "beat" }));
  }

  private receive(text: string): void {
    this.heardAtMs = this.o.clock.now();
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return this.refuse("not-json", `a line of ${text.length} characters is no JSON`);
    }
    const parsed = clientMessageSchema.safeParse(value);
    if (parsed.success) this.obey(parsed.data);
    else this.refuse("malformed", "no known message");
  }

  private obey(message: ClientMessage): void {
    switch (message.type) {
      case "beat":
        return;
      case "hello":
        if (!this.o.members.includes(message.pod)) return this.refuse("other-pod", message.pod.slice(0, 80));
        if (message.chain !== this.o.chainId) return this.refuse("other-chain", message.chain.slice(0, 20));
        this.pod = message.pod;
        this.onHello(this, message.identity);
        return this.send();
      case "ack":
        if (this.pod !== undefined) this.o.onAcknowledged(this.pod, message.hash);
    }
  }
}
