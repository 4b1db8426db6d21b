/** The signers of all bakers: remote ones behind the link, and those in the cluster. */
import { Construct } from "constructs";
import type { SignerLinkOutput } from "../../contract/signer-link";
import type { ClusterAccess } from "../cluster-access";
import type { BakerConfiguration, Configuration } from "../../configuration/schema";
import type { Component } from "../element";
import { accountEmail, cloudSignerAccountId } from "../gke/names";
import type { Images } from "../images";
import { signingKeys, tunnelOf } from "./baker-signers";
import { CloudSigner } from "./cloud-signer";
import { HotSigner } from "./hot-signer";
import { RemoteSignerLink } from "./remote-signer-link";

export interface SignersProps {
  readonly configuration: Configuration;
  readonly images: Images;
  readonly access: ClusterAccess;
}

/** Which pods of this cluster a baker's signers are reached through; undefined where all have URLs. */
function kind({ hot_test_key, cloud_key, signers }: BakerConfiguration): Component | undefined {
  if (hot_test_key) return "hot-signer";
  if (cloud_key !== undefined) return "cloud-signer";
  return Object.values(signers).some((signer) => tunnelOf(signer)) ? "signer-link" : undefined;
}

export class Signers extends Construct {
  readonly links: SignerLinkOutput[] = [];
  /** Address of the signer link, "" where there is none. */
  readonly host: string = "";
  private readonly bakers: Configuration["bakers"];

  constructor(scope: Construct, id: string, { configuration, images, access }: SignersProps) {
    super(scope, id);
    const { namespace, project } = configuration;
    this.bakers = configuration.bakers;
    Object.entries(this.bakers).forEach(([baker, settings]) => {
      const common = { namespace, baker, keys: signingKeys(settings) };
      if (settings.hot_test_key)
        new HotSigner(this, baker, { ...common, image: images.octez, runtimeImage: images.runtime });
      else if (settings.cloud_key !== undefined)
        new CloudSigner(this, baker, {
          ...common,
          image: images.signatory,
          keyVersion: settings.cloud_key,
          googleServiceAccount: accountEmail(cloudSignerAccountId(configuration, baker), project ?? ""),
        });
    });
    const remote = Object.entries(this.bakers).flatMap(([baker, settings]) =>
      Object.entries(settings.signers).flatMap(([signer, configured]) => {
        const link = tunnelOf(configured);
        return link ? [{ baker, settings, signer, link }] : [];
      }),
    );
    if (remote.length > 0) {
      const link = new RemoteSignerLink(this, "link", {
        configuration,
        signers: remote,
        image: images.signerLink,
        access,
      });
      this.links = link.links;
      this.host = link.host;
    }
  }

  componentOf(baker: string): Component | undefined {
    const settings = this.bakers[baker];
    if (!settings)
      throw new Error(
        `a signer is asked for a configured baker (${Object.keys(this.bakers).join(", ")}); got "${baker}"`,
      );
    return kind(settings);
  }
}
