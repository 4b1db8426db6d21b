/**
 * Randomized schedules of several gates on a simulated network with virtual time: real gate code, simulated API,
 * signers, disks, chain and elector. The elector elects whom it likes; processes stop, crash and come back; answers are
 * lost, late or wrong; watermarks are deleted and rewound. Everything follows from the seed. The verdict is the
 * checker's, and that a healed baker signs again.
 *
 * Two things are assumed of an adversary who takes watermarks away. What is taken away had reached every pod's disk: a
 * gate looks every two seconds, a restore needs minutes. And the lease, which keeps the epochs, is not rolled back at
 * the same moment. Without takings-away the elector hands out any epoch, twice and backwards.
 */
import { createHash } from "node:crypto";
import { labels, podName, watermarkDataKey, watermarkName } from "../../contract/names";
import { timingsSchema } from "../../contract/timings";
import { watermarkSchema, type Mark, type MarkKind, type Watermark } from "../../contract/watermark";
import { Gate, type GateAnswer, type SignAttempt, type SignOutcome } from "../../daemons/signing-gate/gate";
import { LeadershipView } from "../../daemons/signing-gate/leadership";
import { MarksMemory } from "../../daemons/signing-gate/memory";
import { below, isSynced, type Remembered } from "../../daemons/signing-gate/decide";
import type { ConfigMap, KubeClient, KubeObject, Outcome } from "../../daemons/runtime/kube";
import type { Log } from "../../daemons/runtime/log";
import { encodeBase58, expectBase58 } from "../../tezos/base58";
import { encodeBlockRequest, encodeVoteRequest, parseSigningRequest } from "../../tezos/signing-request";
import { check, type CommitEntry, type SignerEntry, type Violation } from "./checker";

/** What a test may break on purpose, to see that the checker notices. */
export type Sabotage = "blind-writes" | "phantom-writes" | "no-memory" | "random-signer" | "no-floor";

export interface ScheduleOptions {
  seed: number;
  /** @default 90 */
  virtualSeconds?: number;
  sabotage?: Sabotage;
}
export interface ScheduleResult {
  seed: number;
  violations: Violation[];
  /** Empty, or why the healed baker did not sign. */
  stuck: string;
  /** What happened, to see that schedules are not idle. */
  reasons: Record<string, number>;
  counts: {
    signed: number;
    refused: number;
    commits: number;
    conflicts: number;
    lostAnswers: number;
    crashes: number;
    stops: number;
    losses: number;
    tenures: number;
    floorPasses: number;
  };
  signed: SignerEntry[];
  commits: CommitEntry[];
}

const chainId = "NetXdQprcVkpaWU";
const chainBytes = expectBase58("chainId", chainId);
const baker = "alice";
const blockMs = 6000;

/** Small, fast, good enough: mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Disk {
  content: string | undefined;
  /** Numbers noted since the content's file was begun: they outlive a process, not the machine. */
  cells: number[];
  /** Starts of the machine. */
  boots: number;
  /** The process that runs now has begun its own file. */
  begun: boolean;
  /** What a process is writing at this moment: when it is killed the kernel may have all of it, or not. */
  writing: string | undefined;
}
const emptyDisk = (): Disk => ({ content: undefined, cells: [], boots: 0, begun: false, writing: undefined });

const land = (disk: Disk, content: string): void => {
  if (!disk.begun) disk.cells = [];
  disk.begun = true;
  disk.content = content;
};

