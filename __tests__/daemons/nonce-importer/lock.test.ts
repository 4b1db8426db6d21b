/** The importer's writer beside an independent holder of the baker's lock, and under kill -9. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mergeIntoFolder } from "../../../daemons/nonce-importer/merge-folder";
import { systemClock } from "../../../daemons/runtime/clock";
import { makeNonce, readStateful, statefulFile, writeStateful } from "../../helpers/nonce-pods";
import { interplay, job, killWriter, python, pythonWriter, realWriter } from "../../helpers/nonce-writers";

const withPython = python ? test : test.skip;
if (!python) process.stdout.write("skipped: the interplay with an independent lock holder needs python3 with fcntl\n");

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "tog-lock-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const random = (
  (state: number) => () =>
    (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
)(seed);

withPython("writers on both sides lose no update", async () => {
  const result = await interplay(folder, 2);
  expect(result).toMatchObject({ lostOfBaker: 0, lostOfImporter: 0 });
  expect(result.baker).toBeGreaterThan(5);
  expect(result.importer).toBeGreaterThan(5);
});

withPython(
  "flock, as a naive importer would take it, does not wait for the baker's lock and loses the update",
  async () => {
    const entries = [1, 2, 3].map((index) => makeNonce({ seed: index, cycle: 0 }));
    const [first, naive, ours] = entries;
    if (!first || !naive || !ours) throw new Error("three");
    const baker = await pythonWriter(folder, [first, makeNonce({ seed: 9 })], "lockf", 300);
    const careless = await pythonWriter(folder, [naive], "flock");
    const busy = baker.go(1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await careless.go(1);
    await busy;
    expect(readStateful(folder).map(({ hash }) => hash)).toEqual([first.hash]);

    const busyAgain = baker.go(1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const result = await mergeIntoFolder(job(folder, [ours]), systemClock);
    expect(result.outcome).toBe("written");
    await busyAgain;
    expect(readStateful(folder).map(({ hash }) => hash)).toEqual(expect.arrayContaining([first.hash, ours.hash]));
    expect(readStateful(folder)).toHaveLength(3);
    await baker.end();
    await careless.end();
  },
);

withPython(
  "a lock that the baker does not give back costs nothing but time, and a hung writer is replaced",
  async () => {
    writeStateful(folder, [makeNonce({ seed: 1 })]);
    const baker = await pythonWriter(folder, [makeNonce({ seed: 2 })], "lockf", 900);
    const { writer, current } = await realWriter(300);
    await writer.run(job(folder, []));
    const held = baker.go(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await writer.run(job(folder, [makeNonce({ seed: 3 })], { lockWaitMs: 100 }))).toMatchObject({
      outcome: "busy",
    });
    const victim = current()?.pid;
    expect(await writer.run(job(folder, [makeNonce({ seed: 3 })], { lockWaitMs: 10_000 }))).toMatchObject({
      outcome: "killed",
    });
    await held;
    expect(await writer.run(job(folder, [makeNonce({ seed: 3 })]))).toMatchObject({ outcome: "written" });
    expect(current()?.pid).not.toBe(victim);
    expect(readStateful(folder)).toHaveLength(3);
    await baker.end();
    await writer.close();
  },
);

test(`kill -9 of the writer at random moments leaves the file complete, old or new (SEED=${seed})`, async () => {
  const result = await killWriter(folder, 15, random);
  expect(result).toMatchObject({ kills: 15, torn: 0, leftovers: 0 });
});

test("a writer without work ends, and the next job starts another", async () => {
  const { writer, current } = await realWriter(5000, 50);
  const added = async (seed: number) => {
    expect(await writer.run(job(folder, [makeNonce({ seed })]))).toMatchObject({ outcome: "written", added: 1 });
    return current();
  };
  const first = await added(1);
  expect(await new Promise((resolve) => first?.once("exit", resolve))).toBe(0);
  const second = await added(2);
  expect(second?.pid).not.toBe(first?.pid);
  expect(readStateful(folder)).toHaveLength(2);
  await writer.close();
});

test("a second merge of the same content writes nothing", async () => {
  const entries = [makeNonce({ seed: 1 })];
  expect(await mergeIntoFolder(job(folder, entries), systemClock)).toMatchObject({ outcome: "written", added: 1 });
  expect(await mergeIntoFolder(job(folder, entries), systemClock)).toMatchObject({ outcome: "unchanged", heldMs: 0 });
  const outdated = makeNonce({ seed: 2, cycle: 1100 });
  expect(await mergeIntoFolder(job(folder, [outdated], { currentCycle: 1200 }), systemClock)).toMatchObject({
    outcome: "unchanged",
  });
});

test.each([
  ["stateful", { ...makeNonce({ seed: 1 }), state: { revealed_by: "a later octez-baker" } }],
  ["legacy", { block: "BLnew", nonce: makeNonce({ seed: 1 }).nonce }],
])("a %s file whose entries are not understood is left as it is, not taken for a broken one", async (kind, entry) => {
  writeStateful(folder, [makeNonce({ seed: 3 })]);
  const path = join(folder, kind === "stateful" ? statefulFile : "NetXdQprcVkpa_nonces");
  writeFileSync(path, JSON.stringify([entry]));
  const before = readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]);
  await expect(mergeIntoFolder(job(folder, [makeNonce({ seed: 2 })]), systemClock)).rejects.toThrow("entry 0: ");
  expect(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")])).toEqual(before);
});
