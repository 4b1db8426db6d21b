/**
 * Three electors (two members and a twin of one) in simulated time, under random weather: who may run, and with which
 * epochs.
 */
import type { BakerFile } from "../../../contract/baker-file";
import type { PodEnv } from "../../../contract/env";
import { writePause } from "../../../contract/handover-pause";
import type { Leadership } from "../../../contract/leadership";
import { annotations } from "../../../contract/names";
import type { Receipt } from "../../../contract/receipt";
import type { GateStatus, NonceStatus, SidecarStatus, SupervisorStatus } from "../../../contract/status";
import { defaultTimings } from "../../../contract/timings";
import { Elector } from "../../../daemons/elector/elector";
import { createElectorMetrics } from "../../../daemons/elector/metrics";
import type { Clock } from "../../../daemons/runtime/clock";
import type { KubeObject, Lease } from "../../../daemons/runtime/kube";
import { createLog } from "../../../daemons/runtime/log";
import { Registry } from "../../../daemons/runtime/metrics";
import { FakeApi, fine, type Weather } from "../../helpers/fake-kube";

const leader = "leases/alice.leader";
const watermark = "configmaps/wm-aa";

/** mulberry32 */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Sim {
  readonly api = new FakeApi();
  readonly pods: SimPod[] = [];
  readonly lines: string[] = [];
  /** Tenures in the order of their writing. */
  readonly tenures: { holder: string; epoch: number; uid: string }[] = [];
  now = 1_000_000;
  readonly clock: Clock = {
    now: () => this.now,
    nowNs: () => BigInt(Math.round(this.now * 1e6)),
    wall: () => 1_800_000_000_000 + this.now,
  };

  constructor(readonly random: () => number) {
    this.api.put(watermark, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "wm-aa" } });
    this.api.onWrite = (key, before, after) => {
      if (key !== leader) return;
      const [old, lease] = [before as Lease | undefined, after as Lease];
      const holder = lease.spec.holderIdentity ?? "";
      if (holder !== "" && (old?.spec.leaseTransitions ?? 0) !== lease.spec.leaseTransitions)
        this.tenures.push({ holder, epoch: lease.spec.leaseTransitions ?? 0, uid: lease.metadata.uid ?? "" });
    };
  }
  /** As a gate raises the watermark. */
  setEpoch(epoch: number): void {
    const data = { watermark: JSON.stringify({ baker: "alice", epoch }) };
    this.api.put(watermark, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "wm-aa" }, data } as KubeObject);
  }
  lease(): Lease {
    return this.api.get(leader) as Lease;
  }

  /** Advances the simulated time; `look` is called at every step. */
  async pass(ms: number, look: () => void = () => undefined): Promise<void> {
    for (let i = 0; i < ms; i += 10) {
      this.now += 10;
      await jest.advanceTimersByTimeAsync(10);
      for (const pod of this.pods) pod.tick();
      const running = this.pods.filter((pod) => pod.runs);
      if (running.length > 1)
        throw new Error(`two run at ${this.now}: ${running.map((pod) => pod.identity).join(", ")}\n${this.story()}`);
      look();
    }
  }
  async until(what: string, condition: () => boolean, ms = 30_000): Promise<void> {
    for (let i = 0; i < ms; i += 10) {
      if (condition()) return;
      await this.pass(10);
    }
    throw new Error(`not within ${ms} ms: ${what}\n${this.story()}`);
  }
  get runner(): SimPod | undefined {
    return this.pods.find((pod) => pod.runs);
  }
  story(): string {
    return this.lines.slice(-60).join("\n");
  }
  private readonly ends: Promise<void>[] = [];
  /** As kill -9: what has been sent may still arrive. */
  kill(pod: SimPod): void {
    this.ends.push(pod.elector.close());
  }
  async close(): Promise<void> {
    for (const pod of this.pods) this.kill(pod);
    await jest.advanceTimersByTimeAsync(5000);
    await Promise.all(this.ends);
  }
}

