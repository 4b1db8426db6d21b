/** A whole, valid configuration file of a baker. */
import { keyHashHex } from "../../tezos/addresses";
import { bakerFileSchema, type BakerFile } from "../../contract/baker-file";
import { defaultTimings, type Timings } from "../../contract/timings";
import { testChainId } from "./octez-node";

const address = "tz1KqTpEZ7Yob7QbPE4Hy4Wo8fHG8LhKxZSx";

export const solidBakerFile = (
  changes: Partial<Omit<BakerFile, "timings">> & { timings?: Partial<Timings>; signerUrl?: string } = {},
): BakerFile => {
  const { timings, signerUrl = "http://127.0.0.1:6732", ...rest } = changes;
  return bakerFileSchema.parse({
    version: 1,
    baker: "alice",
    topology: "solo",
    network: { name: "shadownet", chainId: testChainId },
    members: rest.topology === "active-standby" ? 2 : 1,
    otherMembers: 0,
    headMaxAgeSeconds: 240,
    daemons: [{ name: "baker", command: ["sleep", "1000"] }],
    delegate: address,
    keys: [{ address, alias: "alice", watermark: `wm-${keyHashHex(address)}`, signers: ["home1"] }],
    signers: [{ name: "home1", endpoints: [{ zone: null, url: signerUrl }], deterministic: true }],
    timings: { ...defaultTimings, ...timings },
    ...rest,
  });
};
