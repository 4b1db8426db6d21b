/** What the sidecar learns of the chain's protocols, over a real socket. */
import { sidecarStatusSchema } from "../../../contract/status";
import { memberRecord } from "../../../daemons/elector/health";
import { systemClock } from "../../../daemons/runtime/clock";
import { createLog } from "../../../daemons/runtime/log";
import { createOctezRpc, type OctezRpc } from "../../../daemons/runtime/octez-rpc";
import { askProtocols, blocksUntilActivation, ProtocolWatch } from "../../../daemons/sidecar/protocol-watch";
import { startTestNode, type TestNode } from "../../helpers/octez-node";
import { answerVotes, mainnetAnswers, tallinn, unheardOf, ushuaiaHash, votePaths } from "../../helpers/votes";
import { eventually } from "../../suites/kube-suite";

let node: TestNode;
let rpc: OctezRpc;
beforeEach(async () => {
  node = await startTestNode();
  rpc = createOctezRpc({ url: node.url, clock: systemClock });
});
afterEach(async () => {
  rpc.close();
  await node.stop();
});
const atMs = Date.parse("2026-05-31T12:00:00Z");
const ask = () => askProtocols(rpc, () => atMs, { timeoutMs: 5000 });

test("the answers of a node of mainnet are understood, and what is voted on has its earliest day", async () => {
  answerVotes(node.lies, mainnetAnswers);
  const days = ((158_925 + 201_600 + 1) * 6) / 86_400;
  expect(days).toBeCloseTo(25.04, 2);
  expect(await ask()).toEqual({
    running: { hash: tallinn, known: true },
    next: { hash: tallinn, known: true },
    proposal: {
      ...{ hash: ushuaiaHash, known: true, period: "promotion" },
      activatesAt: new Date(atMs + days * 86_400_000).toISOString().replace(".000", ""),
    },
  });
});

test.each([
  ["proposal", 4],
  ["exploration", 3],
  ["cooldown", 2],
  ["promotion", 1],
  ["adoption", 0],
] as const)("after a %s period come %d whole ones", (kind, periods) => {
  expect(blocksUntilActivation({ kind, remaining: 10, blocks: 100 })).toBe(11 + 100 * periods);
});

test("a protocol without a row is not known, whether it runs, is next or is voted on", async () => {
  const protocols = `{"protocol":"${tallinn}","next_protocol":"${unheardOf}"}`;
  answerVotes(node.lies, { ...mainnetAnswers, protocols, proposal: `"${unheardOf}"` });
  expect(await ask()).toMatchObject({
    running: { known: true },
    next: { hash: unheardOf, known: false },
    proposal: { hash: unheardOf, known: false, period: "promotion" },
  });
});

test.each<[string, Partial<typeof mainnetAnswers>]>([
  ["nothing is voted on", { proposal: "null" }],
  ["the node tells no votes", { proposal: undefined }],
  ["the node tells no period", { period: undefined }],
  ["the period has another form", { period: '{"voting_period":{"kind":"siesta"},"position":1,"remaining":2}' }],
  ["the proposal is no hash", { proposal: '{"hash":"P"}' }],
])("where %s, the protocols are told without it", async (_text, changes) => {
  answerVotes(node.lies, { ...mainnetAnswers, ...changes });
  expect(await ask()).toMatchObject({ running: { hash: tallinn }, proposal: null });
});

test("without constants nobody knows when", async () => {
  answerVotes(node.lies, mainnetAnswers);
  node.lies.set("/chains/main/blocks/head/context/constants", { text: "{}" });
  expect((await ask()).proposal).toMatchObject({ period: "promotion", activatesAt: null });
});

test.each(["[]", '{"protocol":"P1","next_protocol":"P2"}', '{"level":"high"}'])(
  "a node that answers %s instead of protocols tells nothing",
  async (text) => {
    node.lies.set(votePaths.protocols, { text });
    await expect(ask()).rejects.toThrow("the node does not tell its protocols");
  },
);

test("the watch waits for a node that is ready, asks until it is told, and logs what it does not know once", async () => {
  const lines: Record<string, unknown>[] = [];
  const log = createLog("p", "sidecar", (line) => void lines.push(JSON.parse(line) as Record<string, unknown>));
  let nodeReady = false;
  const watch = new ProtocolWatch({ rpc, clock: systemClock, log, pollMs: 5, nodeReady: () => nodeReady });
  const stop = new AbortController();
  const done = watch.run(stop.signal);
  try {
    answerVotes(node.lies, mainnetAnswers);
    // A turn of the loop and more: nothing was asked.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([watch.status(), node.requests]).toEqual([undefined, []]);
    node.lies.set(votePaths.protocols, { text: "[]" });
    nodeReady = true;
    await eventually(
      "it is asked again",
      () => node.requests.filter((path) => path === votePaths.protocols).length >= 2,
    );
    expect(watch.status()).toBeUndefined();
    answerVotes(node.lies, { ...mainnetAnswers, proposal: `"${unheardOf}"` });
    await eventually("it is told", () => watch.status()?.proposal?.hash === unheardOf);
    node.requests.length = 0;
    // Twice more: it goes on asking, and says it once.
    await eventually(
      "it asks now and then",
      () => node.requests.filter((path) => path === votePaths.protocols).length >= 2,
    );
    expect(lines.filter(({ event }) => event === "protocol-unknown").map(({ reason }) => reason)).toEqual([unheardOf]);
  } finally {
    stop.abort();
    await done;
  }
});

test("the member's record carries what the sidecar tells, and nothing where an older one tells nothing", async () => {
  answerVotes(node.lies, mainnetAnswers);
  const told = await ask();
  const sidecar = {
    ...{ live: true, liveReason: "", ready: true, reason: "", connections: 3, head: null, chainId: null },
    syncState: null,
  };
  const record = (status: object) =>
    memberRecord(
      {
        ...{ sidecar: sidecarStatusSchema.parse(status), supervisor: null, gate: null, exposer: null, importer: null },
      },
      {
        ...{ identity: "a_u", address: "", zone: "", state: "standby", headLevel: null, eligible: false },
        ...{ yielding: false, reconciled: true, recent: [], troubles: [] },
      },
    ).protocols;
  expect(record({ ...sidecar, protocols: told })).toEqual(told);
  expect(record(sidecar)).toBeUndefined();
});
