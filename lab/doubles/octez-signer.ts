/**
 * Double of `octez-signer`: the command line and the HTTP protocol, strictly, with real keys and real signatures of all four curves, and with
 * the ways in which signers fail. As the real one it answers an error of its own with HTTP 500 and a list of errors. Its high watermarks live in memory.
 */
import { bls12_381 } from "@noble/curves/bls12-381";
import { ed25519 } from "@noble/curves/ed25519";
import { p256 } from "@noble/curves/nist";
import { secp256k1 } from "@noble/curves/secp256k1";
import { blake2b } from "@noble/hashes/blake2b";
import { randomBytes } from "node:crypto";
import { appendFileSync, mkdirSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { readBody, sendJson, serveHttp, type HttpServer } from "../../daemons/runtime/http-server";
import { decodeBase58, encodeBase58, expectBase58 } from "../../tezos/base58";
import { blsSignatureDst, publicKeyHash, verifySignature, type Curve } from "../../tezos/keys";
import { blsScalar, publicKeyOf } from "../../tezos/secret-keys";
import { parseSigningRequest } from "../../tezos/signing-request";
import type { SignerEntry } from "../checker/checker";
import { fail, octezSignals, openTrace, parseArguments, readJson, writeJson } from "./common";

export interface SigningKey {
  address: string;
  publicKey: string;
  /** edsk..., spsk..., p2sk... or BLsk... */
  secret: string;
}

const secretKinds = { tz1: "edsk", tz2: "spsk", tz3: "p2sk", tz4: "BLsk" } as const;
const signatureKinds = { tz1: "edsig", tz2: "spsig1", tz3: "p2sig", tz4: "BLsig" } as const;

/** The key of a secret. @throws Error for any other text */
export function keyOf(secret: string): SigningKey {
  const publicKey = publicKeyOf(secret);
  if (publicKey === undefined) throw new Error("a secret key is edsk, spsk, p2sk or BLsk with a valid checksum");
  const decoded = decodeBase58(secret);
  const seed = decoded?.kind === "edskFull" ? encodeBase58("edsk", decoded.payload.slice(0, 32)) : secret;
  return { address: publicKeyHash(publicKey) ?? "", publicKey, secret: seed };
}
/** A key that depends on `seed` alone: for tests and the laboratory, never for money. */
export function testKey(curve: Curve, seed: string): SigningKey {
  const bytes = blake2b(`test key ${curve} ${seed}`, { dkLen: 32 });
  // Below the order of every curve, in both byte orders.
  bytes[0] = 1;
  bytes[31] = 1;
  return keyOf(encodeBase58(secretKinds[curve], bytes));
}

/** A signature over `bytes`, watermark byte included. `random`: ECDSA with added entropy, another one each time. */
export function signBytes(key: SigningKey, bytes: Uint8Array, random = false): string {
  const curve = key.address.slice(0, 3) as Curve;
  const secret = expectBase58(secretKinds[curve], key.secret);
  const digest = blake2b(bytes, { dkLen: 32 });
  const extraEntropy = random ? Uint8Array.from(randomBytes(32)) : undefined;
  const raw = ((): Uint8Array => {
    switch (curve) {
      case "tz1":
        return ed25519.sign(digest, secret);
      case "tz2":
        return secp256k1.sign(digest, secret, { extraEntropy }).toBytes("compact");
      case "tz3":
        return p256.sign(digest, secret, { extraEntropy }).toBytes("compact");
      case "tz4": {
        const bls = bls12_381.longSignatures;
        return bls.sign(bls.hash(bytes, blsSignatureDst), blsScalar(secret)).toBytes();
      }
    }
  })();
  return encodeBase58(signatureKinds[curve], raw);
}
const provesPossession = (key: SigningKey): string => {
  const bls = bls12_381.longSignatures;
  const point = bls.hash(expectBase58("BLpk", key.publicKey), "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_");
  return encodeBase58("BLsig", bls.sign(point, blsScalar(expectBase58("BLsk", key.secret))).toBytes());
};

/** What is wrong with the signer, from the next request on. Counted ones end by themselves. */
export interface SignerFaults {
  /** Accepts and never answers: signatures only, or everything. */
  hang?: "sign" | "all";
  /** Answers signatures with something else. */
  garbage?: "text" | "json" | "signature";
  /** Signs with this key whatever was asked for, and shows its public key. */
  otherKey?: SigningKey;
  /** A fresh ECDSA nonce each time. */
  randomEcdsa?: boolean;
  delayMs?: number;
  /** So many signatures are made, but the connection breaks instead of an answer. */
  loseAnswers?: number;
  /** Refuses signatures with this HTTP status. */
  refuse?: number;
}
export interface OctezSignerOptions {
  keys: readonly SigningKey[];
  requireAuthentication?: boolean;
  /** Public keys that may ask, with requireAuthentication. */
  authorizedKeys?: readonly string[];
  /** Watermark bytes that may be signed; default all. */
  magicBytes?: readonly number[];
  checkHighWatermark?: boolean;
  allowListKnownKeys?: boolean;
  allowToProvePossession?: boolean;
  /** Path before every route, for instance "/prefix". */
  prefix?: string;
  name?: string;
  faults?: SignerFaults;
  /** Every signature request that arrived, when it is decided. */
  onRequest?: (entry: SignerEntry) => void;
  /** Clock of the entries. */
  now?: () => number;
}

const errors = (id: string, message: string) => [{ kind: "permanent", id, error: message }];

export class OctezSigner {
  faults: SignerFaults;
  /** Queries as they arrived, newest last. */
  readonly queries: string[] = [];
  connections = 0;
  private readonly marks = new Map<string, { level: number; round: number; bytes: string; signature: string }>();
  private readonly seen = new WeakSet<Socket>();
  private server: HttpServer | undefined;

  constructor(private readonly options: OctezSignerOptions) {
    this.faults = options.faults ?? {};
  }

  /** Port 0: any free one, which is returned. */
  async start(host: string, port = 0): Promise<number> {
    const prefix = this.options.prefix ?? "";
    const never = () => new Promise<void>(() => undefined);
    const routes: Parameters<typeof serveHttp>[0]["routes"] = {
      [`${prefix}/authorized_keys`]: async (_request, response) => {
        if (this.faults.hang === "all") return never();
        const authorized = (this.options.authorizedKeys ?? []).map((key) => publicKeyHash(key) ?? "");
        sendJson(response, 200, this.options.requireAuthentication ? { authorized_keys: authorized } : {});
      },
      [`${prefix}/known_keys`]: (_request, response) => {
        if (!this.options.allowListKnownKeys)
          return sendJson(response, 404, errors("signer.list_keys_not_allowed", "listing keys is not allowed"));
        sendJson(response, 200, { known_keys: this.options.keys.map((key) => key.address) });
      },
      [`${prefix}/bls_prove_possession/`]: (_request, response, url) => {
        const key = this.key(url.pathname.slice(`${prefix}/bls_prove_possession/`.length));
        if (!key?.address.startsWith("tz4") || !this.options.allowToProvePossession)
          return sendJson(response, 404, errors("signer.not_allowed", "no proof"));
        this.queries.push(url.search);
        sendJson(response, 200, { bls_prove_possession: provesPossession(key) });
      },
      [`${prefix}/keys/`]: async (request, response, url) => {
        if (!this.seen.has(request.socket)) {
          this.seen.add(request.socket);
          this.connections++;
        }
        const key = this.key(url.pathname.slice(`${prefix}/keys/`.length));
        if (this.faults.hang === "all") return never();
        if (!key) return sendJson(response, 404, errors("signer.not_found", "no such key"));
        if (request.method === "GET")
          return sendJson(response, 200, { public_key: (this.faults.otherKey ?? key).publicKey });
        let hex: unknown;
        try {
          hex = JSON.parse((await readBody(request, 65_536)).toString("utf8"));
        } catch {
          return sendJson(response, 400, errors("rpc.bad_body", "no JSON"));
        }
        if (typeof hex !== "string" || hex.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(hex))
          return sendJson(response, 400, errors("rpc.bad_body", "no hex"));
        this.queries.push(url.search);
        await this.sign(
          key,
          Uint8Array.from(Buffer.from(hex, "hex")),
          url.searchParams.get("authentication"),
          (status, body) => {
            if (status === 0) response.socket?.destroy();
            else if (typeof body === "string") response.writeHead(status, { "content-type": "text/plain" }).end(body);
            else sendJson(response, status, body);
          },
        );
      },
    };
    this.server = await serveHttp({ host, port, routes });
    return this.server.port;
  }
  async close(): Promise<void> {
    await this.server?.close();
  }

  private key(address: string): SigningKey | undefined {
    return this.options.keys.find((key) => key.address === address);
  }

  private async sign(
    asked: SigningKey,
    bytes: Uint8Array,
    authentication: string | null,
    answer: (status: number, body: unknown) => void,
  ): Promise<void> {
    const { faults, options } = this;
    const entry = (signature: string | null) =>
      options.onRequest?.({
        at: options.now?.() ?? performance.now(),
        signer: options.name ?? "octez-signer",
        address: asked.address,
        bytes: Buffer.from(bytes).toString("hex"),
        signature,
      });
    const refused = (id: string, message: string, status = 500) => {
      entry(null);
      answer(status, errors(id, message));
    };
    if (options.requireAuthentication) {
      const curve = Buffer.of(["tz1", "tz2", "tz3", "tz4"].indexOf(asked.address.slice(0, 3)));
      const hash = decodeBase58(asked.address)?.payload ?? new Uint8Array(0);
      const message = Buffer.concat([Buffer.of(4, 1), curve, hash, bytes]);
      if (authentication === null) return refused("signer.missing_authentication", "authentication is required");
      if (!(options.authorizedKeys ?? []).some((key) => verifySignature(key, message, authentication)))
        return refused("signer.invalid_authentication", "the signature is of no authorized key");
    }
    if (options.magicBytes && !options.magicBytes.includes(bytes[0] ?? -1))
      return refused("signer.magic_byte", `magic byte ${bytes[0] ?? -1} is not allowed`);
    if (faults.refuse !== undefined) return refused("signer.refused", "refused", faults.refuse);
    if (faults.delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, faults.delayMs));
    if (faults.hang === "sign") return entry(null);
    const hex = Buffer.from(bytes).toString("hex");
    let signature: string | undefined;
    if (options.checkHighWatermark) {
      const parsed = parseSigningRequest(bytes);
      if (!parsed.ok) return refused("signer.high_watermark", `unknown request: ${parsed.reason}`);
      const { level, round, kind, chainId } = parsed.request;
      const slot = `${asked.address} ${chainId} ${kind}`;
      const mark = this.marks.get(slot);
      if (mark && (level < mark.level || (level === mark.level && round < mark.round)))
        return refused("signer.high_watermark", "below the high watermark");
      if (mark && level === mark.level && round === mark.round) {
        if (mark.bytes !== hex) return refused("signer.high_watermark", "signed something else there");
        signature = mark.signature;
      }
      signature ??= signBytes(faults.otherKey ?? asked, bytes, faults.randomEcdsa);
      this.marks.set(slot, { level, round, bytes: hex, signature });
    }
    signature ??= signBytes(faults.otherKey ?? asked, bytes, faults.randomEcdsa);
    entry(signature);
    if ((faults.loseAnswers ?? 0) > 0) {
      faults.loseAnswers = (faults.loseAnswers ?? 0) - 1;
      return answer(0, undefined);
    }
    if (faults.garbage === "text") return answer(200, "<html>proxy</html>");
    if (faults.garbage === "json") return answer(200, { error: "?" });
    // The last character is part of the checksum.
    if (faults.garbage === "signature")
      return answer(200, { signature: signature.slice(0, -1) + (signature.endsWith("1") ? "2" : "1") });
    answer(200, { signature });
  }
}

