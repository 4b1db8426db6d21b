import { annotations } from "../../../contract/names";
import type { Receipt } from "../../../contract/receipt";
import { defaultTimings } from "../../../contract/timings";
import { readLastTransition, readReceipts, viewLease, withReceipt } from "../../../daemons/elector/lease";
import { VoluntaryPause } from "../../../daemons/elector/receipts";
import type { Lease } from "../../../daemons/runtime/kube";

const self = "alice-as-0_a";
const lease = (spec: Lease["spec"], note: Record<string, string> = {}, uid = "u1", resourceVersion = "1"): Lease => ({
  apiVersion: "coordination.k8s.io/v1",
  kind: "Lease",
  metadata: { name: "alice.leader", uid, resourceVersion, annotations: note },
  spec,
});
const theirs = { holderIdentity: "alice-as-1_b", leaseDurationSeconds: 6, renewTime: "t1", leaseTransitions: 4 };
const seen = (object: Lease, now: number) => ({ object, view: viewLease(object, now, self, null, false) });
const receipt = (epoch: number): Receipt => ({
  epoch,
  from: "a",
  to: "b",
  cause: "expired",
  at: "2026-01-01T00:00:00Z",
  timeline: [],
  missedLevels: null,
});

test("a renewal is a change, an operator's annotation is not", () => {
  const first = seen(lease(theirs), 100);
  expect(
    viewLease(lease(theirs, { [annotations.preferredHolder]: "alice-as-0" }, "u1", "2"), 200, self, first, false),
  ).toMatchObject({
    changedAtMs: 100,
    preferredHolder: "alice-as-0",
  });
  expect(viewLease(lease({ ...theirs, renewTime: "t2" }), 200, self, first, false).changedAtMs).toBe(200);
});

test("another uid is a new lease whatever it says", () => {
  const view = viewLease(lease(theirs, {}, "u2"), 200, self, seen(lease(theirs), 100), false);
  expect([view.uidSeenAtMs, view.changedAtMs]).toEqual([200, 200]);
});

test("a lease that became this pod's without its writing is surprising until it writes", () => {
  const mine = lease({ ...theirs, holderIdentity: self });
  expect(seen(mine, 100).view.surprising).toBe(false);
  const restored = viewLease(mine, 200, self, seen(lease(theirs), 100), false);
  expect(restored.surprising).toBe(true);
  expect(viewLease(mine, 300, self, { object: mine, view: restored }, false).surprising).toBe(true);
  expect(viewLease(mine, 300, self, { object: mine, view: restored }, true).surprising).toBe(false);
  expect(
    viewLease(lease({ ...theirs, holderIdentity: self, leaseTransitions: 3 }), 200, self, seen(mine, 100), false)
      .surprising,
  ).toBe(true);
});

test("50 receipts are kept, newest first, one per epoch, and broken ones are dropped", () => {
  let note: Record<string, string> = { keep: "me" };
  for (let epoch = 1; epoch <= 60; epoch++) note = withReceipt(note, readReceipts(lease(theirs, note)), receipt(epoch));
  note = withReceipt(note, readReceipts(lease(theirs, note)), { ...receipt(60), missedLevels: 1 });
  const list = readReceipts(lease(theirs, note));
  expect(list.map((r) => r.epoch)).toEqual(Array.from({ length: 50 }, (_, i) => 60 - i));
  expect(readLastTransition(lease(theirs, note))).toMatchObject({ epoch: 60, missedLevels: 1 });
  expect(note.keep).toBe("me");
  expect(readReceipts(lease(theirs, { [annotations.receipts]: "[1," }))).toEqual([]);
  expect(
    readReceipts(lease(theirs, { [annotations.receipts]: `[{"epoch":"x"},${JSON.stringify(receipt(3))}]` })),
  ).toHaveLength(1);
});

test("a handover counts from when this process learns of it, once: an operator's apart from those that nobody asked for", () => {
  const pause = new VoluntaryPause(defaultTimings);
  const known = (epoch: number, cause: string, now: number, note: Record<string, string> = {}) => {
    const notes = withReceipt(note, readReceipts(lease(theirs, note)), { ...receipt(epoch), cause });
    const object = lease({ ...theirs, leaseTransitions: epoch }, notes);
    pause.see(object, seen(object, now).view, now);
    return notes;
  };
  let notes = known(5, "planned-operator", 100);
  expect([pause.operatorAtMs, pause.atMs]).toEqual([100, null]);
  notes = known(6, "planned-dal", 200, notes);
  expect([pause.operatorAtMs, pause.atMs, pause.pauseMs]).toEqual([100, 200, 60_000]);
  known(7, "planned-operator", 300, notes);
  expect([pause.operatorAtMs, pause.atMs]).toEqual([300, 200]);
});