/** An elector, and a supervisor that obeys its records as the real one does. */
class SimPod {
  elector: Elector;
  weather: Weather = fine;
  ready = true;
  sidecarAnswers = true;
  /** The chain stands still. */
  headAgeSeconds = 60;
  headLevel = 100;
  tenureLost: GateStatus["tenureLost"] = null;
  keys: Partial<GateStatus["keys"][number]>[] = [];
  memoryProblem: string | null = null;
  inFlight = 0;
  readonly missedLevels = jest.fn((_from: number, _to: number) => Promise.resolve(0));
  runs = false;
  private record: Leadership | null = null;
  private stoppingUntil = 0;
  private askedAt = 0;

  constructor(
    private readonly sim: Sim,
    readonly name: string,
    readonly uid: string,
  ) {
    this.elector = this.start();
  }
  get identity(): string {
    return `${this.name}_${this.uid}`;
  }

  start(): Elector {
    const { sim } = this;
    const file = {
      baker: "alice",
      topology: "active-standby",
      members: 2,
      delegate: "tz1",
      keys: [{ watermark: "wm-aa" }],
      timings: defaultTimings,
    } as BakerFile;
    const env = {
      TOG_POD_NAME: this.name,
      TOG_POD_UID: this.uid,
      TOG_NAMESPACE: "n",
      TOG_POD_ADDRESS: "a",
      TOG_ZONE: "",
    } as PodEnv;
    this.elector = new Elector({
      env,
      file,
      identity: this.identity,
      kube: sim.api.client(sim.clock, sim.random, () => this.weather),
      clock: sim.clock,
      log: createLog(this.identity, "elector", (line) => void sim.lines.push(line), sim.clock),
      metrics: createElectorMetrics(new Registry()),
      rights: {
        bakingLevels: () => Promise.resolve([]),
        blockSeconds: () => Promise.resolve(6),
        missedLevels: this.missedLevels,
      },
    });
    this.elector.subscribe((line) => {
      this.record = JSON.parse(line) as Leadership;
      this.obey();
    });
    this.ask();
    this.elector.start();
    return this.elector;
  }

  private obey(): void {
    const { record } = this;
    const valid =
      record !== null &&
      Number(BigInt(record.validUntilNs) / 1_000_000n) > this.sim.now &&
      record.holderIdentity === this.identity;
    if (valid && record.daemons === "run") {
      this.runs = true;
      this.stoppingUntil = 0;
    } else if (this.runs && valid && record.state === "handing-over") {
      this.stoppingUntil ||= this.sim.now + 300;
      if (this.sim.now >= this.stoppingUntil) this.runs = false;
    } else this.runs = false;
  }
  private ask(): void {
    const { record, sim } = this;
    this.askedAt = sim.now;
    const saw = this.elector.sawStatus.bind(this.elector);
    const sidecar = {
      ready: this.ready,
      head: { level: this.headLevel, ageSeconds: this.headAgeSeconds },
    } as SidecarStatus;
    saw("sidecar", this.sidecarAnswers ? sidecar : null, sim.now);
    saw(
      "gate",
      {
        open: record?.gate === "open",
        reason: "",
        inFlight: this.inFlight,
        epoch: record?.epoch ?? 0,
        keys: this.keys,
        memoryProblem: this.memoryProblem,
        signersAnswering: 1,
        tenureLost: this.tenureLost,
      } as unknown as GateStatus,
      sim.now,
    );
    saw(
      "supervisor",
      { running: this.runs, reason: "", crashLooping: false, obeys: record?.daemons ?? "stop" } as SupervisorStatus,
      sim.now,
    );
    const nonces = { reconciled: true, finalPushed: record?.nonces === "final", missing: 0 } as NonceStatus;
    saw("exposer", nonces, sim.now);
    saw("importer", nonces, sim.now);
  }
  tick(): void {
    this.obey();
    if (this.sim.now - this.askedAt >= (this.elector.state.handover ? 50 : 500)) this.ask();
  }
}

