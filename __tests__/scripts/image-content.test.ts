/**
 * Every daemon and sub-command of the images starts from what `publish-images` stages, in a folder above which there
 * are no packages.
 */
import { fork, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stageContext } from "../../scripts/publish-images";

let folder: string;
let tog: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tog-image-"));
  mkdirSync(join(folder, "empty"));
  await stageContext(join(folder, "image"));
  tog = join(folder, "image/tog/tog.cjs");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const env = { PATH: join(folder, "empty") };
  const child = spawn(process.execPath, [tog, ...args], { cwd: join(folder, "empty"), env });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (output += data.toString()));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, output }));
  });
}

const notFound = /ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND|Cannot find (module|package)/;

test("the launcher, which stands in for setpriv, becomes the daemon that it is given", async () => {
  const script = "process.stdout.write('started')";
  const launched = await run(["baker-supervisor", "--launch", String(process.pid), process.execPath, "-e", script]);
  expect(launched).toEqual({ code: 0, output: "started" });
});

test("the launcher says why where the daemon cannot be started", async () => {
  const { code, output } = await run(["baker-supervisor", "--launch", String(process.pid), "/nonexistent"]);
  expect(code).toBe(126);
  expect(output).toContain("/nonexistent: cannot be started (errno 2)");
});

test("the importer's writer loads what it needs and is ready for a job", async () => {
  const child = fork(tog, ["nonce-importer", "writer"], { cwd: join(folder, "empty"), env: {}, silent: true });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data: Buffer) => (output += data.toString()));
  const closed = new Promise<string>((resolve) => child.once("close", () => resolve(output)));
  const ready = new Promise<unknown>((resolve) => child.once("message", resolve));
  expect(await Promise.race([ready, closed])).toEqual({ ready: true });
  child.kill("SIGKILL");
  await closed;
});

test.each([
  [["elector"]],
  [["sidecar"]],
  [["baker-supervisor"]],
  [["signing-gate"]],
  [["nonce-exposer"]],
  [["nonce-importer"]],
  [["nonce-importer", "export"]],
  [["nonce-importer", "import"]],
  [["hot-keys", "/nonexistent", "/nonexistent"]],
  [["topology-guard"]],
])("%j gets as far as the mistakes of its empty environment, and no module is missing", async (args) => {
  const { code, output } = await run(args);
  expect(output).not.toMatch(notFound);
  expect(output).toMatch(/TOG_|ENOENT/);
  expect(code).toBe(1);
});
