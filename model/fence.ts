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
import type { Watermark } from "../contract/watermark";
import {
  compareMarks,
  headMargin,
  highest,
  lostReason,
  type Memory,
  type Observed,
  type Remembered,
  type Request,
  type Tenure,
} from "../daemons/signing-gate/decide";
import { recovered } from "../daemons/signing-gate/memory";
import type { Model } from "./checker";

import {
  Fence,
  type Disk,
  type FenceBounds,
  type FenceRules,
  type FenceState,
  type GateState,
  type Put,
  baker,
  chain,
  fenceRules,
  firstLevel,
  unwritten,
} from "./fence-state";

/** What a gate finds on its disk when it starts again. @param find reads it */
const keptOn = (cellsHold: boolean, cellLost: boolean, find: typeof recovered) => (disk: Disk) => {
  const { entry, announced } = disk;
  if (!entry || !announced) return entry;
  return find(entry, { number: 1, ...announced }, announced.noted && !cellLost ? 1 : 0, cellsHold);
};

/** The transitions from one state. */
class Steps {
  constructor(
    private readonly m: Fence,
    private readonly s: FenceState,
    private readonly step: (what: string, state: FenceState) => void,
  ) {}

  /** Everything that can happen next. */
  all(): void {
    for (const [g, gate] of this.s.gates.entries()) {
      this.acts(g, gate);
      this.ends(g, gate);
    }
    this.arriveLate();
    this.adversary();
  }

  private acts(g: number, gate: GateState): void {
    const pod = this.m.bounds.pods[g];
    for (let epoch = gate.epoch + 1; epoch <= this.m.bounds.epochs; epoch++)
      this.step(
        `${pod} is made master with epoch ${epoch}`,
        this.withGate(g, { epoch, opened: null, unsure: this.m.nobody.unsure }),
      );
    if (gate.put) this.answer(g, gate.put);
    else if (gate.epoch > 0 && gate.opened?.epoch !== gate.epoch) this.raise(g);
    else if (gate.epoch > 0)
      for (const r of this.m.requests.keys()) {
        this.sign(g, r, false);
        if (this.m.bounds.halts) this.sign(g, r, true);
      }
    if (this.m.bounds.looks && !gate.put && this.s.object.state === "record") {
      const memory = this.m.nextMemory(gate.memory, this.s.object);
      if (memory !== gate.memory)
        this.step(
          `${pod} looks at the watermark`,
          this.withGate(g, { memory, disk: { entry: memory, announced: null } }),
        );
    }
  }

  /** The gate's process or its machine ends. */
  private ends(g: number, gate: GateState): void {
    const { processEnds, machineEnds } = this.s.left;
    if (processEnds > 0)
      this.end(
        g,
        "the gate is killed and starts again",
        { processEnds: processEnds - 1 },
        this.afterStart(true, false),
      );
    if (machineEnds > 0) {
      this.end(g, "the machine ends and starts again", { machineEnds: machineEnds - 1 }, this.afterStart(false, false));
      if (gate.disk.announced?.noted)
        this.end(
          g,
          "the machine ends and starts again, without the cell",
          { machineEnds: machineEnds - 1 },
          this.afterStart(false, true),
        );
    }
  }

  private arriveLate(): void {
    for (const [i, put] of this.s.orphans.entries()) {
      if (this.s.object.state === "missing") continue;
      const after = { ...this.s, ...this.written(put.record), ...this.judgeWrite(put, undefined) };
      const orphans = after.orphans.filter((_, j) => j !== i);
      this.step(`a write of ${this.m.bounds.pods[put.gate]} (epoch ${put.epoch}) arrives late`, { ...after, orphans });
    }
  }

  private gateOf(g: number): GateState {
    return this.s.gates[g] as GateState;
  }
  private withGate(g: number, change: Partial<GateState>, more: Partial<FenceState> = {}): FenceState {
    return {
      ...this.s,
      ...more,
      gates: (more.gates ?? this.s.gates).map((gate, i) => (i === g ? { ...gate, ...change } : gate)),
    };
  }
  /** The API has another object from now on: whatever was decided on the former one can no longer be written. */
  private replaced(object: Observed): Partial<FenceState> {
    return {
      object,
      orphans: this.m.rules.conditional ? [] : this.s.orphans,
      gates: this.s.gates.map((gate) => {
        const put =
          gate.put?.current && this.m.rules.conditional ? this.m.namer.same({ ...gate.put, current: false }) : gate.put;
        return gate.current || put !== gate.put ? { ...gate, current: false, put } : gate;
      }),
    };
  }
  private written(record: Watermark): Partial<FenceState> {
    const { object } = this.s;
    const uid = object.state === "refused" || object.state === "missing" ? "" : object.uid;
    return this.replaced(this.m.decisions.written([uid, record]));
  }

