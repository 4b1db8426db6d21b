/** How the configuration's errors look: all at once, each with the key's path, what was found and what to write. */
import { decodeAddress } from "../tezos/addresses";

export interface ConfigurationIssue {
  /** Keys from the top, for instance ["bakers", "alice", "delegate"]; empty where a whole file is meant. */
  path: readonly string[];
  found: string;
  write: string;
  /** File or option that the value comes from. */
  source?: string;
}

/** A path as Terraform would write it: bakers.alice.signers["1st"].port */
export const pathText = (path: readonly string[]): string =>
  path
    .map((key) => (decodeAddress(key) ? key : showName(key)))
    .map((key, i) =>
      /^[A-Za-z_][\w-]*$/.test(key) ? (i === 0 ? key : `.${key}`) : /^\d+$/.test(key) ? `[${key}]` : `["${key}"]`,
    )
    .join("");

export class ConfigurationError extends Error {
  constructor(readonly issues: readonly ConfigurationIssue[]) {
    const lines = issues.map(({ path, found, write, source }) => {
      const where = [pathText(path), source && (path.length > 0 ? `(${source})` : source)].filter(Boolean).join(" ");
      return `  ${where}\n    found: ${found}\n    write: ${write}`;
    });
    super(
      `The configuration has ${issues.length === 1 ? "1 error" : `${issues.length} errors`}:\n\n${lines.join("\n\n")}\n`,
    );
    this.name = "ConfigurationError";
  }
}

const privateKey =
  /(unencrypted:|encrypted:)?\b(edsk|spsk|p2sk|BLsk|edesk|spesk|p2esk|BLesk)[1-9A-HJ-NP-Za-km-z]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*|https:\/\/hooks\.slack\.com\/services\/\S+|https:\/\/[\w.-]*\bdiscord(?:app)?\.com\/api\/webhooks\/\S+|\b\d{6,}:[\w-]{30,}/;
const secretName = /^(.*_)?(private|secret|password|passphrase|mnemonic|seed|token)(_.*)?$/;
/** Keys whose names sound secret and are not. */
const notSecret = new Set(["secrets", "host_key_secret"]);

/** What kind of secret a value or its key's name shows; undefined where it shows none. */
export function secretKind(key: string, value: unknown): string | undefined {
  if (typeof value === "string" && privateKey.test(value)) {
    if (value.includes("-----BEGIN")) return "a private key in PEM form";
    if (value.includes("hooks.slack.com")) return "a Slack webhook URL";
    if (value.includes("/api/webhooks/")) return "a Discord webhook URL";
    return /\b\d{6,}:/.test(value) ? "a Telegram bot's token" : "a private Tezos key";
  }
  return typeof value === "string" && secretName.test(key) && !notSecret.has(key)
    ? "a value whose name says that it is secret"
    : undefined;
}

export const notShown = "(not shown)";
/** A key's or option's name for an error message: a secret may stand in the wrong place. */
export const showName = (name: string): string =>
  /^[\w.-]{1,32}$/.test(name) && !privateKey.test(name) ? name : notShown;

/** A value for an error message about the key at this path. */
export const showAt = (path: readonly string[], value: unknown): string =>
  path[0] === "secrets" || secretName.test(path.at(-1) ?? "") ? notShown : show(value);

/** A text without anything that looks like a private key. */
export const redact = (text: string): string => text.replace(new RegExp(privateKey, "g"), "(secret, not shown)");

/** A value for an error message: at most 80 characters, never a secret. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value, (key, inner: unknown) =>
    secretKind(key, inner) === undefined ? inner : "(secret, not shown)",
  );
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** Edits (insert, delete, replace, swap of neighbours) between two short texts. */
export function distance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) =>
    Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)),
  );
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Infinity;
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + cost);
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, at(i - 2, j - 2) + 1);
      (rows[i] as number[])[j] = best;
    }
  return at(a.length, b.length);
}

/** The nearest of the known names, or undefined where none is near. */
export function didYouMean(name: string, known: readonly string[]): string | undefined {
  const plain = name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replaceAll("-", "_")
    .toLowerCase();
  const [best] = known
    .map((candidate) => ({ candidate, edits: distance(plain, candidate) }))
    .sort((a, b) => a.edits - b.edits);
  if (best && best.edits <= Math.max(1, Math.floor(best.candidate.length / 3))) return best.candidate;
  return known.find((candidate) => plain.length >= 3 && (candidate.startsWith(plain) || plain.startsWith(candidate)));
}
/** "; did you mean NAME?", or nothing where none is near. */
export function suggestion(name: string, known: readonly string[]): string {
  const near = didYouMean(name, known);
  return near === undefined ? "" : `; did you mean ${near}?`;
}
