/**
 * The proposed quorum (docs/design-quorum.md) as a model: two members, whose disks and the API are three equal stores
 * of one key. Its rules are
 * the pure functions below, since no code of it exists yet. Requests and answers may be lost, be late, or arrive
 * after the end of the process
 * that sent them; processes end; stores are emptied or set back; the elector may give any epoch to anybody.
 *
 * A place stands for level and round. The record of S5's margin is a floor above everything that can have been sent.
 */
import type { Model } from "./checker";
import { Namer } from "./namer";

export interface Store {
  /** Made anew whenever the store may have forgotten something. */
  incarnation: number;
  /** The tenure whose `prepare` was taken last. */
  epoch: number;
  holder: number;
  /** With the epochs that wrote them. A store without a floor was never written. */
  floor: { place: number; epoch: number } | null;
  mark: { place: number; digest: string; epoch: number } | null;
  /** The incarnation of each store, as far as this one knows. */
  roster: readonly number[];
}
export interface Accept {
  epoch: number;
  holder: number;
  store: number;
  incarnation: number;
  floor: number;
  mark: { place: number; digest: string } | null;
  roster: readonly number[];
}

/** The amendments, by number; each may be left out. "majority" and "second phase" belong to the design itself. */
export type Amendment = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | "majority" | "second phase" | "prepare" | "roster";

export interface QuorumBounds {
  epochs: number;
  places: number;
  digests: readonly string[];
  /** Ends of gate processes. */
  ends: number;
  /** Stores that are emptied, and stores that are set back to an earlier content. */
  losses: number;
  setBack: number;
  /** Requests that may still arrive when nobody waits for them. */
  late: number;
  /** The stores were written before; else a first tenure starts by S5. */
  installed: boolean;
}

interface Gate {
  epoch: number;
  phase: "closed" | "preparing" | "raising";
  /** What each store answered to this tenure's `prepare`; after the raise what of it is needed still. */
  answers: readonly (Store | null)[];
  /** Incarnations that are written with the raise and the marks. */
  roster: readonly number[];
  /** The stores on whose answers the floor rests. */
  whole: readonly boolean[];
  floor: number;
  mark: { place: number; digest: string } | null;
  /** Which stores have acknowledged the raise, and the mark under way. */
  raised: readonly boolean[];
  marking: { place: number; digest: string; acks: readonly boolean[] } | null;
}
export interface QuorumState {
  stores: readonly Store[];
  gates: readonly Gate[];
  late: readonly Accept[];
  backup: { store: number; content: Store } | null;
  /** What an onlooker knows: who forwarded what at each place; the highest place that was sent to a store. */
  forwarded: readonly ({ digest: string; epoch: number; gate: number } | null)[];
  sent: number;
  left: { ends: number; losses: number; setBack: number };
  broken: string | undefined;
}

const storeNames = ["the API", "a's disk", "b's disk"];
const gateNames = ["a", "b"];
const diskOf = (gate: number) => gate + 1;
const majority = 2;
const count = (flags: readonly boolean[]) => flags.filter(Boolean).length;
const none = [false, false, false];
const at = <T>(list: readonly T[], index: number, value: T): T[] => list.map((old, i) => (i === index ? value : old));

/** `prepare` at a store: its new content, or undefined where it refuses. */
export function prepare(store: Store, epoch: number, holder: number): Store | undefined {
  if (epoch > store.epoch) return { ...store, epoch, holder };
  return epoch === store.epoch && holder === store.holder ? store : undefined;
}

/** `accept` at a store: its new content, or undefined where it refuses. */
export function accept(store: Store, request: Accept, without?: Amendment): Store | undefined {
  const { epoch, holder, mark } = request;
  const prepared = store.epoch === epoch && store.holder === holder;
  const free = without === 4 && (epoch > store.epoch || (epoch === store.epoch && store.holder === holder));
  if (!prepared && !free) return undefined;
  if (request.incarnation !== store.incarnation && without !== 5) return undefined;
  const after = { ...store, epoch, holder, floor: { place: request.floor, epoch }, roster: request.roster };
  if (!mark) return after;
  const { mark: before } = store;
  if (
    before?.epoch === epoch &&
    (mark.place < before.place || (mark.place === before.place && mark.digest !== before.digest))
  )
    return undefined;
  return { ...after, mark: { ...mark, epoch } };
}

