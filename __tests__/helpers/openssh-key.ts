/** Keys as ssh-keygen writes them, made anew by each test. */
import { generateKeyPairSync } from "node:crypto";

const field = (bytes: Buffer | string): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.from(bytes).length);
  return Buffer.concat([length, Buffer.from(bytes)]);
};

/** An OpenSSH private key and its public half. Of another type or cipher only its outside is real. */
export function opensshKey({ type = "ssh-ed25519", cipher = "none" } = {}): { privateKey: string; publicKey: string } {
  const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const [half, seed] = [Buffer.from(x, "base64url"), Buffer.from(d, "base64url")];
  const blob = Buffer.concat([field(type), field(half)]);
  const secret = [field(Buffer.concat([seed, half])), field("signer-link")];
  const inner = Buffer.concat([Buffer.alloc(8), field(type), field(half), ...secret]);
  const padding = Buffer.from(Array.from({ length: (8 - (inner.length % 8)) % 8 }, (_, i) => i + 1));
  const whole = Buffer.concat([
    ...[Buffer.from("openssh-key-v1\0"), field(cipher), field("none"), field(""), Buffer.from([0, 0, 0, 1])],
    ...[field(blob), field(Buffer.concat([inner, padding]))],
  ]);
  const lines = whole.toString("base64").replace(/.{70}/g, "$&\n");
  return {
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`,
    publicKey: `${type} ${blob.toString("base64")} signer-link`,
  };
}
