/** Everything that is checked. */
import type { Case, LeftOut } from "./cases";
import { electionCases, electionLeftOut } from "./election-cases";
import { fenceCases, fenceLeftOut } from "./fence-cases";

export const cases: readonly Case[] = [...fenceCases, ...electionCases];
export const leftOut: readonly LeftOut[] = [...fenceLeftOut, ...electionLeftOut];