/**
 * The stores that nobody who answers finds forgetful: they were written, and are still the ones that the others knew.
 */
export function wholeOnes(answers: readonly (Store | null)[], without?: Amendment): boolean[] {
  return answers.map(
    (store, i) =>
      store !== null &&
      store.floor !== null &&
      (without === "roster" || answers.every((other) => !other?.floor || other.roster[i] === store.incarnation)),
  );
}

/**
 * What a raise begins with, from the answers of whole stores: a floor at or above all that earlier tenures wrote, and
 * the own tenure's mark where its gate was started again.
 */
export function groundOf(
  answers: readonly Store[],
  epoch: number,
  without?: Amendment,
): { floor: number; mark: Gate["mark"] } {
  const own = (one: { epoch: number }) => one.epoch === epoch || without === 1;
  const floors = answers.flatMap(({ floor }) => floor ?? []);
  const marks = answers.flatMap(({ mark }) => mark ?? []);
  const raisedBefore = floors.some(own);
  const counts = (one: { epoch: number }) => !raisedBefore || (without !== 9 && !own(one));
  const [highest] = raisedBefore ? marks.filter(own).sort((x, y) => y.place - x.place) : [];
  return {
    floor: Math.max(
      0,
      ...floors.filter((one) => own(one) || counts(one)).map(({ place }) => place),
      ...marks.filter(counts).map(({ place }) => place),
    ),
    mark: highest ? { place: highest.place, digest: highest.digest } : null,
  };
}

const closed = (epoch: number): Gate => ({
  epoch,
  phase: "closed",
  answers: [null, null, null],
  roster: [],
  whole: none,
  floor: 0,
  mark: null,
  raised: none,
  marking: null,
});

/** S1 to S3 as an onlooker sees them, when a request goes to a signer. */
function forward(s: QuorumState, g: number, place: number, digest: string): Partial<QuorumState> {
  const { epoch } = s.gates[g] as Gate;
  const before = s.forwarded[place];
  const forwarded = at(s.forwarded, place, before ?? { digest, epoch, gate: g });
  if (before && before.digest !== digest)
    return { forwarded, broken: "S1: two different requests at one place were forwarded" };
  const others = s.forwarded.flatMap((other, p) => (other ? [{ ...other, place: p }] : []));
  if (others.some((other) => other.epoch === epoch && other.gate !== g))
    return { forwarded, broken: "S2: two holders forwarded under one epoch" };
  if (others.some((other) => other.epoch < epoch && other.place >= place))
    return { forwarded, broken: "S3: forwarded at or below a place of an earlier tenure" };
  if (others.some((other) => other.epoch > epoch && other.place <= place))
    return { forwarded, broken: "S3: an earlier tenure forwarded above a place of a later one" };
  return { forwarded };
}

/** Every request carries the tenure's mark, the raise of a gate that was started again, too. */
function requestOf(g: number, gate: Gate, store: number, without?: Amendment): Accept {
  const mark = gate.marking ?? (without === 10 ? null : gate.mark);
  return {
    epoch: gate.epoch,
    holder: g,
    store,
    incarnation: gate.answers[store]?.incarnation ?? 0,
    floor: gate.floor,
    mark: mark && { place: mark.place, digest: mark.digest },
    roster: gate.roster,
  };
}
/** Of the stores that answered, what they said; of the others, what the newest of those that answered knows. */
const rosterOf = ({ answers }: Gate): number[] => {
  const [newest] = answers
    .flatMap((answer) => answer ?? [])
    .sort((x, y) => (y.floor?.epoch ?? 0) - (x.floor?.epoch ?? 0));
  return answers.map((answer, i) => answer?.incarnation ?? newest?.roster[i] ?? 0);
};