/** The marks that a gate which begins on this disk now would remember, read without its code. */
interface DiskContent {
  boot: string;
  keys: Record<string, Remembered | "lost">;
  announced: Record<string, { number: number; cell: number; kind: MarkKind; mark: Mark }>;
}
function onDisk({ content, cells, boots }: Disk, address: string): Remembered | "lost" | undefined {
  const { boot, keys, announced } = JSON.parse(content ?? "") as DiskContent;
  const entry = keys[address];
  if (entry === undefined || entry === "lost") return entry;
  const marks = { ...entry.marks };
  if (entry.unconfirmed) marks[entry.unconfirmed.kind] = entry.unconfirmed.mark;
  const more = announced[address];
  if (more && (boot !== String(boots) || (cells[more.cell] ?? 0) >= more.number)) marks[more.kind] = more.mark;
  return { ...entry, marks };
}
/** One process of a gate: nothing reaches it once it has crashed, and nothing while it is stopped. */
interface Process {
  identity: string;
  disk: Disk;
  alive: boolean;
  stopped: boolean;
  held: (() => void)[];
  gate: Gate | undefined;
  leadership: LeadershipView;
  /** Its node's view of the chain stops here, or undefined where it follows. */
  frozenHead: { level: number; sinceMs: number } | undefined;
  apiDown: boolean;
}

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

class World {
  now = 0;
  private serial = 0;
  private order = 0;
  private heap: { at: number; serial: number; run: () => void }[] = [];
  readonly random: () => number;

  constructor(seed: number) {
    this.random = randomOf(seed);
  }
  pick<T>(list: readonly T[]): T {
    const item = list[Math.floor(this.random() * list.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }
  chance(p: number): boolean {
    return this.random() < p;
  }
  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }
  /** Place in the common order of the logs: the virtual time, made unique. */
  stamp(): number {
    this.order = Math.max(this.order + 1e-6, this.now);
    return this.order;
  }
  after(ms: number, run: () => void): void {
    const entry = { at: this.now + Math.max(0, ms), serial: ++this.serial, run };
    // Binary heap by (at, serial).
    const heap = this.heap;
    heap.push(entry);
    for (let i = heap.length - 1; i > 0;) {
      const parent = (i - 1) >> 1;
      const a = heap[i];
      const b = heap[parent];
      if (!a || !b || b.at < a.at || (b.at === a.at && b.serial < a.serial)) break;
      heap[i] = b;
      heap[parent] = a;
      i = parent;
    }
  }
  private pop(): { at: number; run: () => void } | undefined {
    const heap = this.heap;
    const top = heap[0];
    const last = heap.pop();
    if (!top || !last || heap.length === 0) return top;
    heap[0] = last;
    for (let i = 0; ;) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) {
        const a = heap[child];
        const b = heap[least];
        if (a && b && (a.at < b.at || (a.at === b.at && a.serial < b.serial))) least = child;
      }
      const a = heap[i];
      const b = heap[least];
      if (least === i || !a || !b) return top;
      heap[i] = b;
      heap[least] = a;
      i = least;
    }
  }
  /** Runs events up to `untilMs`; between two of them all that the first one caused is settled. */
  async run(untilMs: number): Promise<void> {
    for (;;) {
      const next = this.heap[0];
      if (!next || next.at > untilMs) break;
      this.pop();
      this.now = next.at;
      next.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.now = Math.max(this.now, untilMs);
  }
}

