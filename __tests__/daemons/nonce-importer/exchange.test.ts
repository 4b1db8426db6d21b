/** Two or three pods with real exposers and importers. */
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ports } from "../../../contract/ports";
import { serveHttp } from "../../../daemons/runtime/http-server";
import { parseLegacy } from "../../../tezos/nonces";
import {
  createNoncePods,
  makeNonce,
  readStateful,
  statefulFile,
  until,
  writeStateful,
  type NoncePods,
} from "../../helpers/nonce-pods";

let world: NoncePods;
afterEach(() => world.close());

const two = async (): Promise<[NoncePods["pods"][0], NoncePods["pods"][0]]> => {
  world = await createNoncePods({ timings: { nonceAckSeconds: 1.5 } });
  const [a, b] = world.pods;
  if (!a || !b) throw new Error("two pods");
  return [a, b];
};

test("what one pod commits appears in the other's files, is acknowledged, counted, and final after the daemons have stopped", async () => {
  const [a, b] = await two();
  const mine = makeNonce({ seed: 1, memo: { kept: [1, "two"] } });
  writeStateful(a.clientDir, [mine]);
  writeStateful(b.clientDir, [makeNonce({ seed: 2 })]);
  chmodSync(join(b.clientDir, statefulFile), 0o640);
  writeFileSync(
    join(a.clientDir, "NetXdQprcVkpa_orphaned_nonces"),
    JSON.stringify([{ block: makeNonce({ seed: 9 }).block, nonce: makeNonce({ seed: 9 }).nonce }]),
  );
  for (const pod of [a, b]) pod.start();
  await until(
    "exchange in both directions",
    async () => (await a.status("importer"))?.reconciled && (await b.status("importer"))?.reconciled,
  );
  for (const pod of [a, b]) {
    expect(readStateful(pod.clientDir).map((entry) => entry.level)).toEqual([13_000_001, 13_000_002]);
    expect(readStateful(pod.clientDir)[0]).toEqual(mine);
  }
  expect(parseLegacy(readFileSync(join(b.clientDir, "NetXdQprcVkpa_nonces"), "utf8"))).toHaveLength(3);
  expect(existsSync(join(b.clientDir, "NetXdQprcVkpa_orphaned_nonces"))).toBe(false);
  expect(statSync(join(b.clientDir, statefulFile)).mode & 0o777).toBe(0o640);
  expect(b.logs.some((entry) => entry.event === "nonces-reconciled" && entry.reason === "exchanged")).toBe(true);

  // A commitment that the gate let through, but that never reached the file, is an alert.
  const fresh = makeNonce({ seed: 3 });
  const lost = makeNonce({ seed: 4 });
  for (const entry of [fresh, lost])
    a.commitments.push({ address: "tz1", level: entry.level, round: 0, seedNonceHash: entry.hash, atMs: 0 });
  writeStateful(a.clientDir, [...readStateful(a.clientDir), fresh]);
  await until("replication", () => readStateful(b.clientDir).some((entry) => entry.hash === fresh.hash));
  const alert = await until("alert", () => a.logs.find((entry) => entry.event === "nonce-unreplicated"));
  expect(alert).toMatchObject({ hash: lost.hash, blockLevel: lost.level, reason: "not in this pod's nonce file" });
  expect(await a.status("exposer")).toMatchObject({
    committed: 2,
    local: 1,
    replicated: 1,
    missing: 1,
    finalPushed: false,
  });
  expect(await a.metrics("exposer")).toMatch(/tog_nonce_exposer_missing\{[^}]*\} 1/);
  await until("the importer tells it too", async () => (await a.status("importer"))?.missing === 1);
  // Its block did not make it: there is nothing to reveal.
  world.chain.level += 100;
  await until("abandoned", async () => (await a.status("exposer"))?.missing === 0);

  writeStateful(a.clientDir, [...readStateful(a.clientDir), makeNonce({ seed: 5 })]);
  a.setNonces("final");
  await until("final", async () => (await a.status("exposer"))?.finalPushed, 2000);
  expect(readStateful(b.clientDir)).toHaveLength(4);
  await b.kill();
  await until("gone", async () => (await a.status("exposer"))?.peers[0]?.connected === false);
  expect((await a.status("exposer"))?.finalPushed).toBe(false);
  a.setNonces("follow");
  // After a reconnect the peer gets what is there now.
  writeStateful(a.clientDir, [...readStateful(a.clientDir), makeNonce({ seed: 6 })]);
  b.start();
  await until("caught up", () => readStateful(b.clientDir).length === 5);
  await until("no temporary file", () => !readdirSync(b.clientDir).some((name) => name.endsWith(".tmp")));
  const logs = JSON.stringify([...a.logs, ...b.logs]);
  expect(logs).not.toContain(mine.nonce);
});

