import { defaultTimings as t } from "../../../contract/timings";
import {
  bestSuccessor,
  decide,
  nextEpoch,
  successorOf,
  track,
  voluntaryPauseMs,
  type Action,
  type ElectorState,
  type Handover,
  type LeaseView,
  type Member,
} from "../../../daemons/elector/decide";

const now = 1_000_000;
const self = "alice-as-0_uid-a";
const other = "alice-as-1_uid-b";
const lease = (fields: Partial<LeaseView> = {}): LeaseView => ({
  uid: "lease-1",
  holder: other,
  epoch: 7,
  durationMs: 6000,
  successor: "",
  preferredHolder: "",
  uidSeenAtMs: 0,
  changedAtMs: now - 1000,
  surprising: false,
  ...fields,
});
const member = (fields: Partial<Member> = {}): Member => ({
  pod: "alice-as-1",
  identity: other,
  eligible: true,
  headLevel: 100,
  noncesMissing: 0,
  dalWell: true,
  changedAtMs: now - 1000,
  ...fields,
});
const state = (fields: Partial<ElectorState> = {}): ElectorState => ({
  phase: "standby",
  self,
  pod: "alice-as-0",
  lease: lease(),
  leaseMissing: false,
  tenure: null,
  eligible: true,
  headLevel: 100,
  dalWell: true,
  members: [member()],
  ineligibleSinceMs: null,
  behindSinceMs: null,
  dalUnwellSinceMs: null,
  nobodyEligibleSinceMs: null,
  yielding: false,
  tenureLost: null,
  lastVoluntaryAtMs: null,
  voluntaryPauseMs: 0,
  lastOperatorAtMs: null,
  handoversPausedUntilMs: null,
  handover: null,
  lostAtMs: null,
  daemonsStopped: false,
  ...fields,
});
const active = (fields: Partial<ElectorState> = {}): ElectorState =>
  state({
    phase: "active",
    lease: lease({ holder: self }),
    tenure: { leaseUid: "lease-1", epoch: 7, renewedAtMs: now - 900 },
    ...fields,
  });
const handover = (fields: Partial<Handover> = {}): Handover => ({
  cause: "planned-operator",
  step: "waiting",
  headAtFirst: null,
  quietSinceMs: null,
  sinceMs: now - 100,
  waitUntilMs: now + 20_000,
  quiet: false,
  drained: false,
  stopped: false,
  pushed: false,
  ...fields,
});
const handing = (step: Partial<Handover>, fields: Partial<ElectorState> = {}): ElectorState =>
  active({
    phase: "handing-over",
    lease: lease({ holder: self, preferredHolder: "alice-as-1" }),
    handover: handover(step),
    ...fields,
  });

/** A master whose DAL node has been unwell for six seconds, and the other member. */
const unwell = (fields: Partial<ElectorState> = {}, others: Partial<Member> = {}): ElectorState =>
  active({ dalWell: false, dalUnwellSinceMs: now - 6000, members: [member(others)], ...fields });
const [dalForNow, noBetterDal] = ["dal-node-unwell-for-now", "no-better-dal-node"];
const waitsForQuiet = "waiting-for-quiet-moment";

const paused: Partial<ElectorState> = { handoversPausedUntilMs: now + 1000 };
const pausedReason = "handovers-paused";

type Kind = Action["kind"];
const released = { holder: "", changedAtMs: now - 200 };
const expired = { changedAtMs: now - 6000 };

