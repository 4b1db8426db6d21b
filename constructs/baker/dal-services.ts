/** One load balancer per pod, so that the DAL's peers reach each DAL node from outside. */
import { ServiceV1 } from "@cdktf/provider-kubernetes/lib/service-v1";
import { Construct } from "constructs";
import { labels } from "../../contract/names";
import { ports } from "../../contract/ports";
import type { BakerConfiguration } from "../../configuration/schema";
import { objectLabels, pin } from "../element";

export interface DalServicesProps {
  readonly namespace: string;
  readonly baker: string;
  readonly settings: BakerConfiguration;
  readonly podNames: readonly string[];
  /**
   * On GKE a load balancer gets an address within a minute, which the pods are told; elsewhere there may be no
   * controller to wait for.
   */
  readonly google: boolean;
}

export class DalServices extends Construct {
  /** Pod name -> HOST:PORT; the address of a load balancer is a token. Pods without an entry do not know theirs. */
  readonly publicAddresses: Readonly<Record<string, string>>;

  constructor(scope: Construct, id: string, props: DalServicesProps) {
    super(scope, id);
    const { dal } = props.settings;
    const addresses: Record<string, string> = {};
    props.podNames.forEach((pod, ordinal) => {
      const given = dal.public_addresses[ordinal];
      if (given !== undefined) addresses[pod] = given;
      else if (dal.public) {
        const service = pin(
          new ServiceV1(this, pod, {
            metadata: {
              name: `${pod}-dal`,
              namespace: props.namespace,
              labels: objectLabels({ [labels.baker]: props.baker }),
              annotations: { "cloud.google.com/l4-rbs": "enabled" },
            },
            waitForLoadBalancer: props.google,
            spec: {
              type: "LoadBalancer",
              // Keeps the peers' addresses; only the pod's own node answers the health check.
              externalTrafficPolicy: "Local",
              publishNotReadyAddresses: true,
              selector: { "statefulset.kubernetes.io/pod-name": pod },
              port: [{ name: "dal-p2p", port: ports.dalP2p, targetPort: String(ports.dalP2p), protocol: "TCP" }],
            },
          }),
          pod,
          "dal",
        );
        if (props.google)
          addresses[pod] = `\${try(${service.fqn}.status[0].load_balancer[0].ingress[0].ip, "")}:${ports.dalP2p}`;
      }
    });
    this.publicAddresses = addresses;
  }
}
