import { systemClock } from "../../../daemons/runtime/clock";
import { createOctezRpc, type Head, type OctezRpc } from "../../../daemons/runtime/octez-rpc";
import { blockHash, headJson, startTestNode, testChainId, type TestNode } from "../../helpers/octez-node";
import { eventually } from "../../suites/kube-suite";

const at = Date.parse("2026-07-01T00:00:06Z");
const timeoutMs = 1000;
let node: TestNode;
let rpc: OctezRpc;

beforeEach(async () => {
  node = await startTestNode({ timestampMs: at });
  rpc = createOctezRpc({ url: node.url, clock: systemClock, maxBytes: 200_000 });
});
afterEach(async () => {
  rpc.close();
  await node.stop();
});

test("a header is read with its round and its time", async () => {
  node.head = headJson(1234, at, 5);
  expect(await rpc.header({ timeoutMs })).toMatchObject({
    ok: true,
    value: {
      level: 1234,
      round: 5,
      hash: blockHash(1234),
      predecessor: blockHash(1233),
      timestampMs: at,
      chainId: testChainId,
    },
  });
});

test("connections are counted, constants are numbers, rights name their keys", async () => {
  node.connections = 12;
  expect(await rpc.connections({ timeoutMs })).toMatchObject({ ok: true, value: 12 });
  expect(await rpc.chainId({ timeoutMs })).toMatchObject({ ok: true, value: testChainId });
  expect(await rpc.bootstrapped({ timeoutMs })).toMatchObject({
    ok: true,
    value: { bootstrapped: true, syncState: "synced" },
  });
  expect(await rpc.constants({ timeoutMs })).toMatchObject({
    value: {
      blocksPerCycle: 14400,
      blocksPerCommitment: 112,
      nonceRevelationThreshold: 400,
      minimalBlockDelaySeconds: 6,
      delayIncrementPerRoundSeconds: 3,
    },
  });
  expect(await rpc.currentLevel({ timeoutMs, offset: 1 })).toMatchObject({
    value: { level: 1001, cycle: 3, cyclePosition: 7, expectedCommitment: false },
  });
  expect(await rpc.bakingRights({ timeoutMs, levels: [1001, 1002], delegates: ["tz1a"], maxRound: 0 })).toMatchObject({
    value: [
      { level: 1001, delegate: "tz1a", round: 0, consensusKey: "tz4" },
      { level: 1002, delegate: "tz1a", round: 0, consensusKey: "tz4" },
    ],
  });
});

test("a nonce is missing, revealed or forgotten", async () => {
  expect(await rpc.nonce({ timeoutMs, level: 100 })).toMatchObject({ value: { state: "missing", hash: "nceUd" } });
  expect(await rpc.nonce({ timeoutMs, level: 200 })).toMatchObject({ value: { state: "revealed" } });
  expect(await rpc.nonce({ timeoutMs, level: 300 })).toMatchObject({ value: { state: "forgotten" } });
  expect(await rpc.nonce({ timeoutMs, level: 400 })).toMatchObject({ ok: false, kind: "status", status: 404 });
});

test.each([
  ["HTML", { text: "<html>502</html>" }, "malformed"],
  ["another JSON", { text: "[]" }, "malformed"],
  ["an empty body", { text: "" }, "malformed"],
  ["a level that is a text", { text: JSON.stringify({ ...headJson(1, 0), level: "1", chain_id: "x" }) }, "malformed"],
  [
    "a level beyond 31 bits",
    { text: JSON.stringify({ ...headJson(1, 0), level: 2 ** 31, chain_id: "x" }) },
    "malformed",
  ],
  [
    "a time with fractions",
    { text: JSON.stringify({ ...headJson(1, 0), timestamp: "2026-07-01T00:00:00.000Z", chain_id: "x" }) },
    "malformed",
  ],
  [
    "a time that does not exist",
    { text: JSON.stringify({ ...headJson(1, 0), timestamp: "2026-13-41T00:00:00Z", chain_id: "x" }) },
    "malformed",
  ],
  ["no chain", { text: JSON.stringify(headJson(1, 0)) }, "malformed"],
  ["500", { status: 500, text: "{}" }, "status"],
  ["a redirect", { status: 302, text: "" }, "status"],
  ["an endless body", "huge", "malformed"],
  ["a reset", "cut", "unreachable"],
] as const)("a header that is %s is %s", async (_what, lie, kind) => {
  node.lies.set("*", lie);
  expect(await rpc.header({ timeoutMs })).toMatchObject({ ok: false, kind });
});

test.each(["hang", "drip"] as const)("a node that answers by %s is left at the deadline", async (lie) => {
  node.lies.set("*", lie);
  expect(await rpc.header({ timeoutMs: 100 })).toMatchObject({ ok: false, kind: "timeout" });
});

describe("the head stream", () => {
  const follow = (idleMs = 5000) => {
    const heads: Head[] = [];
    const ends: string[] = [];
    const stop = new AbortController();
    const done = rpc.followHeads((head) => heads.push(head), {
      signal: stop.signal,
      idleMs,
      onEnd: (reason) => ends.push(reason),
    });
    return { heads, ends, levels: () => heads.map((head) => head.level), end: () => (stop.abort(), done) };
  };

  test("delivers each head, and connects again after a cut", async () => {
    const stream = follow();
    await eventually("the first head", () => stream.heads.length === 1);
    node.show(1001, at);
    await eventually("the second head", () => stream.heads.length === 2);
    node.cutStreams();
    await eventually("a new stream", () => node.streams === 1 && stream.ends.length === 1);
    node.show(1002, at);
    await eventually("the third head", () => stream.levels().includes(1002));
    expect([...new Set(stream.levels())]).toEqual([1000, 1001, 1002]);
    await stream.end();
  });

  test("takes heads without line breaks, and in pieces", async () => {
    const stream = follow();
    await eventually("the first head", () => stream.heads.length === 1);
    const text = JSON.stringify(headJson(1001, at)) + JSON.stringify(headJson(1002, at));
    node.write(text.slice(0, 700));
    node.write(text.slice(700));
    await eventually("both", () => stream.heads.length === 3);
    await stream.end();
  });

  test.each([
    ["falls silent", () => undefined, "silent"],
    ["is no JSON", () => node.write("hello\n"), "malformed"],
    ["shows no head", () => node.write("{}\n"), "malformed"],
    ["never ends a head", () => node.write(`{"x":"${"x".repeat(70_000)}`), "malformed"],
  ])("that %s is left and opened anew", async (_what, lie, end) => {
    const stream = follow(end === "silent" ? 300 : 60_000);
    await eventually("the first head", () => stream.heads.length === 1);
    lie();
    await eventually("its end", () => stream.ends.length >= 1);
    expect(stream.ends[0]).toContain(end);
    await eventually("the next", () => stream.heads.length >= 2);
    await stream.end();
  });
});
