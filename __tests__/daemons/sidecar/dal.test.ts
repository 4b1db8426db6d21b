/** What the sidecar says of its DAL node: the rules, and the watch of the double over real sockets. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../../daemons/runtime/clock";
import { createLog } from "../../../daemons/runtime/log";
import { createRegistry } from "../../../daemons/runtime/metrics";
import { Recent } from "../../../daemons/runtime/recent";
import { assessDal, dalBetween, type DalAnswers } from "../../../daemons/sidecar/dal";
import { createDalNode } from "../../../daemons/sidecar/dal-node";
import { DalWatch } from "../../../daemons/sidecar/dal-watch";
import { DalRpc } from "../../../lab/doubles/octez-dal-node";
import { solidBakerFile } from "../../helpers/baker-file";
import { eventually } from "../../suites/kube-suite";

const rules = { silenceMs: 10_000, mostLevelsBehind: 3 };
const up = { status: "up", checks: [{ name: "p2p", status: "up" }] };
const answers = (changes: Partial<DalAnswers> = {}, health: typeof up = up, sentAtMs = 100_000): DalAnswers => ({
  ...{ health: { value: health, sentAtMs }, problem: "", peers: 7, processedLevel: 998 },
  ...changes,
});
const assessed = (given: DalAnswers, head: number | undefined = 1000, nowMs = 101_000) =>
  assessDal(given, head, rules, nowMs);

test("a DAL node that answers, has peers and follows the chain is well", () => {
  expect(assessed(answers())).toEqual({ well: true, reason: "", health: "up", peers: 7, levelsBehind: 0 });
  expect(assessed(answers({}, { status: "degraded", checks: [] }))).toMatchObject({ well: true, health: "degraded" });
});
test("one that owes its answer is well for the time of a restart, and then silent", () => {
  const silent = answers({ problem: "no answer within 2000 ms" });
  expect(assessed(silent, 1000, 110_000)).toMatchObject({ well: true });
  expect(assessed(silent, 1000, 112_000)).toEqual({
    ...{ well: false, reason: "dal-silent: it has not answered for 12 s: no answer within 2000 ms" },
    ...{ health: null, peers: null, levelsBehind: null },
  });
  const never = answers({ health: undefined, problem: "connect ECONNREFUSED" });
  expect(assessed(never).reason).toBe("dal-silent: it has not answered: connect ECONNREFUSED");
});
test("one without peers is down, in its own words", () => {
  const down = { status: "down", checks: [{ name: "p2p", status: "down" }] };
  expect(assessed(answers({}, down)).reason).toBe("dal-down: it says that it is down (p2p)");
});
test("one that is more than three final levels behind is behind; of a node that follows nothing nobody knows", () => {
  expect(assessed(answers(), 1003)).toMatchObject({ well: true, levelsBehind: 3 });
  expect(assessed(answers(), 1004)).toMatchObject({ well: false, levelsBehind: 4 });
  expect(assessDal(answers(), undefined, rules, 101_000)).toMatchObject({ well: true, levelsBehind: null });
});

test("between two accounts of the chain slots are attested or missed; a new cycle counts anew", () => {
  const account = (level: number, attestedSlots: number, attestableSlots: number) => ({
    ...{ level, attestedSlots, attestableSlots, sufficient: true },
  });
  expect(dalBetween(undefined, account(10, 5, 9))).toEqual({ attested: 0, missed: 0 });
  expect(dalBetween(account(10, 5, 9), account(11, 7, 12))).toEqual({ attested: 2, missed: 1 });
  expect(dalBetween(account(10, 5, 9), account(11, 2, 2))).toEqual({ attested: 2, missed: 0 });
});

describe("the watch of a DAL node", () => {
  const delegate = solidBakerFile().delegate;
  let server: Server;
  let rpc: DalRpc;
  let watch: DalWatch;
  let done: Promise<void>;
  const stop = { now: new AbortController() };
  const lines: string[] = [];
  const participation = { attestedSlots: 10, attestableSlots: 12, sufficient: true };
  const watched = { streams: 0, known: true, broken: false };
  let head = 1000;

  beforeEach(async () => {
    rpc = new DalRpc([delegate], "DAL_X");
    Object.assign(watched, { streams: 0, known: true, broken: false });
    server = createServer((request, response) => {
      const isStream = request.url?.endsWith("attestable_slots") ?? false;
      if (isStream) watched.streams++;
      if (isStream && !watched.known) return void response.writeHead(404).end();
      if (isStream && watched.broken) return void response.writeHead(200).write("{}", () => response.write("}"));
      rpc.serve(request, response, new URL(request.url ?? "/", "http://dal"), "");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    stop.now = new AbortController();
    lines.length = 0;
    head = 1000;
    Object.assign(participation, { attestedSlots: 10, attestableSlots: 12 });
    watch = new DalWatch({
      ...{ file: solidBakerFile(), clock: systemClock, pollMs: 20, head: () => head },
      dal: createDalNode(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
      rpc: { dalParticipation: () => Promise.resolve({ ok: true, value: { ...participation }, sentAtMs: 0 }) },
      log: createLog("pod", "sidecar", (line) => void lines.push(line)),
      ...{ metrics: createRegistry("alice", "pod"), recent: new Recent(systemClock) },
    });
    done = watch.run(stop.now.signal);
  });
  afterEach(async () => {
    stop.now.abort();
    await done;
    server.close();
    server.closeAllConnections();
  });

  test("follows its health, its peers and its lag", async () => {
    await eventually("no peers", () => watch.status().reason === "dal-down: it says that it is down (p2p)");
    rpc.learn(1000, { peers: 3, processed: 998, slots: [] });
    await eventually("well", () => watch.status().well && watch.status().peers === 3);
    expect(watch.status()).toMatchObject({ health: "up", levelsBehind: 0, restarts: 0 });
    head = 1010;
    await eventually("behind", () => watch.status().reason.startsWith("dal-behind: it is 10 levels behind"));
    await eventually("its log", () => lines.some((line) => line.includes("dal-not-well")));
  });
  test("counts the end of the stream that octez-baker follows, and nothing else, as a restart", async () => {
    rpc.learn(1000, { peers: 3, processed: 998, slots: [] });
    await eventually("well", () => watch.status().well);
    server.closeAllConnections();
    await eventually("a restart", () => watch.status().restarts > 0);
    const { restarts } = watch.status();
    rpc.learn(1001, { peers: 3, processed: 999, slots: [{ slot_level: 999, slot_index: 3 }] });
    await eventually("well", () => watch.status().well);
    expect(watch.status().restarts).toBe(restarts);
  });
  test("a DAL node that does not know the stream has not restarted", async () => {
    rpc.learn(1000, { peers: 3, processed: 998, slots: [] });
    await eventually("well", () => watch.status().well);
    watched.known = false;
    server.closeAllConnections();
    await eventually("the end of its stream", () => watch.status().restarts === 1);
    const { streams } = watched;
    await eventually("three more attempts", () => watched.streams > streams + 3);
    expect(watch.status().restarts).toBe(1);
  });
  test("a stream that this watch ends itself is no restart", async () => {
    watched.broken = true;
    rpc.learn(1000, { peers: 3, processed: 998, slots: [] });
    await eventually("well", () => watch.status().well);
    const before = watched.streams;
    server.closeAllConnections();
    await eventually("the broken stream", () => watched.streams > before);
    const { restarts } = watch.status();
    const { streams } = watched;
    await eventually("three more attempts", () => watched.streams > streams + 3);
    expect(watch.status().restarts).toBe(restarts);
  });
  test("says what the chain has counted, and logs slots that were missed", async () => {
    await eventually("an account", () => watch.status().attestableSlots === 12);
    Object.assign(participation, { attestedSlots: 11, attestableSlots: 15 });
    head = 1001;
    await eventually("the next account", () => watch.status().attestedSlots === 11);
    await eventually("its log", () => lines.some((line) => line.includes('"2 of 3"')));
  });
  test("a DAL node that hangs becomes silent", async () => {
    rpc.learn(1000, { peers: 3, processed: 998, slots: [] });
    await eventually("well", () => watch.status().well);
    rpc.serve = () => undefined;
    await eventually("silent", () => watch.status().reason.startsWith("dal-silent"));
  });
});