async function simulate(seed: number, body: (sim: Sim) => Promise<void>): Promise<void> {
  jest.useFakeTimers({ now: 0 });
  const sim = new Sim(generator(seed));
  try {
    await body(sim);
    // Of one lease. A new lease without a raised watermark may repeat an epoch: the gate then sees an equal epoch with
    // another holder.
    for (const uid of new Set(sim.tenures.map((tenure) => tenure.uid))) {
      const epochs = sim.tenures.filter((tenure) => tenure.uid === uid).map((tenure) => tenure.epoch);
      expect(epochs).toEqual([...new Set(epochs)].sort((a, b) => a - b));
    }
  } finally {
    await sim.close();
    jest.useRealTimers();
  }
}
const pair = (sim: Sim): [SimPod, SimPod] => {
  const pods: [SimPod, SimPod] = [new SimPod(sim, "alice-as-0", "a"), new SimPod(sim, "alice-as-1", "b")];
  sim.pods.push(...pods);
  return pods;
};

test("the first tenure begins one lease time and one retry after the lease was made, above the watermark's epoch", () =>
  simulate(1, async (sim) => {
    sim.setEpoch(40);
    pair(sim);
    await sim.pass(6900);
    expect(sim.runner).toBeUndefined();
    await sim.until("one runs", () => sim.runner !== undefined, 500);
    expect(sim.tenures).toMatchObject([{ epoch: 41 }]);
  }));

test("an absurd epoch in a watermark does not carry the baker's next epoch away, and is said", () =>
  simulate(13, async (sim) => {
    sim.setEpoch(2 ** 31 - 2);
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    expect(sim.tenures).toMatchObject([{ epoch: 1 }]);
    const told = (sim.runner === a ? a : b).elector.members().flatMap((member) => member.recent ?? []);
    expect(told).toEqual([expect.stringMatching(/epoch 2147483646 of wm-aa must be at most 1073741824/)]);
  }));

test("a tenure counts from when its acquisition, and each renewal, was sent", () =>
  simulate(14, async (sim) => {
    const [a] = pair(sim);
    sim.pods.length = 1;
    a.weather = { ...fine, latencyMs: [300, 300] };
    let sentAtMs = 0;
    const { onWrite } = sim.api;
    sim.api.onWrite = (key, before, after) => {
      if (key === leader) sentAtMs = sim.now - 300;
      onWrite?.(key, before, after);
    };
    const told: number[] = [];
    a.elector.subscribe((line) => {
      const { validUntilNs } = JSON.parse(line) as Leadership;
      if (validUntilNs !== "0")
        told.push(Number(BigInt(validUntilNs) / 1_000_000n) - 1000 * defaultTimings.renewDeadlineSeconds - sentAtMs);
    });
    await sim.until("it runs", () => a.runs);
    await sim.pass(5000);
    expect(told.length).toBeGreaterThan(4);
    // Of the last write that the API had seen, or of one before; 10 ms is the step of the simulated time.
    expect(Math.max(...told)).toBeLessThanOrEqual(10);
  }));

test("an acquisition whose answer was lost is not resumed: the next epoch follows at once", () =>
  simulate(2, async (sim) => {
    const [a] = pair(sim);
    sim.pods.length = 1;
    await sim.pass(6500);
    a.weather = { ...fine, lostAfter: 1, writesOnly: true };
    await sim.until("it is written", () => sim.tenures.length > 0);
    expect(sim.runner).toBeUndefined();
    a.weather = fine;
    await sim.until("it runs", () => a.runs, 3000);
    expect(sim.tenures.length).toBeGreaterThan(1);
    expect(a.elector.state.tenure?.epoch).toBe(sim.tenures.at(-1)?.epoch);
  }));

