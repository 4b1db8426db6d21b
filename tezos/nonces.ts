/**
 * Seed nonces as octez-baker keeps them in its client folder (lib_delegate/baking_nonces.ml):
 * `<chain>_stateful_nonces`, the authority, a JSON list of {nonce, hash, block, cycle, level, round?, state};
 * `<chain>_nonces` (legacy, rewritten beside it) and `<chain>_orphaned_nonces`, lists of {block, nonce}. `<chain>` is
 * the beginning of the chain id. Pure: reads texts, gives texts.
 */
import { blake2b } from "@noble/hashes/blake2b";
import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";

const base58check = createBase58check(sha256);
const noncePrefix = Uint8Array.of(69, 220, 169);

/** `injection_level`: level at which the revelation was injected; the baker injects again until the chain shows it. */
export type NonceState = "committed" | { injection_level: number; [field: string]: unknown };
/** `nonce`: 64 lowercase hex digits; `hash`: nce..., BLAKE2b-256 of the nonce's 32 bytes. Unknown fields are kept. */
export interface SeedNonce {
  nonce: string;
  hash: string;
  block: string;
  cycle: number;
  level: number;
  round?: number | null;
  state: NonceState;
  [field: string]: unknown;
}
export interface LegacyNonce {
  block: string;
  nonce: string;
  [field: string]: unknown;
}
/** What members exchange: `legacy` holds the pairs that no stateful entry covers (orphaned, or not migrated yet). */
export interface NonceSet {
  stateful: SeedNonce[];
  legacy: LegacyNonce[];
}

/** `code`: not-json, not-a-list, field, hash-mismatch. */
export class NonceFileError extends Error {
  constructor(
    readonly code: "not-json" | "not-a-list" | "field" | "hash-mismatch",
    message: string,
  ) {
    super(message);
  }
}

/** @param nonce 64 hex digits @returns nce... */
export function nonceHash(nonce: string): string {
  return encodeNonceHash(blake2b(Buffer.from(nonce, "hex"), { dkLen: 32 }));
}
/** @param hash 32 bytes @returns nce... */
export function encodeNonceHash(hash: Uint8Array): string {
  return base58check.encode(Uint8Array.of(...noncePrefix, ...hash));
}

