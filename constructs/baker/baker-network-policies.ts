/**
 * The flows of the baking pods of one baker. A node may always reach its own pods (kubelet probes and preStop calls),
 * so no policy names it. Policies are per pod, not per container: what the init container may reach, the others may
 * too.
 */
import { Construct } from "constructs";
import { bakingContainers, type ContainerRow, openPorts } from "../../contract/containers";
import { signerPorts } from "../../contract/ports";
import { readSignerUrl } from "../../contract/signer-url";
import type { BakerConfiguration } from "../../configuration/schema";
import { type Component, selectorLabels } from "../element";
import {
  anywhere,
  anywhereButMetadata,
  dnsPorts,
  type FlowProps,
  internet,
  linkLocal,
  namespaces,
  nameServers,
  NetworkFlow,
  type Peer,
  pods,
  type Port,
  privateRanges,
  range,
  tcp,
} from "../network-policy";

export interface BakerNetworkPoliciesProps {
  readonly namespace: string;
  readonly baker: string;
  readonly settings: BakerConfiguration;
  /** Whose pods hold the keys, or lead to them. @default none: every signer has a URL */
  readonly signer?: Component;
  /** The Kubernetes API may have a public address: true where the cluster is not ours. */
  readonly publicApi: boolean;
  /** The containers of the pods, with the ports that they open. */
  readonly containers: readonly ContainerRow[];
  readonly monitoringNamespaces: readonly string[];
}

interface Flow extends Pick<FlowProps, "ingress" | "egress"> {
  /** Name of the policy without the baker's. */
  readonly name: string;
  readonly purpose: string;
}
const into = (name: string, purpose: string, from: readonly Peer[], ports: readonly Port[]): Flow => ({
  name,
  purpose,
  ingress: { from, ports },
});
const out = (name: string, purpose: string, to: readonly Peer[], ports: readonly Port[]): Flow => ({
  name,
  purpose,
  egress: { to, ports },
});

export class BakerNetworkPolicies extends Construct {
  constructor(scope: Construct, id: string, props: BakerNetworkPoliciesProps) {
    super(scope, id);
    const { namespace, baker } = props;
    const selector = selectorLabels(baker, "baking-pod");
    const flows = [
      ...foundations(props),
      ...networkPeers(props),
      ...signerFlows(props),
      ...exchange(props, pods(selector)),
      metrics(props),
    ];
    for (const { name, ...flow } of flows)
      new NetworkFlow(this, name, { namespace, name: `${baker}-${name}`, selector, ...flow });
  }
}

function signerFlows({ baker, settings, signer }: BakerNetworkPoliciesProps): Flow[] {
  const byUrl = Object.values(settings.signers).flatMap(({ url, ranges = [], namespace }) => {
    const read = url === undefined ? undefined : readSignerUrl(url);
    if (read === undefined || "write" in read) return [];
    const to = read.isAddress
      ? [range(`${read.host}/32`)]
      : [...ranges.map((cidr) => range(cidr)), ...(namespace === undefined ? [] : [namespaces(namespace)])];
    // A rule without peers would let everything out.
    return to.length === 0 ? [] : [{ to, ports: tcp(read.port) }];
  });
  return [
    ...(signer === undefined
      ? []
      : [
          out(
            "signer",
            "Signing requests to this baker's own signers.",
            [pods(selectorLabels(baker, signer))],
            tcp(signerPorts.signer),
          ),
        ]),
    ...(byUrl.length === 0
      ? []
      : [{ name: "signer-urls", purpose: "Signing requests to this baker's signers outside, by URL.", egress: byUrl }]),
  ];
}

const foundations = ({ publicApi }: BakerNetworkPoliciesProps): Flow[] => [
  out(
    "dns",
    "Names of peers, signers and members: the cluster's DNS, its node-local cache, Google's resolver.",
    nameServers,
    dnsPorts,
  ),
  out(
    "api",
    "The Kubernetes API: leases, watermarks, the topology guard. 6443 is its port outside of GKE.",
    [...privateRanges.map((cidr) => range(cidr)), ...(publicApi ? [internet] : [])],
    tcp(443, 6443),
  ),
  out("snapshot", "Download of the snapshot by the init container.", [internet], tcp(80, 443)),
];

/** Peers choose their ports. */
const unprivileged: readonly Port[] = [{ port: 1024, endPort: 65535 }];

function networkPeers({ settings, containers }: BakerNetworkPoliciesProps): Flow[] {
  const { private_peers: sentries, dal } = settings;
  const open = (row: ContainerRow) =>
    tcp(
      ...openPorts(
        containers.filter(({ name }) => name === row.name),
        "everybody",
      ),
    );
  const sentryPorts = new Set(sentries.map((peer) => Number(peer.slice(peer.lastIndexOf(":") + 1))));
  return [
    sentries.length > 0
      ? out("p2p-out", "Connections of octez-node to its sentries.", [anywhereButMetadata], tcp(...sentryPorts))
      : out(
          "p2p-out",
          "Connections of octez-node (and octez-dal-node) to peers of the network, which choose their ports.",
          [internet],
          unprivileged,
        ),
    into("p2p-in", "Connections of peers to octez-node.", [anywhere], open(bakingContainers.octezNode)),
    ...(dal.enabled
      ? [into("dal-in", "Connections of peers to octez-dal-node.", [anywhere], open(bakingContainers.dalNode))]
      : []),
    ...(dal.enabled && sentries.length > 0
      ? [
          out(
            "dal-out",
            "Connections of octez-dal-node to peers of the network: DAL knows no private mode.",
            [internet],
            unprivileged,
          ),
        ]
      : []),
  ];
}

function exchange({ containers }: BakerNetworkPoliciesProps, self: Peer): Flow[] {
  const exchanged = tcp(...openPorts(containers, "members"));
  if (exchanged.length === 0) return [];
  return [
    into("members-in", "Nonces to the other pods of this baker; who they are is in the leases.", [self], exchanged),
    out("members-out", "Nonces from the other pods of this baker.", [self], exchanged),
  ];
}

const metrics = ({ containers, monitoringNamespaces }: BakerNetworkPoliciesProps): Flow =>
  into(
    "metrics",
    "Metrics from the monitoring namespaces.",
    [namespaces(...monitoringNamespaces)],
    tcp(...openPorts(containers, "monitoring")),
  );

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