  /** What an onlooker says to a write that the API took. */
  private judgeWrite(put: Put, memory: Memory): Partial<FenceState> {
    const before = this.s.object.state === "record" ? this.s.object.record : undefined;
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
    const tenure = this.m.tenureOf(put.gate, put.epoch);
    const signed = this.m.requests.filter((_, i) => (this.s.forwarded[i] ?? 0) > 0);
    const ground = this.s.ground[tenure];
    const floor = Math.max(
      before ? highest(before.marks).level : -1,
      ...signed.map(({ level }) => level),
      ground?.floor ?? -1,
    );
    const round = Math.max(-1, ...signed.filter(({ level }) => level === floor).map((request) => request.round));
    return { ground: this.s.ground.map((old, i) => (i === tenure ? { floor, round } : old)) };
  }

  /** A request goes to a signer: what an onlooker says to it. */
  private judgeForward(after: FenceState, g: number, r: number, how: "above" | "pass" | "repeat"): FenceState {
    const request = this.m.requests[r] as Request;
    const ground = after.ground[this.m.tenureOf(g, this.gateOf(g).epoch)];
    const forwarded = after.forwarded.map((times, i) => (i === r ? Math.min(2, times + 1) : times));
    const conflict = this.m.requests.some(
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
  private forward(what: string, after: FenceState, g: number, r: number, how: "above" | "pass" | "repeat"): void {
    const gate = after.gates[g] as GateState;
    const { kind } = this.m.requests[r] as Request;
    const set = <T>(list: readonly T[], value: T): T[] => list.map((old, i) => (i === r ? value : old));
    if (kind !== "block") return this.step(`${what} and forwards`, this.judgeForward(after, g, r, how));
    const sent = gate.sent[r] ?? null;
    const unsure = gate.unsure[r] ?? null;
    const mine = this.m.rules.unsureByEpoch ? unsure === gate.epoch : unsure !== null;
    const neverForwarded = sent === null && (how !== "repeat" || mine);
    if (how === "repeat") {
      const repeat = this.m.rules.decideRepeat({
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
    this.step(`${what}, forwards and gets the signature`, this.judgeForward(withSent("signed"), g, r, how));
    this.step(`${what} and forwards; the signer's answer is lost`, this.judgeForward(withSent("sent"), g, r, how));
    if (sent === null && neverForwarded)
      this.step(`${what}; no signer can be reached`, {
        ...after,
        gates: after.gates.map((old, i) => (i === g ? { ...old, unsure: set(old.unsure, gate.epoch) } : old)),
      });
  }

  private raise(g: number): void {
    const gate = this.gateOf(g);
    const tenure: Tenure = { epoch: gate.epoch, holder: this.m.rules.holderOf(this.m.bounds.pods[g] ?? "") };
    const observed = this.s.object;
    const memory = this.m.nextMemory(gate.memory, observed);
    const decision = this.m.decisions.raise({
      observed,
      memory,
      tenure,
      baker,
      chain,
      syncedHead: this.s.top - headMargin,
    });
    const who = `${this.m.bounds.pods[g]} (epoch ${gate.epoch}) reads the watermark`;
    const read = { cache: observed, current: true, memory };
    switch (decision.action) {
      case "wait":
      case "refuse":
      case "over":
        return;
      case "open":
        if (observed.state === "record")
          this.open(who, this.withGate(g, { ...read }), g, observed.uid, observed.record, gate.epoch);
        return;
      case "write":
      case "restore": {
        const { record, action } = decision;
        const why = action === "restore" ? action : "raise";
        const put = this.m.namer.same<Put>({ gate: g, record, why, request: -1, epoch: gate.epoch, current: true });
        this.step(
          `${who} and ${action === "restore" ? "puts back" : "raises it to"} epoch ${record.epoch}, floor ${record.floor} (${decision.reason}): a write is on its way`,
          this.withGate(g, { cache: null, current: false, memory, put }),
        );
      }
    }
  }
  private open(what: string, after: FenceState, g: number, uid: string, record: Watermark, epoch: number): void {
    const memory = this.m.decisions.write([(after.gates[g] as GateState).memory, uid, record]);
    const opened = { epoch, aboveRound: highest(record.marks).round };
    const gates = after.gates.map((gate, i) =>
      i === g ? { ...gate, memory, disk: { entry: memory, announced: null }, opened } : gate,
    );
    this.step(`${what}; the key is open`, { ...after, gates });
  }

  /** A request that arrives at an open gate, decided on the cached object and, where that says stop, on a new one. */
  private sign(g: number, r: number, halted: boolean): void {
    const gate = this.gateOf(g);
    const request = this.m.requests[r] as Request;
    const tenure: Tenure = { epoch: gate.epoch, holder: this.m.rules.holderOf(this.m.bounds.pods[g] ?? "") };
    const pass = { open: halted, aboveRound: gate.opened?.aboveRound ?? Infinity };
    if (!this.m.rules.plausible(request.level, { level: this.s.top, ageSeconds: 0 }, 60)) return;
    const absurd = request.level > this.s.top + headMargin;
    const top = Math.max(this.s.top, request.level);
    const asked = { top, broken: absurd ? "S6: a level far above the head was accepted" : this.s.broken };
    let { cache, current, memory } = gate;
    const decide = () => this.m.decisions.sign({ request, observed: cache as Observed, memory, tenure, pass });
    const read = () => {
      cache = this.s.object;
      current = true;
      memory = this.m.nextMemory(memory, cache);
    };
    const fresh = cache === null;
    if (fresh) read();
    let decision = decide();
    if (!fresh && (decision.action === "raise" || decision.action === "over")) {
      read();
      decision = decide();
    }
    const what = `${this.m.bounds.pods[g]} (epoch ${gate.epoch}) is asked for ${this.m.nameOf(r)}`;
    switch (decision.action) {
      case "refuse":
        return;
      case "over":
      case "raise":
        return this.step(
          `${what}: ${decision.reason}`,
          this.withGate(g, { opened: null, cache: null, current: false, memory }, { top }),
        );
      case "repeat": {
        if (cache?.state !== "record") return;
        const kept = this.m.decisions.write([memory, cache.uid, cache.record]);
        const disk = { entry: kept, announced: null };
        return this.forward(
          `${what}, which is marked already,`,
          this.withGate(g, { cache, current, memory: kept, disk }, { top }),
          g,
          r,
          "repeat",
        );
      }
      case "mark": {
        const { level, round, digest } = request;
        const { record } = decision;
        const why = decision.reason === "floor-pass" ? "pass" : "above";
        const put = this.m.namer.same<Put>({ gate: g, record, why, request: r, epoch: gate.epoch, current });
        const disk: Disk = {
          entry: memory,
          announced: { kind: request.kind, mark: { level, round, digest }, noted: false },
        };
        const sending = { put, cache: null, current: false, memory };
        // The disk is written meanwhile: where the process ends first, it may not have been.
        this.step(`${what}: a mark is on its way`, this.withGate(g, { ...sending, disk }, asked));
      }
    }
  }

  private answer(g: number, put: Put): void {
    const gate = this.gateOf(g);
    const { record } = put;
    const uid = this.s.object.state === "empty" || this.s.object.state === "record" ? this.s.object.uid : "";
    const acknowledged = `the API takes ${this.m.bounds.pods[g]}'s write`;
    const unsure = () =>
      put.request >= 0 && this.m.requests[put.request]?.kind === "block"
        ? gate.unsure.map((old, i) => (i === put.request ? put.epoch : old))
        : gate.unsure;
    const silent = { put: null, unsure: unsure() };
    if (put.current && this.s.object.state !== "missing") {
      const judged = this.judgeWrite(put, gate.memory);
      const after = this.withGate(g, { ...silent }, { ...this.written(record), ...judged });
      this.step(`${acknowledged}; the answer is lost`, after);
      const object = after.object;
      const cached = this.withGate(
        g,
        { put: null, cache: object, current: true },
        { ...this.written(record), ...judged },
      );
      if (put.why === "raise") this.open(acknowledged, cached, g, uid, record, put.epoch);
      else if (put.why === "restore") {
        const memory = this.m.decisions.write([gate.memory, uid, record]);
        this.step(
          acknowledged,
          this.withGate(
            g,
            { put: null, memory, disk: { entry: memory, announced: null } },
            { ...this.written(record) },
          ),
        );
      } else {
        const memory = this.m.decisions.write([gate.memory, uid, record]);
        const disk = { ...gate.disk, announced: gate.disk.announced && { ...gate.disk.announced, noted: true } };
        const marked = { ...cached, gates: cached.gates.map((old, i) => (i === g ? { ...old, memory, disk } : old)) };
        if (gate.epoch === put.epoch) this.forward(acknowledged, marked, g, put.request, put.why);
        else this.step(`${acknowledged}; its tenure is another one`, marked);
      }
    }
    if (!put.current || this.s.object.state === "missing") {
      this.step(`the API refuses ${this.m.bounds.pods[g]}'s write: conflict`, this.withGate(g, { put: null }));
      if (unsure() !== gate.unsure)
        this.step(`${this.m.bounds.pods[g]} waits no longer for its write`, this.withGate(g, silent));
    } else if (this.s.orphans.length < this.m.bounds.orphans) {
      const after = this.withGate(g, silent, { orphans: [...this.s.orphans, put] });
      this.step(`${this.m.bounds.pods[g]} waits no longer for its write`, after);
      if (
        !this.m.rules.awaitsAnswer &&
        put.request >= 0 &&
        gate.epoch === put.epoch &&
        put.why !== "raise" &&
        put.why !== "restore"
      )
        this.forward(`${this.m.bounds.pods[g]} waits no longer for its write`, after, g, put.request, put.why);
    }
  }

  private end(
    g: number,
    what: string,
    left: Partial<FenceState["left"]>,
    found: (disk: Disk) => Remembered | undefined,
  ): void {
    const gate = this.gateOf(g);
    const orphans =
      gate.put?.current && this.s.orphans.length < this.m.bounds.orphans
        ? [...this.s.orphans, gate.put]
        : this.s.orphans;
    const disks: [string, Disk][] = [["", gate.disk]];
    // The text with the announced mark did not reach the disk.
    if (gate.put && gate.put.request >= 0 && gate.disk.announced)
      disks.push([", before its disk had the mark", { entry: gate.disk.entry, announced: null }]);
    for (const [how, disk] of disks) {
      const memory = found(disk);
      this.step(`${this.m.bounds.pods[g]}: ${what}${how}`, {
        ...this.withGate(
          g,
          { ...this.m.nobody, epoch: gate.epoch, memory, disk: { entry: memory, announced: null } },
          { orphans },
        ),
        left: { ...this.s.left, ...left },
      });
    }
  }
  private afterStart(cellsHold: boolean, cellLost: boolean): (disk: Disk) => Remembered | undefined {
    return this.m.rules.awaitsDisk ? keptOn(cellsHold, cellLost, this.m.rules.recovered) : ({ entry }: Disk) => entry;
  }

  private adversary(): void {
    const { left, object } = this.s;
    if (left.deletions > 0 && object.state === "record") {
      const empty: Observed = { state: "empty", uid: `${Number(object.uid) + 1}` };
      this.step("the watermark is deleted and created again, empty", {
        ...this.s,
        ...this.replaced(empty),
        left: { ...left, deletions: left.deletions - 1 },
      });
    }
    if (left.restores > 0 && object.state === "record") {
      if (this.s.backup === null) this.step("a backup of the watermark is made", { ...this.s, backup: object });
      else if (this.m.bounds.restore === "any" || this.detectable(this.s, this.s.backup))
        this.step("the watermark is set back to the backup", {
          ...this.s,
          ...this.replaced(this.s.backup),
          left: { ...left, restores: left.restores - 1 },
        });
    }
  }
  /** Each gate would find it lost, even if its process ended before it looked. */
  private detectable(state: FenceState, backup: Observed): boolean {
    return state.gates.every((gate) => {
      const found = keptOn(true, false, recovered)(gate.disk);
      return backup.state === "record" && found !== undefined && lostReason(backup, found) !== undefined;
    });
  }
}

export function fence(bounds: FenceBounds, rules: FenceRules = fenceRules): Model<FenceState> {
  const model = new Fence(bounds, rules);
  const { decisions, namer, nobody, requests } = model;
  const { pods } = bounds;
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
  const name = (part: unknown) => namer.name(part);
  const key = (s: FenceState) => {
    const rest = [s.top, ...Object.values(s.left), ...s.forwarded].join(" ");
    return `${[s.object, s.ground, s.orphans, ...s.gates].map(name).join(" ")} ${s.backup ? name(s.backup) : ""} ${rest}`;
  };
  return {
    initial: [initial],
    next: (s, step) => new Steps(model, s, step).all(),
    key,
    broken: (state) => state.broken,
  };
}
