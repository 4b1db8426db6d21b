/** Accelerated laboratories: every duration of the configuration times the same factor. */
import { defaultTimings, timingsSchema, type Timings } from "../contract/timings";

export const realBlockMs = 6000;
/** Below a second a block the timings stay as at one second: processes do not start faster. */
export const scaleOf = (blockMs: number): number => Math.max(1 / 6, blockMs / realBlockMs);

/** `base` times `scale`; leaseSeconds stays whole and at least 1. @throws ZodError where they no longer fit together */
export function scaleTimings(scale: number, base: Timings = defaultTimings): Timings {
  const scaled = Object.fromEntries(
    Object.entries(base).map(([name, value]) => {
      if (name === "leaseSeconds") return [name, Math.max(1, Math.round(value * scale))];
      return [name, /(Seconds|Ms)$/.test(name) ? Number((value * scale).toFixed(4)) : value];
    }),
  );
  return timingsSchema.parse(scaled);
}
export const snakeCase = (name: string): string => name.replace(/([A-Z])/g, "_$1").toLowerCase();
