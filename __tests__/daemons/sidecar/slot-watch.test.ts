import { createLog } from "../../../daemons/runtime/log";
import { createRegistry } from "../../../daemons/runtime/metrics";
import type { Head, OctezRpc } from "../../../daemons/runtime/octez-rpc";
import { Wake } from "../../../daemons/runtime/wake";
import { SlotWatch } from "../../../daemons/sidecar/slot-watch";
import { solidBakerFile } from "../../helpers/baker-file";

type Answer = Awaited<ReturnType<OctezRpc["participation"]>>;
const missed = (missedLevels: number): Answer => ({ ok: true, value: { missedLevels, missedSlots: 0 }, sentAtMs: 0 });
const failed = (kind: "timeout" | "status"): Answer => ({ ok: false, kind, status: 404, message: "", sentAtMs: 0 });

/** The count after each head with its answer. */
async function counts(...answers: Answer[]): Promise<number[]> {
  let level = 0;
  let asked: () => void = () => undefined;
  const stop = new AbortController();
  const newHead = new Wake();
  const rpc = {
    participation: () => {
      asked();
      return Promise.resolve(answers[level - 1] ?? failed("timeout"));
    },
    bakingRights: () => Promise.resolve(failed("timeout")),
  };
  const watch = new SlotWatch({
    ...{ file: solidBakerFile(), host: "127.0.0.1", rpc: rpc as unknown as OctezRpc, pollMs: 60_000, newHead },
    ...{ log: createLog("pod", "sidecar", () => undefined), metrics: createRegistry("alice", "pod") },
    head: () => (level === 0 ? undefined : ({ level, round: 0 } as Head)),
    nodeReady: () => true,
  });
  const done = watch.run(stop.signal);
  const found: number[] = [];
  while (found.length < answers.length) {
    const looked = new Promise<void>((resolve) => (asked = resolve));
    level++;
    newHead.kick();
    await looked;
    await new Promise((resolve) => setImmediate(resolve));
    found.push(watch.missedAttestations);
  }
  stop.abort();
  await done;
  return found;
}

test("nothing is missed at the start; then what the chain's account grows by", async () => {
  expect(await counts(missed(7), missed(7), missed(8), missed(10))).toEqual([0, 0, 1, 3]);
});
test("what happened while the node did not answer in time is counted with its next answer", async () => {
  expect(await counts(missed(7), failed("timeout"), missed(9))).toEqual([0, 0, 2]);
});
test("a delegate without an account begins anew", async () => {
  expect(await counts(missed(7), failed("status"), missed(9), missed(10))).toEqual([0, 0, 0, 1]);
});