test("a restarted elector stays silent until it has begun a new tenure on its own lease", () =>
  simulate(3, async (sim) => {
    const [a] = pair(sim);
    sim.pods.length = 1;
    await sim.until("it runs", () => a.runs);
    sim.kill(a);
    a.start();
    expect(a.elector.leadership()).toBeNull();
    await sim.pass(200, () => {
      if (!a.runs) throw new Error(`stopped\n${sim.story()}`);
    });
    expect(sim.tenures.map((tenure) => tenure.epoch)).toEqual([1, 2]);
  }));

test("a lease that a restored backup gave to this pod counts as held by somebody else", () =>
  simulate(4, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    const first = sim.runner === a ? a : b;
    const second = first === a ? b : a;
    const old = sim.lease();
    sim.kill(first);
    first.runs = false;
    sim.pods.splice(sim.pods.indexOf(first), 1);
    await sim.until("the other one runs", () => second.runs);
    sim.pods.push(first);
    first.start();
    await sim.pass(1000);
    // The gate has raised the watermark; the backup says that the first one holds.
    sim.setEpoch(2);
    const { onWrite } = sim.api;
    sim.api.onWrite = undefined;
    sim.api.put(leader, old);
    sim.api.onWrite = onWrite;
    const restoredAt = sim.now;
    await sim.until("the other one stops", () => !second.runs, 2000);
    await sim.until("somebody runs", () => sim.runner !== undefined);
    expect(sim.now - restoredAt).toBeGreaterThanOrEqual(5900);
  }));

test("the holder takes a pause off the lease once it is over, and at once where it lies too far ahead", () =>
  simulate(15, async (sim) => {
    const [a] = pair(sim);
    sim.pods.length = 1;
    await sim.until("it runs", () => a.runs);
    const note = () => sim.lease().metadata.annotations?.[annotations.handoverPause];
    const pause = (seconds: number) => {
      const text = writePause({ untilMs: sim.clock.wall() + 1000 * seconds, reason: "disk" });
      const lease = sim.lease();
      const notes = { ...lease.metadata.annotations, [annotations.handoverPause]: text };
      sim.api.put(leader, { ...lease, metadata: { ...lease.metadata, annotations: notes } });
    };
    const told = () => a.elector.members().map(({ pausedSeconds }) => pausedSeconds);
    pause(60);
    await sim.pass(50_000);
    expect(note()).toBeDefined();
    expect(told()).toContain(10);
    await sim.pass(12_000);
    expect(note()).toBeUndefined();
    pause(48 * 3600);
    await sim.pass(2000);
    expect(note()).toBeUndefined();
    expect(told()).not.toContain(10);
    expect(sim.lines.filter((line) => line.includes("handover-pause-ignored"))).toHaveLength(1);
    expect(a.elector.members().flatMap(({ recent }) => recent ?? [])).toEqual([
      expect.stringContaining("npm run baker -- pause --for 2h"),
    ]);
    expect(a.runs).toBe(true);
  }));

test("a receipt tells cause and steps, and the voluntary pause keeps a weak pair from flapping", () =>
  simulate(5, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    await sim.pass(5000);
    const first = sim.runner === a ? a : b;
    const second = first === a ? b : a;
    first.ready = false;
    await sim.until("a handover", () => second.runs, 12_000);
    const receipt = JSON.parse(sim.lease().metadata.annotations?.[annotations.lastTransition] ?? "null") as {
      cause: string;
      timeline: unknown[];
    };
    expect(receipt).toMatchObject({ cause: "planned-ineligible", from: first.name, to: second.name, epoch: 2 });
    first.ready = true;
    second.ready = false;
    await sim.pass(50_000);
    expect(second.runs).toBe(true);
    await sim.until("back after 60 s", () => first.runs, 15_000);
    // The next pause is twice as long.
    first.ready = false;
    second.ready = true;
    await sim.pass(100_000);
    expect(first.runs).toBe(true);
    await sim.until("after 120 s", () => second.runs, 30_000);
  }));

