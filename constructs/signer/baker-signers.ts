/**
 * The signers of a baker as its pods see them: names, URLs and keys. Pure; the workloads behind the URLs are in this
 * folder's constructs.
 */
import { type Signer } from "../../contract/baker-file";
import { signerServiceName, watermarkName } from "../../contract/names";
import { signerPorts } from "../../contract/ports";
import { decodeAddress } from "../../tezos/addresses";
import { type BakerConfiguration, bakingKeys, type SignerConfiguration } from "../../configuration/schema";
import type { ClientKey } from "../containers/octez";

export const hotSignerName = "hot";
export const cloudSignerName = "cloud";

export interface SigningKey extends ClientKey {
  readonly watermark: string;
}
/**
 * The keys that sign blocks and consensus operations, present and next ones: octez-baker gets all of them at once, and
 * picks the one that is active at a level.
 */
export function signingKeys(settings: BakerConfiguration): SigningKey[] {
  const { delegate, companion_keys } = settings;
  const consensusKeys = bakingKeys({ ...settings, companion_keys: [] });
  const alias = (role: string, place: number) => (place === 0 ? role : `${role}-${place + 1}`);
  const keys: ClientKey[] = [
    ...consensusKeys.map((address, i) => ({
      alias: address === delegate ? "delegate" : alias("consensus", i),
      address,
    })),
    ...companion_keys.map((address, i) => ({ alias: alias("companion", i), address })),
  ];
  return keys.map((key) => ({ ...key, watermark: watermarkName(key.address) }));
}

/** What the signer link needs to know of a signer that it serves. */
export type Tunnel = Required<Pick<SignerConfiguration, "ssh_public_key" | "port" | "protocol">>;
/** Undefined where the signer is reached by its URL. */
export const tunnelOf = ({ url, ssh_public_key, port, protocol = "http" }: SignerConfiguration): Tunnel | undefined =>
  url === undefined && ssh_public_key !== undefined && port !== undefined
    ? { ssh_public_key, port, protocol }
    : undefined;

const url = (service: string, protocol = "http"): string => `${protocol}://${service}:${signerPorts.signer}`;
/** Whichever tunnel or pod of this signer answers. */
export const signerUrl = (baker: string, signer: string, protocol?: Tunnel["protocol"]): string =>
  url(signerServiceName(baker, signer), protocol);

/** In order of preference. ECDSA on P-256 (tz3) is the only curve of Octez' own signer that draws a nonce. */
export function bakerSigners(baker: string, settings: BakerConfiguration, zones: readonly string[]): Signer[] {
  const inCluster = (name: string, deterministic: boolean): Signer[] => [
    { name, endpoints: [{ zone: null, url: signerUrl(baker, name) }], deterministic },
  ];
  if (settings.hot_test_key)
    return inCluster(
      hotSignerName,
      signingKeys(settings).every(({ address }) => decodeAddress(address)?.curve !== "tz3"),
    );
  if (settings.cloud_key !== undefined) return inCluster(cloudSignerName, false);
  return Object.entries(settings.signers).map(([name, signer]) => ({
    name,
    endpoints:
      signer.url !== undefined
        ? [{ zone: null, url: signer.url }]
        : zones.length > 0
          ? zones.map((zone) => ({ zone, url: url(signerServiceName(baker, name, zone), signer.protocol) }))
          : [{ zone: null, url: signerUrl(baker, name, signer.protocol) }],
    deterministic: signer.deterministic,
  }));
}
