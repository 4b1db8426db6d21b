import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeProblem } from "../../../daemons/baker-supervisor/writable";

test("a folder that takes files has no problem and keeps none of them; one that does not is named by its code", async () => {
  const folder = mkdtempSync(join(tmpdir(), "writable-"));
  expect(await writeProblem(folder)).toBeUndefined();
  // Of a supervisor that was killed meanwhile.
  writeFileSync(join(folder, ".supervisor-writes"), "x");
  expect(await writeProblem(folder)).toBeUndefined();
  expect(readdirSync(folder)).toEqual([]);
  rmSync(folder, { recursive: true });
  expect(await writeProblem(folder)).toBe("ENOENT");
  expect(await writeProblem("/dev/full/x")).toBe("ENOTDIR");
});