const attests = (pod: SimPod, attested: number, level: number, ageSeconds: number): void => {
  [pod.headLevel, pod.headAgeSeconds] = [level, ageSeconds];
  pod.keys = [{ highestLevel: level, lastAttestation: { level: attested, round: 0 } }];
};
test("what sidecar and gate told before a termination began may be of the last block, and makes no moment quiet", () =>
  simulate(17, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    const first = sim.runner === a ? a : b;
    attests(first, 100, 100, 1);
    await sim.pass(1000);
    attests(first, 100, 101, 1);
    void first.elector.handOver(20_000);
    await sim.pass(1000, () => expect(first.elector.state.handover?.step).toBe("waiting"));
    attests(first, 101, 101, 1);
    await sim.until("it hands over", () => !first.runs, 1000);
  }));
test("a mark is no signature yet, and a signature still has to be sent: the moment is quiet a little later", () =>
  simulate(19, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    const first = sim.runner === a ? a : b;
    const waits = () => expect(first.elector.state.handover?.step).toBe("waiting");
    attests(first, 100, 101, 1);
    await sim.pass(1000);
    void first.elector.handOver(20_000);
    await sim.pass(1000, waits);
    attests(first, 101, 101, 1);
    first.inFlight = 1;
    await sim.pass(1000, waits);
    first.inFlight = 0;
    await sim.pass(300, waits);
    await sim.until("it hands over", () => !first.runs, 1000);
  }));
test("a termination that begins late in a block waits for the attestation of the next one", () =>
  simulate(18, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    const first = sim.runner === a ? a : b;
    attests(first, 100, 100, 3);
    await sim.pass(1000);
    void first.elector.handOver(20_000);
    await sim.pass(1000, () => expect(first.elector.state.handover?.step).toBe("waiting"));
    attests(first, 100, 101, 0.5);
    await sim.pass(1000, () => expect(first.elector.state.handover?.step).toBe("waiting"));
    attests(first, 101, 101, 2.8);
    await sim.until("it hands over", () => !first.runs, 1000);
  }));

test.each(["before", "after"] as const)(
  "a sidecar that falls silent just %s the termination begins does not make the moment quiet",
  (when) =>
    simulate(11, async (sim) => {
      const [a, b] = pair(sim);
      await sim.until("one runs", () => sim.runner !== undefined);
      const first = sim.runner === a ? a : b;
      // Our attestation of this head is not out yet.
      first.headAgeSeconds = 0;
      await sim.pass(5000);
      const silence = async () => {
        first.sidecarAnswers = false;
        await sim.pass(600);
      };
      if (when === "before") await silence();
      const beganMs = sim.now;
      void first.elector.handOver(20_000);
      await sim.pass(200);
      await silence();
      await sim.until("it hands over", () => !first.runs, 20_000);
      expect(sim.now - beganMs).toBeGreaterThanOrEqual(1000 * defaultTimings.terminationWaitSeconds);
    }),
);
test("a master whose gate cannot write its memory hands over; that the other one cannot either is no reason to hand it back at once", () =>
  simulate(15, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    await sim.pass(5000);
    const first = sim.runner === a ? a : b;
    const second = first === a ? b : a;
    first.keys = [{ state: "refused", reason: "memory-write" }];
    await sim.until("it hands over", () => second.runs, 9000);
    first.keys = [{ state: "closed", reason: "not-master" }];
    second.keys = [{ state: "refused", reason: "memory-write" }];
    await sim.pass(45_000);
    expect(second.runs).toBe(true);
  }));
test("a standby whose gate cannot write its memory is passed over, and followed as soon as it can", () =>
  simulate(16, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    const first = sim.runner === a ? a : b;
    const second = first === a ? b : a;
    second.memoryProblem = "ENOSPC";
    await sim.pass(5000);
    first.keys = [{ state: "refused", reason: "memory-write" }];
    await sim.pass(30_000, () => expect(sim.runner).toBe(first));
    second.memoryProblem = null;
    await sim.until("it hands over", () => second.runs, 9000);
  }));
