/**
 * What of the fence is checked: bounds small enough to visit every state, and each rule left out in the smallest of
 * them that needs it.
 */
import type { Watermark } from "../contract/watermark";
import { decideRaise, decideSign, type Request } from "../daemons/signing-gate/decide";
import { recovered } from "../daemons/signing-gate/memory";
import { check } from "./checker";
import { fence } from "./fence";
import { fenceRules, type FenceBounds, type FenceRules } from "./fence-state";
import type { Case, LeftOut } from "./cases";

const request = (kind: Request["kind"], level: number, round: number, digest: string): Request => ({
  kind,
  level,
  round,
  digest,
});
const vote = (level: number, round: number, digest: string) => request("attestation", level, round, digest);
const twoVotes = [vote(6, 0, "x"), vote(6, 0, "y")];
const rounds = [vote(6, 0, "x"), request("preattestation", 6, 1, "y")];

const plain: FenceBounds = {
  pods: ["a", "b"],
  epochs: 2,
  requests: twoVotes,
  orphans: 1,
  processEnds: 0,
  machineEnds: 0,
  looks: false,
  deletions: 0,
  restores: 0,
  restore: "detectable",
  halts: false,
  seen: true,
};
const bounds = {
  "two masters": { ...plain, requests: [...twoVotes, vote(7, 0, "x")] },
  "first installation": { ...plain, seen: false },
  "processes end": { ...plain, processEnds: 2 },
  "several kinds": { ...plain, requests: rounds },
  "the chain halts": { ...plain, requests: rounds, halts: true },
  blocks: { ...plain, processEnds: 1, requests: [request("block", 6, 0, "x"), request("block", 6, 0, "y")] },
  "one block": { ...plain, epochs: 3, requests: [request("block", 6, 0, "x")] },
  deleted: { ...plain, deletions: 1, orphans: 0 },
  "set back": { ...plain, restores: 1, looks: true, orphans: 0 },
  "set back, processes end": { ...plain, restores: 1, processEnds: 1, looks: true, orphans: 0 },
  "set back, the machine of one pod ends": { ...plain, pods: ["a"], restores: 1, machineEnds: 2, orphans: 1 },
  "lost on a halted chain": {
    ...plain,
    requests: [vote(6, 1, "x"), vote(6, 1, "y")],
    deletions: 1,
    orphans: 0,
    halts: true,
  },
  absurd: { ...plain, requests: [vote(6, 0, "x"), vote(30, 0, "x")] },
  "three masters": { ...plain, epochs: 3, orphans: 0 },
} satisfies Record<string, FenceBounds>;

type Bound = keyof typeof bounds;
export const fenceCases: readonly Case[] = Object.entries(bounds).map(([name, bound]) => ({
  model: "fence",
  name,
  quick: name === "processes end" || name === "absurd",
  run: (maxStates) => check(fence(bound), maxStates),
}));

type RaiseInput = Parameters<typeof decideRaise>[0];
type SignInput = Parameters<typeof decideSign>[0];
/** The record as it would be seen with `change`. */
const seen = <T extends RaiseInput | SignInput>(input: T, change: (record: Watermark) => Partial<Watermark>): T =>
  input.observed.state === "record"
    ? {
        ...input,
        observed: { ...input.observed, record: { ...input.observed.record, ...change(input.observed.record) } },
      }
    : input;
const both = (change: <T extends RaiseInput | SignInput>(input: T) => T): Partial<FenceRules> => ({
  decideRaise: (input) => decideRaise(change(input)),
  decideSign: (input) => decideSign(change(input)),
});
const raised = (change: (record: Watermark, input: RaiseInput) => Partial<Watermark>): Partial<FenceRules> => ({
  decideRaise: (input) => {
    const decision = decideRaise(input);
    return decision.action === "write"
      ? { ...decision, record: { ...decision.record, ...change(decision.record, input) } }
      : decision;
  },
});
/** Marks although the rule with this reason refuses. */
const unrefused = (reason: string, where: (input: SignInput) => boolean = () => true): Partial<FenceRules> => ({
  decideSign: (input) => {
    const decision = decideSign(input);
    if (
      decision.action !== "refuse" ||
      decision.reason !== reason ||
      !where(input) ||
      input.observed.state !== "record"
    )
      return decision;
    const { kind, level, round, digest } = input.request;
    const { record } = input.observed;
    return {
      action: "mark",
      reason: "above",
      record: { ...record, marks: { ...record.marks, [kind]: { level, round, digest } } },
    };
  },
});

