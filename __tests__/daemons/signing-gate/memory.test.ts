import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Watermark } from "../../../contract/watermark";
import { MarksMemory, type MemoryFile } from "../../../daemons/signing-gate/memory";
import { slotFile } from "../../../daemons/signing-gate/slot-file";

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
  const disk = {
    content: undefined as string | undefined,
    cells: [0],
    writes: [] as { content: string; end: (error?: Error) => void }[],
  };
  const file: MemoryFile = {
    read: () => Promise.resolve(disk.content === undefined ? undefined : { text: disk.content, cells: disk.cells }),
    note: (cell, number) => void (disk.cells[cell] = number),
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
  const { memory } = await MarksMemory.load(file, "Net", ["k"], "boot 1");
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
  const { memory } = await MarksMemory.load(file, "Net", ["k"], "boot 1");
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
  const { memory } = await MarksMemory.load(file, "Net", ["k"], "boot 1");
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
  const file = slotFile(path);
  const { memory } = await MarksMemory.load(file, "Net", ["k"], "boot 1");
  await memory.commit("k", "u1", record({ epoch: 3, holder: "b", marks: block(20) }));
  memory.note("k", "u1", record({ epoch: 2, holder: "a", floor: 30, marks: block(15) }));
  await memory.flush();
  const again = (await MarksMemory.load(slotFile(path), "Net", ["k"], "boot 1")).memory;
  expect(again.get("k")).toEqual({
    ...{ uid: "u1", proven: true, epoch: 3, holder: "b", floor: 30, marks: block(20), unconfirmed: null },
  });
  // A look at a replaced object raises the marks, but the object stays unknown until this gate raised there.
  again.note("k", "u2", record({ epoch: 9, marks: block(40) }));
  expect(again.get("k")).toMatchObject({ uid: "u1", epoch: 9, marks: block(40) });
  await again.commit("k", "u2", record({ epoch: 10, floor: 50 }));
  expect(again.get("k")).toMatchObject({ uid: "u2", epoch: 10, floor: 50, marks: block(40) });
  await rm(folder, { recursive: true });
});

test.each([
  ["cut", '{"version":2,"chain":"Net","ke'],
  ["empty", ""],
  ["of another shape", '{"version":2,"chain":"Net","boot":null,"keys":{"k":{"uid":1}},"announced":{}}'],
  ["of another chain", '{"version":2,"chain":"Other","boot":null,"keys":{},"announced":{}}'],
])("a file that is %s makes every key lost, also after a restart, until it is raised again", async (_text, content) => {
  const { disk, file } = slowDisk();
  disk.content = content;
  const { memory, problem } = await MarksMemory.load(file, "Net", ["k", "l"], "boot 1");
  expect(problem).toBeDefined();
  expect([memory.get("k"), memory.get("l")]).toEqual(["unreadable", "unreadable"]);
  memory.note("k", "u1", record());
  expect(memory.get("k")).toBe("unreadable");
  const committed = memory.commit("k", "u1", record());
  disk.writes[0]?.end();
  await committed;
  const { memory: again } = await MarksMemory.load(file, "Net", ["k", "l"], "boot 1");
  expect([again.get("k"), again.get("l")]).toEqual([expect.objectContaining({ uid: "u1" }), "unreadable"]);
});

const silent: MemoryFile = {
  read: () => Promise.resolve(undefined),
  write: () => Promise.resolve(),
  note: () => undefined,
};
test("a file that cannot be read at all makes every key lost; none is nothing", async () => {
  const broken = await MarksMemory.load(
    { ...silent, read: () => Promise.reject(new Error("EIO")) },
    "Net",
    ["k"],
    "boot 1",
  );
  expect(broken.memory.get("k")).toBe("unreadable");
  const fresh = await MarksMemory.load(silent, "Net", ["k"], "boot 1");
  expect([fresh.memory.get("k"), fresh.problem]).toEqual([undefined, undefined]);
});

/**
 * A key that was raised on a disk whose writes end at once, and is read again in the same start of the machine or in
 * another one.
 */
