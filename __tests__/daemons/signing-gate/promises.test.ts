/**
 * What the gate promises at the moments that no schedule reaches by luck: the API's answers are held until the test
 * lets them go.
 */
import { labels, watermarkDataKey, watermarkName } from "../../../contract/names";
import { timingsSchema } from "../../../contract/timings";
import { watermarkSchema, type Watermark } from "../../../contract/watermark";
import { systemClock } from "../../../daemons/runtime/clock";
import type { ConfigMap, Outcome } from "../../../daemons/runtime/kube";
import { Gate, type GateOptions } from "../../../daemons/signing-gate/gate";
import { LeadershipView } from "../../../daemons/signing-gate/leadership";
import { MarksMemory } from "../../../daemons/signing-gate/memory";
import { testKey } from "../../../lab/doubles/signing-keys";
import { leastDalBits } from "../../../tezos/protocols";
import { baker, chainName, request } from "../../helpers/gates";

const { address } = testKey("tz2", "baker");
const timings = timingsSchema.parse({});
const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** Holds whoever comes until it is opened. */
class Latch {
  private resolveReached!: () => void;
  private resolveOpened!: () => void;
  readonly reached = new Promise<void>((resolve) => (this.resolveReached = resolve));
  private readonly opened = new Promise<void>((resolve) => (this.resolveOpened = resolve));
  async pass(): Promise<void> {
    this.resolveReached();
    await this.opened;
  }
  open(): void {
    this.resolveOpened();
  }
}

/** The watermark of one key in memory, with conditional writes. */
class Store {
  private version = 1;
  private object: ConfigMap = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: watermarkName(address), uid: "u", resourceVersion: "1", labels: { [labels.baker]: baker } },
    data: { [watermarkDataKey]: JSON.stringify(emptyRecord) },
  };
  record = () => watermarkSchema.parse(JSON.parse(this.object.data?.[watermarkDataKey] ?? "null"));
  private read = (): Outcome<ConfigMap> => ({ ok: true, object: structuredClone(this.object), sentAtMs: 0 });
  get = () => Promise.resolve(this.read());
  write(object: ConfigMap): Outcome<ConfigMap> {
    if (object.metadata.resourceVersion !== this.object.metadata.resourceVersion)
      return { ok: false, kind: "conflict", unknown: false, status: 409, message: "", sentAtMs: 0 };
    this.object = structuredClone(object);
    this.object.metadata.resourceVersion = String(++this.version);
    return this.read();
  }
}
const emptyRecord = {
  ...{ version: 1, baker, chain: chainName, epoch: 0, holder: "", floor: 999, unfenced: false },
  marks: { block: null, preattestation: null, attestation: null },
};

interface Pod {
  gate: Gate;
  lead(epoch: number, gate?: "open" | "shut"): void;
  /** From now on time goes on wherever the gate waits. */
  hurry(): void;
  /** Every wait that is under way ends. */
  passTime(): void;
  /** Digests that reached the signer. */
  signed: string[];
}
const gates: Gate[] = [];
/**
 * `get` and `replace` of the watermark, and what the disk does before a text is on it; time goes on only where the gate
 * waits without leadership.
 */