/** Rule, bounds, what is left out, the property that breaks. */
const withoutRules: readonly [string, Bound, string, Partial<FenceRules>, string][] = [
  ["S1", "two masters", "a second digest at a marked level and round is refused", unrefused("conflict"), "S1"],
  ["S1", "two masters", "a request below its kind's mark is refused", unrefused("below-mark"), "S1"],
  ["S1", "two masters", "a write names the version of the object on which it was decided", { conditional: false }, "S"],
  ["S1", "two masters", "nothing is forwarded before the API has acknowledged the mark", { awaitsAnswer: false }, "S1"],
  [
    "S2",
    "two masters",
    "a higher epoch in the watermark ends the tenure",
    both((input) => {
      const { epoch, holder } = input.tenure;
      const unaware = { ...input, memory: undefined };
      return seen(unaware, (record) => (record.epoch > epoch ? { epoch, holder } : {}));
    }),
    "S2",
  ],
  [
    "S2",
    "two masters",
    "the same epoch with another holder ends the tenure",
    both((input) => seen(input, ({ epoch }) => (epoch === input.tenure.epoch ? { holder: input.tenure.holder } : {}))),
    "S3",
  ],
  ["S2", "two masters", "the holder's name contains the uid of its pod", { holderOf: () => "twin" }, "S3"],
  [
    "S3",
    "two masters",
    "a tenure begins by writing its epoch",
    both((input) => seen(input, ({ epoch }) => (epoch < input.tenure.epoch ? input.tenure : {}))),
    "S3",
  ],
  [
    "S3",
    "several kinds",
    "the floor is the highest level of any kind in the record",
    raised((_, { observed }) => ({ floor: observed.state === "record" ? observed.record.floor : 5 })),
    "S3",
  ],
  [
    "S3",
    "the chain halts",
    "on a halted chain only rounds above every recorded round are opened",
    { decideSign: (input) => decideSign({ ...input, pass: { ...input.pass, aboveRound: -1 } }) },
    "S3",
  ],
  [
    "S5",
    "set back",
    "a gate compares the watermark with what it remembers",
    both((input) => ({ ...input, memory: undefined })),
    "S",
  ],
  [
    "S5",
    "deleted",
    "a lost watermark starts at least five levels above a synced head",
    { decideRaise: (input) => decideRaise({ ...input, syncedHead: -100 }) },
    "S",
  ],
  [
    "S5",
    "set back, processes end",
    "nothing is forwarded before its mark is on the own disk",
    { awaitsDisk: false },
    "S1",
  ],
  [
    "S5",
    "set back, the machine of one pod ends",
    "a mark without its cell counts as perhaps forwarded after another start of the machine",
    { recovered: (entry, announced, noted) => recovered(entry, announced, noted, true) },
    "S1",
  ],
  [
    "S5",
    "set back",
    "a higher epoch that a gate remembers is put back before its tenure ends",
    {
      decideRaise: (input) => {
        const decision = decideRaise(input);
        return decision.action === "restore"
          ? { action: "write", reason: decision.reason, record: { ...decision.record, ...input.tenure } }
          : decision;
      },
    },
    "S2",
  ],
  [
    "S5",
    "lost on a halted chain",
    "a halted chain opens no floor of a lost watermark",
    unrefused(
      "at-or-below-floor",
      ({ request, pass, observed }) =>
        pass.open && observed.state === "record" && request.level === observed.record.floor,
    ),
    "S",
  ],
  ["S6", "absurd", "a level more than five above the head is refused", { plausible: () => true }, "S6"],
  [
    "S7",
    "blocks",
    "an identical block is not sent again",
    { decideRepeat: () => ({ action: "forward", reason: "deterministic" }) },
    "S7",
  ],
  ["S7", "one block", "an unknown outcome belongs to the epoch in which it was tried", { unsureByEpoch: false }, "S7"],
];
export const fenceLeftOut: readonly LeftOut[] = withoutRules.map(([rule, bound, without, change, breaks]) => ({
  model: "fence",
  rule,
  without,
  breaks,
  run: () => check(fence(bounds[bound], { ...fenceRules, ...change })),
}));
