/**
 * The signer link: one sshd pod per signer and zone, all behind one load balancer with a port each. The signer host at
 * home keeps a reverse tunnel to every one of them; inside, a tunnel's pod is ready only while the signer answers
 * through it, or over TCP while the tunnel stands. A signer's new public key touches its own ConfigMap and tunnels; a
 * new signer adds objects, a port of the load balancer and a budget. A new host key reaches sshd when its pods restart:
 * one zone after the other by hand, because every signer host must learn it first.
 */
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { ServiceV1 } from "@cdktf/provider-kubernetes/lib/service-v1";
import { Construct } from "constructs";
import { labels } from "../../contract/names";
import { signerPorts } from "../../contract/ports";
import { type SignerLinkOutput, signerLinkName, signerLinkUser } from "../../contract/signer-link";
import type { ClusterAccess } from "../cluster-access";
import type { Configuration } from "../../configuration/schema";
import { secretReference, writeOnly } from "../variables";
import { objectLabels, pin, selectorLabels } from "../element";
import { ObjectRelease } from "../object-release";
import { anywhere, NetworkFlow, type Peer, pods, tcp } from "../network-policy";
import { signingKeys } from "./baker-signers";
import { hostKeyFile, portName, type RemoteSigner, SignerTunnels, tunnelsOf } from "./signer-tunnels";

export interface RemoteSignerLinkProps {
  readonly configuration: Configuration;
  readonly signers: readonly RemoteSigner[];
  readonly image: string;
  readonly access: ClusterAccess;
}

export class RemoteSignerLink extends Construct {
  readonly links: SignerLinkOutput[];
  /** Address of the load balancer, "" while it has none. */
  readonly host: string;

  constructor(
    scope: Construct,
    id: string,
    private readonly props: RemoteSignerLinkProps,
  ) {
    super(scope, id);
    const { configuration, signers, access } = props;
    const { zones, signer_link } = configuration;
    const hostKeySecret = signer_link.host_key_secret ?? this.hostKey();
    const tunnels = signers.map(
      (signer) =>
        new SignerTunnels(this, `${signer.baker}_${signer.signer}`, {
          ...{ ...signer, configuration, image: props.image, hostKeySecret },
        }),
    );
    // The kubernetes provider does not know `unhealthyPodEvictionPolicy`.
    new ObjectRelease(this, "budgets", {
      ...{ access, namespace: configuration.namespace, name: "tezos-signer-budgets" },
      objects: tunnels.map(({ budget }) => budget),
    });
    const balancer = this.loadBalancer();
    for (const baker of new Set(signers.map((signer) => signer.baker))) this.flows(baker);

    const ingress = `${balancer.fqn}.status[0].load_balancer[0].ingress[0]`;
    this.host = access.signerLinkAddress ?? `\${try(coalesce(${ingress}.ip, ${ingress}.hostname), "")}`;
    this.links = signers.map(({ baker, settings, signer, link }) => ({
      baker,
      signer,
      host: this.host,
      host_key: signer_link.host_public_key ?? "",
      user: signerLinkUser,
      protocol: link.protocol,
      listen: `0.0.0.0:${signerPorts.signer}`,
      tunnels: tunnelsOf(link, zones).map(({ zone, port }) => ({ zone: zone ?? "any", port })),
      addresses: signingKeys(settings).map(({ address }) => address),
      authentication_key: settings.authentication_key ?? "",
    }));
  }

  /** The Secret with the host key that all signer hosts trust; its name. */
  private hostKey(): string {
    const name = `${signerLinkName}-host-key`;
    pin(
      new SecretV1(this, "host-key", {
        metadata: { name, namespace: this.props.configuration.namespace, labels: objectLabels() },
        ...writeOnly({ [hostKeyFile]: secretReference("signer_link_host_key") }, ["signer_link_host_key"]),
      }),
      "signer_link_host_key",
    );
    return name;
  }

  private loadBalancer(): ServiceV1 {
    const { access, signers } = this.props;
    const { namespace, zones, signer_link } = this.props.configuration;
    const tunnels = signers.flatMap(({ link }) => tunnelsOf(link, zones));
    return pin(
      new ServiceV1(this, "load-balancer", {
        metadata: {
          name: signerLinkName,
          namespace,
          labels: objectLabels(),
          annotations: { "cloud.google.com/l4-rbs": "enabled" },
        },
        // Its address is reserved before; a cluster without a load balancer must not stop the apply.
        waitForLoadBalancer: false,
        spec: {
          type: "LoadBalancer",
          ...(access.signerLinkAddress === undefined ? {} : { loadBalancerIp: access.signerLinkAddress }),
          ...(signer_link.source_ranges.length > 0 ? { loadBalancerSourceRanges: [...signer_link.source_ranges] } : {}),
          // A tunnel that is down must be able to come back.
          publishNotReadyAddresses: true,
          selector: { [labels.component]: "signer-link" },
          port: tunnels.map(({ port }) => ({
            name: portName(port),
            port,
            targetPort: portName(port),
            protocol: "TCP",
          })),
        },
      }),
      "signer_link",
    );
  }

  private flows(baker: string): void {
    const flow = (name: string, purpose: string, from: Peer, port: number): void => {
      new NetworkFlow(this, `${baker}-${name}`, {
        namespace: this.props.configuration.namespace,
        name: `${baker}-${name}`,
        purpose,
        selector: selectorLabels(baker, "signer-link"),
        ingress: { from: [from], ports: tcp(port) },
      });
    };
    flow(
      "signer-link-in",
      "Tunnels of the signer hosts. The load balancer hides their addresses; source ranges are its firewall's.",
      anywhere,
      signerPorts.sshd,
    );
    flow(
      "signer-link-use",
      "Signing requests of this baker's own pods.",
      pods(selectorLabels(baker, "baking-pod")),
      signerPorts.signer,
    );
  }
}
