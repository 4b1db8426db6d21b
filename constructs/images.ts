/** Which image runs what; digests come from images.auto.tfvars.json. */
import { octezImage, signatoryImage } from "../contract/images";
import type { Configuration } from "../configuration/schema";
import { tunnelOf } from "./signer/baker-signers";

export interface Images {
  readonly octez: string;
  readonly runtime: string;
  readonly baker: string;
  readonly signerLink: string;
  readonly signatory: string;
}

/** Our own images before `npm run publish-images` has written their digests: the names that it pushes to. */
export function resolveImages(configuration: Configuration): Images {
  const { images, region, project, name, octez_version } = configuration;
  const registry = project === undefined ? "localhost/tezos-on-gke" : `${region}-docker.pkg.dev/${project}/${name}`;
  return {
    octez: images.octez ?? octezImage(octez_version),
    runtime: images.runtime ?? `${registry}/runtime:latest`,
    baker: images.baker ?? `${registry}/baker:latest`,
    signerLink: images.signer_link ?? `${registry}/signer-link:latest`,
    signatory: images.signatory ?? signatoryImage,
  };
}
/** Names in the configuration of images that are used and have no digest. */
export const unpinnedImages = (configuration: Configuration): string[] => {
  const remote = Object.values(configuration.bakers).some(({ signers }) => Object.values(signers).some(tunnelOf));
  const used = ["runtime", "baker", ...(remote ? ["signer_link" as const] : [])] as const;
  return used.filter((name) => !configuration.images[name]?.includes("@sha256:"));
};