type PublicKeyValue = string | { locator: string; key: string };
type Named<V = string> = { name: string; value: V }[];
const scheme = "unencrypted:";

/** The keys of a client folder as Octez finds them: from the hash to the alias, from there to both keys. @throws Error where the files do not agree */
function keysOf(dir: string): SigningKey[] {
  const read = <V>(name: string): Named<V> => {
    const list = readJson<unknown>(join(dir, name), []);
    const ok = Array.isArray(list) && list.every((entry: object) => Object.keys(entry).sort().join() === "name,value");
    if (!ok) throw new Error(`${name} is no list of name and value`);
    return list as Named<V>;
  };
  const [hashes, publicKeys, secrets] = [
    read<string>("public_key_hashs"),
    read<PublicKeyValue>("public_keys"),
    read<string>("secret_keys"),
  ];
  return hashes.flatMap(({ name, value: hash }) => {
    const secret = secrets.find((entry) => entry.name === name)?.value;
    if (secret === undefined) return [];
    const shown = publicKeys.find((entry) => entry.name === name)?.value;
    if (shown === undefined) throw new Error(`no public key alias named ${name}`);
    if (!secret.startsWith(scheme)) throw new Error("only unencrypted: secret keys are known here.");
    const key = keyOf(secret.slice(scheme.length));
    const locator = typeof shown === "string" ? shown : shown.locator;
    if (
      locator !== scheme + key.publicKey ||
      (typeof shown !== "string" && shown.key !== key.publicKey) ||
      hash !== key.address
    )
      throw new Error(`the files do not agree about ${name}`);
    return [key];
  });
}
const program = "octez-signer";
const usage =
  "usage: octez-signer [-d DIR] launch http signer [-a HOST] [-p PORT] | import secret key ALIAS unencrypted:SECRET | add authorized key PK";

