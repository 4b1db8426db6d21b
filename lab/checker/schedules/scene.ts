/** What all parts of one schedule share: its features, its keys, and what happened in it. */
import { timingsSchema, type Timings } from "../../../contract/timings";
import { encodeBase58, expectBase58 } from "../../../tezos/base58";
import type { CommitEntry, SignerEntry, Violation } from "../checker";
import { World } from "./world";

export const chainId = "NetXdQprcVkpaWU";
export const chainBytes = expectBase58("chainId", chainId);
export const baker = "alice";
export const blockMs = 6000;

/** What a test may break on purpose, to see that the checker notices. */
export type Sabotage = "blind-writes" | "phantom-writes" | "no-memory" | "random-signer" | "no-floor" | "no-sync";

export interface ScheduleOptions {
  seed: number;
  /** @default 90 */
  virtualSeconds?: number;
  sabotage?: Sabotage;
  /**
   * An adversary as strong as the words of docs/protocol.md allow: see strong-adversary.ts. Without it the history of a
   * seed is what it was before there was one.
   * @default false
   */
  strong?: boolean;
}
export interface ScheduleResult {
  seed: number;
  violations: Violation[];
  /** Empty, or why the healed baker did not sign. */
  stuck: string;
  /** What happened, to see that schedules are not idle. */
  reasons: Record<string, number>;
  counts: Scene["counts"];
  slowestMs: number;
  signed: SignerEntry[];
  commits: CommitEntry[];
}

/** Features are drawn per schedule, so that each is also seen alone. */
function drawFeatures(world: World, strong: boolean) {
  const drawn = (p: number) => world.chance(p);
  const [rewinds, deletes, badDisk] = strong ? [0.8, 0.3, 0.4] : [0.3, 0.3, 0.2];
  return {
    keys: drawn(0.3) ? 2 : 1,
    rewinds: drawn(rewinds),
    deletes: drawn(deletes),
    halts: drawn(0.3),
    hostileElector: drawn(0.6),
    crashes: drawn(0.5),
    stops: drawn(0.5),
    badDisk: drawn(badDisk),
    lossyApi: drawn(0.7),
    frozenHeads: drawn(0.3),
    hostileClient: drawn(0.5),
    twin: drawn(0.4),
    deterministic: drawn(0.4),
    operator: drawn(0.15),
    /** Long tenures: what needs time (the halted chain) comes to pass. */
    calm: drawn(0.3),
    /** Disks are set back and emptied. */
    backups: strong && drawn(0.4),
    /** Reads show what was. */
    staleReads: strong && drawn(0.3),
    /** Writes take longer than the API. */
    slowDisk: strong && drawn(0.5),
    /** A process ends just when it has forwarded a request. */
    ambushes: strong && drawn(0.8),
  };
}

export class Scene {
  readonly world: World;
  readonly sabotage: Sabotage | undefined;
  readonly strong: boolean;
  readonly features: ReturnType<typeof drawFeatures>;
  /** Watermarks are taken away in this schedule. */
  readonly takesAway: boolean;
  readonly timings: Timings = timingsSchema.parse({ floorPassSeconds: 20, voluntaryHandoverSeconds: 1 });
  readonly keys: { address: string; deterministic: boolean }[];
  /** False while the schedule heals. */
  faults = true;
  readonly counts = {
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
  readonly reasons: Record<string, number> = {};
  /** Longest time to an answer of a gate that was not stopped meanwhile. */
  slowestMs = 0;
  readonly signedLog: SignerEntry[] = [];
  readonly commitLog: CommitEntry[] = [];

  constructor({ seed, sabotage, strong = false }: ScheduleOptions) {
    this.world = new World(seed);
    this.sabotage = sabotage;
    this.strong = strong;
    this.features = drawFeatures(this.world, strong);
    if (sabotage === "no-memory") Object.assign(this.features, { rewinds: true, badDisk: false });
    this.takesAway = this.features.rewinds || this.features.deletes;
    this.keys = Array.from({ length: this.features.keys }, (_, i) => ({
      address: encodeBase58("tz1", new Uint8Array(20).fill(i + 1)),
      deterministic: this.features.deterministic,
    }));
  }
}
