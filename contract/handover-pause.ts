/**
 * An operator's pause of automatic handovers, on the leader lease. It stops moves that are only better for the baker:
 * away from a node that is behind, or from a DAL node that is not well. It ends by itself.
 */
import * as z from "zod/mini";

export const maxPauseSeconds = 24 * 3600;
export const maxPauseReason = 200;

const schema = z.object({ until: z.iso.datetime(), reason: z.string() });

export interface HandoverPause {
  /** Milliseconds since 1970; as written, by the clock of the operator's machine. */
  untilMs: number;
  /** For people; at most 200 characters. */
  reason: string;
}

export const writePause = ({ untilMs, reason }: HandoverPause): string =>
  JSON.stringify({ until: new Date(untilMs).toISOString(), reason });

/** @param text the annotation; undefined where there is none, or none that can be read */
export function readPause(text: string | undefined): HandoverPause | undefined {
  if (!text) return undefined;
  try {
    const { until, reason } = schema.parse(JSON.parse(text));
    return { untilMs: Date.parse(until), reason: reason.slice(0, maxPauseReason) };
  } catch {
    return undefined;
  }
}