export async function runSchedule(options: ScheduleOptions): Promise<ScheduleResult> {
  const world = new World(options.seed);
  const { sabotage } = options;
  const durationMs = (options.virtualSeconds ?? 90) * 1000;
  // Features are drawn per schedule, so that each is also seen alone.
  const drawn = (p: number) => world.chance(p);
  const f = {
    keys: drawn(0.3) ? 2 : 1,
    rewinds: drawn(0.3),
    deletes: drawn(0.3),
    halts: drawn(0.3),
    hostileElector: drawn(0.6),
    crashes: drawn(0.5),
    stops: drawn(0.5),
    badDisk: drawn(0.2),
    lossyApi: drawn(0.7),
    frozenHeads: drawn(0.3),
    hostileClient: drawn(0.5),
    twin: drawn(0.4),
    deterministic: drawn(0.4),
    operator: drawn(0.15),
    /** Long tenures: what needs time (the halted chain) comes to pass. */
    calm: drawn(0.3),
  };
  if (sabotage === "no-memory") Object.assign(f, { rewinds: true, badDisk: false });
  const takesAway = f.rewinds || f.deletes;
  const timings = timingsSchema.parse({ floorPassSeconds: 20, voluntaryHandoverSeconds: 1 });
  const counts = {
    signed: 0,
    refused: 0,
    commits: 0,
    conflicts: 0,
    lostAnswers: 0,
    crashes: 0,
    stops: 0,
    losses: 0,
    tenures: 0,
    floorPasses: 0,
  };
  const signedLog: SignerEntry[] = [];
  const commitLog: CommitEntry[] = [];
  const reasons: Record<string, number> = {};
  let faults = true;

  const keys = Array.from({ length: f.keys }, (_, i) => ({
    address: encodeBase58("tz1", new Uint8Array(20).fill(i + 1)),
    deterministic: f.deterministic,
  }));

  // ------------------------------------------------------------------------------------------------------------------
  // chain
  let tip = 1000;
  let tipSinceMs = 0;
  let round = 0;
  let halted = false;
  const step = () => {
    if (faults && f.halts && world.chance(0.2)) halted = true;
    if (halted && (!faults || world.chance(0.05))) halted = false;
    if (halted) round++;
    else {
      tip++;
      tipSinceMs = world.now;
      round = world.chance(0.15) ? 1 : 0;
    }
    world.after(halted ? blockMs + round * 500 : blockMs + (round > 0 ? 3000 : 0), step);
  };
  world.after(blockMs, step);

  // ------------------------------------------------------------------------------------------------------------------
  // API
  interface Stored {
    uid: string;
    rv: number;
    text: string;
  }
  let highestEpoch = 0;
  const store = new Map<string, Stored>();
  const history = new Map<string, string[]>();
  let revision = 100;
  let uids = 0;
  const processes: Process[] = [];
  const addressOf = new Map(keys.map((key) => [watermarkName(key.address), key.address]));
  const toObject = (name: string, stored: Stored): ConfigMap => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name,
      namespace: "bakers",
      uid: stored.uid,
      resourceVersion: String(stored.rv),
      labels: { [labels.baker]: baker },
    },
    data: stored.text === "" ? {} : { [watermarkDataKey]: stored.text },
  });
  const parseRecord = (text: string): Watermark | null =>
    text === "" ? null : watermarkSchema.parse(JSON.parse(text));
  const announce = (name: string) => {
    for (const process of processes) {
      if (faults && f.lossyApi && world.chance(0.2) && !takesAway) continue;
      const stored = store.get(name);
      const object = stored ? toObject(name, stored) : undefined;
      world.after(world.between(2, faults ? 2500 : 10), () =>
        deliver(process, () => process.gate?.onSeen(addressOf.get(name) ?? "", object)),
      );
    }
  };
  const change = (name: string, next: Stored | undefined, by: "gate" | "other") => {
    const before = store.get(name);
    if (next) store.set(name, next);
    else store.delete(name);
    if (next && next.text !== "") history.set(name, [...(history.get(name) ?? []), next.text]);
    if (by === "gate") counts.commits++;
    if (next) highestEpoch = Math.max(highestEpoch, parseRecord(next.text)?.epoch ?? 0);
    commitLog.push({
      at: world.stamp(),
      address: addressOf.get(name) ?? "",
      uid: next?.uid ?? before?.uid ?? "",
      by,
      record: next ? parseRecord(next.text) : null,
    });
    announce(name);
  };
  // Most schedules begin with a baker in operation, some with a first installation.
  const before: Watermark = {
    version: 1,
    baker,
    chain: chainId,
    epoch: 1,
    holder: "alice-as-9_u0",
    floor: tip - 3,
    marks: { block: null, preattestation: null, attestation: { level: tip - 2, round: 0, digest: "0".repeat(64) } },
    unfenced: drawn(0.1),
  };
  const initial = drawn(0.8) ? JSON.stringify(before) : "";
  for (const key of keys)
    change(watermarkName(key.address), { uid: `uid-${++uids}`, rv: ++revision, text: initial }, "other");

  const deliver = (process: Process, run: () => void) => {
    if (!process.alive) return;
    if (process.stopped) process.held.push(run);
    else run();
  };
  const never = <T>() => new Promise<T>(() => undefined);

  /** One exchange with the API: `apply` happens at the server, once, perhaps after the client has given up. */
  const call = <T>(process: Process, timeoutMs: number, apply: () => Outcome<T>): Promise<Outcome<T>> => {
    if (!process.alive) return never();
    const sentAtMs = world.now;
    const lossy = faults && f.lossyApi;
    const fail = (kind: "network" | "timeout" | "server", unknown: boolean): Outcome<T> => ({
      ok: false,
      kind,
      unknown,
      status: 0,
      message: kind,
      sentAtMs,
    });
    return new Promise((resolve) => {
      let done = false;
      const answer = (outcome: Outcome<T>) =>
        deliver(process, () => {
          if (done) return;
          done = true;
          resolve(outcome);
        });
      if (process.apiDown) return void world.after(1, () => answer(fail("network", false)));
      world.after(timeoutMs, () => {
        answer(fail("timeout", true));
      });
      if (lossy && world.chance(0.04)) return;
      const there = lossy && world.chance(0.08) ? world.between(500, 4000) : world.between(0.3, 5);
      world.after(there, () => {
        const outcome = apply();
        if (!outcome.ok && outcome.kind === "conflict") counts.conflicts++;
        const lose = lossy && world.chance(0.08);
        if (lose && outcome.ok) counts.lostAnswers++;
        if (lose)
          return world.chance(0.5)
            ? world.after(1, () => answer(fail(world.chance(0.5) ? "server" : "network", true)))
            : undefined;
        const back = lossy && world.chance(0.05) ? world.between(300, 3000) : world.between(0.3, 5);
        world.after(back, () => answer(outcome));
        return undefined;
      });
    });
  };
  const kubeOf = (process: Process): Pick<KubeClient, "get" | "replace"> => {
    const failure = (kind: "not-found" | "conflict", status: number): Outcome<never> => ({
      ok: false,
      kind,
      unknown: false,
      status,
      message: kind,
      sentAtMs: world.now,
    });
    const get = (name: string, timeoutMs: number): Promise<Outcome<ConfigMap>> =>
      call(process, timeoutMs, () => {
        const stored = store.get(name);
        return stored ? { ok: true, object: toObject(name, stored), sentAtMs: world.now } : failure("not-found", 404);
      });
    const replace = (object: ConfigMap, timeoutMs: number): Promise<Outcome<ConfigMap>> => {
      const { name, uid, resourceVersion } = object.metadata;
      if (!uid || !resourceVersion) throw new Error("a PUT without uid or resourceVersion");
      const text = object.data?.[watermarkDataKey] ?? "";
      if (sabotage === "phantom-writes" && world.chance(0.3))
        return Promise.resolve({ ok: true, object, sentAtMs: world.now });
      return call(process, timeoutMs, () => {
        const stored = store.get(name);
        if (!stored) return failure("not-found", 404);
        if (sabotage !== "blind-writes" && (stored.uid !== uid || String(stored.rv) !== resourceVersion))
          return failure("conflict", 409);
        const next = {
          uid: stored.uid,
          rv: ++revision,
          text: sabotage === "no-floor" ? text.replace(/"floor":-?\d+/, '"floor":-1') : text,
        };
        change(name, next, "gate");
        return {
          ok: true,
          object:
            sabotage === "no-floor"
              ? { ...toObject(name, next), data: { [watermarkDataKey]: text } }
              : toObject(name, next),
          sentAtMs: world.now,
        };
      });
    };
    return {
      get: (_resource, name, { timeoutMs }) => get(name, timeoutMs) as unknown as Promise<Outcome<never>>,
      replace: (_resource, object: KubeObject, { timeoutMs }) =>
        replace(object as ConfigMap, timeoutMs) as unknown as Promise<Outcome<never>>,
    };
  };

  // ------------------------------------------------------------------------------------------------------------------
  // signers
  let signatures = 0;
  const signerOf = (process: Process) => ({
    sign: async (attempt: SignAttempt): Promise<SignOutcome> => {
      let mayHaveSigned = false;
      for (const signer of ["s1", "s2"]) {
        if (mayHaveSigned && !attempt.repeatable) break;
        const fault = faults ? world.random() : 1;
        const outcome = await new Promise<"ok" | "hang" | "garbage" | "refused" | string>((resolve) => {
          let done = false;
          const answer = (value: string) =>
            deliver(process, () => {
              if (done) return;
              done = true;
              resolve(value);
            });
          if (!process.alive) return;
          if (fault < 0.04) return void world.after(1, () => answer("refused"));
          world.after(Math.min(timings.signerTimeoutMs, Math.max(1, attempt.deadlineMs - world.now)), () => {
            answer("hang");
          });
          if (fault < 0.07) return;
          world.after(fault < 0.1 ? world.between(1000, 6000) : world.between(1, 30), () => {
            const bytes = Buffer.from(attempt.bytes);
            const stable = createHash("sha256").update(attempt.address).update(bytes).digest("hex");
            const random = sabotage === "random-signer" || !f.deterministic;
            const signature = random ? `${stable}-${++signatures}` : stable;
            signedLog.push({
              at: world.stamp(),
              signer,
              address: attempt.address,
              bytes: bytes.toString("hex"),
              signature,
            });
            if (fault < 0.15) return;
            world.after(world.between(1, 30), () => answer(fault < 0.18 ? "garbage" : signature));
          });
        });
        if (outcome !== "refused") mayHaveSigned = true;
        if (outcome !== "refused" && outcome !== "hang" && outcome !== "garbage")
          return { ok: true, signature: outcome, signer };
      }
      return { ok: false, reason: "signer", detail: "", mayHaveSigned };
    },
  });

  // ------------------------------------------------------------------------------------------------------------------
  // processes
  const headOf = (process: Process) => {
    const head = process.frozenHead ?? { level: tip, sinceMs: tipSinceMs };
    return { level: head.level, ageSeconds: (world.now - head.sinceMs) / 1000 };
  };
  const start = async (identity: string, disk: Disk): Promise<Process> => {
    const process: Process = {
      identity,
      disk,
      alive: true,
      stopped: false,
      held: [],
      gate: undefined,
      leadership: new LeadershipView(identity, () => BigInt(Math.round(world.now * 1e6))),
      frozenHead: undefined,
      apiDown: false,
    };
    processes.push(process);
    const { memory } = await MarksMemory.load(
      {
        read: () => {
          disk.begun = false;
          if (sabotage === "no-memory" || disk.content === undefined) return Promise.resolve(undefined);
          return Promise.resolve({ text: disk.content, cells: keys.map((_, cell) => disk.cells[cell] ?? 0) });
        },
        write: (content) =>
          new Promise((resolve, reject) => {
            const fails = faults && f.badDisk && world.chance(0.05);
            if (!fails) disk.writing = content;
            world.after(world.between(0.1, 5), () => {
              if (!process.alive) return;
              disk.writing = undefined;
              if (fails) disk.begun = false;
              else land(disk, content);
              deliver(process, fails ? () => reject(new Error("no space left")) : resolve);
            });
          }),
        note: (cell, number) => {
          if (!disk.begun) throw new Error("no file");
          disk.cells[cell] = number;
        },
      },
      chainId,
      keys.map((key) => key.address),
      String(disk.boots),
    );
    if (sabotage === "no-memory") memory.get = () => undefined;
    process.gate = new Gate({
      baker,
      chainId,
      identity,
      keys,
      timings,
      clock: { now: () => world.now, nowNs: () => BigInt(Math.round(world.now * 1e6)), wall: () => world.now },
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          if (signal?.aborted) return resolve();
          signal?.addEventListener("abort", () => resolve());
          world.after(ms, () => deliver(process, resolve));
        }),
      kube: kubeOf(process),
      memory,
      leadership: process.leadership,
      heads: {
        aggregates: () => true,
        own: () => ({ ...headOf(process), highestLevel: headOf(process).level, heardAgoMs: 0 }),
        synced: () => {
          const heads = processes
            .filter((other) => other.alive)
            .map(headOf)
            .filter((head) => isSynced(head, timings.headFreshSeconds));
          return Promise.resolve(heads.length === 0 ? null : Math.max(...heads.map((head) => head.level)));
        },
      },
      signer: signerOf(process),
      log: silent,
      onDecision: (decision) => {
        if (decision.result === "signed") counts.signed++;
        else counts.refused++;
        reasons[decision.reason] = (reasons[decision.reason] ?? 0) + 1;
        if (decision.reason === "floor-pass") counts.floorPasses++;
      },
      onTrouble: () => void counts.losses++,
    });
    // What a pod does in the background: put on its disk what it saw.
    const flush = () => {
      deliver(process, () => void memory.flush().catch(() => undefined));
      if (process.alive) world.after(500, flush);
    };
    world.after(500, flush);
    return process;
  };
  const pods = [podName(baker, "active-standby", 0), podName(baker, "active-standby", 1)];
  const running: Process[] = [];
  for (const pod of pods) running.push(await start(`${pod}_u1`, emptyDisk()));
  if (f.twin) running.push(await start(`${pods[0] ?? ""}_u2`, emptyDisk()));
  const resume = (process: Process) => {
    process.stopped = false;
    const held = process.held.splice(0);
    held.forEach((run) => deliver(process, run));
  };
  const crash = async (process: Process, at: number) => {
    const { disk } = process;
    process.alive = false;
    counts.crashes++;
    // What it was writing may have come to the kernel before it died.
    if (disk.writing !== undefined && world.chance(0.5)) land(disk, disk.writing);
    disk.writing = undefined;
    if (world.chance(0.3)) {
      // The machine, not the process alone: notes are lost from some moment on, all of them in the worst case.
      disk.boots++;
      disk.cells = disk.cells.map((number) => Math.floor(number * (world.chance(0.5) ? 0 : world.random())));
    }
    if (f.badDisk && world.chance(0.3)) disk.content = '{"version":2,';
    running[at] = await start(process.identity, disk);
  };

  // ------------------------------------------------------------------------------------------------------------------
  // elector
  const lead = (process: Process, epoch: number, validMs: number, gate: "open" | "shut" = "open") =>
    deliver(process, () => {
      counts.tenures++;
      process.leadership.update({
        holder: "",
        holderIdentity: process.identity,
        self: process.identity,
        leaseUid: "lease",
        epoch,
        state: gate === "open" ? "active" : "handing-over",
        reason: "",
        validUntilNs: String(BigInt(Math.round((world.now + validMs) * 1e6))),
        gate,
        daemons: "run",
        nonces: "follow",
      });
    });
  let master: Process | undefined;
  const elect = () => {
    if (!faults) return;
    const process = world.pick(running);
    const epoch = highestEpoch;
    const wild = !takesAway ? [-1, 0, 0, 1, 2] : f.badDisk ? [1, 2] : [1, 1, 2];
    if (f.hostileElector && world.chance(0.4)) {
      const given = Math.max(0, epoch + world.pick(wild));
      const validMs = world.between(100, 20_000);
      lead(process, given, validMs, world.chance(0.1) ? "shut" : "open");
      // Two masters of one epoch. One whose memory is broken cannot know the other once the watermark is gone.
      if (!(takesAway && f.badDisk) && world.chance(0.4)) lead(world.pick(running), given, validMs);
      if (takesAway) highestEpoch = Math.max(highestEpoch, given);
    } else {
      highestEpoch = epoch + 1;
      if (!f.hostileElector) for (const other of running) if (other !== process) lead(other, 0, 0, "shut");
      lead(process, highestEpoch, f.calm ? 60_000 : world.between(3000, 20_000));
      master = process;
    }
    world.after(f.calm ? world.between(8000, 60_000) : world.between(300, 12_000), elect);
  };
  world.after(10, elect);

  // ------------------------------------------------------------------------------------------------------------------
  // clients
  const payload = (n: number) => new Uint8Array(32).fill(n);
  const bytesOf = (
    kind: "block" | "preattestation" | "attestation",
    level: number,
    atRound: number,
    n: number,
  ): Uint8Array =>
    kind === "block"
      ? encodeBlockRequest({
          chainId: chainBytes,
          level,
          round: atRound,
          payloadHash: payload(n),
          seedNonceHash: n === 1 ? payload(9) : null,
        })
      : encodeVoteRequest({
          tag: kind === "preattestation" ? 20 : n === 2 ? 23 : 21,
          chainId: chainBytes,
          level,
          round: atRound,
          payloadHash: payload(n),
        });
  const recent: { address: string; bytes: Uint8Array }[] = [];
  const ask = (process: Process, address: string, bytes: Uint8Array) => {
    recent.push({ address, bytes });
    if (recent.length > 20) recent.shift();
    if (process.alive && !process.stopped) void process.gate?.sign(address, bytes);
  };
  const client = () => {
    if (!faults) return;
    const process = master && world.chance(0.6) ? master : world.pick(running);
    const { address } = world.pick(keys);
    const kinds = ["block", "preattestation", "attestation"] as const;
    // A baker signs one level above the tip that it knows; where nothing is ever taken away the client may also be
    // absurd.
    const honest = tip + 1;
    const again = recent.length > 0 && world.chance(0.15) ? world.pick(recent) : undefined;
    if (again) ask(process, again.address, again.bytes);
    else if (f.hostileClient && world.chance(0.25)) {
      const level = world.pick([
        honest - 3,
        honest - 1,
        honest,
        ...(takesAway ? [] : [honest + 2, honest + 4]),
        2147483647,
      ]);
      for (let i = world.pick([1, 1, 3, 8]); i > 0; i--)
        ask(
          process,
          address,
          bytesOf(world.pick(kinds), level, world.pick([0, round, round + 1, 3]), world.pick([1, 2, 3])),
        );
    } else
      for (const kind of kinds)
        if (world.chance(0.8)) ask(process, address, bytesOf(kind, honest, round, world.pick([1, 1, 1, 2])));
    world.after(world.between(20, 2500), client);
  };
  world.after(200, client);
  world.after(350, client);

  // ------------------------------------------------------------------------------------------------------------------
  // faults
  /** Every pod's disk says so of this watermark; a broken disk makes its pod start anew, which is as good. */
  const disksSay = (name: string, says: (entry: Remembered) => boolean): boolean =>
    running.every(({ disk }) => {
      if (disk.content === undefined) return false;
      try {
        const entry = onDisk(disk, addressOf.get(name) ?? "");
        return entry === "lost" || (entry !== undefined && says(entry));
      } catch {
        return true;
      }
    });
  const allSaw = (name: string, text: string): boolean => {
    const record = parseRecord(text);
    return record === null || disksSay(name, (entry) => !below(entry, record));
  };
  const isOld = (name: string, text: string): boolean => {
    const record = parseRecord(text);
    return record !== null && disksSay(name, (entry) => below(record, entry));
  };
  /** A backup brings an old content back, in the same object or in a new one. */
  const rewind = (name: string, choose: (candidates: readonly string[]) => string): void => {
    const stored = store.get(name);
    if (!f.rewinds || !stored || (sabotage !== "no-memory" && !allSaw(name, stored.text))) return;
    const candidates = (history.get(name) ?? []).filter((text) => sabotage === "no-memory" || isOld(name, text));
    if (candidates.length === 0) return;
    const uid = world.chance(0.5) ? stored.uid : `uid-${++uids}`;
    change(name, { uid, rv: ++revision, text: choose(candidates) }, "other");
  };
  const trouble = () => {
    if (!faults) return;
    world.after(world.between(500, 8000), trouble);
    const at = Math.floor(world.random() * running.length);
    const process = running[at];
    const { address } = world.pick(keys);
    const name = watermarkName(address);
    const stored = store.get(name);
    if (!process) return;
    switch (world.pick(["crash", "stop", "api", "head", "delete", "rewind", "operator"] as const)) {
      case "crash":
        if (!f.crashes || !process.alive) return;
        void crash(process, at);
        // What ended the process may have cost the API its last write, too.
        if (world.chance(0.3)) rewind(name, (candidates) => candidates.at(-1) ?? "");
        return;
      case "stop":
        if (!f.stops || process.stopped) return;
        counts.stops++;
        process.stopped = true;
        return world.after(world.between(50, 15_000), () => resume(process));
      case "api":
        if (!f.lossyApi) return;
        process.apiDown = true;
        return world.after(world.between(100, 8000), () => {
          process.apiDown = false;
        });
      case "head":
        if (!f.frozenHeads) return;
        process.frozenHead = { level: tip, sinceMs: tipSinceMs };
        return world.after(world.between(5000, 60_000), () => {
          process.frozenHead = undefined;
        });
      case "delete":
        if (!f.deletes || !stored || !allSaw(name, stored.text)) return;
        change(name, undefined, "other");
        return world.after(world.between(100, 5000), () => {
          if (!store.has(name)) change(name, { uid: `uid-${++uids}`, rv: ++revision, text: "" }, "other");
        });
      case "rewind":
        return rewind(name, (candidates) => world.pick(candidates));
      case "operator": {
        const record = parseRecord(stored?.text ?? "");
        if (!f.operator || !stored || !record) return;
        const floor = Math.max(record.floor, tip + 3);
        return change(name, { uid: stored.uid, rv: ++revision, text: JSON.stringify({ ...record, floor }) }, "other");
      }
    }
  };
  world.after(1500, trouble);

  // ------------------------------------------------------------------------------------------------------------------
  // run, heal, judge
  await world.run(durationMs);
  faults = false;
  for (const process of running) {
    process.apiDown = false;
    process.frozenHead = undefined;
    resume(process);
    lead(process, 0, 0, "shut");
  }
  for (const key of keys) {
    const name = watermarkName(key.address);
    if (!store.has(name)) change(name, { uid: `uid-${++uids}`, rv: ++revision, text: "" }, "other");
  }
  const last = running[0];
  const answers: GateAnswer[] = [];
  if (last) {
    // As an elector does: an epoch above all watermarks, and a new one where the gate says that the tenure is over.
    for (let i = 0; i < 40; i++) {
      const lost = last.gate?.status().tenureLost;
      if (i === 0 || lost) highestEpoch++;
      lead(last, highestEpoch, 10_000);
      await world.run(world.now + 3000);
    }
    for (const key of keys)
      void last.gate
        ?.sign(key.address, bytesOf("attestation", tip + 1, round, 7))
        .then((answer) => answers.push(answer));
    await world.run(world.now + 5000);
  }
  const stuck =
    answers.length === keys.length && answers.every((answer) => answer.status === 200) ? "" : JSON.stringify(answers);
  const violations = check(signedLog, commitLog, { floorPassAfter: timings.floorPassSeconds * 1000 });
  return { seed: options.seed, violations, stuck, counts, reasons, signed: signedLog, commits: commitLog };
}

/** For people who read a failing schedule: the two logs as one text. */
export function describe(result: ScheduleResult): string {
  const lines = [
    ...result.signed.map((entry) => {
      const parsed = parseSigningRequest(Uint8Array.from(Buffer.from(entry.bytes, "hex")));
      const what = parsed.ok
        ? `${parsed.request.kind} (${parsed.request.level}, ${parsed.request.round}) ${parsed.request.digest.slice(0, 8)}`
        : parsed.reason;
      return { at: entry.at, text: `signer ${entry.signer} ${entry.address.slice(0, 8)} ${what}` };
    }),
    ...result.commits.map((commit) => ({
      at: commit.at,
      text: `${commit.by} ${commit.address.slice(0, 8)} ${commit.uid} ${JSON.stringify(commit.record)}`,
    })),
  ];
  return [
    `seed ${result.seed} stuck ${result.stuck || "no"}`,
    ...result.violations.map((v) => `VIOLATION ${v.at.toFixed(3)} ${v.code} ${v.text}`),
    ...lines.sort((a, b) => a.at - b.at).map((line) => `${line.at.toFixed(3)} ${line.text}`),
  ].join("\n");
}
