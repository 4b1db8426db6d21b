export interface Spread {
  median: number | null;
  p99: number | null;
  worst: number | null;
}
/** Of the values; null where there are none. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? null;
  return { median: at(0.5), p99: at(0.99), worst: at(1) };
}
