import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClientFolder, writeProblem } from "../../../daemons/baker-supervisor/writable";

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

test("a disk that hangs is a problem as well, until the try that it holds up is over", async () => {
  const tries: ((problem: string | undefined) => void)[] = [];
  const folder = new ClientFolder(() => new Promise((resolve) => tries.push(resolve)));
  expect(await folder.problem(1)).toBe("no-answer");
  expect(await folder.problem(1)).toBe("no-answer");
  expect(tries).toHaveLength(1);
  const answered = folder.problem(60_000);
  tries[0]?.(undefined);
  expect(await answered).toBeUndefined();
  const again = folder.problem(60_000);
  tries[1]?.("EIO");
  expect(await again).toBe("EIO");
});
