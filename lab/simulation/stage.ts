/** What all parts of one simulation share: time, keys, which faults act at this moment, and the logs. */
import type { BakerFile } from "../../contract/baker-file";
import { podName, watermarkName } from "../../contract/names";
import { timingsSchema } from "../../contract/timings";
import { encodeBase58 } from "../../tezos/base58";
import type { CommitEntry, SignerEntry } from "../checker/checker";
import { baker, chainId } from "../checker/schedules/scene";
import { World } from "../checker/schedules/world";
import type { Fault, FaultKind } from "./faults";
import type { Sabotage } from "./sabotage";

export const podCount = 2;
export const nameOf = (ordinal: number): string => podName(baker, "active-standby", ordinal);

/** A line of the story. */
export interface Line {
  atMs: number;
  text: string;
}

export class Stage {
  readonly world: World;
  readonly file: BakerFile;
  /** Signers give the same bytes the same signature. */
  readonly deterministic: boolean;
  readonly active = new Set<Fault>();
  readonly signedLog: SignerEntry[] = [];
  readonly commitLog: CommitEntry[] = [];
  readonly story: Line[] = [];
  readonly counts = { tenures: 0, signatures: 0, refusals: 0, requests: 0, conflicts: 0, lostAnswers: 0, starts: 0 };

  constructor(
    seed: number,
    readonly sabotage: Sabotage | undefined,
  ) {
    // Another stream than the plan's: a plan with fewer faults begins with the same draws.
    this.world = new World(seed ^ 0x5bd1e995);
    this.deterministic = this.world.chance(0.4);
    const addresses = Array.from({ length: this.world.chance(0.3) ? 2 : 1 }, (_, i) =>
      encodeBase58("tz1", new Uint8Array(20).fill(i + 1)),
    );
    this.file = {
      ...{ version: 1, baker, topology: "active-standby", network: { name: "simulated", chainId } },
      ...{ members: podCount, otherMembers: 1, headMaxAgeSeconds: 60 },
      daemons: [{ name: "octez-baker", command: ["octez-baker", "run"] }],
      delegate: addresses[0] ?? "",
      keys: addresses.map((address, i) => ({
        ...{ address, alias: `key-${i}`, watermark: watermarkName(address), signers: ["s1", "s2"] },
      })),
      signers: ["s1", "s2"].map((name) => ({
        ...{ name, endpoints: [{ zone: null, url: `http://${name}` }], deterministic: this.deterministic },
      })),
      timings: timingsSchema.parse({}),
    };
  }

  get addresses(): readonly string[] {
    return this.file.keys.map(({ address }) => address);
  }
  /** Whether such a fault acts on this pod now. */
  suffers(pod: number, ...kinds: readonly FaultKind[]): boolean {
    for (const fault of this.active) if (fault.pod === pod && kinds.includes(fault.kind)) return true;
    return false;
  }
  /** Whether such a fault acts now, whichever pod it names. */
  has(...kinds: readonly FaultKind[]): boolean {
    for (const fault of this.active) if (kinds.includes(fault.kind)) return true;
    return false;
  }
  tell(text: string): void {
    this.story.push({ atMs: this.world.now, text });
  }
}
