/**
 * One process of a gate, with the gate's own code in it. Nothing reaches it once it has crashed, and nothing while it
 * is stopped.
 */
import { noMarks } from "../../../contract/watermark";
import { Gate, type GateOptions } from "../../../daemons/signing-gate/gate";
import { isSynced } from "../../../daemons/signing-gate/decide";
import { LeadershipView } from "../../../daemons/signing-gate/leadership";
import { MarksMemory } from "../../../daemons/signing-gate/memory";
import type { Log } from "../../../daemons/runtime/log";
import { leastDalBits } from "../../../tezos/protocols";
import type { SimulatedChain } from "./chain";
import type { PodDisk } from "./disk";
import type { Known, Promises } from "./promises";
import { baker, chainId, type Scene } from "./scene";

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** A memory that trusts every watermark: it takes itself for proven, but knows no mark. */
function forgetMarks(memory: MarksMemory): void {
  const get = memory.get.bind(memory);
  memory.get = (address) => {
    const entry = get(address);
    if (entry === undefined || entry === "unreadable") return entry;
    return { ...entry, proven: true, epoch: 0, floor: -1, marks: noMarks, unconfirmed: null };
  };
}

/** What surrounds a process. */
export interface Surroundings {
  chain: SimulatedChain;
  /** All that ever ran. */
  processes: readonly GateProcess[];
  kubeOf(process: GateProcess): GateOptions["kube"];
  signerOf(process: GateProcess): GateOptions["signer"];
  promises: Promises;
}

export class GateProcess {
  alive = true;
  /** How often it was stopped. */
  pauses = 0;
  stopped = false;
  gate: Gate | undefined;
  readonly leadership: LeadershipView;
  /** Its node's view of the chain stops here, or undefined where it follows. */
  frozenHead: { level: number; sinceMs: number } | undefined;
  apiDown = false;
  /** The watermarks that the API answered with last, by key. */
  readonly answered = new Map<string, Known>();
  /** Watermarks that it saw and that no flush has brought to the disk yet. */
  private seen: [address: string, record: Known][] = [];
  private held: (() => void)[] = [];

  constructor(
    private readonly scene: Scene,
    readonly identity: string,
    readonly disk: PodDisk,
  ) {
    this.leadership = new LeadershipView(identity, () => this.nowNs());
  }

  private nowNs(): bigint {
    return BigInt(Math.round(this.scene.world.now * 1e6));
  }

  deliver(run: () => void): void {
    if (!this.alive) return;
    if (this.stopped) this.held.push(run);
    else run();
  }
  stop(): void {
    this.stopped = true;
    this.pauses++;
  }
  resume(): void {
    this.stopped = false;
    for (const run of this.held.splice(0)) this.deliver(run);
  }

  sees(address: string, record: Known | null): void {
    if (record) this.seen.push([address, record]);
  }

  head(chain: SimulatedChain): { level: number; ageSeconds: number } {
    const head = this.frozenHead ?? { level: chain.tip, sinceMs: chain.tipSinceMs };
    return { level: head.level, ageSeconds: (this.scene.world.now - head.sinceMs) / 1000 };
  }

  /** Loads the memory from the disk and starts the gate. */
  async start(surroundings: Surroundings): Promise<void> {
    const { world, keys, sabotage } = this.scene;
    const addresses = keys.map((key) => key.address);
    const { memory, problem } = await MarksMemory.load(
      this.disk.fileOf(this),
      chainId,
      addresses,
      String(this.disk.boots),
    );
    const { promises } = surroundings;
    if (problem !== undefined) promises.loseAll(this.disk, addresses);
    if (sabotage === "no-memory") forgetMarks(memory);
    this.gate = new Gate(this.gateOptions(memory, surroundings));
    // What a pod does in the background: put on its disk what it saw.
    const flush = () => {
      this.deliver(() => {
        const seen = this.seen.splice(0);
        const learn = () => seen.forEach(([address, record]) => promises.learn(this.disk, address, record));
        memory.flush().then(learn, () => this.seen.unshift(...seen));
      });
      if (this.alive) world.after(500, flush);
    };
    world.after(500, flush);
  }

  private gateOptions(memory: MarksMemory, surroundings: Surroundings): GateOptions {
    const { world, keys, timings, counts, reasons } = this.scene;
    return {
      ...{ baker, chainId, identity: this.identity, keys, timings, memory, leadership: this.leadership, log: silent },
      clock: { now: () => world.now, nowNs: () => this.nowNs(), wall: () => world.now },
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          if (signal?.aborted) return resolve();
          signal?.addEventListener("abort", () => resolve());
          world.after(ms, () => this.deliver(resolve));
        }),
      kube: surroundings.kubeOf(this),
      heads: this.heads(surroundings),
      signer: surroundings.signerOf(this),
      onDecision: ({ result, reason }) => {
        counts[result]++;
        reasons[reason] = (reasons[reason] ?? 0) + 1;
        if (reason === "floor-pass") counts.floorPasses++;
      },
      onTrouble: () => void counts.losses++,
    };
  }

  private heads({ chain, processes }: Surroundings): GateOptions["heads"] {
    const { headFreshSeconds } = this.scene.timings;
    return {
      aggregates: () => true,
      dalBits: () => leastDalBits,
      own: () => ({ ...this.head(chain), highestLevel: this.head(chain).level, heardAgoMs: 0 }),
      synced: () => {
        const heads = processes
          .filter((other) => other.alive)
          .map((other) => other.head(chain))
          .filter((head) => isSynced(head, headFreshSeconds));
        return Promise.resolve(heads.length === 0 ? null : Math.max(...heads.map((head) => head.level)));
      },
    };
  }
}
