/**
 * The commands of the runbooks exist and take these arguments. The same commands are run in runbooks.soak.test.ts and
 * runbooks.cluster.test.ts.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ClusterError } from "../../cockpit/cluster";
import { signingGate } from "../../constructs/containers/daemons";
import { containers } from "../../contract/containers";
import { mounts } from "../../contract/env";
import { parseRequest } from "../../scripts/cdktf";
import { cockpit } from "../../cockpit/main";
import { folder, notRun, root, runbookCommands, type RunbookCommand } from "../helpers/runbooks";

const scripts = (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> })
  .scripts;
const commands = runbookCommands();

/** Stops where the cluster would be asked: exit code 3 says that everything before was understood. */
const parsed = async (argv: readonly string[]): Promise<{ code: number; err: string }> => {
  let err = "";
  const connect = () => {
    throw new ClusterError("unreachable", "as far as this test goes");
  };
  const code = await cockpit(argv, { connect, out: () => undefined, err: (text) => (err += text), terminal: false });
  return { code, err };
};

/** @throws Error where the command does not exist or does not take these words */
async function understand({ words, text }: RunbookCommand): Promise<string> {
  const [first, ...others] = words[0] === "sudo" ? words.slice(1) : words;
  if (notRun.some(({ program }) => program.test(text))) return "not run";
  if (first === "npm" && others[0] === "run") {
    const name = others[1] ?? "";
    const rest = others[2] === "--" ? others.slice(3) : [];
    if (others.length > 2 && others[2] !== "--") throw new Error("arguments of npm run come after --");
    if (scripts[name] === undefined) throw new Error(`package.json has no script "${name}"`);
    if (["baker", "nonces", "watermark"].includes(name)) {
      const argv = name === "baker" ? rest : [name, ...rest];
      // An import reads its file before it asks the cluster; an export wants a name that is free.
      const imported = (word: string) => (word === "nonces.json" && argv.includes("import") ? "package.json" : word);
      const { code, err } = await parsed(argv.map(imported));
      if (code !== 3) throw new Error(err);
      return "cockpit";
    }
    if (["synth", "diff", "deploy", "destroy"].includes(name)) {
      parseRequest([name, ...rest]);
      return "cdktf";
    }
    if (rest.length > 0) throw new Error(`no test knows the arguments of npm run ${name}`);
    return "script";
  }
  if (first === "npx" && others[0] === "cdktf" && ["output", "diff", "deploy"].includes(others[1] ?? "")) {
    if (!existsSync(join(root, "node_modules/.bin/cdktf"))) throw new Error("cdktf is not installed");
    return "cdktf";
  }
  if (first === "scripts/signer-host") {
    const script = readFileSync(join(root, first), "utf8");
    if (!new RegExp(`^ {2}(\\w+ \\| )*${others[0]}( \\| \\w+)*\\) shift`, "m").test(script))
      throw new Error(`signer-host has no action "${others[0]}"`);
    for (const option of others.filter((word) => word.startsWith("--")))
      if (!new RegExp(`^ {4}(.*\\| )?${option}( \\|.*)?\\)`, "m").test(script))
        throw new Error(`signer-host has no option "${option}"`);
    return "signer-host";
  }
  if (first === "kubectl") return "kubectl";
  throw new Error("unknown program");
}

test("every page has what a page must have", () => {
  for (const page of readdirSync(folder).filter((name) => name !== "README.md")) {
    const text = readFileSync(join(folder, page), "utf8");
    expect({
      page,
      missing: ["When", "Cost", "worked", "Back|way back|direction"].filter((word) => !new RegExp(word).test(text)),
    }).toEqual({
      page,
      // What is only looked at neither costs nor is taken back.
      missing:
        page === "nobody-signs.md" ? ["worked", "Back|way back|direction"] : page === "gke-upgrade.md" ? ["When"] : [],
    });
    expect(readFileSync(join(folder, "README.md"), "utf8")).toContain(`(${page})`);
  }
});

test("the pages link to pages and anchors that exist", () => {
  const anchors = (path: string) =>
    [...readFileSync(path, "utf8").matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replace(/[^a-z0-9 -]/g, "")
        .replaceAll(" ", "-"),
    );
  const broken: string[] = [];
  for (const page of readdirSync(folder))
    for (const [, link = ""] of readFileSync(join(folder, page), "utf8").matchAll(/\]\(([^)]+)\)/g)) {
      const [file = "", anchor] = link.split("#");
      const path = file === "" ? join(folder, page) : join(folder, file);
      if (!existsSync(path) || (anchor !== undefined && !anchors(path).includes(anchor)))
        broken.push(`${page}: ${link}`);
    }
  expect(broken).toEqual([]);
});

test("the commands are found", () => {
  expect(commands.length).toBeGreaterThan(80);
  for (const name of ["status", "doctor", "drill", "history", "switchover"])
    expect(commands.some(({ text }) => text.startsWith(`npm run baker -- ${name}`))).toBe(true);
});

test.each(commands.map((command) => [`${command.page}: ${command.text}`, command] as const))(
  "%s",
  async (_name, command) => {
    await expect(understand(command)).resolves.toBeTruthy();
  },
);

test("what is removed in a container is in a folder that it mounts, and is not the mount point itself", () => {
  const removals = commands.filter(({ text }) => / exec .*rm -rf/.test(text));
  expect(removals).not.toEqual([]);
  const seen = signingGate({ image: "image" }).volumeMount.map(({ mountPath }) => mountPath);
  for (const { words } of removals) {
    expect(words[words.indexOf("-c") + 1]).toBe(containers.signingGate);
    const path = /rm -rf (.+)$/.exec(words.at(-1) ?? "")?.[1]?.replace('"$TOG_STATE_DIR"', mounts.stateDir) ?? "";
    expect(seen.filter((folder) => path.startsWith(`${folder}/`))).toEqual([mounts.stateDir]);
    expect(path).toBe(`${mounts.dalDir}/*`);
  }
});

test("what is excused is there", () => {
  expect(
    notRun.filter(({ program }) => !commands.some(({ text }) => program.test(text))).map(({ reason }) => reason),
  ).toEqual([]);
});

test.each([
  "npm run baker -- statsu",
  "npm run baker -- status --wach",
  "npm run bakre -- status",
  "npm run deploy -- --only bakery",
  "sudo scripts/signer-host docter",
  "frobnicate x",
])("an unknown command is found out: %s", async (text) => {
  await expect(understand({ page: "", text, words: text.split(" ") })).rejects.toThrow();
});
