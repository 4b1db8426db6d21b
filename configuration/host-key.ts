/** The host key of the signer link, looked at before it is deployed: sshd would refuse another form only in the pod. */
import type { ConfigurationIssue } from "./errors";

const [begin, end] = ["-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"];
const magic = "openssh-key-v1\0";

/** Reads length-prefixed fields. @throws RangeError where the bytes end too early */
class Fields {
  private at = 0;
  constructor(private readonly bytes: Buffer) {}

  bytesOf(length: number): Buffer {
    if (this.at + length > this.bytes.length) throw new RangeError("the key is cut off");
    return this.bytes.subarray(this.at, (this.at += length));
  }
  number(): number {
    return this.bytesOf(4).readUInt32BE();
  }
  field(): Buffer {
    return this.bytesOf(this.number());
  }
}

/** The public half, which stands in clear before the private one, as OpenSSH writes it; or what is wrong. */
function publicHalf(text: string): { publicKey: string } | { found: string } {
  const [, base64] = new RegExp(`^\\s*${begin}\\s([A-Za-z0-9+/=\\s]+)${end}\\s*$`).exec(text) ?? [];
  if (base64 === undefined) {
    if (/-----BEGIN [A-Z ]+-----/.test(text) && !text.includes(begin))
      return { found: "a key in another form than OpenSSH's (not shown)" };
    if (text.includes(begin))
      return { found: "an OpenSSH private key that is cut off or has other text in it (not shown)" };
    const path = /^[\w.~-]*\/[\w./~-]+$/.test(text.trim());
    return { found: path ? "a path (not shown)" : "a text that is no private key (not shown)" };
  }
  try {
    const fields = new Fields(Buffer.from(base64, "base64"));
    if (fields.bytesOf(magic.length).toString("latin1") !== magic) throw new RangeError("no key of OpenSSH");
    if (fields.field().toString() !== "none")
      return {
        found: "an encrypted key (not shown), for which somebody would have to type the password at each start",
      };
    fields.field();
    fields.field();
    if (fields.number() !== 1) throw new RangeError("several keys");
    const blob = fields.field();
    const type = new Fields(blob).field().toString();
    if (type !== "ssh-ed25519") return { found: "an OpenSSH private key of another type than Ed25519 (not shown)" };
    // What follows is the private half.
    fields.field();
    return { publicKey: `${type} ${blob.toString("base64")}` };
  } catch {
    return { found: "an OpenSSH private key that is cut off or has other text in it (not shown)" };
  }
}

/**
 * What is wrong with the host key and its configured public half. Told without the key's text.
 * @param text `secrets.signer_link_host_key`; undefined where it was not given
 * @param hostPublicKey `signer_link.host_public_key` as written
 */
export function hostKeyIssues(text: string | undefined, hostPublicKey: unknown): ConfigurationIssue[] {
  // An expression has its own error.
  if (text === undefined || /[$%]\{/.test(text)) return [];
  const half = publicHalf(text);
  if ("found" in half)
    return [
      {
        path: ["secrets", "signer_link_host_key"],
        found: half.found,
        write: `the text of the key's file itself, from ${begin} to ${end}, as docs/configuration.md shows it. ssh-keygen -t ed25519 -N '' -C signer-link -f .secrets/signer-link makes one`,
      },
    ];
  if (typeof hostPublicKey !== "string") return [];
  const configured = hostPublicKey.split(" ").slice(0, 2).join(" ");
  if (configured === half.publicKey || !configured.startsWith("ssh-ed25519 ")) return [];
  return [
    {
      path: ["signer_link", "host_public_key"],
      found: `"${configured}", which is not the public half of secrets.signer_link_host_key`,
      write: `"${half.publicKey} signer-link"; or give the private key that belongs to the one that is written, if signer hosts trust that already`,
    },
  ];
}
