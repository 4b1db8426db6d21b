/** The keys of a delegate as its pod's node tells them: what `tog sidecar keys` prints for the operator's commands. */
import * as z from "zod/mini";

/** Changes that the chain has accepted; each holds from the begin of its cycle until the next one. */
const pending = z.array(z.object({ cycle: z.int(), address: z.string() }));

export const chainKeysSchema = z.object({
  delegate: z.string(),
  level: z.int(),
  cycle: z.int(),
  /** Of the head in its cycle, from 0. */
  cyclePosition: z.int(),
  blocksPerCycle: z.int(),
  blockSeconds: z.number(),
  /** Without a consensus key of its own, a delegate's own key is the active one. */
  consensus: z.object({ active: z.string(), pending }),
  companion: z.object({ active: z.nullable(z.string()), pending }),
});
export type ChainKeys = z.infer<typeof chainKeysSchema>;
