/** The commands of docs/runbooks: what stands in their shell blocks and, in running text, in backticks. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

export const root = resolve(__dirname, "../..");
export const folder = join(root, "docs/runbooks");

export interface RunbookCommand {
  page: string;
  /** As written, without comment. */
  text: string;
  /** Words with the capitals replaced. */
  words: string[];
}

/** What the words in capitals stand for. */
export const standIns: Record<string, string> = {
  POD: "alice-as-1",
  BAKER: "alice",
  SIGNER: "home1",
  NODE: "node-1",
  WATERMARK: "wm-0000000000000000000000000000000000000000",
  KEY: "tz1KqTpEZ7Yob7QbPE4Hy4Wo8fHG8LhKxZSx",
  LEVEL: "3200500",
};

/** Commands that no test runs, with the reason. */
export const notRun: { program: RegExp; reason: string }[] = [
  { program: /^gcloud /, reason: "needs Google Cloud" },
  { program: /^(sudo )?systemctl /, reason: "needs systemd on the signer host" },
  { program: /^sudo -u tezos-signer octez-signer /, reason: "needs Octez on the signer host" },
  { program: /^curl -fsS http:\/\/127\.0\.0\.1:6732\//, reason: "needs the signer host" },
  { program: /^octez-client /, reason: "needs Octez and a chain" },
  { program: /^etcdutl /, reason: "needs the snapshot of an etcd; the flags are those of etcd 3.6" },
  { program: /^(cp|mkdir|ssh-keygen) /, reason: "is a program of the system" },
];

/** As a shell splits it, as far as these pages need: blanks, '...' and "...". */
export function words(text: string): string[] {
  return [...text.matchAll(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g)].map(([word]) =>
    word.replace(/'([^']*)'|"([^"]*)"/g, (_all, a: string, b: string) => a ?? b),
  );
}
const fill = (word: string): string => word.replace(/\b[A-Z]{3,}\b/g, (name) => standIns[name] ?? name);

/** The one file that a page shows. */
export const yamlOf = (page: string): string =>
  fill(/^```yaml\n([^]*?)^```/m.exec(readFileSync(join(folder, page), "utf8"))?.[1] ?? "");

const programs = /^(sudo |npm run |npx |kubectl |gcloud |systemctl |octez-client |etcdutl |scripts\/signer-host )/;

export function runbookCommands(): RunbookCommand[] {
  const commands: RunbookCommand[] = [];
  for (const page of readdirSync(folder).filter((name) => name.endsWith(".md"))) {
    const markdown = readFileSync(join(folder, page), "utf8");
    const add = (text: string) => commands.push({ page, text, words: words(text).map(fill) });
    for (const [, block = ""] of markdown.matchAll(/^ *```sh\n([^]*?)^ *```/gm))
      for (const line of block.split("\n")) {
        const text = line.replace(/\s+#.*$/, "").trim();
        if (text !== "") add(text);
      }
    for (const [, text = ""] of markdown.replace(/^ *```[^]*?^ *```/gm, "").matchAll(/`([^`\n]+)`/g))
      // `COMMAND` stands for any.
      if (programs.test(text) && !/ COMMAND$|=\.\.\.$/.test(text)) add(text);
  }
  return commands;
}