async function raised() {
  const { disk, file } = slowDisk();
  const { memory } = await MarksMemory.load(file, "Net", ["k"], "boot 1");
  const committed = memory.commit("k", "u", record());
  disk.writes[0]?.end();
  await committed;
  const load = async (boot: string | null) => (await MarksMemory.load(file, "Net", ["k"], boot)).memory;
  const later = async (boot: string | null) => (await load(boot)).get("k");
  return { disk, memory, load, later };
}
const mark = { level: 20, round: 0, digest: "ab".repeat(32) };
const unconfirmed = { marks: none, unconfirmed: { kind: "block", mark } };

test("announced and not confirmed: forgotten by the next process, unconfirmed where the machine was started anew or nobody knows", async () => {
  const { disk, memory, load, later } = await raised();
  memory.announce("k", "block", mark);
  disk.writes[1]?.end();
  await settle();
  // Of no consequence before the API has acknowledged it.
  expect(memory.get("k")).toMatchObject({ marks: none });
  expect(await later("boot 1")).toMatchObject({ marks: none, unconfirmed: null });
  expect(await later("boot 2")).toMatchObject({ uid: "u", floor: 10, ...unconfirmed });
  expect(await later(null)).toMatchObject(unconfirmed);
  // Also after another restart, until the watermark shows it or this gate has raised above it.
  const restarted = await load("boot 2");
  void restarted.flush();
  disk.writes[2]?.end();
  await settle();
  expect(await later("boot 2")).toMatchObject(unconfirmed);
  restarted.note("k", "u", record({ marks: block(19) }));
  expect(restarted.get("k")).toMatchObject({ marks: block(19), unconfirmed: unconfirmed.unconfirmed });
  restarted.note("k", "u", record({ marks: block(20) }));
  expect(restarted.get("k")).toMatchObject({ marks: block(20), unconfirmed: null });
  const another = await load("boot 3");
  void another.commit("k", "u", record({ floor: 40 }));
  expect(another.get("k")).toMatchObject({ floor: 40, unconfirmed: null });
});

test("confirmed: resolves when it is on the disk and noted; from then on every successor remembers it", async () => {
  const { disk, memory, later } = await raised();
  let confirmed = false;
  const confirming = memory
    .announce("k", "block", mark)
    .confirm("u", record({ marks: block(20) }))
    .then(() => (confirmed = true));
  await settle();
  expect([confirmed, disk.cells]).toEqual([false, [0]]);
  expect(memory.get("k")).toMatchObject({ marks: block(20) });
  disk.writes[1]?.end();
  await confirming;
  expect(disk.writes).toHaveLength(2);
  for (const boot of ["boot 1", "boot 2", null]) expect(await later(boot)).toMatchObject({ marks: block(20) });
  // Without the note, as after the machine's end, which another boot tells.
  disk.cells = [0];
  expect(await later("boot 2")).toMatchObject(unconfirmed);
  // A cell that cannot be read tells nothing either.
  for (const cells of [[], [NaN]]) {
    disk.cells = cells;
    for (const boot of ["boot 1", "boot 2", null]) expect(await later(boot)).toMatchObject(unconfirmed);
  }
});

test("withdrawn: the next write is without it; the next announcement of the key is another one", async () => {
  const { disk, memory, later } = await raised();
  const first = memory.announce("k", "block", mark);
  expect(() => memory.announce("k", "block", mark)).toThrow("no mark of k can be announced now");
  first.withdraw();
  disk.writes[1]?.end();
  await settle();
  const flushed = memory.flush();
  disk.writes[2]?.end();
  await flushed;
  expect(await later("boot 2")).toMatchObject({ marks: none });
  const second = memory
    .announce("k", "attestation", { ...mark, level: 21 })
    .confirm("u", record({ marks: { ...none, attestation: mark } }));
  disk.writes[3]?.end();
  await second;
  expect(disk.cells).toEqual([2]);
  expect(() => memory.announce("l", "block", mark)).toThrow("no mark of l");
});

