/**
 * Before a solo pod signs without the gate: the node's head must be above every recorded mark, and every watermark must
 * say `unfenced`, so that a later gate does not take its marks for all that was signed. Where Octez' own high
 * watermarks cannot be read nothing else tells what was signed: then the head must have passed the last level that
 * could have been. After the last signature in order they say it, and the watermarks get it as their floor.
 */
import { type BakerFile, watermarksOf } from "../../contract/baker-file";
import { soloRunDataKey, watermarkDataKey } from "../../contract/names";
import { noMarks, readWatermark, type Watermark } from "../../contract/watermark";
import type { ConfigMap, KubeClient } from "../runtime/kube";

export interface SoloFacts {
  /** Parsed records by watermark name; null where there is none yet, "unreadable" where it is not understood. */
  records: readonly { name: string; record: Watermark | null | "unreadable" }[];
  headLevel: number | null;
  /** Last level that a baker whose own high watermarks are broken can have signed; null where they are not broken. */
  signedUpTo: number | "unknown" | null;
  /** This pod's name, and the highest level in Octez' own high watermarks; null where that is not known. */
  own: { pod: string; level: number | null };
}

/** A synced head proves that nothing was signed more than this above it (S5). */
const margin = 5;

/** See SoloFacts. @param head level and age of the node's head, or null */
export const lastPossibleLevel = (
  head: { level: number; ageSeconds: number } | null,
  freshSeconds: number,
): number | "unknown" =>
  head !== null && head.ageSeconds <= freshSeconds * 0.4 && head.ageSeconds >= -freshSeconds / 10
    ? head.level + margin
    : "unknown";

/** @returns ok once the daemons may start; else a stable reason and its detail */
export function soloConditions(
  facts: SoloFacts,
  baker: string,
  chain: string,
): { ok: boolean; reason: string; detail: string } {
  const no = (reason: string, detail: string) => ({ ok: false, reason, detail });
  let highest = -1;
  for (const { name, record } of facts.records) {
    if (record === null) continue;
    if (record === "unreadable")
      return no("watermark-unreadable", `${name}: repair or raise it with npm run watermark`);
    if (record.baker !== baker) return no("watermark-of-another-baker", `${name} belongs to ${record.baker}`);
    if (record.chain !== chain) return no("watermark-of-another-chain", `${name} is for ${record.chain}`);
    // This pod's floor, from this very folder: what octez-baker holds back by itself. The chain may stand still there.
    const { own } = facts;
    const ownFloor = record.holder.startsWith(`${own.pod}_`) && own.level !== null && own.level >= record.floor;
    highest = Math.max(
      highest,
      ownFloor ? -1 : record.floor,
      ...Object.values(record.marks).map((mark) => mark?.level ?? -1),
    );
  }
  const { signedUpTo } = facts;
  if (signedUpTo === "unknown") return no("high-watermarks-broken", "no synced head says what can have been signed");
  if (signedUpTo !== null && (facts.headLevel ?? -1) <= signedUpTo)
    return no("high-watermarks-broken", `levels up to ${signedUpTo} can have been signed, head ${facts.headLevel}`);
  if (highest >= 0 && facts.headLevel === null) return no("head-unknown", `the highest mark is at level ${highest}`);
  if (facts.headLevel !== null && facts.headLevel <= highest)
    return no("head-not-above-marks", `head ${facts.headLevel}, highest mark ${highest}`);
  return { ok: true, reason: "head-above-marks", detail: `highest mark ${highest}` };
}

/**
 * Whether what was signed without the gate may stand as a floor. Files that say nothing of this run can be older than
 * the last signature, as those of a restored disk. `mustReach`: what another run, or somebody else, can have signed
 * before this one; null where the watermarks had all of it.
 */
export const leavesFloor = (
  own: { before: number; level: number | null },
  mustReach: number | "unknown" | null,
): boolean => own.level !== null && own.level > own.before && mustReach !== "unknown" && own.level >= (mustReach ?? -1);

/**
 * One attempt: reads, judges, and marks every watermark as unfenced, and with this run, so that an older run's write
 * that is still on its way finds another version.
 * @returns also whether a watermark was unfenced before this run
 */
