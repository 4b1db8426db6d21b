/**
 * One baking node per zone, each on its own disk; exactly one bakes, and every signature passes the gate of its pod.
 */
import type { Construct } from "constructs";
import { ports } from "../../contract/ports";
import { Baker, type BakerProps } from "./baker";
import { activeStandbyRules } from "./baker-role";
import { NonceSecret } from "./nonce-secret";

export class ActiveStandbyBaker extends Baker {
  constructor(scope: Construct, id: string, props: BakerProps) {
    const { name, configuration } = props;
    super(scope, id, props, {
      topology: "active-standby",
      members: configuration.zones.length,
      otherMembers: 1,
      signerUrl: `http://$(TOG_LOCAL_ADDRESS):${ports.gate}`,
      rules: activeStandbyRules,
      spreadOverZones: true,
      nonceSecretName: NonceSecret.nameOf(name),
      gated: true,
    });
    new NonceSecret(this, "nonce-secret", { namespace: configuration.namespace, baker: name });
  }
}
