/** The runbook and the README, as far as they write files: in a fresh copy they leave no secret for git to take. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { requireSecrets, resolveConfiguration } from "../../configuration/load";

const root = resolve(__dirname, "../..");
const examples = readdirSync(join(root, "examples"));
const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));
function freshCopy(): string {
  const folder = mkdtempSync(join(tmpdir(), "tog-clone-"));
  folders.push(folder);
  for (const name of ["examples", ".gitignore"]) cpSync(join(root, name), join(folder, name), { recursive: true });
  run(folder, "git init -q . && git add -A");
  return folder;
}
function run(folder: string, command: string): string {
  const { status, stdout, stderr } = spawnSync("bash", ["-euc", command], { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
  return stdout;
}
/** Lines of the page's shell blocks that begin with one of these words. */
const commandsOf = (page: string, words: RegExp): string[] =>
  [...readFileSync(join(root, page), "utf8").matchAll(/```sh\n([^]*?)```/g)]
    .flatMap(([, block = ""]) => block.split("\n").map((line) => line.trim()))
    .filter((line) => words.test(line));
const untracked = (folder: string): string[] =>
  run(folder, "git status --porcelain --untracked-files=all")
    .split("\n")
    .filter((line) => line.startsWith("??"));
const hasKeygen = spawnSync("sh", ["-c", "command -v ssh-keygen"]).status === 0;

(hasKeygen ? test : test.skip)("the commands of the first bake leave nothing for git to take", () => {
  const folder = freshCopy();
  const commands = commandsOf("docs/runbooks/first-bake.md", /^(cp|mkdir|ssh-keygen) /);
  expect(commands).toHaveLength(4);
  for (const command of commands) run(folder, command);
  expect(existsSync(join(folder, ".secrets/signer-link"))).toBe(true);
  run(folder, "touch outputs.json images.auto.tfvars.json");
  expect(untracked(folder)).toEqual([]);
});

test.each(examples)(
  "the README's lines work for the example %s, whose secrets are then the only ones missing",
  async (example) => {
    const folder = freshCopy();
    const lines = commandsOf("README.md", /^(EXAMPLE=|cp examples)/).map((line) =>
      line.replace(/^EXAMPLE=\S+/, `EXAMPLE=${example}`),
    );
    run(folder, lines.join("\n"));
    expect(untracked(folder)).toEqual([]);
    const resolved = await resolveConfiguration({ folder });
    expect(Object.keys(resolved.sources)).toContain("secrets");
    if (example === "shadownet") expect(() => requireSecrets(resolved)).not.toThrow();
    else expect(() => requireSecrets(resolved)).toThrow(/secrets\./);
  },
);
