/** The options of `npm start` are judged before anything starts. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { numberOption, summaryWords } from "../../lab/commands/start";
import { handedOf, parseRequest } from "../../scripts/cdktf";
import { summaryOf } from "../../scripts/summary";

const runs = numberOption("--runs", "a whole number", 1, 10_000);
const seconds = numberOption("--start-time", "a number of seconds", 0, 600, /^\d+(\.\d+)?$/);

test("numbers as people write them", () => {
  expect(runs("3")).toBe(3);
  expect(seconds("2.5")).toBe(2.5);
});
test.each(["", "0", "0x10", "1e3", "three", "-1", "10001"])("a clear no to %p", (text) => {
  expect(() => runs(text)).toThrow(`--runs is a whole number from 1 to 10000, written in digits; got "${text}"`);
});

test.each([
  [true, "active-standby", 2],
  [false, "solo", 1],
])("the summary before a laboratory with the flag %p is of the pods that it runs", async (flag, mode, replicas) => {
  const folder = mkdtempSync(join(tmpdir(), "tog-start-"));
  const handed = handedOf(parseRequest(["synth", ...summaryWords(folder, flag)]), {});
  expect(await summaryOf(folder, handed)).toMatchObject({ example: "shadownet", mode, pods: [{ replicas }] });
  writeFileSync(join(folder, "terraform.tfvars"), "");
  expect(summaryWords(folder, flag)).toEqual([]);
  rmSync(folder, { recursive: true });
});
