import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { MarksMemory } from "../../../daemons/signing-gate/memory";
import { slotFile } from "../../../daemons/signing-gate/slot-file";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tog-slots-"));
  path = join(folder, "marks");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("the last text is read back, by later processes too, whatever the length of those before", async () => {
  expect(await slotFile(path).read()).toBeUndefined();
  for (let life = 0; life < 3; life++) {
    const file = slotFile(path);
    for (const text of ["long ".repeat(20_000), `life ${life}`, "{}", `last ${life}`]) {
      await file.write(text);
      expect((await file.read())?.text).toBe(text);
    }
    expect((await slotFile(path).read())?.text).toBe(`last ${life}`);
  }
  expect(readdirSync(folder)).toEqual(["marks"]);
});

test("cut off anywhere a replacement leaves the text before it, or is whole", async () => {
  const file = slotFile(path, 4096);
  for (const text of ["one", "two", "three"]) await file.write(text);
  const before = readFileSync(path);
  await file.write("four");
  const after = readFileSync(path);
  // The fourth text is in the second slot.
  const line = after.indexOf("\n", 4096) + 1 - 4096;
  expect(before.subarray(0, 4096)).toEqual(after.subarray(0, 4096));
  for (const written of [0, 1, 30, 63, 64, 65, 66, 67, 68, line - 2, line - 1, line]) {
    after.copy(before, 4096, 4096, 4096 + written);
    writeFileSync(path, before);
    expect((await slotFile(path).read())?.text).toBe(written < line ? "three" : "four");
  }
});

test.each([
  ["empty", ""],
  ["a beginning", "{"],
  ["zeros", "\0".repeat(8192)],
  ["another text of the same shape", `${"0".repeat(64)} 1 {}\n${"\0".repeat(200)}`],
])("a file without a whole slot is an error, never nothing: %s", async (_what, content) => {
  writeFileSync(path, content);
  await expect(slotFile(path).read()).rejects.toThrow("none of its two slots is whole");
  await slotFile(path).write("new");
  expect((await slotFile(path).read())?.text).toBe("new");
});

test("what does not fit is refused and changes nothing; so does a disk that refuses, after which a new file is begun", async () => {
  const file = slotFile(path, 4096);
  await file.write("good");
  await expect(file.write("x".repeat(4096))).rejects.toThrow("a slot holds one line of 4096 bytes");
  await expect(file.write("two\nlines")).rejects.toThrow("a slot holds one line");
  expect((await file.read())?.text).toBe("good");
  rmSync(folder, { recursive: true });
  const homeless = slotFile(path);
  await expect(homeless.write("lost")).rejects.toThrow("ENOENT");
  folder = mkdtempSync(folder);
});