const rows: [string, ElectorState, Kind, string][] = [
  // standby
  ["waits until the lease has been read", state({ lease: null }), "none", "lease-not-read"],
  ["creates a lease that is missing", state({ lease: null, leaseMissing: true }), "create-lease", "lease-missing"],
  ["creates no lease on its way out", state({ lease: null, leaseMissing: true, yielding: true }), "none", "yielding"],
  ["leaves a held lease alone", state(), "none", "held"],
  [
    "counts an unseen uid as held",
    state({ lease: lease({ ...released, uidSeenAtMs: now - 5999 }) }),
    "none",
    "unseen-lease",
  ],
  [
    "counts an unseen uid as held even where it is the named successor",
    state({ lease: lease({ ...released, successor: self, uidSeenAtMs: now - 5999 }) }),
    "none",
    "unseen-lease",
  ],
  [
    "takes a released lease at once as the named successor",
    state({ lease: lease({ ...released, successor: self }) }),
    "acquire",
    "named-successor",
  ],
  [
    "leaves one retry to the named successor",
    state({ lease: lease({ ...released, successor: other }) }),
    "none",
    "one-retry-later",
  ],
  [
    "takes a released lease one retry later where the successor did not come",
    state({ lease: lease({ ...released, successor: other, changedAtMs: now - 1000 }) }),
    "acquire",
    "released",
  ],
  [
    "takes a released lease without a successor one retry later",
    state({ lease: lease({ ...released, changedAtMs: now - 1000 }) }),
    "acquire",
    "released",
  ],
  ["waits one retry after the expiry", state({ lease: lease({ changedAtMs: now - 6999 }) }), "none", "one-retry-later"],
  [
    "takes an expired lease one retry after the expiry",
    state({ lease: lease({ changedAtMs: now - 7000 }) }),
    "acquire",
    "expired",
  ],
  [
    "waits for the recorded duration where it is longer than its own",
    state({ lease: lease({ durationMs: 15_000, changedAtMs: now - 15_999 }) }),
    "none",
    "one-retry-later",
  ],
  [
    "waits for its own duration where the recorded one is shorter",
    state({ lease: lease({ durationMs: 1000, changedAtMs: now - 5999 }) }),
    "none",
    "held",
  ],
  [
    "calls the first tenure of a lease by its name",
    state({ lease: lease({ holder: "", epoch: 0, changedAtMs: 0 }) }),
    "acquire",
    "first-tenure",
  ],
  [
    "does not take a free lease while it is not eligible",
    state({ eligible: false, lease: lease({ holder: "", changedAtMs: 0 }) }),
    "none",
    "not-eligible",
  ],
  [
    "takes nothing while it yields",
    state({ yielding: true, lease: lease({ holder: "", changedAtMs: 0 }) }),
    "none",
    "yielding",
  ],
  [
    "a twin of the same name is another holder",
    state({ lease: lease({ holder: "alice-as-0_uid-of-the-twin" }) }),
    "none",
    "held",
  ],
  [
    "begins a new tenure at once on its own lease after a restart",
    state({ lease: lease({ holder: self, uidSeenAtMs: now }) }),
    "acquire",
    "own-lease",
  ],
  [
    "keeps its own lease where nobody is eligible",
    state({ eligible: false, members: [member({ eligible: false })], lease: lease({ holder: self }) }),
    "acquire",
    "own-lease-nobody-else-eligible",
  ],
  [
    "lets its own lease run out where only another one is eligible",
    state({ eligible: false, lease: lease({ holder: self }) }),
    "none",
    "own-lease-not-eligible",
  ],
  [
    "counts a lease that became its own without its writing as held",
    state({ lease: lease({ holder: self, surprising: true }) }),
    "none",
    "held",
  ],
  [
    "nobody eligible: waits 60 s",
    state({
      eligible: false,
      members: [],
      nobodyEligibleSinceMs: now - 59_999,
      lease: lease({ holder: "", changedAtMs: 0 }),
    }),
    "none",
    "nobody-eligible-for-now",
  ],
  [
    "nobody eligible for 60 s: the highest head acquires",
    state({
      eligible: false,
      members: [member({ eligible: false, headLevel: 99 })],
      nobodyEligibleSinceMs: now - 60_000,
      lease: lease({ holder: "", changedAtMs: 0 }),
    }),
    "acquire",
    "last-resort",
  ],
  [
    "nobody eligible for 60 s: a lower head does not",
    state({
      eligible: false,
      members: [member({ eligible: false, headLevel: 101 })],
      nobodyEligibleSinceMs: now - 60_000,
      lease: lease({ holder: "", changedAtMs: 0 }),
    }),
    "none",
    "higher-head-elsewhere",
  ],
  [
    "nobody eligible for 60 s: equal heads are settled by the ordinal",
    state({
      pod: "alice-as-2",
      eligible: false,
      members: [member({ eligible: false })],
      nobodyEligibleSinceMs: now - 60_000,
      lease: lease({ holder: "", changedAtMs: 0 }),
    }),
    "none",
    "higher-head-elsewhere",
  ],
  [
    "nobody eligible for 60 s: a silent member's head does not count",
    state({
      eligible: false,
      members: [member({ eligible: false, headLevel: 101, changedAtMs: now - 6000 })],
      nobodyEligibleSinceMs: now - 60_000,
      lease: lease({ holder: "", changedAtMs: 0 }),
    }),
    "acquire",
    "last-resort",
  ],
  [
    "the last resort does not touch a held lease",
    state({ eligible: false, members: [], nobodyEligibleSinceMs: 0 }),
    "none",
    "held",
  ],
  [
    "acquiring waits for its answer",
    state({ phase: "acquiring", lease: lease({ ...released, successor: self }) }),
    "none",
    "acquiring",
  ],
  ["acquiring gives up where somebody else holds now", state({ phase: "acquiring" }), "stand-by", "held"],
  [
    "acquiring gives up where it yields",
    state({ phase: "acquiring", yielding: true, lease: lease({ ...released, successor: self }) }),
    "stand-by",
    "yielding",
  ],
  // active
  ["holds", active(), "none", "holding"],
  [
    "is lost when the deadline passes",
    active({ tenure: { leaseUid: "lease-1", epoch: 7, renewedAtMs: now - 5000 } }),
    "lose",
    "renew-deadline",
  ],
  [
    "holds until the deadline",
    active({ tenure: { leaseUid: "lease-1", epoch: 7, renewedAtMs: now - 4999 } }),
    "none",
    "holding",
  ],
  ["is lost when the lease is deleted", active({ leaseMissing: true }), "lose", "lease-deleted"],
  [
    "is lost when the lease has another uid",
    active({ lease: lease({ uid: "lease-2", holder: self }) }),
    "lose",
    "lease-recreated",
  ],
  ["is lost when another one holds", active({ lease: lease({ holder: other }) }), "lose", "lease-taken"],
  [
    "is lost when its twin holds",
    active({ lease: lease({ holder: "alice-as-0_uid-of-the-twin" }) }),
    "lose",
    "lease-taken",
  ],
  [
    "is lost when the epoch is not its own",
    active({ lease: lease({ holder: self, epoch: 8 }) }),
    "lose",
    "epoch-changed",
  ],
  ["is lost when a watermark has another holder", active({ tenureLost: "other-holder" }), "lose", "other-holder"],
  [
    "releases and acquires anew above a higher epoch",
    active({ tenureLost: "higher-epoch" }),
    "hand-over",
    "higher-epoch",
  ],
  ["hands over on SIGTERM", active({ yielding: true }), "hand-over", "sigterm"],
  [
    "releases on SIGTERM where nobody is eligible",
    active({ yielding: true, members: [] }),
    "hand-over",
    "sigterm-nobody-eligible",
  ],
  [
    "hands over to the preferred holder, whatever the voluntary pause",
    active({
      lease: lease({ holder: self, preferredHolder: "alice-as-1" }),
      lastVoluntaryAtMs: now,
      voluntaryPauseMs: 600_000,
    }),
    "hand-over",
    "preferred-holder",
  ],
  [
    "keeps holding while the preferred holder is not eligible",
    active({ lease: lease({ holder: self, preferredHolder: "alice-as-1" }), members: [member({ eligible: false })] }),
    "none",
    "holding",
  ],
  [
    "keeps holding while the preferred holder is silent",
    active({
      lease: lease({ holder: self, preferredHolder: "alice-as-1" }),
      members: [member({ changedAtMs: now - 6000 })],
    }),
    "none",
    "holding",
  ],
  [
    "ignores a wish for itself",
    active({ lease: lease({ holder: self, preferredHolder: "alice-as-0" }) }),
    "none",
    "holding",
  ],
  [
    "ignores a wish for nobody it knows",
    active({ lease: lease({ holder: self, preferredHolder: "bob-as-1" }) }),
    "none",
    "holding",
  ],
  [
    "is patient with a short weakness",
    active({ eligible: false, ineligibleSinceMs: now - 5999 }),
    "none",
    "ineligible-for-now",
  ],
  [
    "hands over after 6 s without eligibility",
    active({ eligible: false, ineligibleSinceMs: now - 6000 }),
    "hand-over",
    "ineligible",
  ],
  [
    "stays where nobody else is eligible either",
    active({ eligible: false, ineligibleSinceMs: now - 60_000, members: [member({ eligible: false })] }),
    "none",
    "nobody-else-eligible",
  ],
  [
    "pauses between voluntary handovers",
    active({
      eligible: false,
      ineligibleSinceMs: now - 6000,
      lastVoluntaryAtMs: now - 59_999,
      voluntaryPauseMs: 60_000,
    }),
    "none",
    "voluntary-pause",
  ],
  [
    "hands over again after the pause",
    active({
      eligible: false,
      ineligibleSinceMs: now - 6000,
      lastVoluntaryAtMs: now - 60_000,
      voluntaryPauseMs: 60_000,
    }),
    "hand-over",
    "ineligible",
  ],
  ["is patient with a short lag", active({ behindSinceMs: now - 5999 }), "none", "behind-for-now"],
  ["hands over after 6 s behind", active({ behindSinceMs: now - 6000 }), "hand-over", "behind"],
  [
    "pauses before it hands over for a lag, too",
    active({ behindSinceMs: now - 6000, lastVoluntaryAtMs: now - 1000, voluntaryPauseMs: 60_000 }),
    "none",
    "voluntary-pause",
  ],
  // An operator's pause.
  [
    "keeps a paused tenure although it is behind",
    active({ behindSinceMs: now - 6000, ...paused }),
    "none",
    pausedReason,
  ],
  ["keeps a paused tenure although its DAL node is unwell", unwell(paused), "none", pausedReason],
  ["hands over when the pause is over", unwell({ handoversPausedUntilMs: now }), "hand-over", "dal-node-unwell"],
  [
    "hands over what cannot sign, paused or not",
    active({ eligible: false, ineligibleSinceMs: now - 6000, ...paused }),
    "hand-over",
    "ineligible",
  ],
  ["hands over under SIGTERM, paused or not", active({ yielding: true, ...paused }), "hand-over", "sigterm"],
  [
    "hands over where an operator wishes, paused or not",
    active({ lease: lease({ holder: self, preferredHolder: "alice-as-1" }), ...paused }),
    "hand-over",
    "preferred-holder",
  ],
  [
    "loses a tenure that it could not renew, paused or not",
    active({ tenure: { leaseUid: "lease-1", epoch: 7, renewedAtMs: now - 5000 }, ...paused }),
    "lose",
    "renew-deadline",
  ],
  [
    "takes an expired lease, paused or not",
    state({ lease: lease({ changedAtMs: now - 7000 }), ...paused }),
    "acquire",
    "expired",
  ],
  // The DAL node.
  ["is patient with a DAL node that restarts", unwell({ dalUnwellSinceMs: now - 5999 }), "none", dalForNow],
  ["hands over where the other DAL node is well", unwell(), "hand-over", "dal-node-unwell"],
  ["keeps its tenure where the other DAL node is no better", unwell({}, { dalWell: false }), "none", noBetterDal],
  ["keeps its tenure where the other one is not eligible", unwell({}, { eligible: false }), "none", noBetterDal],
  ["keeps its tenure where the other one is behind", unwell({}, { headLevel: 98 }), "none", noBetterDal],
  ["hands over to one that is a level behind", unwell({}, { headLevel: 99 }), "hand-over", "dal-node-unwell"],
  ["keeps its tenure where the other one lacks nonces", unwell({}, { noncesMissing: 1 }), "none", noBetterDal],
  ["keeps its tenure where nobody else lives", unwell({ members: [] }), "none", noBetterDal],
  [
    "pauses before it hands over for a DAL node, too",
    unwell({ lastVoluntaryAtMs: now - 1000, voluntaryPauseMs: 60_000 }),
    "none",
    "voluntary-pause",
  ],
  [
    "does not undo at once what an operator chose",
    unwell({ lastOperatorAtMs: now - 59_999 }),
    "none",
    "voluntary-pause",
  ],
  ["hands over a pause later", unwell({ lastOperatorAtMs: now - 60_000 }), "hand-over", "dal-node-unwell"],
  [
    "hands over at once what cannot sign, whoever chose it",
    active({ eligible: false, ineligibleSinceMs: now - 6000, lastOperatorAtMs: now - 6000 }),
    "hand-over",
    "ineligible",
  ],
  ["cannot sign at all: that comes first", unwell({ ineligibleSinceMs: now - 6000 }), "hand-over", "ineligible"],
  [
    "calls it off where its DAL node is well again",
    handing({ cause: "planned-dal" }),
    "cancel-handover",
    "dal-node-well",
  ],
  [
    "calls it off where the other DAL node fails, too",
    handing({ cause: "planned-dal" }, { dalWell: false, members: [member({ dalWell: false })] }),
    "cancel-handover",
    "no-better-dal-node",
  ],
  ["goes on with it meanwhile", handing({ cause: "planned-dal" }, { dalWell: false }), "none", waitsForQuiet],
  // handing-over
  ["waits for a quiet moment", handing({}), "none", "waiting-for-quiet-moment"],
  ["drains at the quiet moment", handing({ quiet: true }), "step", "quiet-moment"],
  ["drains when the wait is over", handing({ waitUntilMs: now }), "step", "quiet-moment-timeout"],
  ["hurries under SIGTERM", handing({}, { yielding: true }), "hurry", "sigterm"],
  ["hurries once", handing({ waitUntilMs: now + 6000 }, { yielding: true }), "none", "waiting-for-quiet-moment"],
  [
    "gives up where the wished successor fades",
    handing({}, { members: [member({ eligible: false })] }),
    "cancel-handover",
    "successor-not-eligible",
  ],
  [
    "gives up where it is eligible again",
    handing({ cause: "planned-ineligible" }),
    "cancel-handover",
    "eligible-again",
  ],
  [
    "gives up where nobody else is eligible any more",
    handing({ cause: "planned-ineligible" }, { eligible: false, members: [] }),
    "cancel-handover",
    "successor-not-eligible",
  ],
  [
    "gives up a handover for a lag that an operator has paused",
    handing({ cause: "planned-behind" }, { behindSinceMs: now - 7000, handoversPausedUntilMs: now + 1 }),
    "cancel-handover",
    "handovers-paused",
  ],
  [
    "goes on with an operator's own handover while the others are paused",
    handing({}, { handoversPausedUntilMs: now + 1 }),
    "none",
    waitsForQuiet,
  ],
  ["gives up where it has caught up", handing({ cause: "planned-behind" }), "cancel-handover", "no-longer-behind"],
  [
    "gives up where a preStop call turned out to be no end",
    handing({ cause: "planned-sigterm" }),
    "cancel-handover",
    "no-longer-yielding",
  ],
  [
    "does not give up under SIGTERM",
    handing({ cause: "planned-sigterm" }, { yielding: true, members: [] }),
    "none",
    "waiting-for-quiet-moment",
  ],
  ["waits for the gate", handing({ step: "draining" }), "none", "waiting-for-gate"],
  ["stops the daemons once the gate is drained", handing({ step: "draining", drained: true }), "step", "gate-drained"],
  [
    "stops the daemons after 2 s of draining",
    handing({ step: "draining", sinceMs: now - 2000 }),
    "step",
    "gate-drain-timeout",
  ],
  ["waits for the daemons", handing({ step: "stopping" }), "none", "waiting-for-daemons"],
  [
    "pushes the nonces once the daemons have stopped",
    handing({ step: "stopping", stopped: true }),
    "step",
    "daemons-stopped",
  ],
  [
    "never releases over daemons that may run",
    handing({ step: "stopping", sinceMs: now - 3600 }),
    "lose",
    "daemons-not-confirmed-stopped",
  ],
  ["waits for the nonces", handing({ step: "pushing" }), "none", "waiting-for-nonces"],
  ["releases once the nonces are acknowledged", handing({ step: "pushing", pushed: true }), "step", "nonces-pushed"],
  [
    "releases without the nonces after 2 s",
    handing({ step: "pushing", sinceMs: now - 2000 }),
    "step",
    "nonce-push-timeout",
  ],
  ["releases", handing({ step: "releasing" }), "none", "releasing"],
  [
    "a release whose answer was lost is a release",
    handing({ step: "releasing" }, { lease: lease({ holder: "" }) }),
    "none",
    "releasing",
  ],
  [
    "a lease without holder is a loss before the release",
    handing({ step: "pushing" }, { lease: lease({ holder: "" }) }),
    "lose",
    "lease-taken",
  ],
  [
    "is lost in the middle of a handover, too",
    handing({ step: "pushing" }, { tenure: { leaseUid: "lease-1", epoch: 7, renewedAtMs: now - 5000 } }),
    "lose",
    "renew-deadline",
  ],
  // lost
  ["stays lost until the daemons are dead", state({ phase: "lost", lostAtMs: now - 799 }), "none", "lost"],
  [
    "settles when the supervisor says so",
    state({ phase: "lost", lostAtMs: now, daemonsStopped: true }),
    "settle",
    "daemons-stopped",
  ],
  [
    "settles after the time that killing takes",
    state({ phase: "lost", lostAtMs: now - 800 }),
    "settle",
    "kill-time-over",
  ],
];

