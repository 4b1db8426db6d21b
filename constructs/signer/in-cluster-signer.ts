/** A signer that runs in the cluster: one pod, its service, and the flow from its own baker's pods. */
import {
  DeploymentV1,
  type DeploymentV1SpecTemplateSpecContainer,
  type DeploymentV1SpecTemplateSpecVolume,
} from "@cdktf/provider-kubernetes/lib/deployment-v1";
import { ServiceV1 } from "@cdktf/provider-kubernetes/lib/service-v1";
import type { ITerraformDependable } from "cdktf";
import { Construct } from "constructs";
import { labels, signerServiceName } from "../../contract/names";
import { signerPorts } from "../../contract/ports";
import { podSecurity } from "../containers/container";
import { type Component, objectLabels, pin, selectorLabels } from "../element";
import { NetworkFlow, pods, tcp } from "../network-policy";

export interface InClusterSignerProps {
  readonly namespace: string;
  readonly baker: string;
  readonly signer: string;
  readonly component: Component;
  readonly container: DeploymentV1SpecTemplateSpecContainer;
  readonly volumes: readonly DeploymentV1SpecTemplateSpecVolume[];
  /** @default none: it calls no API */
  readonly serviceAccountName?: string;
  readonly initContainer?: DeploymentV1SpecTemplateSpecContainer;
  /** A changed value restarts the pod. */
  readonly checksum: string;
  readonly dependsOn: ITerraformDependable[];
}

export class InClusterSigner extends Construct {
  constructor(scope: Construct, id: string, props: InClusterSignerProps) {
    super(scope, id);
    const { namespace, baker, signer } = props;
    const name = signerServiceName(baker, signer);
    const selector = selectorLabels(baker, props.component);
    const metadata = { name, namespace, labels: objectLabels({ [labels.baker]: baker }) };
    pin(
      new DeploymentV1(this, "deployment", {
        metadata,
        waitForRollout: false,
        dependsOn: props.dependsOn,
        spec: {
          replicas: "1",
          // Never two signers that each believe to know the highest watermark.
          strategy: { type: "Recreate" },
          selector: { matchLabels: selector },
          template: {
            metadata: { labels: objectLabels(selector), annotations: { "tezos-on-gke/config": props.checksum } },
            spec: {
              automountServiceAccountToken: false,
              enableServiceLinks: false,
              securityContext: podSecurity,
              ...(props.serviceAccountName === undefined ? {} : { serviceAccountName: props.serviceAccountName }),
              ...(props.initContainer ? { initContainer: [props.initContainer] } : {}),
              container: [props.container],
              volume: [...props.volumes],
            },
          },
        },
      }),
      ...[baker, "signer", signer],
    );
    pin(
      new ServiceV1(this, "service", {
        metadata,
        spec: {
          selector,
          port: [{ name: "signer", port: signerPorts.signer, targetPort: String(signerPorts.signer), protocol: "TCP" }],
        },
      }),
      ...[baker, "signer", signer],
    );
    new NetworkFlow(this, "use", {
      namespace,
      name: `${name}-use`,
      purpose: "Signing requests of this baker's own pods.",
      selector,
      ingress: { from: [pods(selectorLabels(baker, "baking-pod"))], ports: tcp(signerPorts.signer) },
    });
  }
}
