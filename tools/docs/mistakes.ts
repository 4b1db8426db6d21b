/** docs/mistakes.md: mistakes of an operator and what the program says to each, by the program itself. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ConfigurationError, redact } from "../../configuration/errors";
import { resolveConfiguration } from "../../configuration/load";
import type { GeneratedDocument } from "../docs";

const root = resolve(__dirname, "../..");

interface Mistake {
  what: string;
  /** Whose terraform.tfvars the mistake is made in. */
  example: "shadownet" | "mainnet-two-ledgers" | "existing-cluster";
  /** Each text of the file and what stands in its place; "" means the end of the file. */
  edits: readonly (readonly [from: string, to: string])[];
  /** `TF_VAR_` variables, without that beginning. */
  environment?: Readonly<Record<string, string>>;
}

/** Of a test network: nobody's key. */
const encrypted = "edesk1BXVkFYxkzWfxMVwFvZsg1v7d6nYDgW9VTZCLTZ8EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE";
const home1 = "AAAAC3NzaC1lZDI1NTE5AAAAICZM5QzPy/6s37GbqUCnA6KP6jQxJ/wSVPXrgW5AOqfG home1";
const home2 = "AAAAC3NzaC1lZDI1NTE5AAAAICotwerfsyrmWjEcs8+tiZHw9u3wqeXiC+72UHEyfNTf home2";

const mistakes: readonly Mistake[] = [
  { what: "a region that does not exist", example: "shadownet", edits: [['"us-central1"', '"us-centrall1"']] },
  { what: "a zone that does not exist", example: "shadownet", edits: [["us-central1-f", "us-central1-e"]] },
  { what: "the namespace `default`", example: "shadownet", edits: [["", 'namespace = "default"']] },
  { what: "the namespace `kube-system`", example: "shadownet", edits: [["", 'namespace = "kube-system"']] },
  { what: "the same SSH key for two signers", example: "mainnet-two-ledgers", edits: [[home2, home1]] },
  {
    what: "an image with the tag `latest`",
    example: "shadownet",
    edits: [["", 'images = { octez = "tezos/tezos:latest" }']],
  },
  { what: "a version of Octez that does not exist", example: "shadownet", edits: [["", 'octez_version = "v2.51"']] },
  {
    what: "settings that an existing cluster has already",
    example: "existing-cluster",
    edits: [["{\n", '{\n  "release_channel": "REGULAR",\n']],
  },
  {
    what: "secrets of a baker that is not there",
    example: "shadownet",
    edits: [
      [
        "",
        'secrets = { hot_keys = { alcie = { tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5 = "unencrypted:edsk2gbxRomx4Yci1xseFsNKJYuZW8hTmgsj8eardFMfVRTDzVSiht" } } }',
      ],
    ],
  },
  {
    what: "an encrypted key in the place of a key",
    example: "shadownet",
    edits: [["", `secrets = { hot_keys = { alice = { tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5 = "${encrypted}" } } }`]],
  },
  { what: "`yes` in the place of `true`", example: "shadownet", edits: [["= true ", "= yes "]] },
  { what: "a text without quotes", example: "shadownet", edits: [['"shadownet"', "shadownet"]] },
  {
    what: "a list of bakers",
    example: "shadownet",
    edits: [
      ["bakers = {\n  alice = {", "bakers = [{"],
      ["  }\n}", "  }]"],
    ],
  },
  {
    what: "bakers as a block",
    example: "shadownet",
    edits: [["bakers = {", "bakers {"]],
  },
  {
    what: "a list as one text",
    example: "shadownet",
    edits: [['["us-central1-b", "us-central1-f"]', '"us-central1-b, us-central1-f"']],
  },
  {
    what: "a comment that never ends",
    example: "shadownet",
    edits: [['network = "shadownet"', '/* network = "shadownet"']],
  },
  {
    what: "a file of `variable` blocks given as tfvars",
    example: "shadownet",
    edits: [["", 'variable "project" {\n  default = "my-tezos-project"\n}']],
  },
  {
    what: "an environment variable that nothing reads",
    example: "shadownet",
    edits: [],
    environment: { experimental_active_standby: "true" },
  },
];

const nameOf = ({ example }: Mistake): string =>
  example === "existing-cluster" ? "terraform.tfvars.json" : "terraform.tfvars";

function fileOf(mistake: Mistake): string {
  const { example, edits, what } = mistake;
  let text = readFileSync(join(root, "examples", example, nameOf(mistake)), "utf8");
  for (const [from, to] of edits) {
    if (!text.includes(from)) throw new Error(`${what}: the example ${example} no longer has ${from}`);
    text = from === "" ? `${text}${to}\n` : text.replace(from, to);
  }
  return text;
}

/** What the program says beyond what it says of the example. Empty where it says nothing. */
async function saidTo(mistake: Mistake): Promise<string> {
  const usual = (await answerTo({ ...mistake, edits: [], environment: {} })).split("\n");
  return (await answerTo(mistake))
    .split("\n")
    .filter((line) => !line.startsWith("warning: ") || !usual.includes(line))
    .join("\n");
}
async function answerTo(mistake: Mistake): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "mistake-"));
  try {
    writeFileSync(join(folder, nameOf(mistake)), fileOf(mistake));
    const handed = { environment: mistake.environment ?? {}, options: [] };
    const { warnings } = await resolveConfiguration({ folder, handed });
    return warnings.map((warning) => `warning: ${warning}`).join("\n");
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.message.trim();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const lines = (sign: string, text: string): string[] =>
  text === ""
    ? []
    : text
        .trimEnd()
        .split("\n")
        .map((line) => `${sign} ${redact(line)}`);

async function render(): Promise<string> {
  const parts: string[] = [];
  for (const mistake of mistakes) {
    const edits = mistake.edits.flatMap(([from, to]) => {
      // What is added says nothing of the place where it is added.
      const [was, is] = from === "{\n" ? ["", to.replace(from, "")] : [from, to];
      return [...lines("-", was), ...lines("+", is)];
    });
    const environment = Object.entries(mistake.environment ?? {}).map(([name, value]) => `TF_VAR_${name}=${value}`);
    parts.push(
      `## ${mistake.what[0]?.toUpperCase()}${mistake.what.slice(1)}`,
      `In the example \`${mistake.example}\`:`,
      `\`\`\`text\n${[...edits, ...environment].join("\n")}\n\`\`\``,
      `\`\`\`text\n${await saidTo(mistake)}\n\`\`\``,
    );
  }
  return `# Mistakes, and what is said

Each mistake is made in a copy of one of the examples, and the second box is what the program says to it. This page is generated by \`npm run docs\` with the program itself, and \`npm test\` fails where it is stale.

${parts.join("\n\n")}
`;
}

export const document: GeneratedDocument = { file: "docs/mistakes.md", render };
