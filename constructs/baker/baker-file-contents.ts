/** The JSON file of a baker (contract/baker-file.ts), and which changes of it need new pods. */
import { createHash } from "node:crypto";
import { type BakerFile, bakerFileSchema } from "../../contract/baker-file";
import type { Topology } from "../../contract/names";
import { networks } from "../../contract/networks";
import type { BakerConfiguration, Configuration } from "../../configuration/schema";
import { dalUrl, nodeUrl } from "../containers/octez";
import { bakerSigners, signingKeys } from "../signer/baker-signers";

export interface BakerFileProps {
  readonly baker: string;
  readonly settings: BakerConfiguration;
  readonly configuration: Configuration;
  readonly topology: Topology;
  readonly members: number;
  readonly otherMembers: number;
  /** What octez-baker's `-R` names. */
  readonly signerUrl: string;
}

/** How long octez-baker waits for a signature. */
export const remoteCallsTimeoutSeconds = 5;
/** octez-baker as Octez 25 takes it: the vote and one of the DAL options are mandatory. */
const bakerCommand = ({ settings, signerUrl }: BakerFileProps): string[] => [
  ...["octez-baker", "-d", "$(TOG_CLIENT_DIR)", "-E", nodeUrl, "-R", signerUrl],
  ...["run", "with", "local", "node", "$(TOG_NODE_DIR)", ...signingKeys(settings).map(({ alias }) => alias)],
  ...["--liquidity-baking-toggle-vote", settings.liquidity_baking_vote],
  ...(settings.dal.enabled ? ["--dal-node", dalUrl] : ["--without-dal"]),
  ...["--keep-alive", "--record-state", "--remote-calls-timeout", String(remoteCallsTimeoutSeconds)],
  ...settings.extra_baker_args,
];

/** @throws ZodError where the constructs would write what the daemons refuse */
export function bakerFile(props: BakerFileProps): BakerFile {
  const signers = bakerSigners(props.baker, props.settings, props.configuration.zones);
  return bakerFileSchema.parse({
    version: 1,
    baker: props.baker,
    topology: props.topology,
    network: { name: props.configuration.network, chainId: networks[props.configuration.network].chainId },
    members: props.members,
    otherMembers: props.otherMembers,
    headMaxAgeSeconds: props.configuration.head_max_age_seconds,
    dal: props.settings.dal.enabled,
    daemons: [{ name: "octez-baker", command: bakerCommand(props) }],
    delegate: props.settings.delegate,
    keys: signingKeys(props.settings).map((key) => ({ ...key, signers: signers.map(({ name }) => name) })),
    signers,
    timings: props.configuration.timings,
  } satisfies BakerFile);
}

/**
 * Goes into the pod template: a changed value rolls the pods, one after the other with a handover before each. The
 * supervisor follows `daemons` by itself (a changed vote restarts octez-baker and no pod), the gate follows the
 * signers; everything else is read at start.
 */
export function restartChecksum(file: BakerFile): string {
  const keys = file.keys.map(({ address, alias, watermark }) => ({ address, alias, watermark }));
  const atStart = { ...file, keys, daemons: undefined, signers: undefined };
  return createHash("sha256").update(JSON.stringify(atStart)).digest("hex");
}
