import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as durable from "../../../daemons/runtime/durable";

const fresh = (): typeof durable => {
  jest.resetModules();
  return jest.requireActual("../../../daemons/runtime/durable");
};

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "tog-durable-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("what a killed process left, which had the same pid as its successor, stops no write; the successor removes it", async () => {
  const path = join(folder, "marks.json");
  writeFileSync(join(folder, ".keep"), "");
  // Killed between the temporary file and the rename, several times; each life is a new program with the same pid.
  for (let life = 0; life < 3; life++) await fresh().prepareDurably(path, `life ${life}`);
  const { writeDurably, removeLeftovers } = fresh();
  await writeDurably(path, "written");
  expect(readFileSync(path, "utf8")).toBe("written");
  expect(readdirSync(folder)).toHaveLength(5);
  await removeLeftovers(folder);
  expect(readdirSync(folder).sort()).toEqual([".keep", "marks.json"]);
});
