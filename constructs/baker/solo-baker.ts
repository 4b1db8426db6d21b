/** One baking node on a regional disk: its daemons simply run, and sign without a gate. */
import type { Construct } from "constructs";
import { bakerSigners, signerUrl } from "../signer/baker-signers";
import { Baker, type BakerProps, maxMembers } from "./baker";
import { soloRules } from "./baker-role";

export class SoloBaker extends Baker {
  constructor(scope: Construct, id: string, props: BakerProps) {
    const first = bakerSigners(props.name, props.settings, props.configuration.zones)[0];
    if (!first) throw new Error(`baker ${props.name} must have a signer: signers, hot_test_key or cloud_key; got none`);
    const own = props.settings.signers[first.name];
    super(scope, id, props, {
      topology: "solo",
      members: 1,
      otherMembers: maxMembers,
      // Its own URL, or the service for whichever tunnel answers.
      signerUrl: own?.url ?? signerUrl(props.name, first.name, own?.protocol),
      rules: soloRules,
      spreadOverZones: false,
      gated: false,
    });
  }
}
