/** What of the election is checked, and what of its rules is left out. */
import { nextEpoch } from "../daemons/elector/decide";
import type { Case, LeftOut } from "./cases";
import { check } from "./checker";
import { election, electionRules, type ElectionBounds, type ElectionRules } from "./election";

const plain: ElectionBounds = { epochs: 2, wishes: 0, restarts: 0, deletions: 0, nonces: false };
const bounds = {
  "leases run out": plain,
  "an elector ends": { ...plain, restarts: 1 },
  "planned handover": { ...plain, wishes: 1 },
  "planned handover with nonces": { ...plain, epochs: 1, wishes: 1, nonces: true },
  "the lease is deleted": { ...plain, deletions: 1 },
} satisfies Record<string, ElectionBounds>;

export const electionCases: readonly Case[] = Object.entries(bounds).map(([name, bound]) => ({
  model: "election",
  name,
  quick: false,
  run: (maxStates) => check(election(bound), maxStates),
}));

type Believes = ElectionRules["believes"];
const lease =
  (change: Partial<NonNullable<Parameters<Believes>[0]["lease"]>>): Believes =>
  (state) => ({ ...state, lease: state.lease && { ...state.lease, ...change } });
const handover =
  (change: Partial<NonNullable<Parameters<Believes>[0]["handover"]>>): Believes =>
  (state) => ({ ...state, handover: state.handover && { ...state.handover, ...change } });

/** Rule, bounds, what is left out, the property that breaks. */
const withoutRules: readonly [string, keyof typeof bounds, string, Partial<ElectionRules>, string][] = [
  [
    "S4",
    "leases run out",
    "a holder stops itself before its lease can run out",
    { timings: { ...electionRules.timings, renewDeadlineSeconds: 3 } },
    "S4",
  ],
  ["S4", "leases run out", "a tenure counts from the sending of its renewal", { fromSending: false }, "S4"],
  [
    "S4",
    "leases run out",
    "a challenger waits until it has seen no change for a lease",
    { believes: lease({ changedAtMs: -Infinity }) },
    "S4",
  ],
  [
    "S4",
    "leases run out",
    "a write names the version of the lease on which it was decided",
    { conditional: false },
    "S",
  ],
  [
    "S4",
    "the lease is deleted",
    "a lease that is seen for the first time counts as held",
    { believes: lease({ uidSeenAtMs: -Infinity }) },
    "S4",
  ],
  [
    "S4",
    "planned handover",
    "a lease is released only when the daemons are confirmed stopped",
    { believes: handover({ stopped: true }) },
    "S4",
  ],
  [
    "S2",
    "an elector ends",
    "every acquisition raises the epoch, also by the previous holder",
    { nextEpoch: (epoch, watermark, own) => (own ? epoch : nextEpoch(epoch, [watermark])) },
    "S2",
  ],
  [
    "S2",
    "the lease is deleted",
    "an epoch lies above those of the watermarks",
    { nextEpoch: (epoch) => nextEpoch(epoch, []) },
    "S2",
  ],
  [
    "nonces",
    "planned handover with nonces",
    "the nonces are pushed before the release",
    { believes: handover({ pushed: true }) },
    "nonces",
  ],
];
export const electionLeftOut: readonly LeftOut[] = withoutRules.map(([rule, bound, without, change, breaks]) => ({
  model: "election",
  rule,
  without,
  breaks,
  run: () => check(election(bounds[bound], { ...electionRules, ...change })),
}));
