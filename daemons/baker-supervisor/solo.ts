/**
 * Before a solo pod signs without the gate: the node's head must be above every recorded mark, and every watermark must say `unfenced`,
 * so that a later gate does not take its marks for all that was signed.
 */
import type { BakerFile } from "../../contract/baker-file";
import { watermarkDataKey } from "../../contract/names";
import { noMarks, watermarkSchema, type Watermark } from "../../contract/watermark";
import type { KubeClient } from "../runtime/kube";

export interface SoloFacts {
  /** Parsed records by watermark name; null where there is none yet, "unreadable" where it is not understood. */
  records: readonly { name: string; record: Watermark | null | "unreadable" }[];
  headLevel: number | null;
}

/** @returns ok once the daemons may start; else a stable reason and its detail */
export function soloConditions(facts: SoloFacts, baker: string): { ok: boolean; reason: string; detail: string } {
  const no = (reason: string, detail: string) => ({ ok: false, reason, detail });
  let highest = -1;
  for (const { name, record } of facts.records) {
    if (record === null) continue;
    if (record === "unreadable")
      return no("watermark-unreadable", `${name}: repair or raise it with npm run watermark`);
    if (record.baker !== baker) return no("watermark-of-another-baker", `${name} belongs to ${record.baker}`);
    highest = Math.max(highest, record.floor, ...Object.values(record.marks).map((mark) => mark?.level ?? -1));
  }
  if (highest >= 0 && facts.headLevel === null) return no("head-unknown", `the highest mark is at level ${highest}`);
  if (facts.headLevel !== null && facts.headLevel <= highest)
    return no("head-not-above-marks", `head ${facts.headLevel}, highest mark ${highest}`);
  return { ok: true, reason: "head-above-marks", detail: `highest mark ${highest}` };
}

/** One attempt: reads, judges, and marks every watermark as unfenced. */
export async function trySolo(options: {
  kube: KubeClient;
  file: BakerFile;
  identity: string;
  headLevel: number | null;
  timeoutMs: number;
  signal: AbortSignal;
}): Promise<{ ok: boolean; reason: string; detail: string }> {
  const { kube, file, timeoutMs, signal } = options;
  const names = [...new Set(file.keys.map((key) => key.watermark))];
  const outcomes = await Promise.all(names.map((name) => kube.get("configmaps", name, { timeoutMs, signal })));
  const records: { name: string; record: Watermark | null | "unreadable" }[] = [];
  for (const [i, outcome] of outcomes.entries()) {
    const name = names[i] ?? "";
    if (!outcome.ok)
      return {
        ok: false,
        reason: outcome.kind === "not-found" ? "watermark-missing" : "api-failure",
        detail: `${name}: ${outcome.message}`,
      };
    const text = outcome.object.data?.[watermarkDataKey] ?? "";
    let record: Watermark | null | "unreadable" = null;
    if (text !== "") {
      try {
        const parsed = watermarkSchema.safeParse(JSON.parse(text));
        record = parsed.success ? parsed.data : "unreadable";
      } catch {
        record = "unreadable";
      }
    }
    records.push({ name, record });
  }
  const judged = soloConditions({ records, headLevel: options.headLevel }, file.baker);
  if (!judged.ok) return judged;
  for (const [i, { name, record }] of records.entries()) {
    const outcome = outcomes[i];
    if (!outcome?.ok || record === "unreadable" || record?.unfenced) continue;
    const next: Watermark = record
      ? { ...record, unfenced: true }
      : {
          version: 1,
          baker: file.baker,
          chain: file.network.chainId,
          epoch: 0,
          holder: options.identity,
          floor: -1,
          marks: noMarks,
          unfenced: true,
        };
    const wrote = await kube.replace(
      "configmaps",
      { ...outcome.object, data: { ...outcome.object.data, [watermarkDataKey]: JSON.stringify(next) } },
      { timeoutMs, signal },
    );
    // A conflict or an unknown outcome is settled by the next attempt, which reads again.
    if (!wrote.ok) return { ok: false, reason: "api-failure", detail: `${name}: ${wrote.message}` };
  }
  return judged;
}