test.each(rows)("%s", (_title, given, kind, reason) => {
  const decision = decide(given, now, t);
  expect({ kind: decision.action.kind, reason: decision.reason }).toEqual({ kind, reason });
  if (kind === "none") expect(decision.wakeAtMs).toBeGreaterThan(now);
});

test("an expired lease is expired, and not free, at the moment of its expiry", () => {
  expect(decide(state({ lease: lease(expired) }), now, t).reason).toBe("one-retry-later");
});

test("a decision that waits wakes at the moment at which it changes", () => {
  for (const [title, given, kind, reason] of rows) {
    if (kind !== "none") continue;
    const { wakeAtMs } = decide(given, now, t);
    if (!Number.isFinite(wakeAtMs)) continue;
    const later = decide(given, wakeAtMs, t);
    expect({ title, same: later.reason === reason && later.action.kind === "none" }).toEqual({ title, same: false });
  }
});

test("the handover waits 30 s for a quiet moment, 10 s under SIGTERM, not at all above a higher epoch", () => {
  const wait = (given: ElectorState) => {
    const { action } = decide(given, now, t);
    return action.kind === "hand-over" ? action.waitMs : undefined;
  };
  expect(wait(active({ behindSinceMs: 0 }))).toBe(30_000);
  expect(wait(active({ yielding: true }))).toBe(10_000);
  expect(wait(active({ tenureLost: "higher-epoch" }))).toBe(0);
});

