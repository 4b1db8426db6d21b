/** The record in a watermark ConfigMap: `data.watermark`, one JSON text. */
import { z } from "zod";

export const markKinds = ["block", "preattestation", "attestation"] as const;
export type MarkKind = (typeof markKinds)[number];

/** digest: lowercase hex of the BLAKE2b-256 of the request's bytes. */
export const markSchema = z.strictObject({
  level: z.number().int().nonnegative(),
  round: z.number().int().nonnegative(),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
});
export type Mark = z.infer<typeof markSchema>;

export const watermarkSchema = z.strictObject({
  version: z.literal(1),
  /** The baker that owns the key; another baker is refused. Also in the object's label `baker`. */
  baker: z.string(),
  chain: z.string(),
  epoch: z.number().int().nonnegative(),
  /** holderIdentity of the tenure that wrote last. */
  holder: z.string(),
  /** In this tenure nothing at or below this level is signed, except bytes identical to a mark. -1: nothing was ever signed. */
  floor: z.number().int().min(-1),
  marks: z.strictObject({ block: markSchema.nullable(), preattestation: markSchema.nullable(), attestation: markSchema.nullable() }),
  /**
   * True while, or since, a solo pod signed without the gate: the marks say nothing about what was signed.
   * The next tenure treats the watermark as lost (S5) and clears this.
   */
  unfenced: z.boolean(),
});
export type Watermark = z.infer<typeof watermarkSchema>;
