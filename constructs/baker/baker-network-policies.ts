/**
 * The flows of the baking pods of one baker. A node may always reach its own pods (kubelet probes and preStop calls),
 * so no policy names it. Policies are per pod, not per container: what the init container may reach, the others may
 * too.
 */
import { Construct } from "constructs";
import { ports, signerPorts } from "../../contract/ports";
import type { BakerConfiguration } from "../../configuration/schema";
import { type Component, selectorLabels } from "../element";
import {
  anywhere,
  anywhereButMetadata,
  type FlowProps,
  internet,
  linkLocal,
  namespaces,
  NetworkFlow,
  pods,
  privateRanges,
  tcp,
} from "../network-policy";

export interface BakerNetworkPoliciesProps {
  readonly namespace: string;
  readonly baker: string;
  readonly settings: BakerConfiguration;
  /** Whose pods hold the keys. */
  readonly signer: Component;
  /** The Kubernetes API may have a public address: true where the cluster is not ours. */
  readonly publicApi: boolean;
  /** The pods of one baker talk to each other. */
  readonly exchange: boolean;
  readonly monitoringNamespaces: readonly string[];
}

const dnsPorts = [{ port: 53, protocol: "UDP" as const }, ...tcp(53)];

export class BakerNetworkPolicies extends Construct {
  constructor(scope: Construct, id: string, props: BakerNetworkPoliciesProps) {
    super(scope, id);
    const { baker, settings } = props;
    const selector = selectorLabels(baker, "baking-pod");
    const self = pods(selector);
    const flow = (name: string, purpose: string, direction: Pick<FlowProps, "ingress" | "egress">): void => {
      new NetworkFlow(this, name, {
        namespace: props.namespace,
        name: `${baker}-${name}`,
        purpose,
        selector,
        ...direction,
      });
    };

    flow("dns", "Names of peers, signers and members: the cluster's DNS, its node-local cache, Google's resolver.", {
      egress: {
        to: [
          namespaces("kube-system"),
          { ipBlock: { cidr: "169.254.20.10/32" } },
          { ipBlock: { cidr: "169.254.169.254/32" } },
        ],
        ports: dnsPorts,
      },
    });
    flow("api", "The Kubernetes API: leases, watermarks, the topology guard. 6443 is its port outside of GKE.", {
      egress: {
        to: [...privateRanges.map((cidr) => ({ ipBlock: { cidr } })), ...(props.publicApi ? [internet] : [])],
        ports: tcp(443, 6443),
      },
    });
    flow("snapshot", "Download of the snapshot by the init container.", {
      egress: { to: [internet], ports: tcp(80, 443) },
    });
    if (settings.private_peers.length > 0) {
      const peerPorts = [
        ...new Set(settings.private_peers.map((peer) => Number(peer.slice(peer.lastIndexOf(":") + 1)))),
      ];
      flow("p2p-out", "Connections of octez-node to its sentries.", {
        egress: { to: [anywhereButMetadata], ports: tcp(...peerPorts) },
      });
    } else
      flow(
        "p2p-out",
        "Connections of octez-node (and octez-dal-node) to peers of the network, which choose their ports.",
        {
          egress: { to: [internet], ports: [{ port: 1024, endPort: 65535 }] },
        },
      );
    flow("p2p-in", "Connections of peers to octez-node.", {
      ingress: { from: [anywhere], ports: tcp(ports.octezP2p) },
    });
    if (settings.dal.enabled) {
      flow("dal-in", "Connections of peers to octez-dal-node.", {
        ingress: { from: [anywhere], ports: tcp(ports.dalP2p) },
      });
      if (settings.private_peers.length > 0)
        flow("dal-out", "Connections of octez-dal-node to peers of the network: DAL knows no private mode.", {
          egress: { to: [internet], ports: [{ port: 1024, endPort: 65535 }] },
        });
    }
    flow("signer", "Signing requests to this baker's own signers.", {
      egress: { to: [pods(selectorLabels(baker, props.signer))], ports: tcp(signerPorts.signer) },
    });
    if (props.exchange) {
      const exchanged = tcp(ports.nonceExposer);
      flow("members-in", "Nonces to the other pods of this baker; who they are is in the leases.", {
        ingress: { from: [self], ports: exchanged },
      });
      flow("members-out", "Nonces from the other pods of this baker.", { egress: { to: [self], ports: exchanged } });
    }
    flow("metrics", "Metrics from the monitoring namespaces.", {
      ingress: {
        from: [namespaces(...props.monitoringNamespaces)],
        ports: tcp(
          ...[ports.sidecar, ports.octezMetrics, ports.supervisor],
          ...(props.exchange ? [ports.elector, ports.gateHealth, ports.nonceExposer, ports.nonceImporter] : []),
          ...(settings.dal.enabled ? [ports.dalMetrics] : []),
        ),
      },
    });
  }
}

/** The namespace's default: nothing in, nothing out. */
export class DefaultDeny extends Construct {
  constructor(scope: Construct, id: string, props: { readonly namespace: string }) {
    super(scope, id);
    new NetworkFlow(this, "flow", {
      namespace: props.namespace,
      name: "default-deny",
      purpose: `Everything is denied that no other policy allows, link-local metadata (${linkLocal}) included.`,
      selector: {},
    });
  }
}