/** What is the same in every state. */
class Quorum {
  readonly namer = new Namer();

  constructor(
    readonly bounds: QuorumBounds,
    readonly without?: Amendment,
  ) {}

  empty(incarnation: number): Store {
    return this.namer.same({ incarnation, epoch: 0, holder: -1, floor: null, mark: null, roster: [0, 0, 0] });
  }
  /** What a gate keeps of an answer. */
  needed({ incarnation, mark }: Store): Store {
    return this.namer.same({ ...this.empty(incarnation), mark: this.without === 3 ? mark : null });
  }
}

/** The transitions from one state. */
class Steps {
  constructor(
    private readonly m: Quorum,
    private readonly s: QuorumState,
    private readonly step: (what: string, state: QuorumState) => void,
  ) {}

  /** Everything that can happen next. */
  all(): void {
    for (const [g, gate] of this.s.gates.entries()) this.acts(g, gate);
    for (const [i, request] of this.s.late.entries()) this.arrivesLate(i, request);
    for (const [store, content] of this.s.stores.entries()) this.isLost(store, content);
  }

  private acts(g: number, gate: Gate): void {
    // The pods are alike: let the first master be a.
    if (g > 0 && this.s.gates[0]?.epoch === 0) return;
    for (let epoch = gate.epoch + 1; epoch <= this.m.bounds.epochs; epoch++)
      for (const { what, late } of this.abandoned(g, gate))
        this.step(
          `${gateNames[g]} is made master with epoch ${epoch}${what}`,
          this.changed(g, closed(epoch), { late }),
        );
    if (gate.epoch === 0) return;
    if (gate.phase === "closed" || gate.phase === "preparing") {
      this.prepares(g, gate);
      this.raises(g, gate);
    } else {
      this.delivers(g, gate);
      if (gate.marking) this.forwards(g, gate, gate.marking);
      else if (this.isOpen(g, gate)) this.asks(g, gate);
    }
    if (this.s.left.ends > 0 && gate.phase !== "closed")
      for (const { what, late } of this.abandoned(g, gate))
        this.step(
          `${gateNames[g]}'s gate ends and starts again${what}`,
          this.changed(g, closed(gate.epoch), { late, left: { ...this.s.left, ends: this.s.left.ends - 1 } }),
        );
  }

  private arrivesLate(i: number, request: Accept): void {
    const content = accept(this.storeAt(request.store), request, this.m.without);
    const late = this.s.late.filter((_, j) => j !== i);
    if (content)
      this.step(
        `a late request of ${gateNames[request.holder]} (epoch ${request.epoch}) arrives at ${storeNames[request.store]}`,
        {
          ...this.s,
          ...this.stored(request.store, content),
          sent: Math.max(this.s.sent, request.mark?.place ?? 0),
          late,
        },
      );
  }

  /** A store is lost, copied or set back. */
  private isLost(store: number, content: Store): void {
    // A disk that is lost is lost with its gate's process.
    const ended = (left: Partial<QuorumState["left"]>): QuorumState => ({
      ...this.s,
      gates: this.s.gates.map((gate, g) => (diskOf(g) === store ? closed(gate.epoch) : gate)),
      left: { ...this.s.left, ...left },
    });
    if (this.s.left.losses > 0 && content.floor !== null)
      this.step(`${storeNames[store]} is lost and made anew, empty`, {
        ...ended({ losses: this.s.left.losses - 1 }),
        ...this.stored(store, this.m.empty(content.incarnation + 1)),
      });
    if (this.s.left.setBack === 0 || store === 0) return;
    if (this.s.backup === null && content.floor !== null)
      this.step(`a copy of ${storeNames[store]} is made`, { ...this.s, backup: { store, content } });
    if (this.s.backup?.store === store && this.s.backup.content !== content)
      this.step(`${storeNames[store]} is set back to the copy`, {
        ...ended({ setBack: this.s.left.setBack - 1 }),
        ...this.stored(store, {
          ...this.s.backup.content,
          incarnation: content.incarnation + (this.m.without === 7 ? 0 : 1),
        }),
      });
  }

