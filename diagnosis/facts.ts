/** A view with what nearly every rule asks of it. */
import type { BakerView, Member } from "./view";

export interface Facts extends BakerView {
  /** Of the tenure, 0 where there never was one. */
  epoch: number;
  /** The member that holds, where it is a known one. */
  master: Member | undefined;
  /** Whoever renews and says that it could take over or go on. */
  eligible: Member[];
  /** Eligible, and not the master. */
  standbys: Member[];
  /** Levels by which the member's head is below the highest known one. */
  levelsBehind(member: Member): number;
}

export function factsOf(view: BakerView): Facts {
  const master = view.members.find((member) => member.pod === view.holder);
  const eligible = view.members.filter((member) => member.fresh && member.record?.eligible);
  const highest = Math.max(0, ...view.members.map((member) => member.record?.headLevel ?? 0));
  return {
    ...view,
    epoch: view.lease?.leaseTransitions ?? 0,
    master,
    eligible,
    standbys: eligible.filter((member) => member !== master),
    levelsBehind: (member) => highest - (member.record?.headLevel ?? highest),
  };
}

export const wholeSeconds = (value: number | undefined): string => `${Math.max(0, Math.round(value ?? 0))} s`;
/** The rest of the complaint of a member that starts so. */
export const complaint = (member: Member, start: string): string | undefined =>
  member.record?.troubles?.find((text) => text.startsWith(start))?.slice(start.length);
