/** How octez-baker asks its remote signer for a signature, as it was recorded of version 25.1. */
import { join } from "node:path";
import { ed25519 } from "@noble/curves/ed25519";
import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";
import { decodeAddress } from "../../tezos/addresses";
import { hash32 } from "../chain/encode";
import { readJson, sleep } from "./common";
import { call } from "./node-client";
import { log } from "./octez-output";

const base58check = createBase58check(sha256);
/** Where Octez breaks a log line. */
const lineWidth = 76;
/** What octez-signer says in the error that octez-baker understands. */
function errorMessage(text: string): string | undefined {
  const [, msg] = /^\[\{"kind":"temporary","id":"failure","msg":("(?:[^"\\]|\\.)*")\}\]\s*$/.exec(text) ?? [];
  return msg === undefined ? undefined : (JSON.parse(msg) as string);
}
type Named = { name: string; value: string }[];

export interface SignerFailure {
  status: number;
  text: string;
  /** As octez-baker's log tells it. */
  lines: string[];
}

export class RemoteSigner {
  constructor(private readonly options: { signer: string | undefined; clientDir: string; callTimeoutMs: number }) {}

  /**
   * The signature in base58, or why there is none. Octez repeats a request on 502 only.
   * @param onFailure of each request
   */
  async sign(
    address: string,
    bytes: Buffer,
    onFailure: (failure: SignerFailure) => void,
  ): Promise<string | SignerFailure> {
    for (let attempt = 0; ; attempt++) {
      const answer = await this.ask(address, bytes);
      if (typeof answer === "string") return answer;
      const [first = "", ...rest] = answer.lines;
      const head = "Signature call failed with";
      if (rest.length === 0 && `${head} ${first}`.length <= lineWidth) log("ERROR", `${head} ${first}`);
      else log("ERROR", head, ...answer.lines.map((line) => `  ${line}`));
      onFailure(answer);
      if (answer.status !== 502 || attempt >= 4) return answer;
      await sleep(500);
    }
  }

  private async ask(address: string, bytes: Buffer): Promise<string | SignerFailure> {
    const { signer = "", callTimeoutMs } = this.options;
    let url = `${signer}/authorized_keys`;
    let reason: string;
    let status = 0;
    let text = "";
    try {
      const { authorized_keys: wanted } = JSON.parse((await call(url, undefined, callTimeoutMs)).text) as {
        authorized_keys?: string[];
      };
      const authentication = wanted ? `authentication=${this.authenticate(address, bytes, wanted)}&` : "";
      url = `${signer}/keys/${address}?${authentication}version=3`;
      ({ status, text } = await call(url, JSON.stringify(bytes.toString("hex")), callTimeoutMs));
      if (status === 200) return (JSON.parse(text) as { signature: string }).signature;
      reason = `Unexpected error ${status}:`;
    } catch (error) {
      text = String(error);
      reason = "Unable to connect to the node:";
    }
    const words = JSON.stringify(text.trim());
    const known = status === 500 ? errorMessage(text) : undefined;
    if (known !== undefined) return { status, text, lines: [known] };
    const lines = ["Rpc request failed:", "   - meth: POST", `   - uri: ${url}`, `   - error: ${reason}`];
    return { status, text, lines: [...lines, `              ${words}`] };
  }

  private authenticate(address: string, bytes: Buffer, wanted: string[]): string {
    const secrets = readJson<Named>(join(this.options.clientDir, "secret_keys"), []);
    const hashes = readJson<Named>(join(this.options.clientDir, "public_key_hashs"), []);
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

/** The bytes of a signature in base58. */
export function decodeSignature(text: string): Buffer {
  const bytes = base58check.decode(text);
  const prefix = text.startsWith("BLsig") ? 4 : text.startsWith("sig") ? 3 : text.startsWith("p2sig") ? 4 : 5;
  return Buffer.from(bytes.slice(prefix));
}