test("the epoch of every tenure is above the lease and all watermarks", () => {
  expect(nextEpoch(7, [])).toBe(8);
  expect(nextEpoch(7, [3, 12, 5])).toBe(13);
  expect(nextEpoch(20, [3, 12])).toBe(21);
});

test("an absurd epoch of a watermark, or of the lease itself, carries no other epoch away", () => {
  expect(nextEpoch(7, [3, 2 ** 31 - 2])).toBe(8);
  expect(nextEpoch(2 ** 31 - 1, [12, 5])).toBe(13);
});

test("the successor has its nonces, the highest head and then the first name; silent and weak members are passed over", () => {
  const c = member({ pod: "alice-as-2", identity: "c" });
  expect(bestSuccessor([member(), c], now, t)?.identity).toBe(other);
  expect(bestSuccessor([member(), { ...c, headLevel: 101 }], now, t)?.identity).toBe("c");
  expect(bestSuccessor([member({ noncesMissing: 1, headLevel: 200 }), c], now, t)?.identity).toBe("c");
  expect(bestSuccessor([member({ noncesMissing: 1 })], now, t)?.identity).toBe(other);
  expect(bestSuccessor([member({ changedAtMs: now - 6000 }), { ...c, eligible: false }], now, t)).toBeNull();
});

