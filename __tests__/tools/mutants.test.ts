/** The list of deliberate faults keeps up with the code: `npm run mutants` runs the suites with each of them. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { planted } from "../../tools/mutants";
import { mutants } from "../../tools/mutants/mutants";

const root = resolve(__dirname, "../..");

test.each(mutants.map((mutant) => [mutant.name, mutant] as const))("%s can be planted", (_, mutant) => {
  const source = readFileSync(join(root, mutant.file), "utf8");
  expect(planted(source, mutant)).not.toBe(source);
});
test("names are unique, and a text that is gone or stands twice is an error that says so", () => {
  expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
  const mutant = { name: "m", breaks: "", file: "f.ts", find: "x", replace: "y" };
  expect(() => planted("abc", mutant)).toThrow("mutant m: its text must occur once in f.ts, got 0");
  expect(() => planted("x x", mutant)).toThrow("got 2");
});
