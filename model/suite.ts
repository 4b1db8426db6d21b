/** Everything that is checked. */
import type { Case, LeftOut } from "./cases";
import { electionCases, electionLeftOut } from "./election-cases";
import { fenceCases, fenceLeftOut } from "./fence-cases";
import { quorumCases, quorumLeftOut } from "./quorum-cases";

export const cases: readonly Case[] = [...fenceCases, ...electionCases, ...quorumCases];
export const leftOut: readonly LeftOut[] = [...fenceLeftOut, ...electionLeftOut, ...quorumLeftOut];
