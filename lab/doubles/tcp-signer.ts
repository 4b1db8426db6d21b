/**
 * Octez' remote signer protocol over TCP, strictly, around the keys, marks and faults of an `OctezSigner`: as
 * octez-signer 25.1 serves it (`launch socket signer`), or as Russignol 0.26.1 does, which knows tz4 keys only, asks
 * for no authentication and takes four connections. It shares no code with the gate's side.
 */
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { decodeBase58, encodeBase58 } from "../../tezos/base58";
import { publicKeyHash } from "../../tezos/keys";
import type { OctezSigner, OctezSignerOptions } from "./signer-server";
import { provesPossession, type SigningKey } from "./signing-keys";

/** What the answer to a request for a signature looks like instead of what it should. */
export type FrameFault = "short" | "long" | "oversized" | "unknown-tag" | "cut" | "broken-error" | "empty";

const curves = ["tz1", "tz2", "tz3", "tz4"];
const russignolConnections = 4;

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const sized = (bytes: Buffer): Buffer => Buffer.concat([u32(bytes.length), bytes]);
function frame(payload: Buffer, length = payload.length): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(length);
  return Buffer.concat([head, payload]);
}
const rawOf = (text: string): Buffer => Buffer.from(decodeBase58(text)?.payload ?? []);
const hashBytes = (address: string): Buffer =>
  Buffer.concat([Buffer.of(curves.indexOf(address.slice(0, 3))), rawOf(address)]);

/** A document of texts. */
function bson(texts: Record<string, string>): Buffer {
  const elements = Object.entries(texts).map(([name, value]) => {
    const size = Buffer.alloc(4);
    size.writeInt32LE(Buffer.byteLength(value) + 1);
    return Buffer.concat([Buffer.from(`\u0002${name}\0`), size, Buffer.from(`${value}\0`)]);
  });
  const body = Buffer.concat([...elements, Buffer.of(0)]);
  const size = Buffer.alloc(4);
  size.writeInt32LE(body.length + 4);
  return Buffer.concat([size, body]);
}

export class TcpSigner {
  fault: FrameFault | undefined;
  /** Nothing is answered before. */
  held: Promise<void> | undefined;
  /** Requests as they arrived, by their tags, newest last. */
  readonly asked: number[] = [];
  /** The most requests that waited for an answer at once. */
  mostAtOnce = 0;
  private waiting = 0;
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();

  constructor(
    private readonly signer: OctezSigner,
    private readonly options: OctezSignerOptions & { device?: "octez-signer" | "russignol" },
  ) {}

