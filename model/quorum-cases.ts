/** What of the proposed quorum is checked, and what of its rules is left out. */
import type { Case, LeftOut } from "./cases";
import { check } from "./checker";
import { quorum, type Amendment, type QuorumBounds } from "./quorum";

const plain: QuorumBounds = {
  epochs: 2,
  places: 1,
  digests: ["x"],
  ends: 0,
  losses: 0,
  setBack: 0,
  late: 0,
  installed: true,
};
const bounds = {
  "two tenures": { ...plain, places: 2 },
  "two bytes at one place": { ...plain, digests: ["x", "y"] },
  "first installation": { ...plain, installed: false },
  "late requests": { ...plain, late: 1 },
  "a process ends": { ...plain, ends: 1, epochs: 1, digests: ["x", "y"], late: 1 },
  "a process ends, two tenures": { ...plain, ends: 1, places: 2 },
  "a store is lost": { ...plain, losses: 1 },
} satisfies Record<string, QuorumBounds>;
type Bound = keyof typeof bounds;
/** More than half a million states: minutes. */
const slow: readonly Bound[] = ["a process ends, two tenures", "a store is lost"];

export const quorumCases: readonly Case[] = (Object.keys(bounds) as Bound[]).map((name) => ({
  ...{ model: "quorum", name, quick: name === "a process ends", slow: slow.includes(name) },
  run: (maxStates) => check(quorum(bounds[name]), maxStates),
}));

/** Those that these bounds show to be needed; docs/design-quorum.md has the others. */
const withoutRules: readonly [Amendment, Bound, string][] = [
  ["majority", "two bytes at one place", "a mark is forwarded only after a quorum has it"],
  [1, "a process ends, two tenures", "floor and marks are stored with the epoch that wrote them"],
  [3, "two tenures", "nothing at or below the floor is signed, identical bytes included"],
  [9, "a store is lost", "a gate that is started again stays above what earlier tenures wrote"],
  [10, "a store is lost", "a raise carries the tenure's own mark"],
];
export const quorumLeftOut: readonly LeftOut[] = withoutRules.map(([rule, bound, without]) => ({
  model: "quorum",
  rule: typeof rule === "number" ? `amendment ${rule}` : rule,
  ...{ without, breaks: "S", slow: slow.includes(bound) },
  run: () => check(quorum(bounds[bound], rule)),
}));