// Base58 and BLAKE2 cost 0.1 ms an entry, and a file is read again at every change.
const verified = new Map<string, string>();
const verifiedLimit = 100_000;
/** Whether the hash is that of the nonce. */
export function fits(entry: { nonce: string; hash: string }): boolean {
  if (verified.get(entry.hash) === entry.nonce) return true;
  if (nonceHash(entry.nonce) !== entry.hash) return false;
  if (verified.size >= verifiedLimit) verified.clear();
  verified.set(entry.hash, entry.nonce);
  return true;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
const isNonce = (value: unknown): value is string => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
const isBlock = (value: unknown): value is string =>
  typeof value === "string" && /^B[1-9A-HJ-NP-Za-km-z]{50}$/.test(value);
/** Never quotes an object: it may hold a nonce. */
const shown = (value: unknown): string =>
  typeof value === "number" || typeof value === "boolean" || value === null
    ? String(value)
    : typeof value === "string"
      ? `"${value.slice(0, 60)}"`
      : Array.isArray(value)
        ? "a list"
        : value === undefined
          ? "nothing"
          : "an object";

const maxDepth = 32;
/** Deeper than JSON.stringify and the functions below can follow. */
const tooDeep = (value: unknown, depth = 0): boolean =>
  typeof value === "object" &&
  value !== null &&
  (depth > maxDepth || Object.values(value).some((inner) => tooDeep(inner, depth + 1)));

/** The rule that an entry breaks, without its nonce; undefined where it is whole. */
function objection(value: unknown, legacy: boolean): string | undefined {
  if (!isRecord(value)) return `an entry is an object, got ${Array.isArray(value) ? "a list" : typeof value}`;
  if (tooDeep(value)) return `an entry is nested at most ${maxDepth} deep`;
  if (!isNonce(value.nonce)) return "nonce is 64 lowercase hex digits, got something else";
  if (!isBlock(value.block)) return `block is a block hash (B and 50 base58 characters), got ${shown(value.block)}`;
  if (legacy) return undefined;
  if (typeof value.hash !== "string" || !value.hash.startsWith("nce"))
    return `hash is a nonce hash (nce...), got ${shown(value.hash)}`;
  if (!isCount(value.cycle)) return `cycle is a whole number, got ${shown(value.cycle)}`;
  if (!isCount(value.level)) return `level is a whole number, got ${shown(value.level)}`;
  if (value.round !== undefined && value.round !== null && !isCount(value.round))
    return `round is a whole number or absent, got ${shown(value.round)}`;
  if (value.state !== "committed" && !(isRecord(value.state) && isCount(value.state.injection_level)))
    return `state is "committed" or {"injection_level": LEVEL}, got ${shown(value.state)}`;
  return undefined;
}

function checkList(value: unknown, legacy: boolean): unknown[] {
  if (!Array.isArray(value)) throw new NonceFileError("not-a-list", `a nonce file is a JSON list, got ${shown(value)}`);
  value.forEach((entry: unknown, index) => {
    const problem = objection(entry, legacy);
    if (problem !== undefined) throw new NonceFileError("field", `entry ${index}: ${problem}`);
  });
  return value;
}

/** Checks a parsed list, hashes included. Entries with one hash are merged. @throws NonceFileError */
export function checkStateful(value: unknown, options: { hashes: boolean } = { hashes: true }): SeedNonce[] {
  // Where it was written as null, the round is as good as absent.
  const entries = (checkList(value, false) as SeedNonce[]).map((entry) => {
    if (entry.round === null) delete entry.round;
    return entry;
  });
  if (options.hashes)
    entries.forEach((entry, index) => {
      if (!fits(entry))
        throw new NonceFileError(
          "hash-mismatch",
          `entry ${index}: hash is the BLAKE2b-256 of its nonce, got ${entry.hash} at level ${entry.level}`,
        );
    });
  return mergeStateful(entries, []);
}
/** @throws NonceFileError */
export const checkLegacy = (value: unknown): LegacyNonce[] => mergeLegacy(checkList(value, true) as LegacyNonce[], []);

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    // The parser's message quotes the text, and the text holds nonces.
    throw new NonceFileError(
      "not-json",
      `a nonce file is JSON, got ${text.length} characters that are not (${error instanceof Error ? error.name : "error"})`,
    );
  }
}
/** @throws NonceFileError for anything but a whole list: a broken file is never an empty one */
export const parseStateful = (text: string, options?: { hashes: boolean }): SeedNonce[] =>
  checkStateful(json(text), options);
/** @throws NonceFileError */
export const parseLegacy = (text: string): LegacyNonce[] => checkLegacy(json(text));

/** JSON.stringify, ten times as fast for what is plain. */
function textOf(entry: SeedNonce | LegacyNonce): string {
  if (!("hash" in entry))
    return isPlainPair(entry) ? `{"block":"${entry.block}","nonce":"${entry.nonce}"}` : JSON.stringify(entry);
  if (!isPlain(entry as SeedNonce)) return JSON.stringify(entry);
  const { nonce, hash, block, cycle, level, round, state } = entry as SeedNonce;
  return `{"nonce":"${nonce}","hash":${JSON.stringify(hash)},"block":"${block}","cycle":${cycle},"level":${level},${round === undefined ? "" : `"round":${round},`}"state":${typeof state === "string" ? `"${state}"` : `{"injection_level":${state.injection_level}}`}}`;
}
/** The text of a nonce file: one entry a line, the same text for the same content. Entries were checked. */
export function serialise(entries: readonly (SeedNonce | LegacyNonce)[]): string {
  return entries.length === 0 ? "[]\n" : `[ ${entries.map(textOf).join(",\n  ")} ]\n`;
}