test("a sidecar that was silent long before the termination is not waited for", () =>
  simulate(12, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    await sim.pass(5000);
    const first = sim.runner === a ? a : b;
    first.sidecarAnswers = false;
    await sim.pass(4000);
    void first.elector.handOver(20_000);
    await sim.until("it hands over", () => !first.runs, 1000);
  }));

test("a release whose answer was lost is no loss, and nobody waits for the lease to run out", () =>
  simulate(7, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    await sim.pass(5000);
    const first = sim.runner === a ? a : b;
    const second = first === a ? b : a;
    void first.elector.handOver(15_000);
    await sim.until("it releases", () => first.elector.state.handover?.step === "pushing", 5000);
    first.weather = { ...fine, lostAfter: 1, writesOnly: true };
    await sim.until("the other one runs", () => second.runs, 1000);
    await sim.pass(3000);
    expect(sim.lines.filter((line) => line.includes('"to":"lost"') && line.includes(first.identity))).toEqual([]);
  }));

test("a watermark above the lease makes it release and acquire anew above it", () =>
  simulate(6, async (sim) => {
    const [a] = pair(sim);
    sim.pods.length = 1;
    await sim.until("it runs", () => a.runs);
    sim.setEpoch(9);
    a.tenureLost = "higher-epoch";
    await sim.until("it stops", () => !a.runs, 3000);
    a.tenureLost = null;
    await sim.until("it runs above", () => a.runs && a.elector.state.tenure?.epoch === 10, 3000);
  }));

/** Milliseconds from a request to its answer. */
const answersIn = (ms: number): Weather => ({ ...fine, latencyMs: [ms / 2, ms / 2] });

test.each([1100, 2000])("with an API that answers in %d ms a pod acquires, and keeps its tenure", (ms) =>
  simulate(21, async (sim) => {
    const pods = pair(sim);
    for (const pod of pods) pod.weather = answersIn(ms);
    await sim.until("one runs", () => sim.runner !== undefined);
    const runner = sim.runner;
    await sim.pass(60_000, () => expect(sim.runner).toBe(runner));
    expect(sim.tenures).toHaveLength(1);
    const troubles = runner?.elector.members().flatMap((member) => member.troubles ?? []) ?? [];
    expect(troubles).toContain(
      `the Kubernetes API takes ${(ms / 1000).toFixed(1)} s to answer: signatures wait for it`,
    );
  }),
);

test("an API that becomes slow, up to 2 s, and quick again at random costs no tenure, and both pods stay known to each other", () =>
  simulate(22, async (sim) => {
    const pods = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    const runner = sim.runner;
    for (let i = 0; i < 30; i++) {
      for (const pod of pods) pod.weather = sim.random() < 0.3 ? fine : answersIn(100 + 1900 * sim.random());
      await sim.pass(4000 * sim.random(), () => expect(sim.runner).toBe(runner));
      for (const pod of pods)
        expect(pod.elector.state.members.map(({ changedAtMs }) => sim.now - changedAtMs < 6000)).toEqual([true]);
    }
    expect(sim.tenures).toHaveLength(1);
  }));

test("with an API that answers in 2 s a planned handover reaches the other pod, and a killed master is followed", () =>
  simulate(23, async (sim) => {
    const [a, b] = pair(sim);
    await sim.until("one runs", () => sim.runner !== undefined);
    await sim.pass(5000);
    for (const pod of [a, b]) pod.weather = answersIn(2000);
    await sim.pass(10_000);
    const first = sim.runner === a ? a : b;
    const second = first === a ? b : a;
    void first.elector.handOver(18_000);
    await sim.until("the other one runs", () => second.runs, 18_000);
    sim.kill(second);
    second.runs = false;
    sim.pods.splice(sim.pods.indexOf(second), 1);
    await sim.until("the first one runs again", () => first.runs, 60_000);
  }));

