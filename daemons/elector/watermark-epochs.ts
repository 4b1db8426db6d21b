/** The epochs in the baker's watermarks: a new tenure begins above all of them. */
import { watermarkDataKey } from "../../contract/names";
import { maxEpoch, readWatermark } from "../../contract/watermark";
import type { ConfigMap, KubeClient, Outcome, RequestOptions } from "../runtime/kube";
import type { Report } from "./report";

/**
 * Epochs of the watermarks with these names, or the first failure where one cannot be read now. A missing or foreign
 * one says nothing, nor does an epoch beyond all sense: the gate refuses its key, and the others do not follow it.
 */
export async function watermarkEpochs(
  { names, baker, kube, report }: { names: readonly string[]; baker: string; kube: KubeClient; report: Report },
  options: RequestOptions,
): Promise<{ epochs: number[] } | { name: string; failure: Extract<Outcome<ConfigMap>, { ok: false }> }> {
  const outcomes = await Promise.all(
    names.map(async (name) => ({ name, outcome: await kube.get("configmaps", name, options) })),
  );
  const epochs: number[] = [];
  for (const { name, outcome } of outcomes) {
    if (!outcome.ok) {
      if (outcome.kind !== "not-found") return { name, failure: outcome };
      report.warn("watermark-missing", name);
      continue;
    }
    const reading = readWatermark(outcome.object.data?.[watermarkDataKey]);
    if (reading.state === "empty") continue;
    const { baker: owner, epoch } = reading.state === "record" ? reading.record : reading;
    if (owner !== baker || epoch === undefined) report.warn("watermark-not-understood", name);
    else if (epoch <= maxEpoch) epochs.push(epoch);
    else {
      const told = `epoch ${epoch} of ${name} must be at most ${maxEpoch}: its key is refused, the others do not follow it`;
      report.warn("watermark-epoch-absurd", told);
      report.recent.note("watermark", told);
    }
  }
  return { epochs };
}