async function pod(
  name: string,
  get: () => Promise<Outcome<ConfigMap>>,
  replace: (object: ConfigMap, record: Watermark) => Promise<Outcome<ConfigMap>>,
  disk: (text: string) => Promise<void> = () => Promise.resolve(),
): Promise<Pod> {
  const kube = {
    get,
    replace: (_: string, object: ConfigMap) =>
      replace(object, watermarkSchema.parse(JSON.parse(object.data?.[watermarkDataKey] ?? "null"))),
  } as unknown as GateOptions["kube"];
  let nowMs = 0;
  let shut = false;
  const clock = { ...systemClock, now: () => nowMs };
  const waits = new Set<() => void>();
  const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (shut) nowMs += ms;
      if (shut || signal?.aborted) return resolve();
      waits.add(resolve);
      return signal?.addEventListener("abort", () => resolve());
    });
  const identity = `${name}_u1`;
  const file = { read: () => Promise.resolve(undefined), write: disk, note: () => undefined };
  const { memory } = await MarksMemory.load(file, chainName, [address], "boot");
  await memory.commit(address, "u", watermarkSchema.parse(emptyRecord));
  const leadership = new LeadershipView(identity, () => systemClock.nowNs());
  const signed: string[] = [];
  const gate = new Gate({
    ...{ baker, chainId: chainName, identity, keys: [{ address, deterministic: false }], timings },
    ...{ clock, sleep, kube, memory, leadership, log },
    heads: {
      aggregates: () => true,
      dalBits: () => leastDalBits,
      own: () => ({ level: 1000, ageSeconds: 0, highestLevel: 1000, heardAgoMs: 0 }),
      synced: () => Promise.resolve(1000),
    },
    signer: {
      sign: ({ digest }) => {
        signed.push(Buffer.from(digest).toString("hex"));
        return Promise.resolve({ ok: true, signature: `signature ${signed.length} of ${name}`, signer: "s" });
      },
    },
  });
  gates.push(gate);
  const lead = (epoch: number, command: "open" | "shut" = "open") => {
    shut = command === "shut";
    leadership.update({
      ...{ holder: name, holderIdentity: identity, self: identity, leaseUid: "lease", epoch, state: "active" },
      ...{ reason: "", validUntilNs: String(systemClock.nowNs() + 60_000_000_000n), gate: command },
      ...{ daemons: "run", nonces: "follow" },
    });
  };
  return { gate, lead, hurry: () => (shut = true), passTime: () => waits.forEach((end) => end()), signed };
}
afterEach(() => {
  for (const gate of gates.splice(0)) gate.close();
});

const unknownOutcome: Outcome<ConfigMap> = {
  ...{ ok: false, kind: "timeout", unknown: true, status: 0, message: "", sentAtMs: 0 },
};

test("a tenure that ends while the API acknowledges the mark forwards nothing", async () => {
  const store = new Store();
  const answer = new Latch();
  const a = await pod("a", store.get, async (object, record) => {
    const written = store.write(object);
    if (record.marks.attestation !== null) await answer.pass();
    return written;
  });
  a.lead(1);
  const asked = a.gate.sign(address, request("attestation", 1001));
  await answer.reached;
  a.lead(1, "shut");
  answer.open();
  expect(await asked).toMatchObject({ status: 503, reason: "not-master" });
  expect(a.signed).toEqual([]);
  expect(store.record().marks.attestation).toMatchObject({ level: 1001 });
});

test("nothing is forwarded before the disk has the mark, though the API has it; and not at all where the disk refuses", async () => {
  const store = new Store();
  const disks = new Map([
    [1001, new Latch()],
    [1002, new Latch()],
  ]);
  let refuses = false;
  const a = await pod(
    "a",
    store.get,
    (object) => Promise.resolve(store.write(object)),
    async (text) => {
      for (const [level, disk] of disks) if (text.includes(`"level":${level}`)) await disk.pass();
      if (refuses) throw new Error("EIO");
    },
  );
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  a.lead(1);
  const first = a.gate.sign(address, request("attestation", 1001));
  await disks.get(1001)?.reached;
  await settled();
  expect(store.record().marks.attestation).toMatchObject({ level: 1001 });
  expect(a.signed).toEqual([]);
  disks.get(1001)?.open();
  expect(await first).toMatchObject({ status: 200 });

  const second = a.gate.sign(address, request("attestation", 1002));
  await disks.get(1002)?.reached;
  refuses = true;
  disks.get(1002)?.open();
  expect(await second).toMatchObject({ status: 503, reason: "memory-write" });
  expect(a.signed).toHaveLength(1);
});

