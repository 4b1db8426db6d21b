import { Acknowledgements } from "../../../daemons/nonce-exposer/acknowledgements";
import { decide, isMissing, type Facts, type Tracked } from "../../../daemons/nonce-exposer/accounting";
import { decide as reconcile } from "../../../daemons/nonce-importer/reconcile";

const commitment = { hash: "nce1", address: "tz1", level: 100, round: 0 };
const facts = (overrides: Partial<Facts> = {}): Facts => ({
  commitments: [commitment],
  local: new Map(),
  acknowledged: () => false,
  chain: new Map(),
  headLevel: undefined,
  nowMs: 0,
  ackMs: 2000,
  ...overrides,
});

describe("accounting", () => {
  test("a commitment is missing until it is local and on another member", () => {
    let tracked: readonly Tracked[] = [];
    const step = (overrides: Partial<Facts>) => {
      const result = decide(tracked, facts(overrides));
      tracked = result.tracked;
      return result.counts;
    };
    expect(step({})).toMatchObject({ committed: 1, local: 0, missing: 1 });
    expect(step({ local: new Map([["nce1", false]]) })).toMatchObject({ local: 1, replicated: 0, missing: 1 });
    expect(step({ acknowledged: () => true })).toMatchObject({ local: 1, replicated: 1, missing: 0 });
    // The gate restarted: what it let through stays known, also after the baker dropped the nonce.
    expect(step({ commitments: [] })).toMatchObject({ committed: 1, missing: 0, revealed: 0 });
    expect(step({ commitments: [], local: new Map([["nce1", true]]) })).toMatchObject({ revealed: 1 });
  });
  test("alerts once, after the acknowledgement time", () => {
    const first = decide([], facts());
    expect(first.alerts).toEqual([]);
    const late = decide(first.tracked, facts({ nowMs: 2001 }));
    expect(late.alerts).toHaveLength(1);
    expect(decide(late.tracked, facts({ nowMs: 9000 })).alerts).toEqual([]);
  });
  test.each([
    ["another block is at its level", { kind: "committed", hash: "nce2" }, 105, false],
    ["the chain has no commitment there", { kind: "none" }, 105, false],
    ["the chain has it", { kind: "committed", hash: "nce1" }, 105, true],
    ["the head is too near to judge", { kind: "none" }, 104, true],
    ["it is revealed", { kind: "revealed", hash: "nce1" }, 105, false],
  ] as const)("missing for as long as there is something to reveal: %s", (_name, answer, headLevel, missing) => {
    const result = decide(decide([], facts()).tracked, facts({ chain: new Map([[100, answer]]), headLevel }));
    expect(result.tracked.map(isMissing)).toEqual([missing]);
  });
  test("what the gate remembers from long ago is missing only where the chain waits for it", () => {
    const restarted = decide([], facts({ headLevel: 200 }));
    expect(restarted.counts).toMatchObject({ committed: 1, missing: 0 });
    expect(
      decide(restarted.tracked, facts({ headLevel: 200, chain: new Map([[100, { kind: "none" }]]) })).counts.missing,
    ).toBe(0);
    expect(
      decide(restarted.tracked, facts({ headLevel: 200, chain: new Map([[100, { kind: "committed", hash: "nce1" }]]) }))
        .counts.missing,
    ).toBe(1);
  });
  test("what a chain reorganisation brought back is missing again", () => {
    const gone = decide(
      decide([], facts()).tracked,
      facts({ chain: new Map([[100, { kind: "none" }]]), headLevel: 105 }),
    );
    expect(gone.counts.missing).toBe(0);
    expect(
      decide(gone.tracked, facts({ chain: new Map([[100, { kind: "committed", hash: "nce1" }]]), headLevel: 106 }))
        .counts.missing,
    ).toBe(1);
  });
});

describe("the final push", () => {
  const start = (): Acknowledgements => {
    const all = new Acknowledgements(["p1", "p2"]);
    all.remember("h1", new Set(["nce1"]));
    all.remember("h2", new Set(["nce1", "nce2"]));
    return all;
  };
  test("needs every connected member and at least one", () => {
    const all = start();
    expect(all.finalPushed("h2")).toEqual({ finalPushed: false, reason: "nobody is connected" });
    all.connected("p1", "p1_a");
    all.connected("p2", "p2_a");
    all.acknowledge("p1", "h2");
    all.acknowledge("p2", "h1");
    expect(all.finalPushed("h2")).toEqual({ finalPushed: false, reason: "waiting for p2" });
    all.disconnected("p2");
    expect(all.finalPushed("h2")).toEqual({ finalPushed: true, reason: "acknowledged" });
    expect(all.finalPushed(undefined).finalPushed).toBe(false);
  });
  test("an acknowledgement of a content that was not sent counts for nothing", () => {
    const all = start();
    all.connected("p1", "p1_a");
    expect(all.acknowledge("p1", "h3")).toBe(false);
    expect(all.acknowledge("p9", "h1")).toBe(false);
    expect(all.holds("nce1")).toBe(false);
  });
  test("a member keeps its acknowledgements through a reconnect, but not through another uid", () => {
    const all = start();
    all.connected("p1", "p1_a");
    all.acknowledge("p1", "h1");
    all.disconnected("p1");
    all.connected("p1", "p1_a");
    expect(all.holds("nce1")).toBe(true);
    all.connected("p1", "p1_b");
    expect(all.holds("nce1")).toBe(false);
  });
  test("a baker with one member has nobody to wait for", () => {
    expect(new Acknowledgements([]).finalPushed("h1")).toEqual({ finalPushed: true, reason: "no-other-member" });
  });
});

test("reconciled needs both directions with every member, or the bound", () => {
  const peers = [{ pod: "p1", imported: true, acknowledged: false }];
  expect(reconcile({ sinceStartMs: 10, boundMs: 100, peers })).toEqual({
    reconciled: false,
    reason: "p1 not acknowledged",
  });
  expect(reconcile({ sinceStartMs: 100, boundMs: 100, peers })).toEqual({
    reconciled: true,
    reason: "gave up waiting: p1 not acknowledged",
  });
  expect(
    reconcile({ sinceStartMs: 0, boundMs: 100, peers: [{ pod: "p1", imported: true, acknowledged: true }] }).reason,
  ).toBe("exchanged");
  expect(reconcile({ sinceStartMs: 0, boundMs: 100, peers: [] }).reconciled).toBe(true);
});