test("the release names the wished member, itself above a higher epoch, and nobody where nobody is eligible", () => {
  const c = member({ pod: "alice-as-2", identity: "c", headLevel: 50 });
  const wished = active({ members: [member(), c], lease: lease({ holder: self, preferredHolder: "alice-as-2" }) });
  expect(successorOf(wished, "planned-operator", now, t)).toBe("c");
  expect(successorOf(wished, "planned-sigterm", now, t)).toBe(other);
  expect(successorOf(wished, "higher-epoch", now, t)).toBe(self);
  expect(successorOf(active({ members: [] }), "planned-sigterm", now, t)).toBe("");
});

test("a member whose DAL node is well follows before one that is a level ahead, and after one without missing nonces", () => {
  const sick = member({ dalWell: false, headLevel: 101 });
  const well = member({ pod: "alice-as-2", identity: "c" });
  expect(bestSuccessor([sick, well], now, t)?.identity).toBe("c");
  expect(bestSuccessor([sick, { ...well, noncesMissing: 1 }], now, t)?.identity).toBe(other);
  expect(successorOf(unwell({ members: [sick, well] }), "planned-dal", now, t)).toBe("c");
});

test("a DAL node outweighs no head that moves a tenure: the successor would hand over again", () => {
  const current = member({ dalWell: false, headLevel: 102 });
  const well = member({ pod: "alice-as-2", identity: "c", headLevel: 100 });
  expect(successorOf(active({ members: [current, well] }), "planned-ineligible", now, t)).toBe(other);
  expect(successorOf(active({ members: [current, well] }), "planned-sigterm", now, t)).toBe(other);
  expect(successorOf(active({ members: [current, { ...well, headLevel: 101 }] }), "planned-sigterm", now, t)).toBe("c");
});

