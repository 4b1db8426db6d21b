/** What the laboratory makes of a node's answers, whose shapes are those that octez-node 25.1 gave. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../../daemons/runtime/clock";
import { createOctezRpc } from "../../../daemons/runtime/octez-rpc";
import type { LevelRecord } from "../../../lab/chain/chain-record";
import { hash32, toBase58 } from "../../../lab/chain/encode";
import { SandboxChain } from "../../../lab/octez/sandbox-chain";
import { bodyOf, recordedJson, type Exchange } from "../../helpers/octez-recordings";

const recorded = (name: string): string => bodyOf(recordedJson<Exchange>(`octez-node/${name}.json`).response);
const head = JSON.parse(recorded("042-monitor-heads").trim().split("\n")[0] ?? "") as Record<string, unknown>;
const header = JSON.parse(recorded("002-header-head")) as Record<string, unknown>;
const participation = JSON.parse(recorded("031-participation")) as Record<string, unknown>;
/** Of level 101, which was past: rounds 0 and 1 of two delegates. */
const pastRights = JSON.parse(recorded("024-baking-rights-past-level")) as Record<string, unknown>[];
const { hash } = JSON.parse(recorded("033-nonce-this-cycle-position3")) as { hash: string };
const { nonce } = JSON.parse(recorded("035-nonce-previous-cycle-position3")) as { nonce: string };
const delegate = String(pastRights[0]?.delegate);
const hashOf = (level: number, round: number): string => toBase58("block", hash32(`${level} ${round}`));