test("a gate that ends takes no new work and forwards nothing more, though its tenure goes on", async () => {
  const store = new Store();
  const answer = new Latch();
  const a = await pod("a", store.get, async (object, record) => {
    const written = store.write(object);
    if (record.marks.attestation?.level === 1002) await answer.pass();
    return written;
  });
  a.lead(1);
  expect(await a.gate.sign(address, request("attestation", 1001))).toMatchObject({ status: 200 });
  const underWay = a.gate.sign(address, request("attestation", 1002));
  await answer.reached;
  a.gate.close();
  a.hurry();
  const late = a.gate.sign(address, request("attestation", 1003));
  answer.open();
  for (const asked of [underWay, late]) expect(await asked).toMatchObject({ status: 503, reason: "not-master" });
  expect(a.gate.status().open).toBe(false);
  expect(a.signed).toHaveLength(1);
  expect(store.record().marks.attestation).toMatchObject({ level: 1002 });
});

test("a tenure that ends while the watermark is read again writes no mark", async () => {
  const store = new Store();
  const reading = new Latch();
  let lost = false;
  const get = async () => {
    const read = await store.get();
    if (lost) await reading.pass();
    return read;
  };
  const a = await pod("a", get, (object, record) => {
    if (record.marks.attestation === null || lost) return Promise.resolve(store.write(object));
    lost = true;
    return Promise.resolve(unknownOutcome);
  });
  a.lead(1);
  const asked = a.gate.sign(address, request("attestation", 1001));
  await reading.reached;
  a.lead(1, "shut");
  reading.open();
  expect(await asked).toMatchObject({ status: 503, reason: "not-master" });
  expect(a.signed).toEqual([]);
  expect(store.record().marks.attestation).toBeNull();
});

test("a mark tried in an earlier tenure and found in a later one is another's: its block is not signed again", async () => {
  const store = new Store();
  const lost = new Latch();
  let first = true;
  const a = await pod("a", store.get, async (object, record) => {
    if (record.marks.block === null || !first) return store.write(object);
    first = false;
    await lost.pass();
    return unknownOutcome;
  });
  const b = await pod("b", store.get, (object) => Promise.resolve(store.write(object)));
  const block = request("block", 1001);
  a.lead(1);
  const asked = a.gate.sign(address, block);
  await lost.reached;
  b.lead(2);
  expect(await b.gate.sign(address, block)).toMatchObject({ status: 200 });
  a.lead(3);
  lost.open();
  expect(await asked).toMatchObject({ status: 409, reason: "block-repeated" });
  expect(a.signed).toEqual([]);
});

test("a disk that never answers: the request is refused, the key says so and is free, and opens when the disk answers", async () => {
  const store = new Store();
  const disk = new Latch();
  const a = await pod(
    "a",
    store.get,
    (object) => Promise.resolve(store.write(object)),
    async (text) => {
      if (text.includes('"level":1001')) await disk.pass();
    },
  );
  a.lead(1);
  const asked = a.gate.sign(address, request("attestation", 1001));
  await disk.reached;
  a.hurry();
  a.passTime();
  expect(await asked).toMatchObject({ status: 503, reason: "memory-write" });
  expect(await a.gate.sign(address, request("attestation", 1002))).toMatchObject({
    status: 409,
    reason: "memory-write",
  });
  expect(a.gate.status()).toMatchObject({ open: false, keys: [{ state: "refused", reason: "memory-write" }] });
  // In standby, too, it is known that this pod could not sign.
  a.lead(1, "shut");
  expect(a.gate.status().keys[0]).toMatchObject({ state: "refused", reason: "memory-write" });
  disk.open();
  a.lead(2);
  while (!a.gate.status().open) await new Promise((resolve) => setImmediate(resolve));
  expect(await a.gate.sign(address, request("attestation", 1003))).toMatchObject({ status: 200 });
  expect(a.signed).toHaveLength(1);
});
