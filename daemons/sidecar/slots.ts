/**
 * Missed slots of the delegate: rights against the chain. Attestations by the chain's own account of the running cycle
 * (`participation`), blocks by the right at round 0 of each level. Only what happened since this process watched is
 * counted: nothing at start. Where the node was not ready or did not answer, the account goes on: what was missed
 * meanwhile is counted with the next answer.
 */
import type { Leadership } from "../../contract/leadership";
import type { GateStatus } from "../../contract/status";

export const slotCauses = ["node", "handover", "signer", "refused", "unknown"] as const;
export type SlotCause = (typeof slotCauses)[number];

export interface PodView {
  nodeReady: boolean;
  /** Undefined where the elector or the gate does not answer; both where there is none (solo). */
  leadership: Leadership | undefined;
  gate: GateStatus | undefined;
  /** Epoch of the previous look. */
  epochBefore: number | undefined;
  /** Growth since the previous look of the requests that the watermark refused. */
  refusedSince: number;
}

/** Why a slot was missed, as far as this pod can know. Pure. */
export function causeOf(view: PodView): SlotCause {
  const { leadership, gate } = view;
  if (
    leadership &&
    (leadership.holder === "" ||
      leadership.state === "handing-over" ||
      leadership.state === "acquiring" ||
      leadership.state === "lost")
  )
    return "handover";
  if (leadership && view.epochBefore !== undefined && leadership.epoch !== view.epochBefore) return "handover";
  const mine = !leadership || leadership.holderIdentity === leadership.self;
  if (!mine) return "unknown";
  if (!view.nodeReady) return "node";
  if (gate && gate.signersAnswering === 0) return "signer";
  if (view.refusedSince > 0) return "refused";
  return "unknown";
}