test("a master that is behind hands over to a member that is ahead, whatever speaks for another one", () => {
  const ahead = member({ dalWell: false, headLevel: 102, noncesMissing: 1 });
  const level = member({ pod: "alice-as-2", identity: "c", headLevel: 101 });
  const behind = active({ behindSinceMs: now - 6000, members: [ahead, level] });
  expect(decide(behind, now, t)).toMatchObject({ action: { kind: "hand-over" }, reason: "behind" });
  expect(successorOf(behind, "planned-behind", now, t)).toBe(other);
});

test("two pods whose DAL nodes fail in turn wait longer each time", () => {
  const at = (minutes: number) => new Date(Date.UTC(2026, 0, 1, 0, minutes)).toISOString();
  const series = [9, 4, 2].map((minute) => ({ cause: "planned-dal", at: at(minute) }));
  expect(voluntaryPauseMs(series, t)).toBe(240_000);
});

test("a condition that breaks once starts counting anew", () => {
  const given = active({ eligible: false, members: [member({ headLevel: 102 })] });
  track(given, 10, t);
  track(given, 20, t);
  expect(given.ineligibleSinceMs).toBe(10);
  expect(given.behindSinceMs).toBe(10);
  given.eligible = true;
  given.headLevel = 101;
  track(given, 30, t);
  expect([given.ineligibleSinceMs, given.behindSinceMs, given.dalUnwellSinceMs]).toEqual([null, null, null]);
  for (const [dalWell, at, since] of [
    [false, 31, 31],
    [false, 32, 31],
    [true, 33, null],
    [false, 34, 34],
  ] as const) {
    given.dalWell = dalWell;
    track(given, at, t);
    expect(given.dalUnwellSinceMs).toBe(since);
  }
  given.eligible = false;
  track(given, 40, t);
  expect(given.ineligibleSinceMs).toBe(40);
});

