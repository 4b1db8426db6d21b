/**
 * NetworkPolicy objects as nftables rules of one node. Pods have a veth each and no bridge, so that everything
 * between two pods passes the node's forward hook. A node's own traffic to its pods (probes, preStop calls) passes
 * the output hook and is free, as Kubernetes promises.
 */

export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: "In" | "NotIn" | "Exists" | "DoesNotExist"; values?: string[] }[];
}
interface Peer {
  podSelector?: LabelSelector;
  namespaceSelector?: LabelSelector;
  ipBlock?: { cidr: string; except?: string[] };
}
interface Port {
  /** Names of ports are not supported: the project uses none here. */
  port?: number;
  endPort?: number;
  protocol?: "TCP" | "UDP" | "SCTP";
}
export interface NetworkPolicy {
  metadata: { name: string; namespace: string };
  spec: {
    podSelector: LabelSelector;
    policyTypes?: ("Ingress" | "Egress")[];
    ingress?: { from?: Peer[]; ports?: Port[] }[];
    egress?: { to?: Peer[]; ports?: Port[] }[];
  };
}
export interface PolicyPod {
  namespace: string;
  labels: Record<string, string>;
  address: string;
  node: string;
}
export type Namespaces = Readonly<Record<string, Record<string, string>>>;

/** Whether a selector takes these labels; an empty one takes all. */
export const selects = (selector: LabelSelector, labels: Record<string, string>): boolean =>
  Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
  (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels[key];
    switch (operator) {
      case "In":
        return value !== undefined && values.includes(value);
      case "NotIn":
        return value === undefined || !values.includes(value);
      case "Exists":
        return value !== undefined;
      case "DoesNotExist":
        return value === undefined;
    }
  });

const set = (items: readonly (string | number)[]): string => `{ ${[...new Set(items)].join(", ")} }`;

/** What one peer stands for, as a match of `ip saddr` or `ip daddr`; undefined where it is nobody now. */
function peerMatch(
  peer: Peer,
  side: "saddr" | "daddr",
  namespace: string,
  pods: readonly PolicyPod[],
  namespaces: Namespaces,
): string | undefined {
  if (peer.ipBlock) {
    const { cidr, except = [] } = peer.ipBlock;
    return `ip ${side} ${cidr}${except.length > 0 ? ` ip ${side} != ${set(except)}` : ""}`;
  }
  const chosen = pods.filter(
    (pod) =>
      (peer.namespaceSelector
        ? selects(peer.namespaceSelector, namespaces[pod.namespace] ?? {})
        : pod.namespace === namespace) && selects(peer.podSelector ?? {}, pod.labels),
  );
  return chosen.length === 0 ? undefined : `ip ${side} ${set(chosen.map(({ address }) => address))}`;
}
function portMatches(ports: readonly Port[] | undefined): string[] {
  if (!ports || ports.length === 0) return [""];
  return (["TCP", "UDP"] as const).flatMap((protocol) => {
    const of = ports.filter((entry) => (entry.protocol ?? "TCP") === protocol);
    if (of.length === 0) return [];
    const name = protocol.toLowerCase();
    if (of.some((entry) => entry.port === undefined)) return [`meta l4proto ${name} `];
    return [`${name} dport ${set(of.map(({ port, endPort }) => (endPort ? `${port}-${endPort}` : (port ?? 0))))} `];
  });
}

/** The chains of one pod: a direction that no policy names is open. */
function chainsOf(
  pod: PolicyPod,
  policies: readonly NetworkPolicy[],
  pods: readonly PolicyPod[],
  namespaces: Namespaces,
): { name: string; match: string; rules: string[] }[] {
  const mine = policies.filter(
    ({ metadata, spec }) => metadata.namespace === pod.namespace && selects(spec.podSelector, pod.labels),
  );
  return (["Ingress", "Egress"] as const).flatMap((type) => {
    const of = mine.filter(({ spec }) => (spec.policyTypes ?? ["Ingress"]).includes(type));
    if (of.length === 0) return [];
    const side = type === "Ingress" ? "saddr" : "daddr";
    const rules = of.flatMap(({ metadata, spec }) => {
      const flows =
        type === "Ingress"
          ? (spec.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports }))
          : (spec.egress ?? []).map(({ to, ports }) => ({ peers: to, ports }));
      return flows.flatMap(({ peers, ports }) => {
        const matches =
          !peers || peers.length === 0
            ? [""]
            : peers.map((peer) => peerMatch(peer, side, pod.namespace, pods, namespaces));
        return matches.flatMap((match) =>
          match === undefined
            ? []
            : portMatches(ports).map(
                (port) => `${match}${match === "" ? "" : " "}${port}return comment "${metadata.name}"`,
              ),
        );
      });
    });
    const name = `${type === "Ingress" ? "in" : "out"}_${pod.address.replaceAll(".", "_")}`;
    return [{ name, match: `ip ${type === "Ingress" ? "daddr" : "saddr"} ${pod.address}`, rules }];
  });
}

/** A whole table for `nft -f -`, in the place of the one before. Dropped packets are counted by chain. */
export function policyRules(
  node: string,
  policies: readonly NetworkPolicy[],
  pods: readonly PolicyPod[],
  namespaces: Namespaces,
): string {
  const chains = pods
    .filter((pod) => pod.node === node)
    .sort((a, b) => a.address.localeCompare(b.address))
    .flatMap((pod) => chainsOf(pod, policies, pods, namespaces));
  // A pod reaches its own node through the input hook: only what it sends matters there.
  const jumps = (of: typeof chains) => of.map(({ match, name }) => `    ${match} jump ${name}`);
  const hook = (name: string, of: typeof chains) => [
    `  chain ${name} {`,
    `    type filter hook ${name} priority 10; policy accept;`,
    "    ct state established,related accept",
    ...jumps(of),
    "  }",
  ];
  return [
    "add table ip policies",
    "delete table ip policies",
    "table ip policies {",
    ...chains.flatMap(({ name, rules }) => [
      `  chain ${name} {`,
      ...rules.map((rule) => `    ${rule}`),
      "    counter drop",
      "  }",
    ]),
    ...hook("forward", chains),
    ...hook(
      "input",
      chains.filter(({ name }) => name.startsWith("out_")),
    ),
    "}",
    "",
  ].join("\n");
}