export async function trySolo(options: {
  kube: KubeClient;
  file: BakerFile;
  identity: string;
  /** Of the supervisor's process. */
  run: string;
  headLevel: number | null;
  signedUpTo: SoloFacts["signedUpTo"];
  own: SoloFacts["own"];
  timeoutMs: number;
  signal: AbortSignal;
}): Promise<{ ok: boolean; reason: string; detail: string; wasUnfenced: boolean }> {
  const { kube, file, run, timeoutMs, signal } = options;
  const names = watermarksOf(file);
  const outcomes = await Promise.all(names.map((name) => kube.get("configmaps", name, { timeoutMs, signal })));
  const records: (SoloFacts["records"][number] & { object: ConfigMap; isOurs: boolean })[] = [];
  for (const [i, outcome] of outcomes.entries()) {
    const name = names[i] ?? "";
    if (!outcome.ok)
      return {
        wasUnfenced: false,
        ok: false,
        reason: outcome.kind === "not-found" ? "watermark-missing" : "api-failure",
        detail: `${name}: ${outcome.message}`,
      };
    const { object } = outcome;
    const reading = readWatermark(object.data?.[watermarkDataKey]);
    const record = reading.state === "record" ? reading.record : reading.state === "empty" ? null : reading.state;
    records.push({ name, record, object, isOurs: object.data?.[soloRunDataKey] === run });
  }
  const judged = soloConditions(
    {
      ...{ records, headLevel: options.headLevel, signedUpTo: options.signedUpTo },
      own: options.own,
    },
    file.baker,
    file.network.chainId,
  );
  const wasUnfenced = records.some(
    ({ record, isOurs }) => record !== null && record !== "unreadable" && record.unfenced && !isOurs,
  );
  if (!judged.ok) return { ...judged, wasUnfenced };
  for (const { name, record, object, isOurs } of records) {
    if (record === "unreadable" || (record?.unfenced && isOurs)) continue;
    const first = { version: 1, baker: file.baker, chain: file.network.chainId, epoch: 0, floor: -1 } as const;
    const next: Watermark = {
      ...(record ?? { ...first, holder: options.identity, marks: noMarks }),
      unfenced: true,
    };
    const data = { ...object.data, [watermarkDataKey]: JSON.stringify(next), [soloRunDataKey]: run };
    const wrote = await kube.replace("configmaps", { ...object, data }, { timeoutMs, signal });
    // A conflict or an unknown outcome is settled by the next attempt, which reads again.
    if (!wrote.ok) return { ok: false, reason: "api-failure", detail: `${name}: ${wrote.message}`, wasUnfenced };
  }
  return { ...judged, wasUnfenced };
}

/**
 * After the last run of the daemons, of which nothing is left: every watermark that this run has marked as unfenced
 * gets the highest level that they have signed as its floor, and a gate may start right above it. What fails stays
 * `unfenced`.
 * @returns names of the watermarks that have it
 */
export async function leaveSolo(options: {
  kube: KubeClient;
  file: BakerFile;
  identity: string;
  run: string;
  ownLevel: number;
  timeoutMs: number;
  signal: AbortSignal;
}): Promise<string[]> {
  const { kube, file, identity, run, ownLevel, timeoutMs, signal } = options;
  const left: string[] = [];
  for (const name of watermarksOf(file)) {
    const outcome = await kube.get("configmaps", name, { timeoutMs, signal });
    if (!outcome.ok || outcome.object.data?.[soloRunDataKey] !== run) continue;
    const reading = readWatermark(outcome.object.data?.[watermarkDataKey]);
    if (reading.state !== "record" || !reading.record.unfenced) continue;
    const { record } = reading;
    const floor = Math.max(record.floor, ownLevel);
    const next: Watermark = { ...record, holder: identity, floor, unfenced: false };
    const data = { ...outcome.object.data, [watermarkDataKey]: JSON.stringify(next) };
    const wrote = await kube.replace("configmaps", { ...outcome.object, data }, { timeoutMs, signal });
    if (wrote.ok) left.push(name);
  }
  return left;
}
