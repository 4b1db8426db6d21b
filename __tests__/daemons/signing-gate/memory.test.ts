import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Watermark } from "../../../contract/watermark";
import { writeDurably } from "../../../daemons/runtime/durable";
import { MarksMemory, type MemoryFile } from "../../../daemons/signing-gate/memory";

const none: Watermark["marks"] = { block: null, preattestation: null, attestation: null };
const record = (fields: Partial<Watermark> = {}): Watermark => ({
  version: 1,
  baker: "alice",
  chain: "Net",
  epoch: 1,
  holder: "a",
  floor: 10,
  marks: none,
  unfenced: false,
  ...fields,
});
const block = (level: number) => ({ ...none, block: { level, round: 0, digest: "ab".repeat(32) } });

/** A disk whose writes end when the test says so. */
function slowDisk() {
  const disk = { content: undefined as string | undefined, writes: [] as { content: string; end: (error?: Error) => void }[] };
  const file: MemoryFile = {
    read: () => Promise.resolve(disk.content),
    write: (content) =>
      new Promise((resolve, reject) =>
        disk.writes.push({
          content,
          end: (error) => {
            if (error) return reject(error);
            disk.content = content;
            resolve();
          },
        }),
      ),
  };
  return { disk, file };
}
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("a commit resolves only after the write that holds it; writes are grouped, one at a time", async () => {
  const { disk, file } = slowDisk();
  const { memory } = await MarksMemory.load(file, "Net", ["k"]);
  const done: string[] = [];
  void memory.commit("k1", "u", record()).then(() => done.push("k1"));
  void memory.commit("k2", "u", record()).then(() => done.push("k2"));
  void memory.commit("k3", "u", record()).then(() => done.push("k3"));
  expect(disk.writes.length).toBe(1);
  expect(disk.writes[0]?.content).not.toContain("k2");
  disk.writes[0]?.end();
  await settle();
  expect(done).toEqual(["k1"]);
  expect(disk.writes.length).toBe(2);
  expect(disk.writes[1]?.content).toContain("k3");
  disk.writes[1]?.end();
  await settle();
  expect(done).toEqual(["k1", "k2", "k3"]);
});

test("a commit that comes exactly when a write ends still waits for its own", async () => {
  const { disk, file } = slowDisk();
  const { memory } = await MarksMemory.load(file, "Net", ["k"]);
  const done: string[] = [];
  void memory.commit("k1", "u", record()).then(() => {
    done.push("k1");
    void memory.commit("k3", "u", record()).then(() => done.push("k3"));
  });
  void memory.commit("k2", "u", record()).then(() => done.push("k2"));
  disk.writes[0]?.end();
  await settle();
  expect(done).toEqual(["k1"]);
  for (let i = 1; i < disk.writes.length; i++) {
    expect(done.length).toBeLessThan(3);
    disk.writes[i]?.end();
    await settle();
  }
  expect(done.sort()).toEqual(["k1", "k2", "k3"]);
  expect(disk.content).toContain("k3");
});

test("a disk that refuses fails the commit, and the next one writes all of it", async () => {
  const { disk, file } = slowDisk();
  const { memory } = await MarksMemory.load(file, "Net", ["k"]);
  const failing = memory.commit("k1", "u", record());
  disk.writes[0]?.end(new Error("no space"));
  await expect(failing).rejects.toThrow("no space");
  const next = memory.commit("k1", "u", record());
  disk.writes[1]?.end();
  await next;
  expect(disk.content).toContain("k1");
});

test("it only rises, and survives a restart", async () => {
  const folder = await mkdtemp(join(tmpdir(), "marks-"));
  const path = join(folder, "marks.json");
  const file: MemoryFile = {
    read: () => readFile(path, "utf8").catch(() => undefined),
    write: (content) => writeDurably(path, content),
  };
  const { memory } = await MarksMemory.load(file, "Net", ["k"]);
  await memory.commit("k", "u1", record({ epoch: 3, holder: "b", marks: block(20) }));
  memory.note("k", "u1", record({ epoch: 2, holder: "a", floor: 30, marks: block(15) }));
  await memory.flush();
  const again = (await MarksMemory.load(file, "Net", ["k"])).memory;
  expect(again.get("k")).toEqual({ uid: "u1", epoch: 3, holder: "b", floor: 30, marks: block(20) });
  // A look at a replaced object raises the marks, but the object stays unknown until this gate raised there.
  again.note("k", "u2", record({ epoch: 9, marks: block(40) }));
  expect(again.get("k")).toMatchObject({ uid: "u1", epoch: 9, marks: block(40) });
  await again.commit("k", "u2", record({ epoch: 10, floor: 50 }));
  expect(again.get("k")).toMatchObject({ uid: "u2", epoch: 10, floor: 50, marks: block(40) });
  await rm(folder, { recursive: true });
});

test.each([
  ["cut", '{"version":1,"chain":"Net","ke'],
  ["empty", ""],
  ["of another shape", '{"version":1,"chain":"Net","keys":{"k":{"uid":1}}}'],
  ["of another chain", '{"version":1,"chain":"Other","keys":{}}'],
])("a file that is %s makes every key lost, also after a restart, until it is raised again", async (_text, content) => {
  const { disk, file } = slowDisk();
  disk.content = content;
  const { memory, problem } = await MarksMemory.load(file, "Net", ["k", "l"]);
  expect(problem).toBeDefined();
  expect([memory.get("k"), memory.get("l")]).toEqual(["unreadable", "unreadable"]);
  memory.note("k", "u1", record());
  expect(memory.get("k")).toBe("unreadable");
  const committed = memory.commit("k", "u1", record());
  disk.writes[0]?.end();
  await committed;
  const { memory: again } = await MarksMemory.load(file, "Net", ["k", "l"]);
  expect([again.get("k"), again.get("l")]).toEqual([expect.objectContaining({ uid: "u1" }), "unreadable"]);
});

test("a file that cannot be read at all makes every key lost; none is nothing", async () => {
  const broken = await MarksMemory.load({ read: () => Promise.reject(new Error("EIO")), write: () => Promise.resolve() }, "Net", ["k"]);
  expect(broken.memory.get("k")).toBe("unreadable");
  const fresh = await MarksMemory.load({ read: () => Promise.resolve(undefined), write: () => Promise.resolve() }, "Net", ["k"]);
  expect([fresh.memory.get("k"), fresh.problem]).toEqual([undefined, undefined]);
});
