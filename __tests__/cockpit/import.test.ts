/** Moving in: what other bakers and signers wrote is understood completely or refused. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClusterError, type Cluster } from "../../cockpit/cluster";
import { readForeignMarks } from "../../cockpit/foreign-marks";
import { planImport, understand } from "../../cockpit/import-plan";
import { cockpit } from "../../cockpit/main";
import { watermarkDataKey } from "../../contract/names";
import { noMarks, type Watermark } from "../../contract/watermark";
import { configMapView, podView, type ConfigMapView } from "../../diagnosis/objects";
import { bakerFile, makeNonce } from "../helpers/nonce-pods";

const file = bakerFile({ topology: "active-standby", members: 2 });
const chain = file.network.chainId;
const key = file.keys[0]?.address ?? "";
const other = "tz1ffLLmU2ia11BN2yThvHTm12a9aDikvFn7";
const hash = "ab".repeat(32);
const json = JSON.stringify;

describe("each format", () => {
  test("octez-signer: a file for each kind, its chain and key inside", () => {
    const text = json({ [chain]: { [key]: { level: 181, round: 1, hash, signature: "sigX" } } });
    expect(readForeignMarks("/x/block_high_watermarks", text, chain)).toEqual({
      format: "octez-signer",
      marks: [{ address: key, kind: "block", level: 181, round: 1 }],
    });
    const old = json({ [chain]: { [key]: { level: 180, hash } } });
    expect(readForeignMarks("endorsement_high_watermarks", old, chain)?.marks[0]).toMatchObject({
      level: 180,
      round: 0,
    });
  });
  test("octez-baker: one file, as version 25.1 writes it", () => {
    const entry = (level: number) => [{ delegate: key, highwatermark: { round: 0, level } }];
    const text = json({ blocks: entry(181), preattestations: entry(180), attestations: entry(180) });
    expect(readForeignMarks(`${chain.slice(0, 13)}_highwatermarks`, text, chain)?.marks).toEqual([
      { address: key, kind: "block", level: 181, round: 0 },
      { address: key, kind: "preattestation", level: 180, round: 0 },
      { address: key, kind: "attestation", level: 180, round: 0 },
    ]);
  });
  test.each([
    ["watermark_v2", { [key]: { block: { level: 7, round: 0, hash: null }, attestation: { level: 8, round: 1 } } }, 8],
    ["watermark_v1", { [key]: { level: 9, round: 2, order: 2, hash: null } }, 9],
    ["watermark", { block: { [key]: { level: 7, round: 0 } }, endorsement: { [key]: { level: 6 } } }, 7],
  ])("Signatory: %s", (folder, value, highest) => {
    const marks = readForeignMarks(`/base/${folder}/${chain}.json`, json(value), chain)?.marks ?? [];
    expect(Math.max(...marks.map(({ level }) => level))).toBe(highest);
    expect(marks.every(({ address }) => address === key)).toBe(true);
  });
});

const mark = { level: 181, round: 0, hash };
test.each<[string, string, unknown, RegExp]>([
  [
    "a level that is a text",
    "block_high_watermarks",
    { [chain]: { [key]: { ...mark, level: "181" } } },
    /not understood/,
  ],
  ["a negative level", "block_high_watermarks", { [chain]: { [key]: { ...mark, level: -1 } } }, /not understood/],
  [
    "a field that nobody knows",
    "block_high_watermarks",
    { [chain]: { [key]: { ...mark, more: 1 } } },
    /not understood/,
  ],
  [
    "an address that is none",
    "block_high_watermarks",
    { [chain]: { tz1nonsense: mark } },
    /not understood: .*tz1nonsense/,
  ],
  ["another chain inside", "block_high_watermarks", { NetXnHfVqm9iesp: { [key]: mark } }, /none of Net/],
  ["a kind that nobody knows", "delegation_high_watermarks", { [chain]: { [key]: mark } }, /no kind of request/],
  ["another chain in the name", "NetXnHfVqm9iesp.json", { [key]: { block: mark } }, /is of chain NetXnHfVqm9iesp/],
  ["an unknown kind of Signatory", `${chain}.json`, { [key]: { delegation: mark } }, /not understood/],
  ["a list that is missing", `${chain.slice(0, 13)}_highwatermarks`, { blocks: [] }, /not understood/],
])("is refused: %s", (_what, name, value, expected) => {
  expect(() => readForeignMarks(name, json(value), chain)).toThrow(expected);
});
test("is refused: half a file, and a file of which nobody knows what it is", () => {
  expect(() => readForeignMarks("block_high_watermarks", '{ "Net', chain)).toThrow("it is no JSON");
  expect(() => understand([{ path: "notes.txt", text: "" }], chain)).toThrow("a file to import is named");
});

const map = (record?: Watermark): ConfigMapView =>
  configMapView({
    metadata: { name: file.keys[0]?.watermark ?? "", uid: "u", resourceVersion: "1", labels: { baker: "alice" } },
    data: record ? { [watermarkDataKey]: json(record) } : {},
  });
const fresh: Watermark = {
  ...{ version: 1, baker: "alice", chain, epoch: 3, holder: "alice-as-0_u", floor: 500 },
  ...{ marks: noMarks, unfenced: false },
};
const facts = { file, maps: [map()], head: 200, unsigned: [] as string[] };
const signer = [{ path: "block_high_watermarks", text: json({ [chain]: { [key]: mark, [other]: mark } }) }];

describe("the plan", () => {
  test("the floor is the highest mark, and the first tenure starts above the head as well", () => {
    const plan = planImport(understand(signer, chain), facts);
    expect(plan.objections).toEqual([]);
    expect(plan.floors[0]?.record).toMatchObject({ floor: 181, unfenced: true, epoch: 0, baker: "alice", chain });
    expect(plan.lines).toContain(`${other} is no key of alice: its marks are left aside`);
  });
  test("a floor is never lowered", () => {
    const maps = [map(fresh)];
    expect(planImport(understand(signer, chain), { ...facts, maps }).floors[0]?.record).toMatchObject({
      ...{ floor: 500, epoch: 3, unfenced: true },
    });
  });
  test.each<[string, Partial<typeof facts>, RegExp]>([
    [
      "the key has signed here",
      { maps: [map({ ...fresh, marks: { ...noMarks, block: { level: 190, round: 0, digest: hash } } })] },
      /has signed here already/,
    ],
    ["the old baker was not silent for long enough", { head: 183 }, /wait until level 186, copy its files again/],
    ["nobody tells the head", { head: undefined as unknown as number }, /--head/],
    ["the watermark's object is not there", { maps: [] }, /does not exist/],
  ])("objects where %s", (_name, changes, expected) => {
    expect(planImport(understand(signer, chain), { ...facts, ...changes }).objections.join()).toMatch(expected);
  });
  test("a key without any mark needs the operator's word", () => {
    const nothing = understand([], chain);
    expect(planImport(nothing, facts).objections).toEqual([expect.stringContaining(`--unsigned ${key}`)]);
    expect(planImport(nothing, { ...facts, unsigned: [key] }).objections).toEqual([]);
  });
});

describe("the command", () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "tog-import-"))));
  afterEach(() => rmSync(folder, { recursive: true }));

  /** A cluster without a lease, whose pods take nonces as `importer` says. */
  async function run(importerCode: number, ...words: string[]) {
    const written: Record<string, string>[] = [];
    const inputs: string[] = [];
    const maps = [
      map(),
      configMapView({ metadata: { name: "alice", labels: { baker: "alice" } }, data: { "baker.json": json(file) } }),
    ];
    const pods = [0, 1].map((ordinal) =>
      podView({
        metadata: { name: `alice-as-${ordinal}`, labels: { baker: "alice" } },
        status: {
          phase: "Running",
          containerStatuses: [{ name: "baker", ready: true, restartCount: 0, state: { running: {} } }],
        },
      }),
    );
    const cluster: Partial<Cluster> = {
      ...{ context: "c", namespace: "tezos" },
      pods: () => Promise.resolve(pods),
      configMaps: () => Promise.resolve(maps),
      lease: () => Promise.resolve(undefined),
      writeConfigMap: (_map, data) => Promise.resolve(void written.push(data)),
      exec: (_pod, _container, _command, input) => {
        inputs.push(input);
        return Promise.resolve({ code: importerCode, out: "", err: importerCode === 0 ? "" : "the disk is full" });
      },
    };
    let said = "";
    const say = (text: string) => void (said += text);
    const paths = [
      ["block_high_watermarks", signer[0]?.text ?? ""],
      [`${chain.slice(0, 13)}_stateful_nonces`, json([makeNonce({ seed: 1 })])],
    ].map(([name = "", text = ""]) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    });
    const connect = () => cluster as Cluster;
    const io = { connect, out: say, err: say, terminal: false };
    const code = await cockpit(["import", "--head", "200", "--from", ...paths, ...words], io);
    return { code, said, written, inputs };
  }

  test("shows what it understood and changes nothing; with --yes nonces go into every pod, then floors", async () => {
    const shown = await run(0);
    expect(shown).toMatchObject({ code: 0, written: [], inputs: [] });
    expect(shown.said).toContain("octez-signer; block of ");
    expect(shown.said).toContain("1 nonces go into every pod of alice");
    const done = await run(0, "--yes");
    expect(done).toMatchObject({ code: 0, inputs: [expect.any(String), expect.any(String)] });
    expect(JSON.parse(done.written[0]?.[watermarkDataKey] ?? "")).toMatchObject({ floor: 181 });
    // Nonces are secret until they are revealed.
    expect(shown.said + done.said).not.toContain(makeNonce({ seed: 1 }).nonce);
  });
  test("without its nonces in every pod no floor is written", async () => {
    const failed = await run(1, "--yes");
    expect(failed).toMatchObject({ code: 1, written: [] });
    expect(failed.said).toContain("the disk is full");
  });
  test("what is not deployed cannot be moved into", async () => {
    let err = "";
    const connect = () => {
      throw new ClusterError("unreachable", "no cluster");
    };
    const io = { connect, out: () => undefined, err: (text: string) => void (err += text), terminal: false };
    const path = join(folder, "x");
    writeFileSync(path, "");
    expect(await cockpit(["import", "--from", path], io)).toBe(3);
    expect(await cockpit(["import"], io)).toBe(2);
    expect(err).toContain("--from");
  });
});
