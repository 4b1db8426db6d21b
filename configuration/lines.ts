/** Where in a variable file a key is written. */

/**
 * Line of the deepest key of the path that is written, counted from 1; undefined where not even the first is.
 * @param text of the file, HCL or JSON
 */
export function lineOf(text: string, path: readonly string[]): number | undefined {
  const code = text.replace(/^(\s*)(#|\/\/).*$/gm, "$1");
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
  }
  return line;
}
