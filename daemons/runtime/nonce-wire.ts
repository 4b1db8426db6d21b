/**
 * The nonce exchange between members, on one port with the exposer's plain HTTP: a connection whose first byte is a TLS
 * handshake (0x16) is the exchange. TLS 1.2 with a pre-shared key and an ephemeral exchange (ECDHE-PSK): both sides
 * prove that they know the secret of the baker without sending it, and confidentiality, integrity and protection
 * against replay are TLS's own. Inside: JSON lines in both directions.
 */
import { hkdfSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import * as z from "zod/mini";
import { secretFiles } from "../../contract/env";

export const pskOptions = {
  ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
  ecdhCurve: "X25519",
} as const;

/** Lines and files beyond this are refused. 10,000 nonces are 3 MB. */
export const maxContentBytes = 16 << 20;

/**
 * The key of the exchange; read anew for each connection, so that a rotated secret needs no restart. @throws Error
 * without quoting the secret
 */
export function exchangeKey(secretsDir: string, baker: string): Buffer {
  const path = join(secretsDir, secretFiles.nonceSecret);
  const text = readFileSync(path, "utf8").trim();
  if (!/^[0-9a-f]{64,}$/i.test(text))
    throw new Error(`${path}: must hold at least 32 random bytes in hex, got ${text.length} characters`);
  return Buffer.from(hkdfSync("sha256", Buffer.from(text, "hex"), "", `tezos-on-gke nonces ${baker}`, 32));
}

/** Importer to exposer. */
export const clientMessageSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("hello"), pod: z.string(), identity: z.string(), chain: z.string() }),
  z.object({ type: z.literal("ack"), hash: z.string() }),
  z.object({ type: z.literal("beat") }),
]);
export type ClientMessage = z.infer<typeof clientMessageSchema>;

/** Exposer to importer. Entries are checked by tezos/nonces. */
export const serverMessageSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("content"),
    pod: z.string(),
    chain: z.string(),
    /** contentHash(); the importer gives it back once the content is durable on its disk. */
    hash: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
    file: z.nullable(z.string()),
    stateful: z.unknown(),
    legacy: z.unknown(),
  }),
  z.object({ type: z.literal("unavailable"), reason: z.string() }),
  z.object({ type: z.literal("beat") }),
]);
export type ServerMessage = z.infer<typeof serverMessageSchema>;

export const line = (message: ClientMessage | ServerMessage): string => JSON.stringify(message) + "\n";

/** Calls `onLine` for each line; `onTooLong` once, after which nothing more is delivered. */
export function readLines(
  stream: Readable,
  limit: number,
  onLine: (text: string) => void,
  onTooLong: () => void,
): void {
  let parts: Buffer[] = [];
  let size = 0;
  let dead = false;
  stream.on("data", (chunk: Buffer) => {
    let from = 0;
    while (!dead) {
      const end = chunk.indexOf(10, from);
      const piece = chunk.subarray(from, end === -1 ? undefined : end);
      size += piece.length;
      if (size > limit) {
        dead = true;
        parts = [];
        onTooLong();
        return;
      }
      parts.push(piece);
      if (end === -1) return;
      const text = Buffer.concat(parts).toString("utf8");
      parts = [];
      size = 0;
      from = end + 1;
      onLine(text);
    }
  });
}

/** How often each side says something, and after which silence the other one ends the connection. */
export const beatMs = (nonceAckSeconds: number): number => Math.max(100, nonceAckSeconds * 500);
export const silenceMs = (nonceAckSeconds: number): number => Math.max(2000, nonceAckSeconds * 2500);
