/**
 * `tog sidecar signers`: asks every signer of the baker as this pod reaches it, for nothing that a key signs, and
 * prints what came as one JSON array on stdout.
 */
import type { BakerFile } from "../../contract/baker-file";
import type { SignerProblem, SignerReport } from "../../contract/signer-report";
import { publicKeyHash } from "../../tezos/keys";
import { loadConfig, type DaemonConfig } from "../runtime/config";
import { exchange } from "../runtime/http-exchange";
import { exchangeOverTcp, type SignerExchange } from "../runtime/tcp-exchange";

/** A person waits; a signer that needs longer than this is one that the baker does not wait for. */
const timeoutMs = 4000;

type Problem = NonNullable<SignerReport["problem"]>;
const problem = (code: SignerProblem, detail: string): Problem => ({ code, detail: detail.slice(0, 200) });

const byErrorCode: readonly (readonly [RegExp, SignerProblem])[] = [
  [/^(ENOTFOUND|EAI_AGAIN|ENODATA)$/, "no-address"],
  [/^ECONNREFUSED$/, "refused"],
  [/^(EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EACCES|EPERM)$/, "no-way"],
  [/^(EPROTO|ERR_SSL_)/, "no-tls"],
  [/CERT|UNABLE_TO_(GET|VERIFY)|ALTNAME/, "certificate"],
  [/^HPE_/, "not-http"],
];

function failure({ reason, detail: message, sent, code = "" }: Exclude<SignerExchange, { ok: true }>): Problem {
  const known = byErrorCode.find(([pattern]) => pattern.test(code))?.[1];
  if (known) return problem(known, [code, message].filter(Boolean).join(": "));
  if (reason === "malformed") return problem("no-signer", message);
  if (reason === "timeout") return problem(sent ? "silent" : "no-way", message);
  return problem(sent ? "closed" : "no-way", [code, message].filter(Boolean).join(": "));
}

const parsed = (body: string): Record<string, unknown> | undefined => {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
};

function get(url: string): Promise<SignerExchange> {
  if (url.startsWith("tcp:")) return exchangeOverTcp(new URL(url), { method: "GET", timeoutMs });
  return exchange(new URL(url), { method: "GET", agent: false, timeoutMs, maxBytes: 65_536 });
}
/** Over TCP an answer has no number. */
const statusOf = ({ protocol, status }: Extract<SignerExchange, { ok: true }>): string =>
  protocol === "tcp" ? "an answer without it" : `HTTP ${status}`;

/** The key, or why the signer did not answer: no answer says nothing of its keys. */
async function lookAtKey(base: string, address: string): Promise<SignerReport["keys"][number] | Problem> {
  const answer = await get(`${base}/keys/${address}`);
  const no = (detail: string) => ({ address, found: false, detail: detail.slice(0, 200) });
  if (!answer.ok) return failure(answer);
  const publicKey = parsed(answer.body)?.public_key;
  const hash = typeof publicKey === "string" ? publicKeyHash(publicKey) : undefined;
  if (answer.status !== 200 || hash === undefined) return no(statusOf(answer));
  return hash === address ? { address, found: true, detail: "" } : no(`it answers with the key of ${hash}`);
}

/** One way to one signer. */
async function lookAt(
  { signer, zone, url }: Pick<SignerReport, "signer" | "zone" | "url">,
  addresses: readonly string[],
): Promise<SignerReport> {
  const bad = (what: Problem): SignerReport => ({ signer, zone, url, problem: what, authorized: null, keys: [] });
  const base = url.replace(/\/+$/, "");
  const answer = await get(`${base}/authorized_keys`);
  if (!answer.ok) return bad(failure(answer));
  const { status, body } = answer;
  if (status === 401) return bad(problem("header-asked", "HTTP 401"));
  if (status >= 500) return bad(problem("error", `${answer.protocol === "tcp" ? "" : `HTTP ${status}: `}${body}`));
  const told = status === 200 ? parsed(body) : undefined;
  const listed = told?.authorized_keys;
  if (!told || (listed !== undefined && !Array.isArray(listed)))
    return bad(problem("no-signer", `HTTP ${status} for /authorized_keys`));
  const keys: SignerReport["keys"] = [];
  // One after the other: a device at home answers one request at a time.
  for (const address of addresses) {
    const key = await lookAtKey(base, address);
    if ("code" in key) return bad(key);
    keys.push(key);
  }
  return { signer, zone, url, problem: null, authorized: listed ? listed.map(String) : null, keys };
}

export async function lookAtSigners({ signers, keys }: Pick<BakerFile, "signers" | "keys">): Promise<SignerReport[]> {
  const reports = signers.map(async ({ name: signer, endpoints }) => {
    const addresses = keys.filter((key) => key.signers.includes(signer)).map(({ address }) => address);
    const found: SignerReport[] = [];
    // One after the other: they lead to one device, and a Russignol takes four connections.
    for (const { zone, url } of endpoints) found.push(await lookAt({ signer, zone, url }, addresses));
    return found;
  });
  return (await Promise.all(reports)).flat();
}

export async function printSigners({ file }: DaemonConfig = loadConfig("sidecar")): Promise<void> {
  process.stdout.write(JSON.stringify(await lookAtSigners(file)) + "\n");
}
