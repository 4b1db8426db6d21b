/** One allowed flow of one kind of pod; everything else is denied (BakerStack's default). */
import {
  NetworkPolicyV1,
  type NetworkPolicyV1SpecEgressTo,
  type NetworkPolicyV1SpecIngressFrom,
} from "@cdktf/provider-kubernetes/lib/network-policy-v1";
import { Construct } from "constructs";
import { objectLabels, pin } from "./element";

export interface Port {
  readonly port: number;
  /** Last port of a range. */
  readonly endPort?: number;
  /** @default TCP */
  readonly protocol?: "TCP" | "UDP";
}
export const tcp = (...numbers: readonly number[]): Port[] => numbers.map((port) => ({ port }));

export type Peer = NetworkPolicyV1SpecEgressTo & NetworkPolicyV1SpecIngressFrom;
export const range = (cidr: string, except?: string[]): Peer => ({ ipBlock: { cidr, ...(except && { except }) } });
export const anywhere: Peer = range("0.0.0.0/0");
/** Link-local addresses hold the metadata servers of clouds. */
export const linkLocal = "169.254.0.0/16";
export const privateRanges = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"];
export const internet: Peer = range("0.0.0.0/0", [...privateRanges, linkLocal]);
export const anywhereButMetadata: Peer = range("0.0.0.0/0", [linkLocal]);
export const pods = (matchLabels: Record<string, string>): Peer => ({ podSelector: { matchLabels } });
export const namespaces = (...names: readonly string[]): Peer => ({
  namespaceSelector: { matchExpressions: [{ key: "kubernetes.io/metadata.name", operator: "In", values: [...names] }] },
});
/** The cluster's DNS, its node-local cache, Google's resolver. */
export const nameServers: readonly Peer[] = [
  namespaces("kube-system"),
  range("169.254.20.10/32"),
  range("169.254.169.254/32"),
];
export const dnsPorts: readonly Port[] = [{ port: 53, protocol: "UDP" }, ...tcp(53)];

export interface FlowProps {
  readonly namespace: string;
  /** Name of the policy and its id. */
  readonly name: string;
  /** One line for people; an annotation of the object. */
  readonly purpose: string;
  /** Labels of the pods; none = all of the namespace. */
  readonly selector: Readonly<Record<string, string>>;
  readonly ingress?: { readonly from: readonly Peer[]; readonly ports: readonly Port[] };
  readonly egress?: Egress | readonly Egress[];
}
interface Egress {
  /** None would be everybody. */
  readonly to: readonly Peer[];
  readonly ports: readonly Port[];
}

/** With neither ingress nor egress: denies both. */
export class NetworkFlow extends Construct {
  constructor(scope: Construct, id: string, props: FlowProps) {
    super(scope, id);
    const ports = (list: readonly Port[]) =>
      list.map(({ port, endPort, protocol }) => ({
        port: String(port),
        protocol: protocol ?? "TCP",
        ...(endPort ? { endPort } : {}),
      }));
    const { ingress, egress } = props;
    const deny = !ingress && !egress;
    pin(
      new NetworkPolicyV1(this, "policy", {
        metadata: {
          name: props.name,
          namespace: props.namespace,
          labels: objectLabels(),
          annotations: { "tezos-on-gke/purpose": props.purpose },
        },
        spec: {
          podSelector: Object.keys(props.selector).length > 0 ? { matchLabels: { ...props.selector } } : {},
          policyTypes: deny ? ["Ingress", "Egress"] : [...(ingress ? ["Ingress"] : []), ...(egress ? ["Egress"] : [])],
          ...(ingress ? { ingress: [{ from: [...ingress.from], ports: ports(ingress.ports) }] } : {}),
          ...(egress
            ? { egress: [egress].flat().map((rule) => ({ to: [...rule.to], ports: ports(rule.ports) })) }
            : {}),
        },
      }),
      props.name,
    );
  }
}