test("nobody is eligible only while neither this pod nor a fresh member is", () => {
  const given = state({ eligible: false });
  track(given, now, t);
  expect(given.nobodyEligibleSinceMs).toBeNull();
  track(given, now + 5000, t);
  expect(given.nobodyEligibleSinceMs).toBe(now + 5000);
  given.eligible = true;
  track(given, now + 6000, t);
  expect(given.nobodyEligibleSinceMs).toBeNull();
});

test("the pause doubles from 60 s to 10 min in a series of voluntary handovers and ends with a quiet time", () => {
  const at = (minutes: number) => new Date(Date.UTC(2026, 0, 1, 0, minutes)).toISOString();
  const series = (...minutes: number[]) => minutes.map((m) => ({ cause: "planned-ineligible", at: at(m) }));
  expect(voluntaryPauseMs([], t)).toBe(0);
  expect(voluntaryPauseMs([{ cause: "planned-operator", at: at(1) }], t)).toBe(0);
  expect(voluntaryPauseMs(series(1), t)).toBe(60_000);
  expect(voluntaryPauseMs([...series(2), { cause: "planned-sigterm", at: at(1) }, ...series(0)], t)).toBe(120_000);
  expect(voluntaryPauseMs(series(7, 3, 1, 0), t)).toBe(480_000);
  expect(voluntaryPauseMs(series(30, 20, 15, 7, 3, 1, 0), t)).toBe(600_000);
  expect(voluntaryPauseMs(series(50, 20, 10), t)).toBe(60_000);
});
