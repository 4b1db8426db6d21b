/** The record in a watermark ConfigMap: `data.watermark`, one JSON text. */
import * as z from "zod/mini";

export const markKinds = ["block", "preattestation", "attestation"] as const;
export type MarkKind = (typeof markKinds)[number];

/** digest: lowercase hex of the BLAKE2b-256 of the request's bytes. */
export const markSchema = z.strictObject({
  level: z.int().check(z.nonnegative()),
  round: z.int().check(z.nonnegative()),
  digest: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
});
export type Mark = z.infer<typeof markSchema>;

/**
 * An epoch becomes the lease's leaseTransitions, an int32. A record above this is not understood, so that it stops its
 * own key alone.
 */
export const maxEpoch = 2 ** 30;

export const watermarkSchema = z.strictObject({
  version: z.literal(1),
  /** The baker that owns the key; another baker is refused. Also in the object's label `baker`. */
  baker: z.string(),
  chain: z.string(),
  epoch: z.int().check(z.nonnegative(), z.maximum(maxEpoch)),
  /** holderIdentity of the tenure that wrote last. */
  holder: z.string(),
  /**
   * In this tenure nothing at or below this level is signed, except bytes identical to a mark. -1: nothing was ever
   * signed.
   */
  floor: z.int().check(z.minimum(-1)),
  marks: z.strictObject({
    block: z.nullable(markSchema),
    preattestation: z.nullable(markSchema),
    attestation: z.nullable(markSchema),
  }),
  /**
   * True while, or since, a solo pod signed without the gate: the marks say nothing about what was signed.
   * The next tenure treats the watermark as lost (S5) and clears this.
   */
  unfenced: z.boolean(),
});
export type Watermark = z.infer<typeof watermarkSchema>;
export const noMarks: Watermark["marks"] = { block: null, preattestation: null, attestation: null };

/** What the text in a watermark says. */
export type WatermarkReading =
  /** Created, never written. */
  | { state: "empty" }
  | { state: "record"; record: Watermark }
  /** With what it says of its baker and epoch all the same, for those who must stay above every epoch. */
  | { state: "unreadable"; problem: string; baker: string | undefined; epoch: number | undefined };

export function readWatermark(text: string | undefined): WatermarkReading {
  if (text === undefined || text.trim() === "") return { state: "empty" };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { state: "unreadable", problem: "its record is no JSON", baker: undefined, epoch: undefined };
  }
  const parsed = watermarkSchema.safeParse(value);
  if (parsed.success) return { state: "record", record: parsed.data };
  const { baker, epoch } = (value ?? {}) as Record<string, unknown>;
  return {
    state: "unreadable",
    problem: parsed.error.issues[0]?.path.join(".") || "its record has another shape",
    baker: typeof baker === "string" ? baker : undefined,
    epoch: typeof epoch === "number" && Number.isInteger(epoch) ? epoch : undefined,
  };
}
