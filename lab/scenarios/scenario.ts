/**
 * A scenario: a laboratory, faults at times, and what must hold afterwards. Files have the same shape as the built-in
 * ones.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { parse } from "yaml";
import { faultArgumentsSchema, faults } from "../faults/faults";
import { signerWays } from "../synth";

const stepSchema = z.strictObject({
  /** Seconds since the first fault's moment, at 6 s blocks; scaled otherwise. */
  at: z.number().min(0),
  fault: z.string().refine((name) => name in faults, {
    error: (issue) => `a fault is one of ${Object.keys(faults).join(", ")}; got ${String(issue.input)}`,
  }),
  args: faultArgumentsSchema.default({}),
  /** Ends after so many seconds; absent: lasts to the end. */
  for: z.number().positive().optional(),
});

export const scenarioSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9-]+$/),
  title: z.string(),
  /** Row of the failure table that it measures. */
  row: z.string(),
  /** One paragraph for people: what happens and why. */
  explain: z.string(),
  flag: z.boolean().default(true),
  signers: z.enum(signerWays).default("hot"),
  chain: z
    .strictObject({
      blockShare: z.number().optional(),
      blocksPerCycle: z.number().optional(),
      blocksPerCommitment: z.number().optional(),
      /** Curve of the next consensus key, which the configuration names beside the present one. */
      rotation: z.enum(["tz1", "tz2", "tz3", "tz4"]).optional(),
    })
    .default({}),
  steps: z.array(stepSchema),
  /** Levels that may be missed; absent: no promise. */
  goalMissedLevels: z.number().int().optional(),
  /**
   * Promised seconds, at 6 s blocks, from the first fault until another daemon is ready to sign: with its start time D.
   */
  goalTakeoverSeconds: z.number().optional(),
  /** Promised seconds, at 6 s blocks, from the end of the fault to a new tenure: without D. */
  goalTenureSeconds: z.number().optional(),
  expect: z
    .strictObject({
      /** Whether another daemon takes over. */
      failover: z.enum(["yes", "no", "any"]).default("any"),
      /** Milliseconds (at 6 s blocks) in which two daemons may have processes; null where that is the point. */
      overlapMs: z.number().nullable().default(0),
      /** The next consensus key has signed the last levels, and no baking daemon was started since the first step. */
      nextKey: z.boolean().default(false),
      /** Every commitment that could be revealed was. */
      nonces: z.boolean().default(false),
      /** Nothing is signed while the first fault lasts; half a second at 6 s blocks is for what is under way. */
      silent: z.boolean().default(false),
      /** Levels that we attested without all slots of the DAL that could be attested; absent: any number. */
      dalLostLevels: z.number().optional(),
      /** Every slot of the DAL is attested at the end. */
      dalRecovers: z.boolean().default(false),
      /** Signing goes on at the end. */
      recovers: z.boolean().default(true),
    })
    .prefault({}),
  /** Seconds after the last step that must pass in any case. */
  settle: z.number().default(12),
});
export type Scenario = z.output<typeof scenarioSchema>;

/** A scenario of a YAML or JSON file. @throws Error with every problem */
export function readScenario(path: string): Scenario {
  const result = scenarioSchema.safeParse(parse(readFileSync(path, "utf8")));
  if (!result.success) throw new Error(`${path}: ${z.prettifyError(result.error)}`);
  return result.data;
}
