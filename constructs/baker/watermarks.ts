/**
 * The watermark of each signing key: created empty, in both topologies, and never written again by Terraform. The
 * signing gate (or the solo supervisor) owns the data. A key that leaves the configuration takes its watermark along; a
 * new one starts as lost does: above every head.
 */
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import { Construct } from "constructs";
import { labels } from "../../contract/names";
import { objectLabels, pin, protect } from "../element";
import type { SigningKey } from "../signer/baker-signers";

export interface WatermarksProps {
  readonly namespace: string;
  readonly baker: string;
  readonly keys: readonly SigningKey[];
  readonly deletionProtection: boolean;
}

export class Watermarks extends Construct {
  constructor(scope: Construct, id: string, props: WatermarksProps) {
    super(scope, id);
    for (const { watermark } of props.keys)
      pin(
        new ConfigMapV1(this, watermark, {
          metadata: {
            name: watermark,
            namespace: props.namespace,
            labels: objectLabels({ [labels.baker]: props.baker }),
          },
          lifecycle: protect(props.deletionProtection, ["data"]),
        }),
        watermark,
      );
  }
}
