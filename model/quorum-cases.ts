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
  "a store is lost, late requests": { ...plain, losses: 1, late: 1, digests: ["x", "y"] },
  "a disk is set back": { ...plain, setBack: 1 },
  "two stores are lost": { ...plain, losses: 2 },
} satisfies Record<string, QuorumBounds>;

export const quorumCases: readonly Case[] = Object.entries(bounds).map(([name, bound]) => ({
  model: "quorum",
  name,
  quick: false,
  run: (maxStates) => check(quorum(bound), maxStates),
}));

const withoutRules: readonly [Amendment, keyof typeof bounds, string, string][] = [
  ["majority", "two bytes at one place", "a mark is forwarded only after a quorum has it", "S"],
  ["second phase", "two tenures", "a raise is accepted by a quorum before the key opens", "S"],
  ["roster", "a store is lost", "a store that another one finds forgetful does not count", "S"],
  [1, "a process ends, two tenures", "floor and marks are stored with the epoch that wrote them", "S"],
  [2, "a process ends", "the own disk comes first", "S"],
  [3, "two tenures", "nothing at or below the floor is signed, identical bytes included", "S"],
  [4, "two bytes at one place", "accept only where this tenure's prepare was taken", "S"],
  [5, "a store is lost, late requests", "accept names the incarnation that it means", "S"],
  [6, "a store is lost", "a forgetful store is seeded after a quorum of whole stores has the raise", "S"],
  [7, "a disk is set back", "a store that may have forgotten something gets a new incarnation", "S"],
  [8, "two stores are lost", "S5 starts above everything that can have been sent", "S"],
];
export const quorumLeftOut: readonly LeftOut[] = withoutRules.map(([rule, bound, without, breaks]) => ({
  model: "quorum",
  rule: typeof rule === "number" ? `amendment ${rule}` : rule,
  without,
  breaks,
  run: () => check(quorum(bounds[bound], rule), 150_000),
}));
