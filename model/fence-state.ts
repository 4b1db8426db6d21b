/** The states of the fence's model, and what is the same in all of them: bounds, rules, decisions. */
import { noMarks, type MarkKind, type Watermark } from "../contract/watermark";
import {
  decideRaise,
  decideRepeat,
  decideSign,
  plausible,
  type Observed,
  type Remembered,
  type Request,
} from "../daemons/signing-gate/decide";
import { afterRead, afterWrite, recovered } from "../daemons/signing-gate/memory";
import { Namer } from "./namer";

/** The parts of the gate that a test may replace by a version without one of the rules. */
export interface FenceRules {
  decideRaise: typeof decideRaise;
  decideSign: typeof decideSign;
  decideRepeat: typeof decideRepeat;
  plausible: typeof plausible;
  recovered: typeof recovered;
  /** A PUT carries the resourceVersion of the object on which it was decided. */
  conditional: boolean;
  /** Forward only after the API's 2xx. */
  awaitsAnswer: boolean;
  /** Forward only after the mark is on the own disk. */
  awaitsDisk: boolean;
  /** What a block of unknown outcome is remembered with: the epoch in which it was tried. */
  unsureByEpoch: boolean;
  holderOf(pod: string): string;
}
export const fenceRules: FenceRules = {
  decideRaise,
  decideSign,
  decideRepeat,
  plausible,
  recovered,
  conditional: true,
  awaitsAnswer: true,
  awaitsDisk: true,
  unsureByEpoch: true,
  holderOf: (pod) => `${pod}_uid`,
};

export interface FenceBounds {
  pods: readonly string[];
  epochs: number;
  requests: readonly Request[];
  /** Orphans: writes whose sender no longer waits for them, but that the API may still receive. */
  orphans: number;
  /** Ends of gate processes, and of machines (with what was only in the page cache), of all pods together. */
  processEnds: number;
  machineEnds: number;
  /** A standby looks at the watermark and remembers it. */
  looks: boolean;
  /** The watermark is deleted and created again, empty. */
  deletions: number;
  /**
   * The watermark is set back to an earlier content: only where each gate can find that out ("detectable", what S5
   * asks for), or always.
   */
  restores: number;
  restore: "detectable" | "any";
  /** The chain halts, so that rounds open at the floor. */
  halts: boolean;
  /** Every gate has seen the watermark before its first write; else it is empty, and nobody has. */
  seen: boolean;
}

export interface Put {
  gate: number;
  record: Watermark;
  /** Sent by a raise (`restore`: of the higher epoch that was remembered), or for the mark of this request. */
  why: "raise" | "restore" | "pass" | "above";
  request: number;
  epoch: number;
  /** The object on which it was decided is still the newest one. */
  current: boolean;
}
/** The gate's file: its last synced text, and whether the announced mark's cell was written since. */
export interface Disk {
  entry: Remembered | undefined;
  announced: { kind: MarkKind; mark: Remembered["marks"]["block"] & object; noted: boolean } | null;
}
export interface GateState {
  epoch: number;
  opened: { epoch: number; aboveRound: number } | null;
  /** The object as last returned; null where the key is suspect. */
  cache: Observed | null;
  current: boolean;
  put: Put | null;
  memory: Remembered | undefined;
  disk: Disk;
  /**
   * S7: request of a block with unknown outcome and the epoch of it; requests that were sent: "" without a signature.
   */
  unsure: readonly (number | null)[];
  sent: readonly ("signed" | "sent" | null)[];
}
/** The levels and rounds above which a tenure has to sign, as an onlooker sees them at its first write. */
export interface Ground {
  floor: number;
  round: number;
}
export interface FenceState {
  object: Observed;
  backup: Observed | null;
  orphans: readonly Put[];
  gates: readonly GateState[];
  /**
   * What an onlooker knows: the bytes that went to a signer, how often each block did, the ground of each tenure, the
   * highest level asked for.
   */
  forwarded: readonly number[];
  ground: readonly (Ground | null)[];
  top: number;
  left: { processEnds: number; machineEnds: number; deletions: number; restores: number };
  broken: string | undefined;
}

export const baker = "alice";
export const chain = "Net";
export const firstLevel = 5;

export const unwritten: Watermark = {
  version: 1,
  baker,
  chain,
  epoch: 0,
  holder: "",
  floor: firstLevel,
  marks: noMarks,
  unfenced: false,
};

/** The gate's decisions, each taken once for the same input. */
function decisionsOf(rules: FenceRules, namer: Namer) {
  const kept = <T extends object>(decision: T): T =>
    "record" in decision ? { ...decision, record: namer.same(decision.record as Watermark) } : decision;
  return {
    raise: namer.once((input: Parameters<typeof decideRaise>[0]) => kept(rules.decideRaise(input))),
    sign: namer.once((input: Parameters<typeof decideSign>[0]) => kept(rules.decideSign(input))),
    read: namer.once(([known, object]: readonly [Remembered | undefined, Observed]) =>
      object.state === "record"
        ? { memory: namer.same(afterRead(known, object.uid, object.record)) }
        : { memory: known },
    ),
    write: namer.once(([known, uid, record]: readonly [Remembered | undefined, string, Watermark]) =>
      namer.same(afterWrite(known, uid, record)),
    ),
    written: namer.once(([uid, record]: readonly [string, Watermark]): Observed =>
      namer.same({ state: "record", uid, record }),
    ),
  };
}

/** What is the same in every state. */
export class Fence {
  readonly namer = new Namer();
  readonly requests: readonly Request[];
  readonly decisions: ReturnType<typeof decisionsOf>;
  readonly nobody: GateState;

  constructor(
    readonly bounds: FenceBounds,
    readonly rules: FenceRules,
  ) {
    this.requests = bounds.requests.map((request) => this.namer.same(request));
    this.decisions = decisionsOf(rules, this.namer);
    this.nobody = {
      epoch: 0,
      opened: null,
      cache: null,
      current: false,
      put: null,
      memory: undefined,
      disk: { entry: undefined, announced: null },
      unsure: this.requests.map(() => null),
      sent: this.requests.map(() => null),
    };
  }

  nextMemory(known: Remembered | undefined, object: Observed): Remembered | undefined {
    return this.decisions.read([known, object]).memory;
  }

  nameOf(request: number): string {
    const { kind, level, round, digest } = this.requests[request] as Request;
    return `${kind} "${digest}" at (${level}, ${round})`;
  }

  tenureOf(gate: number, epoch: number): number {
    return gate * (this.bounds.epochs + 1) + epoch;
  }
}
