/**
 * The fence as a model: gates of several pods, one key, the watermark in the API, the gates' disks. What a gate does
 * in a step is decided by
 * the functions that the real gate calls (decideRaise, decideSign, decideRepeat, plausible, and the memory's
 * afterRead, afterWrite, recovered).
 * What gate.ts and memory.ts do around them (read, write, wait for an answer, forget at a restart) is written again
 * here, one step for
 * each moment at which something else can come between.
 *
 * The elector is an adversary: any pod may be given the next epoch at any time, several pods the same one.
 */
import { noMarks, type MarkKind, type Watermark } from "../contract/watermark";
import {
  compareMarks,
  decideRaise,
  decideRepeat,
  decideSign,
  headMargin,
  highest,
  lostReason,
  plausible,
  type Memory,
  type Observed,
  type Remembered,
  type Request,
  type Tenure,
} from "../daemons/signing-gate/decide";
import { afterRead, afterWrite, recovered } from "../daemons/signing-gate/memory";
import type { Model } from "./checker";
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

interface Put {
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
interface Disk {
  entry: Remembered | undefined;
  announced: { kind: MarkKind; mark: Remembered["marks"]["block"] & object; noted: boolean } | null;
}
interface GateState {
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
interface Ground {
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

const baker = "alice";
const chain = "Net";
const firstLevel = 5;

export function fence(bounds: FenceBounds, rules: FenceRules = fenceRules): Model<FenceState> {
  const { pods } = bounds;
  const namer = new Namer();
  const requests = bounds.requests.map((request) => namer.same(request));
  const kept = <T extends object>(decision: T): T =>
    "record" in decision ? { ...decision, record: namer.same(decision.record as Watermark) } : decision;
  const decisions = {
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
  const nextMemory = (known: Remembered | undefined, object: Observed) => decisions.read([known, object]).memory;
  const nobody: GateState = {
    epoch: 0,
    opened: null,
    cache: null,
    current: false,
    put: null,
    memory: undefined,
    disk: { entry: undefined, announced: null },
    unsure: requests.map(() => null),
    sent: requests.map(() => null),
  };
  const unwritten: Watermark = {
    version: 1,
    baker,
    chain,
    epoch: 0,
    holder: "",
    floor: firstLevel,
    marks: noMarks,
    unfenced: false,
  };
  const memory = bounds.seen ? decisions.write([undefined, "1", namer.same(unwritten)]) : undefined;
  const initial: FenceState = {
    object: bounds.seen ? decisions.written(["1", namer.same(unwritten)]) : { state: "empty", uid: "1" },
    backup: null,
    orphans: [],
    gates: pods.map(() => ({ ...nobody, memory, disk: { entry: memory, announced: null } })),
    forwarded: requests.map(() => 0),
    ground: pods.flatMap(() => Array.from({ length: bounds.epochs + 1 }, () => null)),
    top: firstLevel,
    left: {
      processEnds: bounds.processEnds,
      machineEnds: bounds.machineEnds,
      deletions: bounds.deletions,
      restores: bounds.restores,
    },
    broken: undefined,
  };
  const nameOf = (request: number) => {
    const { kind, level, round, digest } = requests[request] as Request;
    return `${kind} "${digest}" at (${level}, ${round})`;
  };

  const tenureOf = (gate: number, epoch: number) => gate * (bounds.epochs + 1) + epoch;

  function next(s: FenceState, step: (what: string, state: FenceState) => void): void {
    const gateOf = (g: number) => s.gates[g] as GateState;
    const withGate = (g: number, change: Partial<GateState>, more: Partial<FenceState> = {}): FenceState => ({
      ...s,
      ...more,
      gates: (more.gates ?? s.gates).map((gate, i) => (i === g ? { ...gate, ...change } : gate)),
    });
    /** The API has another object from now on: whatever was decided on the former one can no longer be written. */
    const replaced = (object: Observed): Partial<FenceState> => ({
      object,
      orphans: rules.conditional ? [] : s.orphans,
      gates: s.gates.map((gate) => {
        const put = gate.put?.current && rules.conditional ? namer.same({ ...gate.put, current: false }) : gate.put;
        return gate.current || put !== gate.put ? { ...gate, current: false, put } : gate;
      }),
    });
    const written = (record: Watermark): Partial<FenceState> =>
      replaced(
        decisions.written([s.object.state === "refused" || s.object.state === "missing" ? "" : s.object.uid, record]),
      );

    /** What an onlooker says to a write that the API took. */
    function judgeWrite(put: Put, memory: Memory): Partial<FenceState> {
      const before = s.object.state === "record" ? s.object.record : undefined;
      const known = memory === "unreadable" ? undefined : memory;
      const { record } = put;
      if (before && record.epoch < before.epoch) return { broken: "S2: the epoch of a watermark went down" };
      if (known && record.epoch < known.epoch) return { broken: "S2: an epoch below one that this gate knows" };
      if (put.why !== "restore" && record.epoch !== put.epoch) return { broken: "S2: marked under another epoch" };
      for (const kind of ["block", "preattestation", "attestation"] as const) {
        const [was, is] = [before?.marks[kind], record.marks[kind]];
        if (was && (!is || compareMarks(is, was) < 0)) return { broken: "S1: a mark went down" };
      }
      if (put.why !== "raise") return {};
      const tenure = tenureOf(put.gate, put.epoch);
      const signed = requests.filter((_, i) => (s.forwarded[i] ?? 0) > 0);
      const ground = s.ground[tenure];
      const floor = Math.max(
        before ? highest(before.marks).level : -1,
        ...signed.map(({ level }) => level),
        ground?.floor ?? -1,
      );
      const round = Math.max(-1, ...signed.filter(({ level }) => level === floor).map((request) => request.round));
      return { ground: s.ground.map((old, i) => (i === tenure ? { floor, round } : old)) };
    }

    /** A request goes to a signer: what an onlooker says to it. */
    function judgeForward(after: FenceState, g: number, r: number, how: "above" | "pass" | "repeat"): FenceState {
      const request = requests[r] as Request;
      const ground = after.ground[tenureOf(g, gateOf(g).epoch)];
      const forwarded = after.forwarded.map((times, i) => (i === r ? Math.min(2, times + 1) : times));
      const conflict = requests.some(
        (other, i) =>
          (after.forwarded[i] ?? 0) > 0 && other.kind === request.kind && compareMarks(other, request) === 0 && i !== r,
      );
      let broken = after.broken;
      if (conflict) broken = "S1: two different requests of one kind at one level and round were forwarded";
      else if (!ground) broken = "S3: forwarded in a tenure that has written nothing";
      else if (how === "above" && request.level <= ground.floor)
        broken = "S3: forwarded at a level that an earlier tenure has marked";
      else if (
        how === "pass" &&
        request.level <= ground.floor &&
        (request.level < ground.floor || request.round <= ground.round)
      )
        broken = "S3: forwarded below a round of an earlier tenure, on a halted chain";
      else if (request.kind === "block" && (forwarded[r] ?? 0) > 1) broken = "S7: a block was sent to a signer twice";
      return { ...after, forwarded, broken };
    }

    /** S7 and the signer, once the mark is acknowledged and remembered. */
    function forward(what: string, after: FenceState, g: number, r: number, how: "above" | "pass" | "repeat"): void {
      const gate = after.gates[g] as GateState;
      const { kind } = requests[r] as Request;
      const set = <T>(list: readonly T[], value: T): T[] => list.map((old, i) => (i === r ? value : old));
      if (kind !== "block") return step(`${what} and forwards`, judgeForward(after, g, r, how));
      const sent = gate.sent[r] ?? null;
      const unsure = gate.unsure[r] ?? null;
      const mine = rules.unsureByEpoch ? unsure === gate.epoch : unsure !== null;
      const neverForwarded = sent === null && (how !== "repeat" || mine);
      if (how === "repeat") {
        const repeat = rules.decideRepeat({
          kind,
          deterministic: false,
          remembered: sent === "signed",
          neverForwarded,
        });
        if (repeat.action !== "forward") return;
      }
      const withSent = (value: "signed" | "sent"): FenceState => ({
        ...after,
        gates: after.gates.map((old, i) => (i === g ? { ...old, sent: set(old.sent, value) } : old)),
      });
      step(`${what}, forwards and gets the signature`, judgeForward(withSent("signed"), g, r, how));
      step(`${what} and forwards; the signer's answer is lost`, judgeForward(withSent("sent"), g, r, how));
      if (sent === null && neverForwarded)
        step(`${what}; no signer can be reached`, {
          ...after,
          gates: after.gates.map((old, i) => (i === g ? { ...old, unsure: set(old.unsure, gate.epoch) } : old)),
        });
    }

    function raise(g: number): void {
      const gate = gateOf(g);
      const tenure: Tenure = { epoch: gate.epoch, holder: rules.holderOf(pods[g] ?? "") };
      const observed = s.object;
      const memory = nextMemory(gate.memory, observed);
      const decision = decisions.raise({ observed, memory, tenure, baker, chain, syncedHead: s.top - headMargin });
      const who = `${pods[g]} (epoch ${gate.epoch}) reads the watermark`;
      const read = { cache: observed, current: true, memory };
      switch (decision.action) {
        case "wait":
        case "refuse":
        case "over":
          return;
        case "open":
          if (observed.state === "record")
            open(who, withGate(g, { ...read }), g, observed.uid, observed.record, gate.epoch);
          return;
        case "write":
        case "restore": {
          const { record, action } = decision;
          const why = action === "restore" ? action : "raise";
          const put = namer.same<Put>({ gate: g, record, why, request: -1, epoch: gate.epoch, current: true });
          step(
            `${who} and ${action === "restore" ? "puts back" : "raises it to"} epoch ${record.epoch}, floor ${record.floor} (${decision.reason}): a write is on its way`,
            withGate(g, { cache: null, current: false, memory, put }),
          );
        }
      }
    }
    function open(what: string, after: FenceState, g: number, uid: string, record: Watermark, epoch: number): void {
      const memory = decisions.write([(after.gates[g] as GateState).memory, uid, record]);
      const opened = { epoch, aboveRound: highest(record.marks).round };
      const gates = after.gates.map((gate, i) =>
        i === g ? { ...gate, memory, disk: { entry: memory, announced: null }, opened } : gate,
      );
      step(`${what}; the key is open`, { ...after, gates });
    }

    /** A request that arrives at an open gate, decided on the cached object and, where that says stop, on a new one. */
    function sign(g: number, r: number, halted: boolean): void {
      const gate = gateOf(g);
      const request = requests[r] as Request;
      const tenure: Tenure = { epoch: gate.epoch, holder: rules.holderOf(pods[g] ?? "") };
      const pass = { open: halted, aboveRound: gate.opened?.aboveRound ?? Infinity };
      if (!rules.plausible(request.level, { level: s.top, ageSeconds: 0 }, 60)) return;
      const absurd = request.level > s.top + headMargin;
      const top = Math.max(s.top, request.level);
      const asked = { top, broken: absurd ? "S6: a level far above the head was accepted" : s.broken };
      let { cache, current, memory } = gate;
      const decide = () => decisions.sign({ request, observed: cache as Observed, memory, tenure, pass });
      const read = () => {
        cache = s.object;
        current = true;
        memory = nextMemory(memory, cache);
      };
      const fresh = cache === null;
      if (fresh) read();
      let decision = decide();
      if (!fresh && (decision.action === "raise" || decision.action === "over")) {
        read();
        decision = decide();
      }
      const what = `${pods[g]} (epoch ${gate.epoch}) is asked for ${nameOf(r)}`;
      switch (decision.action) {
        case "refuse":
          return;
        case "over":
        case "raise":
          return step(
            `${what}: ${decision.reason}`,
            withGate(g, { opened: null, cache: null, current: false, memory }, { top }),
          );
        case "repeat": {
          if (cache?.state !== "record") return;
          const kept = decisions.write([memory, cache.uid, cache.record]);
          const disk = { entry: kept, announced: null };
          return forward(
            `${what}, which is marked already,`,
            withGate(g, { cache, current, memory: kept, disk }, { top }),
            g,
            r,
            "repeat",
          );
        }
        case "mark": {
          const { level, round, digest } = request;
          const { record } = decision;
          const why = decision.reason === "floor-pass" ? "pass" : "above";
          const put = namer.same<Put>({ gate: g, record, why, request: r, epoch: gate.epoch, current });
          const disk: Disk = {
            entry: memory,
            announced: { kind: request.kind, mark: { level, round, digest }, noted: false },
          };
          const sending = { put, cache: null, current: false, memory };
          // The disk is written meanwhile: where the process ends first, it may not have been.
          step(`${what}: a mark is on its way`, withGate(g, { ...sending, disk }, asked));
        }
      }
    }

    function answer(g: number, put: Put): void {
      const gate = gateOf(g);
      const { record } = put;
      const uid = s.object.state === "empty" || s.object.state === "record" ? s.object.uid : "";
      const acknowledged = `the API takes ${pods[g]}'s write`;
      const unsure = () =>
        put.request >= 0 && requests[put.request]?.kind === "block"
          ? gate.unsure.map((old, i) => (i === put.request ? put.epoch : old))
          : gate.unsure;
      const silent = { put: null, unsure: unsure() };
      if (put.current && s.object.state !== "missing") {
        const judged = judgeWrite(put, gate.memory);
        const after = withGate(g, { ...silent }, { ...written(record), ...judged });
        step(`${acknowledged}; the answer is lost`, after);
        const object = after.object;
        const cached = withGate(g, { put: null, cache: object, current: true }, { ...written(record), ...judged });
        if (put.why === "raise") open(acknowledged, cached, g, uid, record, put.epoch);
        else if (put.why === "restore") {
          const memory = decisions.write([gate.memory, uid, record]);
          step(
            acknowledged,
            withGate(g, { put: null, memory, disk: { entry: memory, announced: null } }, { ...written(record) }),
          );
        } else {
          const memory = decisions.write([gate.memory, uid, record]);
          const disk = { ...gate.disk, announced: gate.disk.announced && { ...gate.disk.announced, noted: true } };
          const marked = { ...cached, gates: cached.gates.map((old, i) => (i === g ? { ...old, memory, disk } : old)) };
          if (gate.epoch === put.epoch) forward(acknowledged, marked, g, put.request, put.why);
          else step(`${acknowledged}; its tenure is another one`, marked);
        }
      }
      if (!put.current || s.object.state === "missing") {
        step(`the API refuses ${pods[g]}'s write: conflict`, withGate(g, { put: null }));
        if (unsure() !== gate.unsure) step(`${pods[g]} waits no longer for its write`, withGate(g, silent));
      } else if (s.orphans.length < bounds.orphans) {
        const after = withGate(g, silent, { orphans: [...s.orphans, put] });
        step(`${pods[g]} waits no longer for its write`, after);
        if (
          !rules.awaitsAnswer &&
          put.request >= 0 &&
          gate.epoch === put.epoch &&
          put.why !== "raise" &&
          put.why !== "restore"
        )
          forward(`${pods[g]} waits no longer for its write`, after, g, put.request, put.why);
      }
    }

    function end(
      g: number,
      what: string,
      left: Partial<FenceState["left"]>,
      found: (disk: Disk) => Remembered | undefined,
    ): void {
      const gate = gateOf(g);
      const orphans = gate.put?.current && s.orphans.length < bounds.orphans ? [...s.orphans, gate.put] : s.orphans;
      const disks: [string, Disk][] = [["", gate.disk]];
      // The text with the announced mark did not reach the disk.
      if (gate.put && gate.put.request >= 0 && gate.disk.announced)
        disks.push([", before its disk had the mark", { entry: gate.disk.entry, announced: null }]);
      for (const [how, disk] of disks) {
        const memory = found(disk);
        step(`${pods[g]}: ${what}${how}`, {
          ...withGate(
            g,
            { ...nobody, epoch: gate.epoch, memory, disk: { entry: memory, announced: null } },
            { orphans },
          ),
          left: { ...s.left, ...left },
        });
      }
    }
    const kept = (cellsHold: boolean, cellLost: boolean, find: typeof recovered) => (disk: Disk) => {
      const { entry, announced } = disk;
      if (!entry || !announced) return entry;
      return find(entry, { number: 1, ...announced }, announced.noted && !cellLost ? 1 : 0, cellsHold);
    };
    const afterStart = (cellsHold: boolean, cellLost: boolean) =>
      rules.awaitsDisk ? kept(cellsHold, cellLost, rules.recovered) : ({ entry }: Disk) => entry;

    function adversary(): void {
      const { left, object } = s;
      if (left.deletions > 0 && object.state === "record") {
        const empty: Observed = { state: "empty", uid: `${Number(object.uid) + 1}` };
        step("the watermark is deleted and created again, empty", {
          ...s,
          ...replaced(empty),
          left: { ...left, deletions: left.deletions - 1 },
        });
      }
      if (left.restores > 0 && object.state === "record") {
        if (s.backup === null) step("a backup of the watermark is made", { ...s, backup: object });
        else if (bounds.restore === "any" || detectable(s, s.backup))
          step("the watermark is set back to the backup", {
            ...s,
            ...replaced(s.backup),
            left: { ...left, restores: left.restores - 1 },
          });
      }
    }
    /** Each gate would find it lost, even if its process ended before it looked. */
    function detectable(state: FenceState, backup: Observed): boolean {
      return state.gates.every((gate) => {
        const found = kept(true, false, recovered)(gate.disk);
        return backup.state === "record" && found !== undefined && lostReason(backup, found) !== undefined;
      });
    }

    for (const [g, gate] of s.gates.entries()) {
      const pod = pods[g];
      for (let epoch = gate.epoch + 1; epoch <= bounds.epochs; epoch++)
        step(`${pod} is made master with epoch ${epoch}`, withGate(g, { epoch, opened: null, unsure: nobody.unsure }));
      if (gate.put) answer(g, gate.put);
      else if (gate.epoch > 0 && gate.opened?.epoch !== gate.epoch) raise(g);
      else if (gate.epoch > 0)
        for (const r of requests.keys()) {
          sign(g, r, false);
          if (bounds.halts) sign(g, r, true);
        }
      if (bounds.looks && !gate.put && s.object.state === "record") {
        const memory = nextMemory(gate.memory, s.object);
        if (memory !== gate.memory)
          step(`${pod} looks at the watermark`, withGate(g, { memory, disk: { entry: memory, announced: null } }));
      }
      const { processEnds, machineEnds } = s.left;
      if (processEnds > 0)
        end(g, "the gate is killed and starts again", { processEnds: processEnds - 1 }, afterStart(true, false));
      if (machineEnds > 0) {
        end(g, "the machine ends and starts again", { machineEnds: machineEnds - 1 }, afterStart(false, false));
        if (gate.disk.announced?.noted)
          end(
            g,
            "the machine ends and starts again, without the cell",
            { machineEnds: machineEnds - 1 },
            afterStart(false, true),
          );
      }
    }
    for (const [i, put] of s.orphans.entries()) {
      if (s.object.state === "missing") continue;
      const after = { ...s, ...written(put.record), ...judgeWrite(put, undefined) };
      const orphans = after.orphans.filter((_, j) => j !== i);
      step(`a write of ${pods[put.gate]} (epoch ${put.epoch}) arrives late`, { ...after, orphans });
    }
    adversary();
  }

  const name = (part: unknown) => namer.name(part);
  const key = (s: FenceState) => {
    const rest = [s.top, ...Object.values(s.left), ...s.forwarded].join(" ");
    return `${[s.object, s.ground, s.orphans, ...s.gates].map(name).join(" ")} ${s.backup ? name(s.backup) : ""} ${rest}`;
  };
  return { initial: [initial], next, key, broken: (state) => state.broken };
}
