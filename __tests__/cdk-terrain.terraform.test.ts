/**
 * The way out of cdktf, kept open: with its continuation CDK Terrain (`cdktn`) in cdktf's place, unchanged sources
 * synthesize the same configuration but for the version in a comment. Needs npm's registry.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { handedName } from "../configuration/tfvars";

const root = resolve(__dirname, "..");
/** As in docs/cdk-terrain.md. */
const packages = ["cdktn@0.24.0", "constructs@10.6.0"];
const folder = mkdtempSync(join(tmpdir(), "tog-cdktn-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

writeFileSync(join(folder, "package.json"), "{}");
const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
const install = spawnSync("npm", ["install", ...options, ...packages], { cwd: folder, timeout: 120_000 });
const missing = install.status === 0 ? undefined : `npm cannot give ${packages.join(" and ")}`;
if (missing !== undefined) console.warn(`skipped: ${missing}`);

/** Every module of the program and of its providers finds the packages of `folder` under the old names. */
const preload = join(folder, "preload.cjs");
writeFileSync(
  preload,
  `const { Module } = require("node:module");
const find = Module._resolveFilename;
Module._resolveFilename = function (name, ...others) {
  const [, found, rest] = /^(cdktf|constructs)(\\/.*)?$/.exec(name) ?? [];
  if (found === undefined) return find.call(this, name, ...others);
  return find.call(this, ${JSON.stringify(join(folder, "node_modules"))} + "/" + (found === "cdktf" ? "cdktn" : found) + (rest ?? ""), ...others);
};
`,
);

/** Stack -> its configuration as text. */
function synth(example: string, flag: boolean, continued: boolean): Record<string, string> {
  const outdir = join(folder, `out-${example}-${flag}-${continued}`);
  const env = {
    ...process.env,
    CDKTF_OUTDIR: outdir,
    [handedName]: JSON.stringify({
      environment: {},
      options: [{ var: `experimental_active_standby_mode=${flag}` }],
    }),
  };
  const words = [...(continued ? ["--require", preload] : []), "--import", pathToFileURL(require.resolve("tsx")).href];
  const run = spawnSync(process.execPath, [...words, join(root, "main.ts")], {
    cwd: join(root, "examples", example),
    encoding: "utf8",
    env,
  });
  if (run.status !== 0) throw new Error(run.stderr);
  return Object.fromEntries(
    readdirSync(join(outdir, "stacks")).map((stack) => [
      stack,
      readFileSync(join(outdir, "stacks", stack, "cdk.tf.json"), "utf8"),
    ]),
  );
}
const version = /"version": "(\d+\.\d+\.\d+)"/;
/** As JSON in the same order; the comment of a stack names the library that wrote it. */
const comparable = (text: string): string =>
  JSON.stringify(JSON.parse(text.replace(version, '"version": "-"')), null, 1);

(missing === undefined ? describe : describe.skip)("CDK Terrain in the place of cdktf", () => {
  const examples = readdirSync(join(root, "examples"));
  test.each(examples.flatMap((example) => [false, true].map((flag) => [example, flag] as const)))(
    "%s, flag %s: the same configuration",
    (example, flag) => {
      const [old, continued] = [synth(example, flag, false), synth(example, flag, true)];
      for (const [stack, text] of Object.entries(continued)) {
        expect(version.exec(text)?.[1]).toBe("0.24.0");
        expect(comparable(text)).toBe(comparable(old[stack] ?? "{}"));
      }
      expect(Object.keys(continued)).toEqual(Object.keys(old));
    },
    120_000,
  );
});
