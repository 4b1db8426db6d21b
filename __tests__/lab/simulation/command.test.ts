import { spawnSync } from "node:child_process";

test.each([
  ["--count", "ten", "--count must be a whole number, 1 or more; got ten"],
  ["--seed", "x", "--seed must be a whole number, 0 or more; got x"],
])("simulate %s %s is refused", (option, text, sentence) => {
  const command = ["--import", "tsx", "lab/commands/simulate.ts", option, text];
  const { status, stderr } = spawnSync(process.execPath, command, { encoding: "utf8", timeout: 60_000 });
  expect(stderr.trim()).toBe(sentence);
  expect(status).toBe(2);
});

test("so is a number of schedules that is none", () => {
  const command = ["--import", "tsx", "lab/commands/fuzz.ts", "schedules", "--count", "ten"];
  const { status, stderr } = spawnSync(process.execPath, command, { encoding: "utf8", timeout: 60_000 });
  expect(stderr.trim()).toBe("--count must be a whole number, 1 or more; got ten");
  expect(status).toBe(2);
});
