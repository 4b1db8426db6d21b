/** Private keys in OpenSSH's own form, for what is tried with keys of nobody. */
const field = (bytes: Buffer | string): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(bytes));
  return Buffer.concat([length, Buffer.from(bytes)]);
};
/** Each with its length before it. */
export const fields = (...parts: readonly (Buffer | string)[]): Buffer => Buffer.concat(parts.map(field));

/** @param blob the public half, as it stands in `.pub` @param secret what follows it @param cipher of `secret` */
export function opensshText(blob: Buffer, secret: Buffer | string, cipher = "none"): string {
  const head = [Buffer.from("openssh-key-v1\0"), fields(cipher, "none", ""), Buffer.from([0, 0, 0, 1])];
  const lines = Buffer.concat([...head, fields(blob, secret)])
    .toString("base64")
    .replace(/.{70}/g, "$&\n");
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`;
}