interface Told {
  missedLevels?: number;
  ours?: number[];
  commitment?: string;
  operations?: object[];
  round?: number;
}
/** A node whose blocks are told one by one. */
class Node {
  private readonly blocks = new Map<string, { level: number } & Told>();
  private stream: ServerResponse | undefined;
  private readonly waiting: string[] = [];
  readonly server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? "");
    if (path === "/monitor/heads/main") {
      this.stream = response.writeHead(200);
      for (const line of this.waiting.splice(0)) response.write(line);
      return;
    }
    const [, id = "", what = ""] = /^\/chains\/main\/blocks\/(\w+)\/(.*)$/.exec(path) ?? [];
    // By its hash, by its level, or asked about at the head.
    const about = id === "head" ? /[?&]level=(\d+)/.exec(what)?.[1] : id;
    const block = this.blocks.get(id) ?? [...this.blocks.values()].findLast(({ level }) => String(level) === about);
    response.writeHead(block ? 200 : 404).end(block && JSON.stringify(this.answer(what, block)));
  });

  private answer(what: string, { level, ours = [], ...told }: { level: number } & Told): unknown {
    if (what === "header")
      return {
        ...header,
        ...this.identity(level, told.round),
        ...(told.commitment === undefined ? {} : { seed_nonce_hash: told.commitment }),
      };
    if (what === "operations/2") return told.operations ?? [];
    if (what.endsWith("participation")) return { ...participation, missed_levels: told.missedLevels ?? 0 };
    return ours.map((round) => ({ ...pastRights[0], level, round, delegate }));
  }
  private identity(level: number, round = 0) {
    const fitness = ["02", "00000000", "", "ffffffff", round.toString(16).padStart(8, "0")];
    return { level, hash: hashOf(level, round), fitness };
  }
  /** It has this block, and tells nobody. */
  know(level: number, told: Told): void {
    this.blocks.set(hashOf(level, told.round ?? 0), { level, ...told });
  }
  /** The chain's next head. */
  tell(level: number, told: Told = {}): void {
    this.know(level, told);
    const line = JSON.stringify({ ...head, ...this.identity(level, told.round) }) + "\n";
    if (this.stream) this.stream.write(line);
    else this.waiting.push(line);
  }
}
let node: Node;
let chain: SandboxChain;
let errors: string[];
beforeEach(async () => {
  node = new Node();
  await new Promise<void>((done) => node.server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${(node.server.address() as AddressInfo).port}`;
  errors = [];
  chain = new SandboxChain({
    ...{ rpc: createOctezRpc({ url, clock: systemClock }), node: url, delegate, blocksPerCycle: 16 },
    ...{ activePod: () => "alice-as-1", onError: (reason) => void errors.push(reason) },
  });
  chain.start();
});
afterEach(async () => {
  chain.stop();
  node.server.closeAllConnections();
  await new Promise((done) => node.server.close(done));
  expect(errors).toEqual([]);
});
/** Tells a block and waits until the laboratory has it. */
function block(level: number, told?: Told): Promise<void> {
  return new Promise((done) => {
    const look = (record: LevelRecord) => {
      if (record.level !== level) return;
      chain.off("block", look);
      done();
    };
    chain.on("block", look);
    node.tell(level, told);
  });
}
const signature = (kind: string, level: number, pod = "alice-as-0") =>
  chain.signed({ atMs: Date.parse(String(head.timestamp)) + 40, pod, uid: pod, pid: 1, kind, level, round: 0 });
const missed = () => chain.levels.map(({ level, attestationMissed }) => [level, attestationMissed]);

test("a level is missed where the chain's account says so; before the first attestation nothing is", async () => {
  await block(100, { missedLevels: 10 });
  await block(101, { missedLevels: 11 });
  signature("attestation", 101);
  await block(102, { missedLevels: 11 });
  await block(103, { missedLevels: 12 });
  expect(missed()).toEqual([
    [100, false],
    [101, false],
    [102, true],
    [103, null],
  ]);
  expect(chain.levels[1]).toMatchObject({ attestedBy: "alice-as-0", attestedAfterMs: 40 });
  expect(chain.missedSince(100)).toBe(1);
});
test("a signature that did not get into the chain is no attestation, and a new cycle counts anew", async () => {
  await block(111, { missedLevels: 9 });
  signature("attestation", 111);
  await block(112, { missedLevels: 9 });
  signature("attestation", 112, "alice-as-1");
  await block(113, { missedLevels: 1 });
  await block(114, { missedLevels: 1 });
  expect(chain.levels.map(({ attestedBy }) => attestedBy)).toEqual(["alice-as-0", null, null, null]);
  expect(missed().slice(0, 3)).toEqual([
    [111, false],
    [112, true],
    [113, false],
  ]);
});
test("our block is the one of a round that is ours; where round 0 was, a higher one is a missed block", async () => {
  await block(100);
  signature("attestation", 100);
  signature("block", 101);
  await block(101, { ours: [0] });
  await block(102, { ours: [0], round: 1 });
  await block(103, { ours: [] });
  expect(
    chain.levels.map(({ proposer, bakedBy, blockRight, blockMissed }) => [proposer, bakedBy, blockRight, blockMissed]),
  ).toEqual([
    ["another", null, false, false],
    ["ours", "alice-as-0", true, false],
    ["another", null, true, true],
    ["another", null, false, false],
  ]);
});
test("commitments are ours, revelations are of who bakes then, and what is late is lost", async () => {
  const reveals = (level: number) => ({ contents: [{ kind: "seed_nonce_revelation", level, nonce }] });
  signature("block", 100);
  signature("block", 102);
  await block(100, { ours: [0], commitment: hash });
  await block(101, { commitment: hash });
  await block(102, { ours: [0], commitment: hash });
  for (let level = 103; level <= 113; level++) await block(level);
  await block(114, { operations: [reveals(100), reveals(101)] });
  for (let level = 115; level <= 128; level++) await block(level);
  expect(chain.commitments.get(102)).toMatchObject({ revealedBy: null, lost: false });
  await block(129);
  const own = { hash, by: "alice-as-0" };
  expect([...chain.commitments.values()]).toEqual([
    { ...own, level: 100, revealedBy: "alice-as-1", revealedAt: 114, nonce, lost: false },
    { ...own, level: 102, revealedBy: null, revealedAt: null, nonce: null, lost: true },
  ]);
});
test("blocks that the stream left out are asked for", async () => {
  await block(100);
  node.know(101, { ours: [0] });
  await block(102);
  expect(chain.levels.map(({ level, proposer }) => [level, proposer])).toEqual([
    [100, "another"],
    [101, "ours"],
    [102, "another"],
  ]);
});
test("denunciations are evidence, whoever they are about", async () => {
  const contents = (kind: string) => ({ contents: [{ kind }] });
  await block(100, { operations: [contents("double_consensus_operation_evidence"), contents("vdf_revelation")] });
  await block(101, { operations: [contents("double_baking_evidence"), contents("dal_entrapment_evidence")] });
  expect(chain.evidence.map(({ level, kind }) => `${level} ${kind}`)).toEqual([
    "100 double_consensus_operation_evidence",
    "101 double_baking_evidence",
    "101 dal_entrapment_evidence",
  ]);
});
test("a block of a higher round takes the place of the one before it", async () => {
  await block(100);
  await block(101, { ours: [0], commitment: hash });
  await block(101, { round: 1 });
  expect([...chain.commitments.keys()]).toEqual([]);
  expect(chain.levels.map(({ level, round }) => [level, round])).toEqual([
    [100, 0],
    [101, 1],
  ]);
});
