/** Plain text for people: tables and columns without a library, so that pipes and screen readers get them whole. */

/** Of everything that is printed, where its words allow it. */
export const lineWidth = 80;

/**
 * What the cluster says may come from anybody who can write there: control characters, escape sequences and marks that
 * turn the direction of text are shown as \u codes and never reach a terminal. Line ends survive only where `lines`
 * says that they are ours.
 */
export const printable = (value: string, lines: "lines" | "one-line" = "one-line"): string =>
  value.replace(/[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (char) =>
    lines === "lines" && char === "\n" ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** Columns padded to their widest cell; two spaces between. */
export function table(head: readonly string[], raw: readonly (readonly string[])[]): string {
  const rows = raw.map((row) => row.map((cell) => printable(cell)));
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => (row[column] ?? "").length)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Lines of at most `width` characters, broken between words; a longer word stays whole. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of printable(text).split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && `${last} ${word}`.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
/** The first line after `first`, the others below it. */
export const hanging = (first: string, text: string): string =>
  first +
  wrap(text, lineWidth - first.length).join(`
${" ".repeat(first.length)}`);

/** A remedy, a part a line: a command stays on one line, so that it can be copied. */
export const remedyLines = (first: string, remedy: string): string =>
  remedy
    .split("; ")
    .map((part, i) => {
      const start = i === 0 ? first : " ".repeat(first.length);
      return /\bkubectl /.test(part) ? start + printable(part) : hanging(start, part);
    })
    .join("\n");

/**
 * A table on its side: a line for each fact and a column for each thing, so that it fits a narrow screen. Long cells
 * are broken between words.
 */
export function factsTable(names: readonly string[], facts: readonly (readonly [string, ...string[]])[]): string {
  const label = Math.max(...facts.map(([name]) => name.length));
  const room = Math.floor((lineWidth - label) / Math.max(1, names.length)) - 2;
  const widest = Math.max(...[names, ...facts.map(([, ...cells]) => cells)].flat().map(({ length }) => length));
  const width = Math.min(widest, Math.max(8, room));
  return [["", ...names], ...facts]
    .flatMap(([name = "", ...cells]) => {
      const wrapped = cells.map((cell) => wrap(cell, width));
      const height = Math.max(1, ...wrapped.map(({ length }) => length));
      return Array.from({ length: height }, (_, line) =>
        [(line === 0 ? name : "").padEnd(label), ...wrapped.map((lines) => (lines[line] ?? "").padEnd(width))]
          .join("  ")
          .trimEnd(),
      );
    })
    .join("\n");
}
