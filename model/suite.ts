/** Everything that is checked. */
import type { Case, LeftOut } from "./cases";
import { fenceCases, fenceLeftOut } from "./fence-cases";

export const cases: readonly Case[] = [...fenceCases];
export const leftOut: readonly LeftOut[] = [...fenceLeftOut];
