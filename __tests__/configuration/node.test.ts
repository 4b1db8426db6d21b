/** What every command does before all else. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(__dirname, "../..");
const commands = ["cdktf", "summary", "manifests", "build", "publish-images", "kind"].map(
  (name) => `scripts/${name}.ts`,
);

function run(program: string): { code: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, ["--import", "tsx", "--eval", program], {
    cwd: root,
    encoding: "utf8",
  });
  return { code: status, stderr };
}

test("an older Node.js gets one sentence: what is needed, what it is, what to do", () => {
  const program = `Object.defineProperty(process.versions, "node", { value: "18.20.1" }); require("./configuration/node");`;
  expect(run(program)).toEqual({
    code: 1,
    stderr: "Node.js 20 or newer is needed, this is 18.20.1: install a newer one, then run npm ci again.\n",
  });
});

test("deprecations inside libraries are not said to whoever runs a command", () => {
  const warn = `process.emitWarning("old", "DeprecationWarning", "DEP0040");`;
  expect(run(warn).stderr).toContain("DEP0040");
  expect(run(`require("./configuration/node"); ${warn}`)).toEqual({ code: 0, stderr: "" });
});

test.each([...commands, "main.ts", "cockpit/baker.ts", "lab/commands/start.ts"])("%s begins with it", (path) => {
  const [first] = /^import .*$/m.exec(readFileSync(join(root, path), "utf8")) ?? [];
  expect(first).toMatch(/^import "(\.\.?\/)+configuration\/node";$/);
});
