/**
 * One baking node per zone, each on its own disk; exactly one bakes, and every signature passes the gate of its pod.
 */
import type { Construct } from "constructs";
import { ports } from "../../contract/ports";
import { baker, elector, nonceExposer, nonceImporter, sidecar, signingGate } from "../containers/daemons";
import { octezNode } from "../containers/octez";
import { Baker, type BakerProps } from "./baker";
import { activeStandbyRules } from "./baker-role";
import { NonceSecret } from "./nonce-secret";

export class ActiveStandbyBaker extends Baker {
  constructor(scope: Construct, id: string, props: BakerProps) {
    const { images, name, configuration } = props;
    super(scope, id, props, {
      topology: "active-standby",
      members: configuration.zones.length,
      otherMembers: 1,
      signerUrl: `http://$(TOG_LOCAL_ADDRESS):${ports.gate}`,
      rules: activeStandbyRules,
      spreadOverZones: true,
      nonceSecretName: NonceSecret.nameOf(name),
      containers: [
        octezNode({ image: images.octez, waitForHandover: true }),
        sidecar({ image: images.runtime, waitForHandover: true }),
        elector({ image: images.runtime }),
        baker({ image: images.baker, callsApi: false }),
        signingGate({ image: images.runtime }),
        nonceExposer({ image: images.runtime }),
        nonceImporter({ image: images.runtime }),
      ],
    });
    new NonceSecret(this, "nonce-secret", { namespace: configuration.namespace, baker: name });
  }
}
