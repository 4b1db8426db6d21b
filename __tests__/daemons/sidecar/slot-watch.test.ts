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
}

const at = (missedLevels: number, head: Omit<Look, "answer"> = {}): Look => ({ answer: missed(missedLevels), ...head });

/** The count after each head with its answer. */
const counts = async (...looks: Look[]): Promise<number[]> => (await watched(...looks)).found;

const watched = (...looks: Look[]) => watchedBy("solo", looks);

async function watchedBy(
  topology: "solo" | "active-standby",
  looks: readonly Look[],
): Promise<{ found: number[]; recent: string[]; metrics: string; keyBlocks: string[] }> {
  const keyBlocks: string[] = [];
  let turn = 0;
  const recent = new Recent(systemClock);
  const metrics = createRegistry("alice", "pod");
  let level = 0;
  let asked: () => void = () => undefined;
  const stop = new AbortController();
  const newHead = new Wake();
  const rpc = {
    participation: () => {
      asked();
      return Promise.resolve(looks[turn - 1]?.answer ?? failed("timeout"));
    },
    consensusKeys: ({ block }: { block: string }) => {
      keyBlocks.push(block);
      return Promise.resolve(failed("timeout"));
    },
    bakingRights: () => Promise.resolve(failed("timeout")),
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
      level === 0 ? undefined : ({ level, round: 0, ageThenMs: looks[turn - 1]?.ageThenMs ?? 900 } as SeenHead),
    nodeReady: () => true,
  });
  const done = watch.run(stop.signal);
  const found: number[] = [];
  while (found.length < looks.length) {
    const looked = new Promise<void>((resolve) => (asked = resolve));
    level += looks[turn++]?.ahead ?? 1;
    newHead.kick();
    await looked;
    await new Promise((resolve) => setImmediate(resolve));
    found.push(watch.missedAttestations);
  }
  stop.abort();
  await done;
  return { found, recent: recent.list(), metrics: await metrics.metrics(), keyBlocks };
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