/**
 * `launch http signer`, `import secret key`, `add authorized key`. LAB_SIGNER_LOG names a file that gets every request as a JSON line
 * (`at` is CLOCK_MONOTONIC in milliseconds); LAB_SIGNER_FAULTS a JSON file of SignerFaults (without otherKey), read again at every request.
 */
export async function main(argv: readonly string[]): Promise<void> {
  let parsed: ReturnType<typeof parseArguments>;
  try {
    parsed = parseArguments(argv, {
      options: {
        "--base-dir": "value",
        "--password-filename": "value",
        "--address": "value",
        "--port": "value",
        "--magic-bytes": "value",
        "--pidfile": "value",
        "--require-authentication": "flag",
        "--check-high-watermark": "flag",
        "--allow-list-known-keys": "flag",
        "--allow-to-prove-possession": "flag",
        "--force": "flag",
        "--name": "value",
      },
      aliases: {
        "-d": "--base-dir",
        "-f": "--password-filename",
        "-A": "--require-authentication",
        "-a": "--address",
        "-p": "--port",
        "-M": "--magic-bytes",
        "-W": "--check-high-watermark",
      },
    });
  } catch (error) {
    return fail(program, 1, `Error: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { options, words } = parsed;
  const last = (name: string): string | undefined => options.get(name)?.at(-1);
  const dir = last("--base-dir") ?? join(process.env.HOME ?? "/", ".octez-signer");
  const file = (name: string) => join(dir, name);
  const put = <V>(name: string, entry: Named<V>[number], force: boolean) => {
    const list = readJson<Named<V>>(file(name), []);
    if (!force && list.some((other) => other.name === entry.name))
      fail(program, 1, `Error: the ${name} alias ${entry.name} already exists.`);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    writeJson(file(name), [...list.filter((other) => other.name !== entry.name), entry]);
  };
  const command = words.slice(0, 3).join(" ");
  if (command === "import secret key" && words.length === 5) {
    const [alias = "", uri = ""] = words.slice(3);
    if (!uri.startsWith(scheme)) fail(program, 1, "Error: only unencrypted: secret keys are known here.");
    let key: SigningKey;
    try {
      key = keyOf(uri.slice(scheme.length));
    } catch (error) {
      return fail(program, 1, `Error: ${error instanceof Error ? error.message : String(error)}`);
    }
    const force = options.has("--force");
    put("secret_keys", { name: alias, value: uri }, force);
    put("public_keys", { name: alias, value: { locator: scheme + key.publicKey, key: key.publicKey } }, force);
    put("public_key_hashs", { name: alias, value: key.address }, force);
    process.stdout.write(`Tezos address added: ${key.address}\n`);
    return;
  }
  if (command === "add authorized key" && words.length === 4) {
    const value = words[3] ?? "";
    const hash = publicKeyHash(value) ?? fail(program, 1, `Error: a public key was expected, got ${value}`);
    put("authorized_keys", { name: last("--name") ?? hash, value }, options.has("--force"));
    return;
  }
  if (command !== "launch http signer" || words.length !== 3)
    return fail(program, 1, `Error: unrecognized command.\n${usage}`);
  const magicBytes = last("--magic-bytes")
    ?.split(",")
    .map((text) =>
      /^0x[0-9a-f]{1,2}$/i.test(text) ? Number(text) : fail(program, 1, `Error: a magic byte is 0x.., got ${text}`),
    );
  const portText = last("--port") ?? "6732";
  if (!/^\d{1,5}$/.test(portText)) return fail(program, 1, `Error: a port is a number, got ${portText}`);
  let keys: SigningKey[];
  try {
    keys = keysOf(dir);
  } catch (error) {
    return fail(program, 1, `Error: ${error instanceof Error ? error.message : String(error)}`);
  }
  const trace = openTrace(program);
  const log = process.env.LAB_SIGNER_LOG;
  const faultsFile = process.env.LAB_SIGNER_FAULTS;
  const faultsNow = (): SignerFaults => (faultsFile === undefined ? {} : readJson<SignerFaults>(faultsFile, {}));
  const signer = new OctezSigner({
    keys,
    requireAuthentication: options.has("--require-authentication"),
    authorizedKeys: readJson<Named>(file("authorized_keys"), []).map((entry) => entry.value),
    magicBytes,
    checkHighWatermark: options.has("--check-high-watermark"),
    allowListKnownKeys: options.has("--allow-list-known-keys"),
    allowToProvePossession: options.has("--allow-to-prove-possession"),
    now: () => Number(process.hrtime.bigint()) / 1e6,
    onRequest: (entry) => {
      trace("signature", { ...entry });
      if (log !== undefined && log !== "") appendFileSync(log, JSON.stringify(entry) + "\n");
    },
  });
  if (faultsFile !== undefined) Object.defineProperty(signer, "faults", { get: faultsNow });
  const address = last("--address") ?? "127.0.0.1";
  await signer.start(address, Number(portText)).catch((error: unknown) => fail(program, 1, `Error: ${String(error)}`));
  process.stdout.write(`Accepting HTTP requests on port ${portText}\n`);
  octezSignals(() => signer.close());
}
