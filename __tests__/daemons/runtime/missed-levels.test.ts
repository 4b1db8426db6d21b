import { countedLevels, missedLevels } from "../../../daemons/runtime/missed-levels";
import type { OctezRpc } from "../../../daemons/runtime/octez-rpc";

/** A node whose blocks from `first` on have these accounts. */
const node = (first: number, accounts: readonly number[]): Pick<OctezRpc, "participation"> => ({
  participation: ({ block }) => {
    const missed = accounts[Number(block) - first];
    return Promise.resolve(
      missed === undefined
        ? { ok: false, kind: "status", status: 404, message: "HTTP 404", sentAtMs: 0 }
        : { ok: true, value: { missedSlots: 7 * missed, missedLevels: missed }, sentAtMs: 0 },
    );
  },
});
const asked = { delegate: "tz1", timeoutMs: 1000 };

test("the block after a level tells whether it was missed; what lies before the range does not count", () =>
  // Missed: 99 (told by block 100), 101 and 102.
  expect(missedLevels(node(100, [5, 5, 6, 7, 7]), { ...asked, from: 100, to: 103 })).resolves.toEqual([101, 102]));

test("a level without a right is not missed, however long nobody signs", () =>
  expect(missedLevels(node(100, [5, 5, 5, 5, 5, 5]), { ...asked, from: 100, to: 104 })).resolves.toEqual([]));

test("a cycle that ends between hides nothing that was missed on either side", () =>
  expect(missedLevels(node(100, [5, 6, 7, 0, 1, 2]), { ...asked, from: 100, to: 104 })).resolves.toEqual([
    100, 101, 103, 104,
  ]));

test("a node that does not know gives no number, and neither does a range that is too long to ask for", async () => {
  await expect(missedLevels(node(100, [5, 5]), { ...asked, from: 100, to: 104 })).rejects.toThrow("status: HTTP 404");
  await expect(missedLevels(node(0, []), { ...asked, from: 0, to: countedLevels })).rejects.toThrow("more than");
});
