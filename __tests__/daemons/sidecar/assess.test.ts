import fc from "fast-check";
import {
  assess,
  emptyState,
  futureToleranceMs,
  headAgeMs,
  withHead,
  type SidecarState,
} from "../../../daemons/sidecar/assess";
import { blockHash } from "../../helpers/octez-node";

const chainId = "NetXsqzbfFenSTS";
const rules = { chainId, headMaxAgeMs: 240_000, headerSilenceMs: 3000, connectionsSilenceMs: 15_000 };
const wall = Date.parse("2026-07-01T00:00:00Z");
const block = (level: number, timestampMs: number) => ({
  hash: blockHash(level),
  level,
  predecessor: blockHash(level - 1),
  timestamp: new Date(timestampMs).toISOString(),
  timestampMs,
  proto: 25,
  round: 0,
});
/** The node answered everything at monotonic 0; its head was then `ageMs` old. */
const healthy = (ageMs = 3000, at = { monotonicMs: 0, wallMs: wall }): SidecarState =>
  withHead(
    {
      ...emptyState,
      header: { answer: { value: { chainId }, sentAtMs: at.monotonicMs }, problem: undefined },
      connections: { answer: { value: 10, sentAtMs: at.monotonicMs }, problem: undefined },
    },
    block(1000, at.wallMs - ageMs),
    at.monotonicMs,
    at,
  );
const now = (ms: number, wallStepMs = 0) => ({ monotonicMs: ms, wallMs: wall + ms + wallStepMs });
const answering = (state: SidecarState, at: number): SidecarState => ({
  ...state,
  header: { answer: { value: { chainId }, sentAtMs: at }, problem: undefined },
});

test("a node with connections and a young head is live and ready", () => {
  expect(assess(healthy(), rules, now(0))).toMatchObject({
    live: true,
    liveReason: "",
    ready: true,
    reason: "",
    connections: 10,
  });
});

test("a node that was never asked is neither", () => {
  expect(assess(emptyState, rules, now(0))).toMatchObject({
    live: false,
    liveReason: "no-answer: connections: not asked yet",
    ready: false,
    reason: "no-answer: header: not asked yet",
  });
});

test("a head is ready up to its maximum age and not beyond", () => {
  const state = healthy(0);
  expect(assess(answering(state, 240_000), rules, now(240_000)).ready).toBe(true);
  expect(assess(answering(state, 240_001), rules, now(240_001))).toMatchObject({
    ready: false,
    reason: "head-too-old: the head (level 1000) is 240.0 s old, at most 240.0 s is ready",
  });
});

test("a node without connections is not live, whatever its head", () => {
  const state = { ...healthy(), connections: { answer: { value: 0, sentAtMs: 0 }, problem: undefined } };
  expect(assess(state, rules, now(0))).toMatchObject({
    live: false,
    liveReason: "no-connections: the node has no connection",
    ready: true,
  });
});

test("another chain is not ready, however young", () => {
  const state = {
    ...healthy(),
    header: { answer: { value: { chainId: "NetXdQprcVkpaWU" }, sentAtMs: 0 }, problem: undefined },
  };
  expect(assess(state, rules, now(0))).toMatchObject({
    ready: false,
    reason: expect.stringMatching(/^wrong-chain: .*NetXdQprcVkpaWU/),
  });
});

test("a head from the future is not ready beyond the tolerance", () => {
  expect(assess(healthy(-futureToleranceMs), rules, now(0)).ready).toBe(true);
  expect(assess(healthy(-futureToleranceMs - 1), rules, now(0))).toMatchObject({
    ready: false,
    reason: expect.stringMatching(/^head-in-future: /),
  });
});

test("a node that refuses the connection, or answers nonsense, is not ready at once", () => {
  for (const code of ["unreachable", "not-understood"] as const) {
    const state = healthy();
    const problem = { code, message: "why", atMs: 1 };
    expect(assess({ ...state, header: { ...state.header, problem } }, rules, now(1))).toMatchObject({
      ready: false,
      reason: `${code}: header: why`,
    });
    expect(assess({ ...state, connections: { ...state.connections, problem } }, rules, now(1))).toMatchObject({
      live: false,
      liveReason: `${code}: connections: why`,
    });
  }
});

test("one late answer is forgiven, silence is not", () => {
  const state = healthy();
  const late = {
    ...state,
    header: { ...state.header, problem: { code: "no-answer" as const, message: "late", atMs: 2000 } },
  };
  expect(assess(late, rules, now(3000)).ready).toBe(true);
  expect(assess(late, rules, now(3001))).toMatchObject({ ready: false, reason: "no-answer: header: silent for 3.0 s" });
  expect(assess(state, rules, now(15_001))).toMatchObject({
    live: false,
    liveReason: "no-answer: connections: silent for 15.0 s",
  });
});

test("a wall clock that steps back cannot make an old head young", () => {
  const state = answering(healthy(230_000), 20_000);
  expect(assess(state, rules, now(20_000, -3_600_000))).toMatchObject({
    ready: false,
    reason: expect.stringMatching(/^head-too-old/),
  });
});

test("a wall clock that steps forward ages the head, and the next head mends it", () => {
  const at = now(10_000, 3_600_000);
  const state = answering(healthy(), 10_000);
  expect(assess(state, rules, at).ready).toBe(false);
  expect(assess(withHead(state, block(1001, at.wallMs - 3000), 10_000, at), rules, at).ready).toBe(true);
});

test("the same head seen again keeps the age that it had", () => {
  const state = healthy(1000);
  expect(withHead(state, block(1000, wall - 1000), 50_000, now(50_000, -49_000))).toBe(state);
});

test("a slow answer does not replace the head that came meanwhile; a reorganisation does", () => {
  const at = now(5000);
  const state = withHead(healthy(), block(1001, wall + 4000), 5000, at);
  expect(withHead(state, block(1000, wall), 4000, now(5100)).head?.level).toBe(1001);
  expect(withHead(state, block(1000, wall), 5050, now(5100)).head?.level).toBe(1000);
});

test("no step of the wall clock makes a head younger than the time since it was first seen", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 10 ** 7 }),
      fc.integer({ min: 0, max: 10 ** 7 }),
      fc.integer({ min: -(10 ** 9), max: 10 ** 9 }),
      (age, ms, step) => {
        const { head } = healthy(age);
        const seen = head && headAgeMs(head, now(ms, step));
        expect(seen).toBeGreaterThanOrEqual(age + ms);
        expect(seen).toBe(Math.max(age + ms, age + ms + step));
      },
    ),
  );
});
