/** The receipt of one transition of the mastership. */
import * as z from "zod/mini";

export const receiptSchema = z.object({
  /** Epoch of the tenure that began. */
  epoch: z.int(),
  from: z.string(),
  to: z.string(),
  /**
   * Stable code of the cause: planned-operator, planned-ineligible, planned-behind, planned-dal, planned-sigterm,
   * expired, released, last-resort, first.
   */
  cause: z.string(),
  /** Wall clock, ISO 8601, for people only. */
  at: z.string(),
  /** Steps with milliseconds since the transition began. */
  timeline: z.array(z.object({ atMs: z.number(), event: z.string(), reason: z.string() })),
  missedLevels: z.nullable(z.int()),
});
export type Receipt = z.infer<typeof receiptSchema>;

/**
 * When the new tenure began, milliseconds since 1970: never before the fault. A receipt's own `at` is the beginning of
 * its timeline, which after a loss is the last renewal that was seen, and that one came before the loss.
 */
export const acquiredAtMs = (receipt: Receipt): number =>
  Date.parse(receipt.at) + (receipt.timeline.find(({ event }) => event === "acquired")?.atMs ?? 0);

/** The level of the tenure's first attestation, as the elector notes it; undefined where there was none yet. */
export function firstAttestationLevel({ timeline }: Receipt): number | undefined {
  const reason = timeline.find(({ event }) => event === "first-attestation")?.reason ?? "";
  const [, level] = /^level (\d+)$/.exec(reason) ?? [];
  return level === undefined ? undefined : Number(level);
}