  async start(host: string, port = 0): Promise<number> {
    const server = createServer((socket) => this.serve(socket));
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    return (server.address() as AddressInfo).port;
  }
  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => (this.server ? this.server.close(() => resolve()) : resolve()));
  }

  private get isRussignol(): boolean {
    return this.options.device === "russignol";
  }

  private serve(socket: Socket): void {
    if (this.isRussignol && this.sockets.size >= russignolConnections) return void socket.destroy();
    this.sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("close", () => this.sockets.delete(socket));
    socket.on("error", () => undefined);
    let received = Buffer.alloc(0);
    let busy = Promise.resolve();
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE()) {
        const size = received.readUInt16BE();
        const payload = received.subarray(2, 2 + size);
        received = received.subarray(2 + size);
        // Bytes that cannot be read end the connection without a word, as with both programs.
        busy = busy.then(() => this.count(() => this.handle(socket, payload))).catch(() => void socket.destroy());
      }
    });
  }

  private async count(handle: () => Promise<void>): Promise<void> {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.waiting);
    await handle().finally(() => this.waiting--);
  }

  private async handle(socket: Socket, payload: Buffer): Promise<void> {
    const [tag = -1] = payload;
    const rest = payload.subarray(1);
    this.asked.push(tag);
    await this.held;
    if (this.signer.faults.hang === "all") return;
    const ok = (value: Buffer) => void socket.write(frame(Buffer.concat([Buffer.of(0), value])));
    if (tag === 0) return this.sign(socket, rest);
    if (tag === 2) {
      if (rest.length > 0) throw new Error("bytes too many");
      return ok(this.authorized());
    }
    if (tag === 1) {
      const key = this.keyOf(rest);
      if (key) return ok(Buffer.concat([Buffer.of(curves.indexOf(key.address.slice(0, 3))), rawOf(key.publicKey)]));
      // octez-signer: an exception that nobody catches.
      if (!this.isRussignol) throw new Error("Not_found");
      return this.refuse(socket, `Key not found: ${this.addressOf(rest)}`);
    }
    if (tag === 7) {
      const key = this.keyOf(rest.subarray(0, 21));
      if (rest.length !== 22 || rest[21] !== 0 || !key?.address.startsWith("tz4")) throw new Error("no such key");
      return ok(rawOf(provesPossession(key)));
    }
    throw new Error(`unexpected tag ${tag}`);
  }

  private authorized(): Buffer {
    const { requireAuthentication, authorizedKeys = [] } = this.options;
    if (!requireAuthentication) return Buffer.of(0);
    const hashes = authorizedKeys.map((key) => hashBytes(publicKeyHash(key) ?? ""));
    return Buffer.concat([Buffer.of(1), sized(Buffer.concat(hashes))]);
  }

  /** @throws Error where the bytes are no key hash that this program reads */
  private addressOf(bytes: Buffer): string {
    const curve = curves[bytes[0] ?? -1];
    if (bytes.length !== 21 || curve === undefined || (this.isRussignol && curve !== "tz4"))
      throw new Error("no public key hash");
    return encodeBase58(curve as "tz1", bytes.subarray(1));
  }
  private keyOf(bytes: Buffer): SigningKey | undefined {
    const address = this.addressOf(bytes);
    return this.options.keys.find((key) => key.address === address);
  }

  private refuse(socket: Socket, message: string): void {
    const error: Record<string, string> = this.isRussignol
      ? { kind: "generic", error: message }
      : { kind: "temporary", id: "failure", msg: message };
    socket.write(frame(Buffer.concat([Buffer.of(1), sized(sized(bson(error)))])));
  }

  private async sign(socket: Socket, rest: Buffer): Promise<void> {
    // A BLS key has its own tag twice, and a version behind it.
    const bls = rest[0] === 3;
    const hash = bls ? rest.subarray(1, 22) : rest.subarray(0, 21);
    const version = bls ? (rest[22] ?? -1) : 0;
    if (bls && (version < 0 || version > 3 || hash[0] !== 3)) throw new Error("no version of a signature");
    const address = this.addressOf(hash);
    const after = rest.subarray(bls ? 23 : 21);
    const size = after.readUInt32BE();
    const bytes = after.subarray(4, 4 + size);
    const authentication = after.subarray(4 + size);
    if (bytes.length !== size || ![0, 64, 96].includes(authentication.length)) throw new Error("no request to sign");
    const key = this.options.keys.find((one) => one.address === address);
    if (!key)
      return this.refuse(
        socket,
        this.isRussignol ? `Key not found: ${address}` : `no keys for the source contract ${address}`,
      );
    const kind = authentication.length === 96 ? "BLsig" : "sig";
    const shown = authentication.length === 0 ? null : encodeBase58(kind, authentication);
    await this.signer.sign(key, Uint8Array.from(bytes), shown, (status, body) => {
      if (status === 0) return void socket.destroy();
      if (status !== 200) return this.refuse(socket, messageOf(body));
      this.answer(socket, rawOf((body as { signature: string }).signature));
    });
  }

  private answer(socket: Socket, signature: Buffer): void {
    const good = Buffer.concat([Buffer.of(0), signature]);
    const bad: Record<FrameFault, () => void> = {
      short: () => socket.write(frame(good.subarray(0, -1))),
      long: () => socket.write(Buffer.concat([frame(good), Buffer.of(0)])),
      oversized: () => socket.write(frame(good, 0xffff)),
      "unknown-tag": () => socket.write(frame(Buffer.concat([Buffer.of(7), signature]))),
      cut: () => socket.write(frame(good).subarray(0, 20), () => socket.destroy()),
      "broken-error": () => socket.write(frame(Buffer.concat([Buffer.of(1), u32(400), Buffer.alloc(8)]))),
      empty: () => socket.write(frame(Buffer.alloc(0))),
    };
    if (this.fault) bad[this.fault]();
    else socket.write(frame(good));
  }
}

const messageOf = (body: unknown): string => {
  const [first] = Array.isArray(body) ? (body as { msg?: string }[]) : [];
  return first?.msg ?? String(body);
};