  private changed(g: number, change: Partial<Gate>, more: Partial<QuorumState> = {}): QuorumState {
    return {
      ...this.s,
      ...more,
      gates: (more.gates ?? this.s.gates).map((gate, i) =>
        i === g ? this.m.namer.same({ ...gate, ...change }) : gate,
      ),
    };
  }
  private stored(store: number, content: Store): Pick<QuorumState, "stores"> {
    return { stores: at(this.s.stores, store, this.m.namer.same(content)) };
  }
  private storeAt(store: number): Store {
    return this.s.stores[store] as Store;
  }

  /** Whether a gate may send its request to this store now. */
  private sendable(g: number, gate: Gate, store: number): boolean {
    if (gate.answers[store] === null && this.m.without !== 4) return false;
    if (!gate.marking) {
      if (gate.raised[store]) return false;
      const settled = count(gate.raised.map((acked, i) => acked && (gate.whole[i] ?? false))) >= majority;
      return this.m.without === 6 || (gate.whole[store] ?? false) || settled;
    }
    if (gate.marking.acks[store]) return false;
    if (store === diskOf(g) || this.m.without === 2) return true;
    return gate.marking.acks[diskOf(g)] ?? false;
  }
  /** What nobody waits for any more, but may still arrive. */
  private abandoned(g: number, gate: Gate): { what: string; late: readonly Accept[] }[] {
    const ways = [{ what: "", late: this.s.late }];
    if (this.s.late.length >= this.m.bounds.late || gate.phase !== "raising") return ways;
    for (const store of storeNames.keys())
      if (this.sendable(g, gate, store))
        ways.push({
          what: `, its request to ${storeNames[store]} still under way`,
          late: [...this.s.late, requestOf(g, gate, store, this.m.without)],
        });
    return ways;
  }

  private prepares(g: number, gate: Gate): void {
    for (const store of storeNames.keys()) {
      if (gate.answers[store]) continue;
      const content = prepare(this.storeAt(store), gate.epoch, g);
      if (!content) continue;
      const answers = at(gate.answers, store, this.m.namer.same(content));
      this.step(
        `${gateNames[g]} (epoch ${gate.epoch}) prepares at ${storeNames[store]}`,
        this.changed(g, { phase: "preparing", answers }, this.stored(store, content)),
      );
      // An answer that is lost leaves the same as a request that arrives late.
      if (content !== this.storeAt(store))
        this.step(`${gateNames[g]}'s prepare arrives at ${storeNames[store]}; the answer is lost`, {
          ...this.s,
          ...this.stored(store, content),
        });
    }
  }
  private raises(g: number, gate: Gate): void {
    const decided = { answers: gate.answers.map((answer) => answer && this.m.needed(answer)), roster: rosterOf(gate) };
    if (count(gate.answers.map((answer) => answer !== null)) < majority) return;
    const whole = wholeOnes(gate.answers, this.m.without);
    const who = `${gateNames[g]} (epoch ${gate.epoch})`;
    if (count(whole) >= majority) {
      const ground = groundOf(
        gate.answers.filter((store, i) => store !== null && whole[i]) as Store[],
        gate.epoch,
        this.m.without,
      );
      const raised = this.m.without === "second phase" ? whole : none;
      this.step(
        `${who} raises to floor ${ground.floor}`,
        this.changed(g, { ...decided, phase: "raising", whole, raised, ...ground }),
      );
    } else {
      // S5: the floor lies above everything that can have been signed, whatever the stores say.
      const top = Math.max(0, ...this.s.forwarded.map((request, place) => (request ? place : 0)));
      const floor = this.m.without === 8 ? top : Math.max(top, this.s.sent);
      const answering = gate.answers.map((answer) => answer !== null);
      this.step(
        `${who} finds no quorum of whole stores and starts above floor ${floor} (S5)`,
        this.changed(g, { ...decided, phase: "raising", whole: answering, floor, mark: null }),
      );
    }
  }

