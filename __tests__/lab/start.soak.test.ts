/** `npm start` as a process: its receipt, its exit code, and that nothing of it is left, however it ends. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { tree } from "../../lab/cluster/process";

const root = resolve(__dirname, "../..");
function start(...args: string[]): {
  child: ChildProcess;
  output: () => string;
  errors: () => string;
  exit: Promise<number | null>;
} {
  const child = spawn(process.execPath, ["--import", "tsx", "lab/commands/start.ts", "--no-summary", ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let errors = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  return {
    child,
    output: () => output,
    errors: () => errors,
    exit: new Promise((done) => child.on("close", (code) => done(code))),
  };
}
const wait = (ms: number) => new Promise((done) => setTimeout(done, ms));
async function until(test: () => boolean, ms: number): Promise<boolean> {
  const end = performance.now() + ms;
  while (!test() && performance.now() < end) await wait(100);
  return test();
}
const alive = (pids: number[]) => pids.filter((pid) => existsSync(`/proc/${pid}`));

test("a scenario for machines prints one receipt as JSON and ends with 0", async () => {
  const { output, exit } = start("--scenario", "pod-kill", "--exit", "--json", "--block-time", "2");
  await expect(exit).resolves.toBe(0);
  const receipt = JSON.parse(output()) as Record<string, unknown>;
  expect(receipt).toMatchObject({
    scenario: "pod-kill",
    ok: true,
    violations: [],
    overlapMs: 0,
    doubleStartSeconds: 0.667,
  });
  expect(receipt.timeline).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ event: "fault: kill-pod" }),
      expect.objectContaining({ event: "first signature" }),
    ]),
  );
});

test("an unknown scenario is an error that names the known ones", async () => {
  const { errors, exit } = start("--scenario", "nonsense");
  await expect(exit).resolves.toBe(1);
  expect(errors()).toContain("pod-kill");
});

test.each(["SIGINT", "SIGKILL"] as const)("%s leaves no process", async (signal) => {
  const { child, errors, exit } = start("--block-time", "2", "--port", "0", "--no-demo");
  const pid = child.pid ?? 0;
  expect(await until(() => errors().includes("ready:"), 120_000)).toBe(true);
  const before = tree(pid);
  expect(before.length).toBeGreaterThan(18);
  child.kill(signal);
  await exit;
  expect(await until(() => alive(before).length === 0, 20_000)).toBe(true);
});
