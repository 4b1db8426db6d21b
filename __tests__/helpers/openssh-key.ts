/** Keys as ssh-keygen writes them, made anew by each test. */
import { generateKeyPairSync } from "node:crypto";
import { fields, opensshText } from "../../tools/openssh-key";

/** An OpenSSH private key and its public half. Of another type or cipher only its outside is real. */
export function opensshKey({ type = "ssh-ed25519", cipher = "none" } = {}): { privateKey: string; publicKey: string } {
  const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const [half, seed] = [Buffer.from(x, "base64url"), Buffer.from(d, "base64url")];
  const blob = fields(type, half);
  const inner = Buffer.concat([Buffer.alloc(8), blob, fields(Buffer.concat([seed, half]), "signer-link")]);
  const padding = Buffer.from(Array.from({ length: (8 - (inner.length % 8)) % 8 }, (_, i) => i + 1));
  const privateKey = opensshText(blob, Buffer.concat([inner, padding]), cipher);
  return { privateKey, publicKey: `${type} ${blob.toString("base64")} signer-link` };
}
