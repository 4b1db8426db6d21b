/** Of the watermarks that are there. */
import type { Facts } from "../facts";
import { critical, warning, type Found } from "../finding";
import type { WatermarkView } from "../view";

type WatermarkRule = (mark: WatermarkView, facts: Facts) => Found;

const notReadable: WatermarkRule = ({ name, missing }, { held }) => {
  if (missing === "unreadable")
    return critical(
      "watermark-unreadable",
      `${name}: unreadable, its key signs nothing`,
      "docs/runbooks/watermark-lost.md",
    );
  return missing === "empty" && held
    ? warning(
        "watermark-empty",
        `${name}: nothing was ever signed with this key`,
        "on a first start it fills with the first tenure; later: docs/runbooks/watermark-lost.md",
      )
    : undefined;
};

const otherEpoch: WatermarkRule = ({ name, record }, { held, epoch, holder }) => {
  if (!record || !held || record.epoch === epoch) return undefined;
  return record.epoch < epoch
    ? warning(
        "watermark-not-raised",
        `${name}: still at epoch ${record.epoch}, the tenure is ${epoch}`,
        `the gate raises it at the start of a tenure: kubectl logs ${holder} -c signing-gate`,
      )
    : critical(
        "watermark-ahead",
        `${name}: at epoch ${record.epoch}, ahead of the lease (${epoch})`,
        "the holder acquires anew by itself; if it stays: docs/runbooks/watermark-lost.md",
      );
};

export const watermarkRules = [
  (facts: Facts): Found =>
    facts.watermarks.flatMap((mark) => [notReadable, otherEpoch].flatMap((rule) => rule(mark, facts) ?? [])),
];
