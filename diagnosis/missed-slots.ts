/** The delegate's slots that are missing on the chain, from what every member's sidecar says of them. Pure. */
import type { MissedSlot } from "../contract/status";
import type { BakerView } from "./view";

export interface ToldSlot extends MissedSlot {
  /** Whose sidecar says so. */
  pod: string;
}

/** A member that does not sign mostly cannot know: whoever knows is heard. */
const tells = ({ whose }: MissedSlot): number => (whose === "unknown" ? 0 : 1);

/**
 * Each slot once, newest level first, by the member that knows whose it was. Each member remembers the last ones since
 * the start of its sidecar.
 */
export function missedSlotsOf({ members }: Pick<BakerView, "members">): ToldSlot[] {
  const slots = new Map<string, ToldSlot>();
  for (const { pod, record } of members)
    for (const slot of record?.missedSlots ?? []) {
      const key = `${slot.kind} ${slot.level}`;
      const known = slots.get(key);
      if (!known || tells(slot) > tells(known)) slots.set(key, { ...slot, pod });
    }
  return [...slots.values()].sort((a, b) => b.level - a.level || a.kind.localeCompare(b.kind));
}

const whoseTexts: Record<MissedSlot["whose"], string> = {
  ours: "ours",
  producer: "the block producer's",
  unknown: "not known whose",
};
export const missedSlotText = ({ kind, whose, why }: ToldSlot): string => `${kind}, ${whoseTexts[whose]}: ${why}`;
