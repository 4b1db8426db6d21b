import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, resolve } from "node:path";

const root = resolve(__dirname, "../..");
const text = (file: string): string => readFileSync(join(root, file), "utf8");
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => /\.(ts|mjs|md|ya?ml|tpl|sh)$/.test(file) && existsSync(join(root, file)));

/**
 * The paths of documents that a file cites: a path below docs/ anywhere, and in a Markdown file the targets of its
 * links.
 */
function cited(file: string): string[] {
  const content = text(file);
  const named = [...content.matchAll(/(?<![\w./-])docs\/[\w./-]+\.(?:md|png|svg)/g)].map(([path]) => path);
  if (!file.endsWith(".md")) return named;
  const links = [...content.matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)/g)].map(([, path]) => path ?? "");
  return [...named, ...links.map((path) => normalize(join(dirname(file), path)))];
}

test("every document that code, comments or documents cite exists", () => {
  const dead = files.flatMap((file) =>
    cited(file)
      .filter((path) => !existsSync(join(root, path)))
      .map((path) => `${file} cites ${path}`),
  );
  expect(dead).toEqual([]);
});

test("docs/protocol.md has one heading for each of the rules S1 to S7", () => {
  const headings = [...text("docs/protocol.md").matchAll(/^### (S\d):/gm)].map(([, rule]) => rule);
  expect(headings).toEqual(["S1", "S2", "S3", "S4", "S5", "S6", "S7"]);
});

test("a file that cites S1 to S7 by document cites docs/protocol.md", () => {
  const rules = files.filter((file) => file.startsWith("daemons/") && /S\d-S\d/.test(text(file)));
  const elsewhere = rules.filter((file) => /docs\/failover\.md/.test(text(file)));
  expect(elsewhere).toEqual([]);
});

test("docs/decisions/README.md lists every record", () => {
  const records = readdirSync(join(root, "docs/decisions")).filter((name) => /^\d/.test(name));
  const listed = [...text("docs/decisions/README.md").matchAll(/\]\((\d[^)]+)\)/g)].map(([, name]) => name);
  expect(listed).toEqual(records.sort());
});
