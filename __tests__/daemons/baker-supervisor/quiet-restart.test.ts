import type { GateStatus, SidecarStatus } from "../../../contract/status";
import { DalRestarts, QuietRestart, type DalSeen } from "../../../daemons/baker-supervisor/quiet-restart";

const base: DalSeen = { pid: 7, restarts: 2, well: true };
/** What the watch says of one moment after the other, a second apart; each changes the one before. */
function due(...moments: (Partial<DalSeen> | undefined)[]): (number | undefined)[] {
  const watch = new DalRestarts();
  let now = base;
  return moments.map((changes, second) => {
    if (changes) now = { ...now, ...changes };
    return watch.see(changes && now, 1000 * second);
  });
}

test("a DAL node that restarts under octez-baker makes it start anew once that node is well", () => {
  expect(due({}, {}, { restarts: 3, well: false }, {}, { well: true }, {})).toEqual([
    ...[undefined, undefined, undefined, undefined],
    ...[2000, 2000],
  ]);
});
test("one that restarted before octez-baker started does not, and the next run is owed nothing", () => {
  expect(due({ restarts: 9 }, {})).toEqual([undefined, undefined]);
  expect(due({}, { restarts: 3 }, { pid: 8 }, {})).toEqual([undefined, 1000, undefined, undefined]);
});
test("a sidecar that starts anew, and counts anew, does not", () => {
  expect(due({}, { restarts: 0 }, {}, { restarts: 1 })).toEqual([undefined, undefined, undefined, 3000]);
});
test("a sidecar that starts anew before octez-baker has does not make it forgotten", () => {
  expect(due({}, { restarts: 3, well: false }, { restarts: 0 }, { well: true }, {})).toEqual([
    ...[undefined, undefined, undefined],
    ...[1000, 1000],
  ]);
});
test("a handover that is called off forgets nothing", () => {
  expect(due({}, { restarts: 3 }, undefined, {})).toEqual([undefined, 1000, undefined, 1000]);
});

describe("the moment", () => {
  let restarted: number;
  let now: number;
  let rights: number[] | null;
  let follow: QuietRestart;
  const sidecar = (restarts: number, changes: Partial<SidecarStatus> = {}): SidecarStatus =>
    ({
      ...{ ready: true, head: { level: 100, ageSeconds: 2 }, dal: { restarts, well: true, reason: "" } },
      ...changes,
    }) as SidecarStatus;
  const gate = (level: number) => ({ keys: [{ highestLevel: level, lastAttestation: { level } }] }) as GateStatus;
  beforeEach(() => {
    [restarted, now, rights] = [0, 0, []];
    follow = new QuietRestart({
      clock: { now: () => now, nowNs: () => 0n, wall: () => 0 },
      rights: { ask: () => undefined, above: () => rights, blockSeconds: 6 },
      patienceMs: 60_000,
      restart: () => restarted++,
    });
    follow.look(7, sidecar(0), gate(100));
  });

  test("is once our attestation is out and no block of ours is due", () => {
    follow.look(7, sidecar(1), gate(99));
    expect(restarted).toBe(0);
    rights = [102];
    follow.look(7, sidecar(1), gate(100));
    expect(restarted).toBe(0);
    rights = [];
    follow.look(7, sidecar(1), gate(100));
    expect(restarted).toBe(1);
  });
  test("is not waited for longer than a minute where blocks of ours follow each other; the attestation comes first", () => {
    rights = [101];
    follow.look(7, sidecar(1), gate(100));
    now = 61_000;
    follow.look(7, sidecar(1), gate(99));
    expect(restarted).toBe(0);
    follow.look(7, sidecar(1), gate(100));
    expect(restarted).toBe(1);
  });
  test("does not come behind a gate that is shut, where the node is not ready, or where rights are not known", () => {
    follow.look(7, sidecar(1), null);
    follow.look(7, sidecar(1, { ready: false }), gate(100));
    follow.look(null, sidecar(1), gate(100));
    rights = null;
    follow.look(7, sidecar(1), gate(100));
    expect(restarted).toBe(0);
  });
  test("is the attestation of the next block where the last one is too old for a start before it", () => {
    const late = (level: number, ageSeconds: number) =>
      sidecar(1, { head: { level, ageSeconds } as SidecarStatus["head"] });
    follow.look(7, late(100, 3), gate(100));
    follow.look(7, late(100, 5), gate(100));
    follow.look(7, late(101, 1), gate(100));
    expect(restarted).toBe(0);
    follow.look(7, late(101, 2.8), gate(101));
    expect(restarted).toBe(1);
  });
  test("comes in a pod without a gate, too: half a block after the head", () => {
    follow.look(7, sidecar(1), undefined);
    expect(restarted).toBe(0);
    follow.look(7, sidecar(1, { head: { level: 100, ageSeconds: 3 } as SidecarStatus["head"] }), undefined);
    expect(restarted).toBe(1);
  });
  test("comes where a key is there without which octez-baker was started, too, with or without a DAL node", () => {
    const without = sidecar(0, { dal: undefined });
    follow.look(7, without, gate(99), true);
    follow.look(null, without, gate(100), true);
    follow.look(7, without, gate(100), false);
    expect(restarted).toBe(0);
    follow.look(7, without, gate(100), true);
    expect(restarted).toBe(1);
  });
  test("never comes in a pod without a DAL node", () => {
    follow.look(7, sidecar(1, { dal: undefined }), gate(100));
    expect(restarted).toBe(0);
  });
});
