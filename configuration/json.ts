/** JSON as a configuration file holds it: stricter than JSON.parse, and its errors show places, never the text. */

/** Deeper than any value of the configuration. */
const maxDepth = 32;
const token =
  /[\s]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null))/y;

export class JsonError extends Error {
  /** @param rule what is wrong at which place, without any of the text */
  constructor(rule: string, text: string, at: number) {
    const before = text.slice(0, at).split("\n");
    super(`line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}: ${rule}`);
    this.name = "JsonError";
  }
}

/** @throws JsonError for broken JSON, for a key that is written twice, and below 32 levels */
export function parseJson(text: string): unknown {
  let at = 0;
  const fail = (rule: string, place = at): never => {
    throw new JsonError(rule, text, place);
  };
  const next = (expected: string): string => {
    token.lastIndex = at;
    const found = token.exec(text);
    const word = found?.[1] ?? found?.[2] ?? found?.[3];
    if (word === undefined) {
      at += /^\s*/.exec(text.slice(at))?.[0].length ?? 0;
      return fail(at >= text.length ? `the file ends where ${expected} belongs` : `${expected} is expected`);
    }
    at = token.lastIndex;
    return word;
  };
  const scalar = (word: string, expected: string): unknown => {
    try {
      return JSON.parse(word) as unknown;
    } catch {
      return fail(`${expected} is expected`, at - word.length);
    }
  };
  const members = (depth: number): Record<string, unknown> => {
    const entries = new Map<string, unknown>();
    for (let word = next("a key in quotes"); word !== "}"; word = next("a key in quotes")) {
      const key = word.startsWith('"') ? String(scalar(word, "a key in quotes")) : fail("a key in quotes is expected");
      if (entries.has(key)) fail("this key is written twice", at - word.length);
      if (next("a colon") !== ":") fail("a colon is expected", at - 1);
      entries.set(key, value(next("a value"), depth + 1));
      const end = next("a comma or }");
      if (end === "}") break;
      if (end !== ",") fail("a comma or } is expected", at - end.length);
    }
    return Object.fromEntries(entries);
  };
  const items = (depth: number): unknown[] => {
    const list: unknown[] = [];
    for (let word = next("a value"); word !== "]"; word = next("a value")) {
      list.push(value(word, depth + 1));
      const end = next("a comma or ]");
      if (end === "]") break;
      if (end !== ",") fail("a comma or ] is expected", at - end.length);
    }
    return list;
  };
  const value = (word: string, depth: number): unknown => {
    if (depth > maxDepth) fail(`nested deeper than ${maxDepth} levels`);
    if (word === "{") return members(depth);
    return word === "[" ? items(depth) : scalar(word, "a value");
  };
  const result = value(next("a value"), 0);
  if (text.slice(at).trim() !== "") fail("one value only is expected");
  return result;
}
