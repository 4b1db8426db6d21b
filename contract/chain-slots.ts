/** What became of a delegate's slots on the chain, as a pod's node tells it: what `tog sidecar slots` prints. */
import * as z from "zod/mini";

const levelSlotsSchema = z.object({
  level: z.int(),
  /** none: no right to attest at this level. */
  attestation: z.enum(["included", "missed", "none"]),
  /** Of round 0. none: no right to it; unknown: the node does not tell the round of the block on the chain. */
  block: z.enum(["baked", "missed", "none", "unknown"]),
});
export type LevelSlots = z.infer<typeof levelSlotsSchema>;

export const chainSlotsSchema = z.object({
  delegate: z.string(),
  head: z.int(),
  blockSeconds: z.number(),
  /** From the level that was asked for up to the last one about which the chain cannot change its mind. */
  levels: z.array(levelSlotsSchema),
});
export type ChainSlots = z.infer<typeof chainSlotsSchema>;
