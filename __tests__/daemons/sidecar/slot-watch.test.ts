import { systemClock } from "../../../daemons/runtime/clock";
import { createLog } from "../../../daemons/runtime/log";
import { createRegistry } from "../../../daemons/runtime/metrics";
import type { OctezRpc } from "../../../daemons/runtime/octez-rpc";
import { Recent } from "../../../daemons/runtime/recent";
import { Wake } from "../../../daemons/runtime/wake";
import type { SeenHead } from "../../../daemons/sidecar/assess";
import { SlotWatch } from "../../../daemons/sidecar/slot-watch";
import { solidBakerFile } from "../../helpers/baker-file";

type Answer = Awaited<ReturnType<OctezRpc["participation"]>>;
const missed = (missedLevels: number): Answer => ({ ok: true, value: { missedLevels, missedSlots: 0 }, sentAtMs: 0 });
const failed = (kind: "timeout" | "status"): Answer => ({ ok: false, kind, status: 404, message: "", sentAtMs: 0 });

interface Look {
  answer: Answer;
  /** Levels that the head is above the one before. */
  ahead?: number;
  ageThenMs?: number;
  /** Of the head's block. */
  round?: number;
  /** The node is not ready, and is not asked. */
  syncing?: boolean;
}

const at = (missedLevels: number, head: Omit<Look, "answer"> = {}): Look => ({ answer: missed(missedLevels), ...head });

/** The count after each head with its answer. */
const counts = async (...looks: Look[]): Promise<number[]> => (await watched(...looks)).found;

const watched = (...looks: Look[]) => watchedBy("solo", looks);

async function watchedBy(
  topology: "solo" | "active-standby",
  looks: readonly Look[],
  chain: { between?: Record<number, number>; rights?: readonly number[]; rounds?: Record<number, number> } = {},
): Promise<Pick<SlotWatch, "missed"> & { found: number[]; recent: string[]; metrics: string; keyBlocks: string[] }> {
  const keyBlocks: string[] = [];
  let turn = 0;
  /** By block. */
  const answers = new Map<number, Answer>(
    Object.entries(chain.between ?? {}).map(([block, account]) => [Number(block), missed(account)]),
  );
  const recent = new Recent(systemClock);
  const metrics = createRegistry("alice", "pod");
  let level = 0;
  let asked: () => void = () => undefined;
  const stop = new AbortController();
  const newHead = new Wake();
  const rpc = {
    participation: ({ block }: { block: string }) => {
      if (Number(block) === level) asked();
      return Promise.resolve(answers.get(Number(block)) ?? failed("status"));
    },
    consensusKeys: ({ block }: { block: string }) => {
      keyBlocks.push(block);
      return Promise.resolve(failed("timeout"));
    },
    bakingRights: ({ levels }: { levels: readonly number[] }) =>
      Promise.resolve(
        chain.rights
          ? {
              ok: true,
              value: chain.rights
                .filter((right) => levels.includes(right))
                .map((right) => ({ level: right, round: 0 })),
            }
          : failed("timeout"),
      ),
    header: ({ block }: { block: string }) =>
      Promise.resolve({ ok: true, value: { round: chain.rounds?.[Number(block)] ?? 0 } }),
  };
  const watch = new SlotWatch({
    ...{
      file: solidBakerFile({ topology }),
      host: "127.0.0.1",
      rpc: rpc as unknown as OctezRpc,
      pollMs: 60_000,
      newHead,
    },
    ...{ log: createLog("pod", "sidecar", () => undefined), metrics },
    ...{ clock: systemClock, recent },
    head: () =>
      level === 0
        ? undefined
        : ({ level, round: looks[turn - 1]?.round ?? 0, ageThenMs: looks[turn - 1]?.ageThenMs ?? 900 } as SeenHead),
    nodeReady: () => {
      const syncing = looks[turn - 1]?.syncing ?? false;
      if (syncing) asked();
      return !syncing;
    },
  });
  const done = watch.run(stop.signal);
  const found: number[] = [];
  while (found.length < looks.length) {
    const looked = new Promise<void>((resolve) => (asked = resolve));
    const look = looks[turn++];
    level += look?.ahead ?? 1;
    if (look) answers.set(level, look.answer);
    newHead.kick();
    await looked;
    await new Promise((resolve) => setImmediate(resolve));
    found.push(watch.missedAttestations);
  }
  stop.abort();
  await done;
  return { missed: watch.missed, found, recent: recent.list(), metrics: await metrics.metrics(), keyBlocks };
}