test("a write is over only when the disk has it; after a sync that failed the next text goes into a new file", async () => {
  const syncs: { done: () => void; fail: (error: Error) => void; text: string }[] = [];
  const sync = (fd: number): Promise<void> =>
    new Promise((done, fail) => syncs.push({ done, fail, text: readFileSync(`/proc/self/fd/${fd}`, "utf8") }));
  const file = slotFile(path, 4096, { sync });
  await file.write("first");
  let over = false;
  const second = file.write("second").then(() => (over = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(syncs).toHaveLength(1);
  expect(syncs[0]?.text).toContain("second");
  expect(over).toBe(false);
  syncs[0]?.done();
  await second;

  const { ino } = statSync(path);
  const third = file.write("third");
  syncs[1]?.fail(new Error("EIO"));
  await expect(third).rejects.toThrow("EIO");
  await file.write("fourth");
  expect(statSync(path).ino).not.toBe(ino);
  expect((await slotFile(path).read())?.text).toBe("fourth");
});

test("cells: read back by later processes, gone with each new file; one that is broken is no number", async () => {
  const file = slotFile(path, 4096);
  expect(() => file.note(0, 1)).toThrow("cell 0 of 1024 cannot be noted now");
  await file.write("one");
  file.note(0, 7);
  file.note(1023, 123_456_789_012);
  await file.write("two");
  const cells = (await slotFile(path).read())?.cells;
  expect([cells?.length, cells?.[0], cells?.[1], cells?.[1023]]).toEqual([1024, 7, 0, 123_456_789_012]);
  expect(() => file.note(1024, 1)).toThrow("cell 1024 of 1024");
  const broken = readFileSync(path);
  broken.write("?", 2 * 4096 + 5);
  writeFileSync(path, broken);
  expect((await slotFile(path).read())?.cells[0]).toBeNaN();
  const next = slotFile(path, 4096);
  await next.write("three");
  expect((await slotFile(path).read())?.cells[0]).toBe(0);
});

test("a process killed at any moment: its successor remembers what was confirmed, and no mark that the API had not acknowledged", async () => {
  const program = `
    const { slotFile } = require(${JSON.stringify(resolve("daemons/signing-gate/slot-file.ts"))});
    const { MarksMemory } = require(${JSON.stringify(resolve("daemons/signing-gate/memory.ts"))});
    const { writeSync } = require("node:fs");
    const digest = "ab".repeat(32);
    const record = (level) => ({ version: 1, baker: "a", chain: "Net", epoch: 1, holder: "a", floor: -1, unfenced: false,
      marks: { block: { level, round: 0, digest }, preattestation: null, attestation: null } });
    void (async () => {
      const { memory } = await MarksMemory.load(slotFile(process.argv[1]), "Net", ["k"], "boot 1");
      await memory.commit("k", "u", record(0));
      for (let level = 1; ; level++) {
        const announced = memory.announce("k", "block", { level, round: 0, digest });
        await new Promise((done) => setTimeout(done, level % 3));
        writeSync(1, "acknowledged " + level + "\\n");
        await announced.confirm("u", record(level));
        writeSync(1, "confirmed " + level + "\\n");
      }
    })();`;
  for (let life = 0; life < 4; life++) {
    const child = spawn(process.execPath, ["--import", "tsx", "--eval", program, path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let heard = "";
    const last = (what: string) =>
      Number(
        heard
          .trimEnd()
          .split("\n")
          .reverse()
          .find((line) => line.startsWith(what))
          ?.split(" ")[1] ?? 0,
      );
    const afterMs = Math.random() * 5;
    child.stdout.on("data", (chunk: Buffer) => {
      heard += chunk.toString();
      if (last("confirmed") >= 30) setTimeout(() => child.kill("SIGKILL"), afterMs);
    });
    await new Promise((done) => child.on("close", done));
    const remembered = async (boot: string) => {
      const entry = (await MarksMemory.load(slotFile(path), "Net", ["k"], boot)).memory.get("k");
      return typeof entry === "object"
        ? Math.max(entry.marks.block?.level ?? 0, entry.unconfirmed?.mark.level ?? 0)
        : 0;
    };
    const same = await remembered("boot 1");
    expect(same).toBeGreaterThanOrEqual(last("confirmed"));
    expect(same).toBeLessThanOrEqual(last("acknowledged"));
    const another = await remembered("boot 2");
    expect(another).toBeGreaterThanOrEqual(same);
    expect(another).toBeLessThanOrEqual(last("acknowledged") + 1);
    rmSync(path);
  }
});

test("killed at any moment it has what was acknowledged, or the one text after it", async () => {
  const program = `
    const { slotFile } = require(${JSON.stringify(resolve("daemons/signing-gate/slot-file.ts"))});
    const file = slotFile(process.argv[1]);
    void (async () => { for (let i = 1; ; i++) { await file.write(i + " " + "x".repeat(30_000)); process.stdout.write(i + "\\n"); } })();`;
  const child = spawn(process.execPath, ["--import", "tsx", "--eval", program, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let heard = "";
  const last = () => Number(heard.trimEnd().split("\n").at(-1));
  const enough = 100 + Math.floor(Math.random() * 100);
  child.stdout.on("data", (chunk: Buffer) => {
    heard += chunk.toString();
    if (last() >= enough) child.kill("SIGKILL");
  });
  await new Promise((done) => child.on("close", done));
  expect(last()).toBeGreaterThanOrEqual(enough);
  const [kept] = ((await slotFile(path).read())?.text ?? "").split(" ");
  expect([last(), last() + 1]).toContain(Number(kept));
});
