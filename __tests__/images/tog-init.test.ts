/** The shell that starts our daemons again, as Debian has it. */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { togInitSuite } from "../suites/tog-init-suite";

const script = resolve(__dirname, "../../images/tog-init");
const has = (program: string): boolean => spawnSync("which", [program]).status === 0;

(has("shellcheck") ? test : test.skip)("shellcheck has nothing to say", () => {
  expect(spawnSync("shellcheck", [script], { encoding: "utf8" }).stdout).toBe("");
});

togInitSuite("dash");
