/**
 * What the answer of a signer means: a signature, or why there is none and whether one may exist all the same (S7). The
 * texts are those of octez-signer 25.1, of Russignol 0.26.1, and two of Signatory 1.4.0 and TezSign.
 */
import type { MarkKind } from "../../contract/watermark";
import { decodeSignature, verifySignature } from "../../tezos/keys";
import { mostDalBits } from "../../tezos/protocols";
import { parseSigningRequest } from "../../tezos/signing-request";
import type { SignerExchange } from "../runtime/tcp-exchange";

export type Verdict =
  | { ok: true; signature: string }
  | { ok: false; reason: string; detail: string; mayHaveSigned: boolean; bySignerWatermark?: boolean };

/** Answers of a signer that read the request and did not sign. */
const refusals: readonly number[] = [400, 401, 403, 404, 405, 409, 413];
const maxWords = 200;

const json = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};
/** A field of a JSON object, or undefined. */
export const field = (text: string, name: string): unknown => {
  const value = json(text);
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
};

export const isJsonObject = (text: string): boolean => {
  const value = json(text);
  return typeof value === "object" && value !== null;
};

/** `msg` of octez-signer's error, or undefined. */
export function errorMessage(body: string): string | undefined {
  const errors = json(body);
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const message = typeof first === "object" && first !== null ? (first as Record<string, unknown>).msg : undefined;
  return typeof message === "string" ? message : undefined;
}

/**
 * The signer's own words, at most 200 characters, fit for logs and terminals: control characters are escaped, and
 * what is long enough to be a secret key or a signature is left out.
 */
export function signerWords(body: string): string {
  const words = (errorMessage(body) ?? body)
    .slice(0, 4 * maxWords)
    .replace(/[0-9A-Za-z]{50,}/g, "...")
    .replace(/\s+/g, " ")
    .replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (c) => `\\u${hex4(c)}`)
    .trim();
  return words.length > maxWords ? `${words.slice(0, maxWords - 3)}...` : words;
}
const hex4 = (character: string): string => character.charCodeAt(0).toString(16).padStart(4, "0");

type Answer = Extract<SignerExchange, { ok: true }>;
/** `HTTP 500`; over TCP an answer has no number. */
export const statusOf = ({ status, protocol }: Omit<Answer, "body" | "ok">): string =>
  protocol === "tcp" ? (status === 200 ? "an answer" : "an error") : `HTTP ${status}`;
/** `HTTP 500: its own words`. */
export const signerError = (answer: Omit<Answer, "ok">): string =>
  [statusOf(answer), signerWords(answer.body)].filter(Boolean).join(": ");

/**
 * True where octez-signer's own high watermark has refused exactly this request, and so nothing was signed. Whatever is
 * not literally such a text may have been said after a signature.
 */
function refusedByItsWatermark(body: string, bytes: Uint8Array): boolean {
  const message = errorMessage(body);
  // Whatever bound it was let through by.
  const parsed = parseSigningRequest(bytes, mostDalBits);
  if (message === undefined || !parsed.ok) return false;
  const { level, round } = parsed.request;
  const kind: MarkKind = parsed.request.kind;
  const place = `${kind} level ${level} and round ${round}`;
  return (
    new RegExp(`^${kind} level ${level} below high watermark \\d+$`).test(message) ||
    new RegExp(`^${place} not above high watermark \\(\\d+,\\d+\\)$`).test(message) ||
    message === `${place} already signed with different data` ||
    new RegExp(`^Watermark error: Level too low: requested ${level}, current high watermark \\d+$`).test(message) ||
    new RegExp(
      `^Watermark error: Round too low at level ${level}: requested ${round}, current high watermark \\d+$`,
    ).test(message)
  );
}

/** What Russignol 0.26.1 says before it signs, and a person has to mend on the device. */
const refusedByRussignol = (body: string): boolean =>
  /^Watermark error: (Watermark not initialized for chain|Large level gap:|Chain mismatch:) /.test(
    errorMessage(body) ?? "",
  );

/** The same of Signatory and of TezSign, which say 409; TezSign says it of bytes that it has signed itself, too. */
const refusedByAnotherWatermark = (body: string): boolean =>
  errorMessage(body) === "watermark validation failed" || field(body, "error") === "stale level/round";

/** @param publicKey of the address, undefined where no signer has shown it yet */
export function judge(
  { address, bytes, digest }: { address: string; bytes: Uint8Array; digest: Uint8Array },
  answer: SignerExchange,
  publicKey: string | undefined,
): Verdict {
  const no = (reason: string, detail: string, mayHaveSigned: boolean) => ({
    ...{ ok: false as const, reason, detail, mayHaveSigned },
  });
  if (!answer.ok) return no(`signer-${answer.reason}`, answer.detail, answer.sent);
  const byWatermark = () => ({
    ...no("signer-watermark", signerError(answer), false),
    bySignerWatermark: true,
  });
  if (answer.status === 409 && refusedByAnotherWatermark(answer.body)) return byWatermark();
  const refused = refusals.includes(answer.status) || (answer.protocol === "tcp" && refusedByRussignol(answer.body));
  if (refused) return no("signer-refused", signerError(answer), false);
  if (answer.status !== 200)
    return answer.status === 500 && refusedByItsWatermark(answer.body, bytes)
      ? byWatermark()
      : no("signer-error", signerError(answer), true);
  const signature = field(answer.body, "signature");
  const verifiable = publicKey !== undefined && !address.startsWith("tz4");
  if (typeof signature === "string" && verifiable && verifySignature(publicKey, bytes, signature, digest))
    return { ok: true, signature };
  if (typeof signature !== "string" || !decodeSignature(address, signature))
    return no("signer-garbage", "the answer holds no signature of the key's curve", true);
  return verifiable
    ? no("signer-wrong-signature", "the signature does not verify with the public key", true)
    : { ok: true, signature };
}