test("after a crash a broken, a shrunk and a vanished file are restored from the other pod and from the pod's own copy", async () => {
  const [a, b] = await two();
  const entries = [1, 2, 3].map((seed) => makeNonce({ seed }));
  writeStateful(a.clientDir, entries);
  for (const pod of [a, b]) pod.start();
  await until("replication", () => readStateful(b.clientDir).length === 3);
  await until("copy", () => existsSync(join(a.stateDir, "nonces/copy.json")));

  // Shrunk, as after a power loss without fsync.
  await a.kill();
  writeStateful(a.clientDir, entries.slice(0, 1));
  a.start(["nonce-importer"]);
  await until("restored", () => readStateful(a.clientDir).length === 3);

  // Broken while everything runs; one entry is only in the broken text.
  a.start(["nonce-exposer"]);
  const only = makeNonce({ seed: 4 });
  writeFileSync(join(a.clientDir, "next"), JSON.stringify([only, ...entries]).slice(0, -30));
  renameSync(join(a.clientDir, "next"), join(a.clientDir, statefulFile));
  await until("quarantine", () => a.logs.find((entry) => entry.event === "nonce-file-quarantined"));
  expect(readStateful(a.clientDir)).toHaveLength(4);
  expect(readdirSync(a.clientDir).filter((name) => name.includes(".broken-"))).toHaveLength(1);

  // Broken, and no other member.
  await b.kill();
  await a.kill();
  writeFileSync(join(a.clientDir, statefulFile), Buffer.alloc(700));
  a.start();
  await until("restored from the copy", () => {
    try {
      return readStateful(a.clientDir).length >= 3;
    } catch {
      return false;
    }
  });
});

test("a baker that rewrites its file without the lock loses nothing: what was merged is merged again, and acknowledged only then", async () => {
  const [a, b] = await two();
  const [old, merged, late] = [1, 2, 3].map((seed) => makeNonce({ seed }));
  if (!old || !merged || !late) throw new Error("three");
  writeStateful(b.clientDir, [old]);
  for (const pod of [a, b]) pod.start();
  writeStateful(a.clientDir, [merged]);
  const hashes = () => readStateful(b.clientDir).map(({ hash }) => hash);
  await until("a merge", () => hashes().includes(merged.hash));
  await until("it is acknowledged", async () => (await a.status("exposer"))?.reconciled);
  // Without any start: somebody else's change of the file.
  writeStateful(b.clientDir, [old]);
  await until("it is merged again", () => hashes().includes(merged.hash));

  // As octez-baker does at its start: loads, asks the node, writes what it had loaded.
  const supervisor = await serveHttp({
    ...{ host: b.address, port: ports.supervisor, routes: {} },
    status: () => ({
      ...{ running: true, crashLooping: false, reason: "active" },
      daemons: [{ name: "octez-baker", state: "running", pid: 1, restarts: 0, lastExit: null }],
    }),
  });
  try {
    // The importer asks again every 15 s where no supervisor has answered.
    await b.kill();
    b.start();
    await until("it runs", () => b.status("importer"));
    const loaded = readStateful(b.clientDir);
    writeStateful(a.clientDir, [merged, late]);
    await until("a merge", () => hashes().includes(late.hash));
    expect((await a.status("exposer"))?.reconciled).toBe(false);
    writeStateful(b.clientDir, loaded);
    await until("it is acknowledged", async () => (await a.status("exposer"))?.reconciled);
    expect(hashes()).toContain(late.hash);
  } finally {
    await supervisor.close();
  }
});

test("a pod alone is reconciled after five acknowledgement times, and says why", async () => {
  world = await createNoncePods({ timings: { nonceAckSeconds: 0.2 } });
  world.pods[0]?.start();
  const status = await until("bound", async () => {
    const now = await world.pods[0]?.status("importer");
    return now?.reconciled ? now : undefined;
  });
  expect(status.reason).toMatch(/^alice-as-1: /);
  expect(world.pods[0]?.logs.find((entry) => entry.event === "nonces-reconciled")).toMatchObject({ level: "warn" });
});

test("three members converge, whoever commits", async () => {
  world = await createNoncePods({ members: 3 });
  world.pods.forEach((pod, seed) => writeStateful(pod.clientDir, [makeNonce({ seed })]));
  for (const pod of world.pods) pod.start();
  await until("convergence", () => world.pods.every((pod) => readStateful(pod.clientDir).length === 3));
});
