/** Where in a variable file a key is written. */

/** Where the value ends that begins after the sign at `at`: with its bracket, or with its line. */
function endOfValue(code: string, at: number): number {
  const start = /[^\s=:]/g;
  start.lastIndex = at;
  const first = start.exec(code);
  const endOfLine = code.indexOf("\n", at);
  if (!first || !/[{[]/.test(first[0])) return endOfLine < 0 ? code.length : endOfLine;
  const piece = /"(?:\\.|[^"\\\n])*"|#.*|\/\/.*|[{}[\]]/g;
  piece.lastIndex = first.index;
  let depth = 0;
  for (let one = piece.exec(code); one; one = piece.exec(code)) {
    depth += /^[{[]/.test(one[0]) ? 1 : /^[}\]]/.test(one[0]) ? -1 : 0;
    if (depth === 0) return piece.lastIndex;
  }
  return code.length;
}

/**
 * Line of the deepest key of the path that is written, counted from 1; undefined where not even the first is.
 * @param text of the file, HCL or JSON
 */
export function lineOf(text: string, path: readonly string[]): number | undefined {
  let code = text.replace(/^(\s*)(#|\/\/).*$/gm, "$1");
  let at = 0;
  let line: number | undefined;
  for (const key of path) {
    const written = new RegExp(`(^|[\\s{,])"?${key.replace(/[^\w-]/g, "\\$&")}"?\\s*[=:{]`, "gm");
    written.lastIndex = at;
    const found = written.exec(code);
    if (!found) break;
    at = found.index + (found[1]?.length ?? 0);
    line = code.slice(0, at).split("\n").length;
    at = written.lastIndex - 1;
    // The next key is inside: one of the same name further down belongs to another block.
    code = code.slice(0, endOfValue(code, at));
  }
  return line;
}
