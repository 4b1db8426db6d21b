/** TEMPORARY */
import { ed25519 } from "@noble/curves/ed25519";
import { sha256 } from "@noble/hashes/sha2";
import { blake2b } from "@noble/hashes/blake2";
import { createBase58check } from "@scure/base";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { answer, octezSignals, openTrace, serve, hash32f } from "./common-sig";

const b58 = createBase58check(sha256);
export async function main(argv: readonly string[]): Promise<void> {
  const dir = argv[argv.indexOf("--base-dir") + 1] ?? "";
  if (argv.includes("import")) {
    const at = argv.indexOf("key");
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, "k-" + argv[at + 1]), String(argv[at + 2]).replace("unencrypted:", ""));
    return;
  }
  const trace = openTrace("octez-signer");
  const address = argv[argv.indexOf("--address") + 1] ?? "";
  const port = argv[argv.indexOf("--port") + 1] ?? "";
  const keyOf = (pkh: string) => b58.decode(readFileSync(join(dir, "k-" + pkh), "utf8").trim()).slice(4, 36);
  const close = await serve(`${address}:${port}`, (request, response, url, body) => {
    if (url.pathname === "/authorized_keys") return answer(response, {});
    const pkh = /^\/keys\/(\w+)$/.exec(url.pathname)?.[1] ?? "";
    const seed = keyOf(pkh);
    if (request.method === "GET")
      return answer(response, { public_key: b58.encode(Uint8Array.from([13, 15, 37, 217, ...ed25519.getPublicKey(seed)])) });
    const hex = JSON.parse(body) as string;
    const sig = ed25519.sign(hash32f(Buffer.from(hex, "hex")), seed);
    trace("signature", { hex });
    void appendFileSync;
    void blake2b;
    answer(response, { signature: b58.encode(Uint8Array.from([9, 245, 205, 134, 18, ...sig])) });
  });
  octezSignals(() => close());
}