/** JSON with sorted keys: a total order for values that nobody else orders. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isRecord(value)) return JSON.stringify(value) ?? "";
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)
    .join(",")}}`;
}
const greater = <T>(a: T, b: T): T => (canonical(a) >= canonical(b) ? a : b);

/** The more advanced of two states, with the unknown fields of both. */
export function laterState(a: NonceState, b: NonceState): NonceState {
  if (a === "committed") return b;
  if (b === "committed") return a;
  const merged: NonceState = { injection_level: Math.max(a.injection_level, b.injection_level) };
  mergeExtras(merged, a, b, ["injection_level"]);
  return merged;
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
/** The fields that we know, in our order. */
const knownKeys = ["nonce", "hash", "block", "cycle", "level", "round", "state"];
const comparePlaces = (a: SeedNonce, b: SeedNonce): number =>
  a.level - b.level || (a.round ?? -1) - (b.round ?? -1) || a.cycle - b.cycle || byText(a.block, b.block);

function set(target: Record<string, unknown>, key: string, value: unknown): void {
  // An assignment would lose a field named __proto__.
  Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
}
function mergeExtras(
  target: Record<string, unknown>,
  a: Record<string, unknown>,
  b: Record<string, unknown>,
  known: readonly string[],
): void {
  const has = (value: Record<string, unknown>, key: string): boolean =>
    Object.prototype.hasOwnProperty.call(value, key);
  if (a === b && Object.keys(a).every((key) => known.includes(key))) return;
  for (const key of [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => !known.includes(name)).sort())
    set(target, key, !has(a, key) ? b[key] : !has(b, key) ? a[key] : greater(a[key], b[key]));
}

const hasKeys = (value: object, keys: readonly string[], optional?: string): boolean => {
  let index = 0;
  for (const key in value) {
    if (keys[index] === optional && key !== optional) index++;
    if (key !== keys[index++]) return false;
  }
  return index === keys.length;
};
/** Our own fields in our own order. A file of 10,000 entries is merged at each change, and nearly all of them are. */
const isPlain = (entry: SeedNonce): boolean =>
  hasKeys(entry, knownKeys, "round") && (typeof entry.state === "string" || hasKeys(entry.state, ["injection_level"]));
const isPlainPair = (pair: LegacyNonce): boolean => hasKeys(pair, ["block", "nonce"]);
/** Of two plain entries. */
const equal = (a: SeedNonce, b: SeedNonce): boolean =>
  a.nonce === b.nonce &&
  a.hash === b.hash &&
  a.level === b.level &&
  a.block === b.block &&
  a.cycle === b.cycle &&
  a.round === b.round &&
  (typeof a.state === "string" || typeof b.state === "string"
    ? a.state === b.state
    : a.state.injection_level === b.state.injection_level);

/**
 * Two entries of one hash: a product of maxima (state; position as a whole; each unknown field), hence commutative,
 * associative and idempotent.
 */
function mergeEntries(a: SeedNonce, b: SeedNonce): SeedNonce {
  if (isPlain(a) && (a === b || (isPlain(b) && equal(a, b)))) return a;
  // Only one nonce has this hash. Where the two differ, one entry was not verified: the one that fits is right.
  if (a.nonce !== b.nonce) return fits(a) ? a : fits(b) ? b : greater(a, b);
  const place = a === b || comparePlaces(a, b) > 0 ? a : b;
  const merged: Record<string, unknown> = {
    nonce: a.nonce,
    hash: a.hash,
    block: place.block,
    cycle: place.cycle,
    level: place.level,
  };
  if (place.round !== undefined) merged.round = place.round;
  merged.state = laterState(a.state, b.state);
  mergeExtras(merged, a, b, knownKeys);
  return merged as SeedNonce;
}

/** Union by hash, ordered by level and hash. Commutative, associative, idempotent; nothing is dropped. */
export function mergeStateful(a: readonly SeedNonce[], b: readonly SeedNonce[]): SeedNonce[] {
  const merged = new Map<string, SeedNonce>();
  for (const list of [a, b])
    for (const entry of list) {
      const present = merged.get(entry.hash);
      merged.set(entry.hash, mergeEntries(present ?? entry, entry));
    }
  return [...merged.values()].sort((x, y) => x.level - y.level || byText(x.hash, y.hash));
}

const pairKey = ({ block, nonce }: LegacyNonce): string => `${block} ${nonce}`;
/**
 * Union by block and nonce, ordered by both: of two nonces of one block only the hash tells the right one. Commutative,
 * associative, idempotent.
 */
export function mergeLegacy(a: readonly LegacyNonce[], b: readonly LegacyNonce[]): LegacyNonce[] {
  const merged = new Map<string, LegacyNonce>();
  for (const list of [a, b])
    for (const entry of list) {
      const present = merged.get(pairKey(entry)) ?? entry;
      if (isPlainPair(entry) && (present === entry || isPlainPair(present))) {
        merged.set(pairKey(entry), present);
        continue;
      }
      const result: Record<string, unknown> = { block: entry.block, nonce: entry.nonce };
      mergeExtras(result, present, entry, ["block", "nonce"]);
      merged.set(pairKey(entry), result as LegacyNonce);
    }
  return [...merged.values()].sort((x, y) => byText(pairKey(x), pairKey(y)));
}

/**
 * The pairs that `stateful` does not cover: neither a nonce that is there with its hash, nor another one of a block
 * whose nonce was checked against its hash.
 */
export function uncovered(pairs: readonly LegacyNonce[], stateful: readonly SeedNonce[]): LegacyNonce[] {
  const nonces = new Set(stateful.map(({ nonce }) => nonce));
  const blocks = new Set(stateful.filter(fits).map(({ block }) => block));
  return pairs.filter(({ nonce, block }) => !nonces.has(nonce) && !blocks.has(block));
}

export function mergeSets(a: NonceSet, b: NonceSet): NonceSet {
  return { stateful: mergeStateful(a.stateful, b.stateful), legacy: mergeLegacy(a.legacy, b.legacy) };
}

/**
 * Retention: what was committed more than `keepCycles` cycles before the current one is dropped, as octez-baker's own
 * rule for outdated nonces (consensus_rights_delay) does, so that an exchange does not bring it back for ever. A nonce
 * can be revealed in the cycle after its own only.
 * @param currentCycle of our own node (a node that is behind keeps more); undefined = unknown: everything stays
 */
export function retain(
  entries: readonly SeedNonce[],
  currentCycle: number | undefined,
  keepCycles: number,
): SeedNonce[] {
  if (currentCycle === undefined) return [...entries];
  const keep = Math.max(1, keepCycles);
  return entries.filter((entry) => currentCycle - entry.cycle <= keep);
}

const maxEntryLength = 5000;
/** Where the object that begins at `start` ends, braces in texts aside; undefined where it does not, or is too long. */
function objectEnd(text: string, start: number): number | undefined {
  let depth = 0;
  let quoted = false;
  for (let at = start; at < Math.min(text.length, start + maxEntryLength); at++) {
    const character = text[at];
    if (quoted && character === "\\") at++;
    else if (character === '"') quoted = !quoted;
    else if (!quoted && character === "{" && ++depth > maxDepth) return undefined;
    else if (!quoted && character === "}" && --depth === 0) return at + 1;
  }
  return undefined;
}
/** The whole entries (of at most 5,000 characters), hashes checked, that are left in a broken file. */
export function salvage(text: string): SeedNonce[] {
  const found: SeedNonce[] = [];
  for (let start = text.indexOf("{"); start >= 0; start = text.indexOf("{", start)) {
    const end = objectEnd(text, start);
    try {
      if (end === undefined) throw new NonceFileError("not-json", "no whole object");
      found.push(...parseStateful(`[${text.slice(start, end)}]`));
      start = end;
    } catch {
      start++;
    }
  }
  return mergeStateful(found, []);
}

/** The pairs of a legacy file that the baker writes beside the stateful entries. */
export const legacyPairs = (entries: readonly SeedNonce[]): LegacyNonce[] =>
  entries.map(({ block, nonce }) => ({ block, nonce }));

export const nonceFileKinds = ["stateful_nonces", "nonces", "orphaned_nonces"] as const;
export type NonceFileKind = (typeof nonceFileKinds)[number];
const shortChain = (chainId: string): string => chainId.slice(0, 13);
/** The name that octez-baker v25 gives a file. */
export const nonceFileName = (chainId: string, kind: NonceFileKind): string => `${shortChain(chainId)}_${kind}`;

const fileName = /^(net[1-9a-z]{7,12})_(stateful_nonces|nonces|orphaned_nonces)$/i;
/**
 * The kind of a nonce file of this chain; "foreign" = of another chain; undefined = no nonce file. Names vary in case
 * and length of the prefix.
 */
export function nonceFileKind(name: string, chainId: string): NonceFileKind | "foreign" | undefined {
  const match = fileName.exec(name);
  if (!match) return undefined;
  const prefix = (match[1] ?? "").toLowerCase();
  return chainId.toLowerCase().startsWith(prefix) ? ((match[2] ?? "").toLowerCase() as NonceFileKind) : "foreign";
}

/** The files that belong together: names with one prefix. */
export type NonceFileSet = Partial<Record<NonceFileKind, string>>;
/**
 * The nonce files of a chain among the names of a folder. octez-baker reads its `own` names alone; `others` are of the
 * same chain with another prefix, in order.
 */
export function nonceFiles(
  names: readonly string[],
  chainId: string,
): { own: NonceFileSet; others: NonceFileSet[]; foreign: string[] } {
  const sets = new Map<string, NonceFileSet>();
  const own: NonceFileSet = {};
  const foreign: string[] = [];
  for (const name of [...names].sort()) {
    const kind = nonceFileKind(name, chainId);
    if (kind === undefined) continue;
    if (kind === "foreign") foreign.push(name);
    else if (name === nonceFileName(chainId, kind)) own[kind] = name;
    else {
      const prefix = name.slice(0, -kind.length);
      const present = sets.get(prefix) ?? {};
      sets.set(prefix, present);
      present[kind] = name;
    }
  }
  return { own, others: [...sets.values()], foreign };
}

/** The format of exports and of disaster copies. It holds nonces that are secret until they are revealed. */
export interface NonceBundle extends NonceSet {
  version: 1;
  /** Full chain id. */
  chain: string;
  baker: string;
}

/** @throws Error for anything but a whole export of this chain and baker, hashes checked */
export function checkBundle(text: string, expected: { chain?: string; baker?: string } = {}): NonceBundle {
  const value = json(text);
  if (!isRecord(value) || value.version !== 1 || typeof value.chain !== "string" || typeof value.baker !== "string")
    throw new Error(
      "an export of nonces has version 1, chain, baker, stateful and legacy; write it with `npm run nonces -- export`",
    );
  if (expected.chain !== undefined && value.chain !== expected.chain)
    throw new Error(`the export must be of chain ${expected.chain}, got ${value.chain}`);
  if (expected.baker !== undefined && value.baker !== expected.baker)
    throw new Error(`the export must be of baker ${expected.baker}, got ${value.baker}`);
  return {
    version: 1,
    chain: value.chain,
    baker: value.baker,
    stateful: checkStateful(value.stateful),
    legacy: checkLegacy(value.legacy),
  };
}

/** The nonces of a file to import: an export of this chain and baker, or a file of octez-baker. @throws Error */
export function nonceImport(text: string, expected: { chain?: string; baker?: string }): NonceSet {
  const value = json(text);
  if (!Array.isArray(value)) return checkBundle(text, expected);
  return value.every((entry) => isRecord(entry) && "hash" in entry)
    ? { stateful: checkStateful(value), legacy: [] }
    : { stateful: [], legacy: checkLegacy(value) };
}