const first = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const schedules = Number(process.env.TOG_ELECTION_SCHEDULES ?? "4");
test.each(Array.from({ length: schedules }, (_, i) => first + i))(
  "random weather, twins, deleted leases, wishes, restarts: never two at once, epochs only grow (SEED=%d)",
  (seed) =>
    simulate(seed, async (sim) => {
      pair(sim);
      sim.pods.push(new SimPod(sim, "alice-as-0", "twin"));
      const { random } = sim;
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
      for (let i = 0; i < 25; i++) {
        const pod = pick(sim.pods);
        const roll = random();
        if (roll < 0.35)
          pod.weather = pick<Weather>([
            fine,
            { latencyMs: [1, 900], lostBefore: 0.1, lostAfter: 0.1, refused: 0.1 },
            { latencyMs: [1, 50], lostBefore: 1, lostAfter: 0, refused: 0 },
            { latencyMs: [1, 50], lostBefore: 0, lostAfter: 1, refused: 0 },
            { latencyMs: [200, 1500], lostBefore: 0, lostAfter: 0.3, refused: 0 },
          ]);
        else if (roll < 0.5) pod.ready = !pod.ready;
        else if (roll < 0.6) sim.api.remove(leader);
        else if (roll < 0.7 && sim.lease() !== undefined) {
          const lease = sim.lease();
          lease.metadata.annotations = {
            ...lease.metadata.annotations,
            [annotations.preferredHolder]: pick(sim.pods).name,
          };
          sim.api.put(leader, lease);
        } else if (roll < 0.8) void pod.elector.handOver(15_000);
        else if (roll < 0.9) {
          sim.kill(pod);
          pod.start();
        } else pod.headLevel += pick([-3, 3]);
        await sim.pass(Math.floor(random() * 6000));
      }
      // When the weather clears, somebody runs again. (A yielding pod claims nothing for twice preStopSeconds.)
      for (const pod of sim.pods) Object.assign(pod, { weather: fine, ready: true });
      await sim.until("somebody runs", () => sim.runner !== undefined, 60_000);
    }),
  20_000,
);

test("a receipt's missed levels are what the chain says of those from the last attestation before the tenure to the first in it", () =>
  simulate(12, async (sim) => {
    const [a] = pair(sim);
    sim.pods.length = 1;
    const told = () =>
      JSON.parse(sim.lease().metadata.annotations?.[annotations.lastTransition] ?? "null") as Receipt | null;
    a.missedLevels.mockRejectedValueOnce(new Error("status: HTTP 404")).mockResolvedValue(3);
    // What the gate shows before it has raised the watermark is the old master's.
    a.keys = [{ state: "raising", floor: 90, attestedBefore: null, lastAttestation: { level: 100, round: 0 } }];
    await sim.until("it runs", () => a.runs);
    await sim.pass(3000);
    expect(told()?.timeline.map(({ event }) => event)).not.toContain("first-attestation");
    // The old master's last words were a block and a preattestation of 101: its floor is above its last attestation.
    a.keys = [{ state: "open", floor: 101, attestedBefore: 100, lastAttestation: { level: 100, round: 0 } }];
    await sim.pass(1000);
    a.headLevel = 104;
    // A key that is not active on the chain yet began above the head.
    const nextKey = { state: "open", floor: 107, attestedBefore: null, lastAttestation: null } as const;
    a.keys = [{ state: "open", floor: 101, attestedBefore: 100, lastAttestation: { level: 104, round: 0 } }, nextKey];
    await sim.until("it attests", () => told()?.timeline.some(({ event }) => event === "first-attestation") ?? false);
    await sim.pass(3000);
    // No final block includes it yet.
    expect(a.missedLevels).not.toHaveBeenCalled();
    expect(told()?.missedLevels).toBeNull();
    a.headLevel = 106;
    await sim.until("it is counted", () => told()?.missedLevels !== null);
    expect(told()?.missedLevels).toBe(3);
    // The first answer was none: it asks again, and then no more.
    await sim.pass(10_000);
    expect(a.missedLevels.mock.calls.map(([from, to]) => [from, to])).toEqual([
      [100, 104],
      [100, 104],
    ]);
  }));
