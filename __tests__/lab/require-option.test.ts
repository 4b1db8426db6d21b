import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireOption } from "../../lab/cluster/shims";

test("a pod's processes load what is in a folder whose name has spaces, quotes and backslashes", () => {
  const folder = mkdtempSync(join(tmpdir(), "tog-require-"));
  try {
    const inner = join(folder, 'my "own" back\\slash folder');
    mkdirSync(inner);
    writeFileSync(join(inner, "preload.cjs"), "globalThis.loaded = 'it was loaded';");
    const said = execFileSync(process.execPath, ["-p", "globalThis.loaded"], {
      env: { PATH: process.env.PATH, NODE_OPTIONS: requireOption(join(inner, "preload.cjs")) },
      encoding: "utf8",
    });
    expect(said.trim()).toBe("it was loaded");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