  private delivers(g: number, gate: Gate): void {
    for (const store of storeNames.keys()) {
      if (!this.sendable(g, gate, store)) continue;
      const content = accept(this.storeAt(store), requestOf(g, gate, store, this.m.without), this.m.without);
      if (!content) continue;
      const what = gate.marking ? `mark "${gate.marking.digest}" at ${gate.marking.place}` : `floor ${gate.floor}`;
      const sent = Math.max(this.s.sent, gate.marking?.place ?? 0);
      // An answer that is lost permits nothing that an answer which is not used does not permit.
      const acked = `${storeNames[store]} accepts ${gateNames[g]}'s ${what}`;
      if (gate.marking)
        this.step(
          acked,
          this.changed(
            g,
            { marking: { ...gate.marking, acks: at(gate.marking.acks, store, true) } },
            { ...this.stored(store, content), sent },
          ),
        );
      else this.step(acked, this.changed(g, { raised: at(gate.raised, store, true) }, this.stored(store, content)));
    }
  }

  /** A quorum has the raise; the third store may still get it, between two marks. */
  private isOpen(g: number, { raised }: Gate): boolean {
    return count(raised) >= majority && ((raised[diskOf(g)] ?? false) || this.m.without === "second phase");
  }
  private asks(g: number, gate: Gate): void {
    const seen = gate.answers.flatMap((answer) => answer?.mark ?? []);
    for (let place = 1; place <= this.m.bounds.places; place++)
      for (const digest of this.m.bounds.digests) {
        const again = gate.mark?.place === place && gate.mark.digest === digest;
        const old = this.m.without === 3 && seen.some((mark) => mark.place === place && mark.digest === digest);
        if (!again && !old && (place <= gate.floor || place <= (gate.mark?.place ?? 0))) continue;
        this.step(
          `${gateNames[g]} (epoch ${gate.epoch}) is asked for "${digest}" at ${place}`,
          this.changed(g, { marking: { place, digest, acks: none } }),
        );
      }
  }
  private forwards(g: number, gate: Gate, { place, digest, acks }: NonNullable<Gate["marking"]>): void {
    // Only stores that have the raise of this tenure count.
    const counting = acks.map((acked, i) => acked && (gate.raised[i] ?? false));
    const enough = this.m.without === "majority" ? 1 : majority;
    if (count(counting) >= enough && (counting[diskOf(g)] || this.m.without === 2)) {
      const after = { marking: null, mark: { place, digest } };
      const seen = forward(this.s, g, place, digest);
      if (seen.forwarded) seen.forwarded = this.m.namer.same(seen.forwarded);
      for (const { what, late } of this.abandoned(g, gate))
        this.step(`${gateNames[g]} forwards "${digest}" at ${place}${what}`, this.changed(g, after, { ...seen, late }));
    }
  }
}

export function quorum(bounds: QuorumBounds, without?: Amendment): Model<QuorumState> {
  const model = new Quorum(bounds, without);
  const initial: QuorumState = {
    stores: storeNames.map(() =>
      bounds.installed ? { ...model.empty(1), floor: { place: 0, epoch: 0 }, roster: [1, 1, 1] } : model.empty(1),
    ),
    gates: gateNames.map(() => closed(0)),
    late: [],
    backup: null,
    forwarded: Array.from({ length: bounds.places + 1 }, () => null),
    sent: 0,
    left: { ends: bounds.ends, losses: bounds.losses, setBack: bounds.setBack },
    broken: undefined,
  };

  return {
    initial: [initial],
    next: (s, step) => new Steps(model, s, step).all(),
    key: (s) => model.namer.name(s),
    broken: (s) => s.broken,
  };
}
