/** What others publish under a movable name is used by its content. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const workflows = resolve(__dirname, "../../.github/workflows");

test("each GitHub action is pinned to a commit, with its version beside it", () => {
  const uses = readdirSync(workflows).flatMap((name) =>
    [...readFileSync(join(workflows, name), "utf8").matchAll(/uses: (.*)$/gm)].map(([, text = ""]) => text),
  );
  expect(uses.length).toBeGreaterThan(0);
  expect(uses.filter((text) => !/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(text))).toEqual([]);
});