test("nothing is missed at the start; then what the chain's account grows by", async () => {
  expect(await counts(at(7), at(7), at(8), at(10))).toEqual([0, 0, 1, 3]);
});
test("what happened while the node did not answer in time is counted with its next answer", async () => {
  expect(await counts(at(7), { answer: failed("timeout") }, at(9))).toEqual([0, 0, 2]);
});
test("one error of the node does not hide a missed level: its next answer covers it", async () => {
  expect(await counts(at(7), { answer: failed("status") }, at(9), at(10))).toEqual([0, 0, 2, 3]);
});
test("a delegate that is registered meanwhile begins with its first account", async () => {
  expect(await counts({ answer: failed("status") }, at(9), at(10))).toEqual([0, 0, 1]);
});

test("a node that catches up misses levels, and its baker none: a head far ahead, and heads that come late", async () => {
  expect(await counts(at(7), at(10, { ahead: 4 }), at(11), at(12))).toEqual([0, 0, 1, 2]);
  const late = { ageThenMs: 20_000 };
  // The miss of a late head is in the account of the next one, which may be in time.
  expect(await counts(at(7), at(8, late), at(9, late), at(10), at(11))).toEqual([0, 0, 0, 0, 1]);
  const unanswered = { answer: failed("timeout") };
  expect(await counts(at(7), { ...unanswered, ...late }, at(9))).toEqual([0, 0, 0]);
  expect(await counts(at(7), unanswered, unanswered, at(10), at(11))).toEqual([0, 0, 0, 0, 1]);
});

test("where something was missed, the active key is asked for at the block before that level", async () => {
  const looks = [at(7), at(7), at(8, { ahead: 2 }), at(8)];
  expect((await watchedBy("active-standby", looks)).keyBlocks).toEqual(["2", "1"]);
});

test("a missed level is told with its number, and each one is counted once", async () => {
  const { recent, metrics } = await watched(at(7), at(7), at(8), at(10, { ahead: 3 }));
  expect(recent).toEqual([expect.stringMatching(/the attestation of level [45] is missing on the chain \(unknown\)/)]);
  const counted = metrics.split("\n").filter((line) => /^tog_sidecar_slots_total.* [1-9]/.test(line));
  expect(counted).toEqual([expect.stringMatching(/cause="unknown",whose="unknown".* 3$/)]);
});

const levelsOf = ({ missed: slots }: Pick<SlotWatch, "missed">) => slots.map(({ kind, level }) => `${kind} ${level}`);

test("where several heads passed, the node is asked which levels were missed", async () => {
  const between = { 3: 8, 4: 8, 5: 8 };
  expect(levelsOf(await watchedBy("solo", [at(7), at(7), at(9, { ahead: 4 })], { between }))).toEqual([
    "attestation 5",
    "attestation 2",
  ]);
});

test("what was missed while the node was not ready is told once it is, and says nothing of the baker", async () => {
  const syncing = { answer: failed("timeout"), syncing: true };
  const { found, missed: slots, metrics } = await watched(at(7), syncing, syncing, at(9), at(9));
  expect(found).toEqual([0, 0, 0, 0, 0]);
  expect(levelsOf({ missed: slots })).toEqual(["attestation 3", "attestation 2"]);
  expect(metrics).toMatch(/tog_sidecar_slots_counted_level\{[^}]*\} 5/);
});

test("a block that another one replaced is found among the heads that passed, too", async () => {
  const chain = { rights: [2, 4, 5], rounds: { 4: 1 } };
  const looks = [at(7), at(7), at(7, { ahead: 3, round: 2 })];
  expect(levelsOf(await watchedBy("solo", looks, chain))).toEqual(["block 5", "block 4"]);
});

test("the last twenty slots are kept", async () => {
  const looks = Array.from({ length: 24 }, (_, i) => at(i));
  const levels = levelsOf(await watched(...looks));
  expect([levels.length, levels[0], levels.at(-1)]).toEqual([20, "attestation 4", "attestation 23"]);
});
