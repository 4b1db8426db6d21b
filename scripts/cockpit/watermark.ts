/** The operator's way out of a lost watermark: raise, never lower. */
import { watermarkDataKey } from "../../contract/names";
import { watermarkSchema, type Watermark } from "../../contract/watermark";
import type { ConfigMapView } from "./cluster";

export type RaisePlan = { before: Watermark; after: Watermark };

/**
 * Pure: the record with a floor of at least `level`; nothing at or below it is signed in the running or a later tenure. Marks, epoch and holder stay.
 * @throws Error where there is no readable record (the gate starts above every head by itself then), or where it would lower or do nothing
 */
export function planRaise(map: ConfigMapView, level: number): RaisePlan {
  if (!Number.isSafeInteger(level) || level < 0 || level > 0x7fffffff)
    throw new Error(`--level is a block level (0 to 2147483647), got ${level}`);
  const text = map.data[watermarkDataKey];
  if (text === undefined || text === "")
    throw new Error(`${map.metadata.name} is empty: its key starts above the highest head + 5 by itself; there is nothing to raise`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${map.metadata.name} holds no JSON: see docs/runbooks/watermark-lost.md`);
  }
  const parsed = watermarkSchema.safeParse(value);
  if (!parsed.success) throw new Error(`${map.metadata.name} holds no watermark record: see docs/runbooks/watermark-lost.md`);
  const before = parsed.data;
  if (level <= before.floor) throw new Error(`a watermark is only ever raised: its floor is ${before.floor}, got ${level}`);
  return { before, after: { ...before, floor: level } };
}
