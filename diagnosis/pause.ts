/** An operator's pause of automatic handovers in words. */
import type { HandoverPause } from "../contract/handover-pause";

const minutes = (ms: number): string => `${Math.max(1, Math.round(ms / 60_000))} min`;

export const pauseText = ({ untilMs, reason }: HandoverPause, nowMs: number): string =>
  `automatic handovers to a better node or DAL node are paused until ${new Date(untilMs).toISOString().slice(0, 16)}Z ` +
  `(${minutes(untilMs - nowMs)})${reason === "" ? "" : `: ${reason}`}`;
