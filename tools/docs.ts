/**
 * `npm run docs` writes the generated documents, `npm run docs -- --check` fails where one is stale.
 * A generator is a file tools/docs/NAME.ts that exports `document: GeneratedDocument`.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

export interface GeneratedDocument {
  /** Path below the project's folder. */
  file: string;
  /** The whole document. Deterministic: no times, no machine. */
  render(): string | Promise<string>;
}

const root = resolve(__dirname, "..");

/** Path of each generated document with its content on disk ("" where there is none) and as it should be. */
export async function documents(): Promise<{ file: string; now: string; wanted: string }[]> {
  const names = readdirSync(join(__dirname, "docs"))
    .filter((name) => name.endsWith(".ts"))
    .sort();
  return Promise.all(
    names.map(async (name) => {
      const { document } = (await import(join(__dirname, "docs", name))) as { document: GeneratedDocument };
      const path = join(root, document.file);
      return {
        file: document.file,
        now: existsSync(path) ? readFileSync(path, "utf8") : "",
        wanted: await document.render(),
      };
    }),
  );
}

async function main(check: boolean): Promise<void> {
  const stale = (await documents()).filter(({ now, wanted }) => now !== wanted);
  for (const { file, wanted } of stale) {
    if (check) console.error(`${file} is stale: run npm run docs`);
    else {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), wanted);
      console.log(`wrote ${file}`);
    }
  }
  if (check && stale.length > 0) process.exitCode = 1;
}

if (require.main === module) void main(process.argv.includes("--check"));