test("a disk that refuses fails the confirmation, and nothing is noted", async () => {
  const { disk, memory } = await raised();
  const confirming = memory.announce("k", "block", mark).confirm("u", record({ marks: block(20) }));
  disk.writes[1]?.end(new Error("no space"));
  await expect(confirming).rejects.toThrow("no space");
  expect(disk.cells).toEqual([0]);
  // The process itself knows, and the next write says so.
  expect(memory.get("k")).toMatchObject({ marks: block(20) });
  const next = memory.commit("k", "u", record());
  disk.writes[2]?.end();
  await next;
  expect(disk.content).toContain("ab".repeat(32));
});

test("a memory counts once this gate wrote the watermark or saw a holder's write go beyond what it found", async () => {
  const { memory } = await MarksMemory.load(slowDisk().file, "Net", [], "boot 1");
  const proven = (key: string) => (memory.get(key) as { proven: boolean }).proven;
  memory.note("found", "u", record({ epoch: 3, marks: block(20) }));
  expect(proven("found")).toBe(false);
  // Again, older, a floor that a person raised, or another object: no holder's write.
  memory.note("found", "u", record({ epoch: 3, marks: block(20) }));
  memory.note("found", "u", record({ epoch: 2, marks: block(21) }));
  memory.note("found", "u", record({ epoch: 3, marks: block(21) }));
  expect(proven("found")).toBe(false);
  memory.note("found", "u", record({ epoch: 3, marks: block(22) }));
  expect(proven("found")).toBe(true);

  memory.note("raised", "u", record({ epoch: 3, marks: block(20) }));
  memory.note("raised", "u", record({ epoch: 3, floor: 30, marks: block(20) }));
  memory.note("raised", "u", record({ epoch: 2, floor: 30, marks: block(21) }));
  memory.note("raised", "other", record({ epoch: 3, floor: 30, marks: block(22) }));
  expect(proven("raised")).toBe(false);

  memory.note("next tenure", "u", record({ epoch: 3, marks: block(20) }));
  memory.note("next tenure", "u", record({ epoch: 4, floor: 20, marks: block(20) }));
  expect(proven("next tenure")).toBe(true);
  memory.note("never written", "u", record({ epoch: 0 }));
  expect(proven("never written")).toBe(true);
  void memory.commit("own", "u", record({ epoch: 3 }));
  expect(proven("own")).toBe(true);
});

test("a file of an older version proves nothing", async () => {
  const { memory: before } = await MarksMemory.load(slowDisk().file, "Net", [], "boot 1");
  void before.commit("k", "u", record());
  const disk = slowDisk();
  const entry = { ...(before.get("k") as object) } as Record<string, unknown>;
  delete entry.proven;
  disk.disk.content = JSON.stringify({ version: 2, chain: "Net", boot: null, keys: { k: entry }, announced: {} });
  const { memory, problem } = await MarksMemory.load(disk.file, "Net", ["k"], "boot 1");
  expect(problem).toBeUndefined();
  expect(memory.get("k")).toMatchObject({ uid: "u", proven: false });
});

test("a disk that does not answer is waited for no longer than told, and is named until it answers", async () => {
  const { disk, file } = slowDisk();
  const { memory } = await MarksMemory.load(file, "Net", [], "boot 1");
  const atOnce = () => Promise.resolve();
  const commit = memory.commit("k", "u", record());
  await expect(memory.within(commit, 1500, atOnce)).rejects.toThrow("the disk has not answered within 1500 ms");
  expect(memory.problem).toMatch(/has not answered/);
  disk.writes[0]?.end();
  await commit;
  expect(memory.problem).toBeUndefined();
  const refused = memory.commit("k", "u", record({ floor: 50 }));
  disk.writes[1]?.end(new Error("EIO"));
  await expect(memory.within(refused, 1500, () => new Promise(() => undefined))).rejects.toThrow("EIO");
  expect(memory.problem).toBe("Error: EIO");
});
