/** The signer as octez-baker asks it: its own high watermark first, one signature at a time for each key. */
import { join } from "node:path";
import { ed25519 } from "@noble/curves/ed25519";
import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";
import { decodeAddress } from "../../tezos/addresses";
import { hash32 } from "../chain/encode";
import type { ClientFolder } from "./client-folder";
import { readJson, sleep, writeJson, type Trace } from "./common";
import { call } from "./node-client";

const base58check = createBase58check(sha256);

export type Kind = "blocks" | "preattestations" | "attestations";
type Highwatermarks = Record<Kind, { delegate: string; highwatermark: { round: number; level: number } }[]>;
export interface Key {
  address: string;
  alias: string;
  tz4: boolean;
  /** Octez signs one after the other for each key. */
  queue: Promise<unknown>;
}

export class SignerClient {
  constructor(
    private readonly options: { signer: string | undefined; callTimeoutMs: number },
    private readonly folder: ClientFolder,
    private readonly trace: Trace,
  ) {}

  /** Marks first, then asks the signer. Undefined where it must not or could not. */
  sign(key: Key, kind: Kind, level: number, round: number, bytes: Buffer): Promise<Buffer | undefined> {
    const result = key.queue.then(async () => {
      const path = this.folder.file("highwatermarks");
      const fresh = await this.folder.lock(() => {
        const marks = readJson<Highwatermarks>(path, { blocks: [], preattestations: [], attestations: [] });
        const mark = marks[kind].find((entry) => entry.delegate === key.address)?.highwatermark;
        if (mark && (level < mark.level || (level === mark.level && round <= mark.round))) return false;
        marks[kind] = [
          ...marks[kind].filter((entry) => entry.delegate !== key.address),
          { delegate: key.address, highwatermark: { round, level } },
        ];
        writeJson(path, marks);
        return true;
      });
      if (!fresh) {
        this.trace("below-highwatermark", { kind, level, round });
        return undefined;
      }
      return this.askSigner(key, kind, level, round, bytes);
    });
    key.queue = result.catch(() => undefined);
    return result;
  }

  private async askSigner(
    key: Key,
    kind: Kind,
    level: number,
    round: number,
    bytes: Buffer,
  ): Promise<Buffer | undefined> {
    const { signer = "" } = this.options;
    const { callTimeoutMs } = this.options;
    for (let attempt = 0; ; attempt++) {
      const started = performance.now();
      let status = 0;
      let text = "";
      try {
        const authorized = await call(`${signer}/authorized_keys`, undefined, callTimeoutMs);
        const wanted = (JSON.parse(authorized.text) as { authorized_keys?: string[] }).authorized_keys;
        const query = wanted ? `?authentication=${this.authenticate(key.address, bytes, wanted)}` : "";
        ({ status, text } = await call(
          `${signer}/keys/${key.address}${query}`,
          JSON.stringify(bytes.toString("hex")),
          callTimeoutMs,
        ));
      } catch (error) {
        text = String(error);
      }
      if (status === 200) {
        const { signature } = JSON.parse(text) as { signature: string };
        this.trace("signed", { kind, level, round, ms: Math.round(performance.now() - started) });
        return decodeSignature(signature);
      }
      this.trace("refused", { kind, level, round, status, reason: text.slice(0, 200) });
      // Octez repeats a request on 502 only.
      if (status !== 502 || attempt >= 4) return undefined;
      await sleep(500);
    }
  }

  private authenticate(address: string, bytes: Buffer, wanted: string[]): string {
    const secrets = readJson<{ name: string; value: string }[]>(join(this.folder.dir, "secret_keys"), []);
    const hashes = readJson<{ name: string; value: string }[]>(join(this.folder.dir, "public_key_hashs"), []);
    const name = hashes.find((entry) => wanted.includes(entry.value))?.name;
    const secret = secrets.find((entry) => entry.name === name)?.value.replace(/^unencrypted:/, "");
    const decoded = decodeAddress(address);
    if (secret === undefined || !decoded) throw new Error("no authorized key is in the client's folder");
    const curve = { tz1: 0, tz2: 1, tz3: 2, tz4: 3 }[decoded.curve];
    const data = Buffer.concat([Buffer.from([4, 1, curve]), decoded.hash, bytes]);
    const seed = base58check.decode(secret).slice(4, 36);
    return base58check.encode(Uint8Array.from([9, 245, 205, 134, 18, ...ed25519.sign(hash32(data), seed)]));
  }
}

function decodeSignature(text: string): Buffer {
  const bytes = base58check.decode(text);
  const prefix = text.startsWith("BLsig") ? 4 : text.startsWith("sig") ? 3 : text.startsWith("p2sig") ? 4 : 5;
  return Buffer.from(bytes.slice(prefix));
}
