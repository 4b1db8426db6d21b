/**
 * A certificate authority for laboratories and tests: ECDSA P-256, made with Node's own crypto (no openssl program).
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
} from "node:crypto";
import { isIPv4 } from "node:net";

export interface KeyAndCertificate {
  /** PEM, PKCS#8. */
  key: string;
  /** PEM, X.509. */
  certificate: string;
}

const der = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const n = content.length;
  const length = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};
const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));
const text = (tag: number, value: string): Buffer => der(tag, Buffer.from(value, "latin1"));
const octets = (content: Uint8Array): Buffer => der(0x04, content);
const extension = (hex: string, critical: boolean, value: Uint8Array): Buffer =>
  sequence(oid(hex), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), octets(value));
const name = (common: string): Buffer => sequence(der(0x31, sequence(oid("550403"), text(0x0c, common))));
const time = (at: Date): Buffer => text(0x18, at.toISOString().replace(/[-:T]|\.\d+/g, ""));
const ecdsaWithSha256 = sequence(oid("2a8648ce3d040302"));
const keyUsage = (bits: number, unused: number): Buffer =>
  extension("551d0f", true, der(0x03, Buffer.from([unused, bits])));

function certify(
  subject: string,
  publicKey: KeyObject,
  issuer: string,
  issuerKey: KeyObject,
  extensions: Buffer[],
): string {
  const serial = randomBytes(15);
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), serial])),
    ecdsaWithSha256,
    name(issuer),
    sequence(time(new Date("2020-01-01T00:00:00Z")), time(new Date("2120-01-01T00:00:00Z"))),
    name(subject),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign("sha256", body, issuerKey);
  const whole = sequence(body, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

const newKey = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
const pem = (key: KeyObject): string => key.export({ type: "pkcs8", format: "pem" }) as string;
const keyIdentifier = (key: KeyObject): Buffer =>
  createHash("sha1")
    .update(key.export({ type: "spki", format: "der" }))
    .digest();

const authorityName = "tezos-on-gke laboratory";

export function createAuthority(): KeyAndCertificate {
  const { privateKey, publicKey } = newKey();
  const certificate = certify(authorityName, publicKey, authorityName, privateKey, [
    extension("551d13", true, sequence(der(0x01, Buffer.from([0xff])))),
    keyUsage(0x06, 1),
    extension("551d0e", false, octets(keyIdentifier(publicKey))),
  ]);
  return { key: pem(privateKey), certificate };
}

/** A server certificate for IPv4 addresses and DNS names. */
export function createServerCertificate(authority: KeyAndCertificate, hosts: readonly string[]): KeyAndCertificate {
  const authorityKey = createPrivateKey(authority.key);
  const { privateKey, publicKey } = newKey();
  const names = hosts.map((host) =>
    isIPv4(host) ? der(0x87, Buffer.from(host.split(".").map(Number))) : text(0x82, host),
  );
  const certificate = certify("kube-apiserver", publicKey, authorityName, authorityKey, [
    extension("551d13", true, sequence()),
    keyUsage(0x80, 7),
    extension("551d25", false, sequence(oid("2b06010505070301"))),
    extension("551d11", false, sequence(...names)),
    extension("551d23", false, sequence(der(0x80, keyIdentifier(createPublicKey(authorityKey))))),
  ]);
  return { key: pem(privateKey), certificate };
}
