/** Default deny, then exactly the needed flows. */
import { NetworkPolicyV1 } from "@cdktf/provider-kubernetes/lib/network-policy-v1";
import { ports } from "../../../contract/ports";
import { baker, bakerWith, delegates, ids, resource, type Synthesized } from "../../helpers/synthesized";

interface Rule {
  from?: object[];
  to?: { ip_block?: { cidr: string; except?: string[] } }[];
  ports?: { port: string; end_port?: number; protocol: string }[];
}
interface Policy {
  metadata: { annotations: Record<string, string> };
  spec: {
    pod_selector: { match_labels?: Record<string, string> };
    policy_types: string[];
    ingress?: Rule[];
    egress?: Rule[];
  };
}
const policy = (stack: Synthesized, id: string) => resource(stack, NetworkPolicyV1, id) as unknown as Policy;
const portsOf = (rules: Rule[] | undefined) =>
  (rules ?? []).flatMap(({ ports }) =>
    (ports ?? []).map(({ port, end_port }) => (end_port ? `${port}-${end_port}` : port)),
  );
/** Policy -> direction and ports. */
const flows = (stack: Synthesized): Record<string, string> =>
  Object.fromEntries(
    ids(stack, NetworkPolicyV1).map((id) => {
      const { spec } = policy(stack, id);
      return [
        id,
        [
          ...portsOf(spec.ingress).map((port) => `in ${port}`),
          ...portsOf(spec.egress).map((port) => `out ${port}`),
        ].join(", "),
      ];
    }),
  );
const common = {
  "default-deny": "",
  "alice-dns": "out 53, out 53",
  "alice-api": "out 443, out 6443",
  "alice-snapshot": "out 80, out 443",
  "alice-p2p-out": "out 1024-65535",
  "alice-p2p-in": "in 9732",
  "alice-dal-in": "in 11732",
  "alice-signer": "out 6732",
  "alice-signer-link-in": "in 2222",
  "alice-signer-link-use": "in 6732",
};

test("the default denies both directions of every pod", () => {
  expect(policy(baker(true), "default-deny").spec).toEqual({ pod_selector: {}, policy_types: ["Ingress", "Egress"] });
});
test("flag off: exactly these flows", () => {
  expect(flows(baker(false))).toEqual({ ...common, "alice-metrics": "in 9932, in 31764, in 4041, in 11733" });
});
test("flag on: exactly these flows", () => {
  expect(flows(baker(true))).toEqual({
    ...common,
    "alice-members-in": "in 4247",
    "alice-members-out": "out 4247",
    "alice-metrics": "in 9932, in 31764, in 4040, in 4041, in 4042, in 4247, in 4043, in 11733",
  });
});
test("who may call each port of a baking pod: what starts a handover, signs or is an RPC is open to nobody", () => {
  const stack = baker(true);
  const callers = (port: number): string[] =>
    ids(stack, NetworkPolicyV1).filter((id) => {
      const { spec } = policy(stack, id);
      return (
        spec.pod_selector.match_labels?.["app.kubernetes.io/component"] === "baking-pod" &&
        (spec.ingress ?? []).some((rule) =>
          // A rule without ports opens all of them.
          (rule.ports ?? [{ port: "0", end_port: 65535 }]).some(
            (open) => Number(open.port) <= port && port <= (open.end_port ?? Number(open.port)),
          ),
        )
      );
    });
  const told: Record<keyof typeof ports, string[]> = {
    gate: [],
    preStop: [],
    octezRpc: [],
    dalRpc: [],
    elector: ["alice-metrics"],
    supervisor: ["alice-metrics"],
    gateHealth: ["alice-metrics"],
    nonceImporter: ["alice-metrics"],
    sidecar: ["alice-metrics"],
    octezMetrics: ["alice-metrics"],
    dalMetrics: ["alice-metrics"],
    nonceExposer: ["alice-members-in", "alice-metrics"],
    octezP2p: ["alice-p2p-in"],
    dalP2p: ["alice-dal-in"],
  };
  expect(Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, callers(port).sort()]))).toEqual(told);
});
test("sentries: octez-node reaches their ports only", () => {
  const stack = baker(
    true,
    bakerWith({ private_peers: ["a.example.org:9732", "[2001:db8::1]:19732"], dal: { enabled: false } }),
  );
  expect(flows(stack)["alice-p2p-out"]).toBe("out 9732, out 19732");
  expect(flows(stack)).not.toHaveProperty("alice-dal-in");
});
test("nothing but DNS and the keys of a cloud reaches link-local addresses, where clouds keep their metadata", () => {
  for (const id of ids(baker(true), NetworkPolicyV1))
    for (const rule of policy(baker(true), id).spec.egress ?? [])
      for (const { ip_block: block } of rule.to ?? [])
        if (block?.cidr === "0.0.0.0/0")
          expect([id, block.except]).toEqual([id, expect.arrayContaining(["169.254.0.0/16"])]);
});
test("what goes to the internet reaches no private address: not the nodes, not the other pods, not the API", () => {
  const rfc1918 = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
  for (const id of ["alice-p2p-out", "alice-snapshot"])
    expect(policy(baker(true), id).spec.egress?.[0]?.to).toEqual([
      { ip_block: { cidr: "0.0.0.0/0", except: expect.arrayContaining(rfc1918) } },
    ]);
});
test("pods of one baker reach each other and their own signers, never another baker's", () => {
  const stack = baker(true);
  const own = { pod_selector: { match_labels: { baker: "alice", "app.kubernetes.io/component": "baking-pod" } } };
  expect(policy(stack, "alice-members-out").spec.egress?.[0]?.to).toEqual([own]);
  expect(policy(stack, "alice-members-in").spec.ingress?.[0]?.from).toEqual([own]);
  expect(policy(stack, "alice-signer").spec.egress?.[0]?.to).toEqual([
    { pod_selector: { match_labels: { baker: "alice", "app.kubernetes.io/component": "signer-link" } } },
  ]);
  expect(policy(stack, "alice-signer-link-use").spec.ingress?.[0]?.from).toEqual([own]);
});
test("a signer by URL opens its own port, to its own address, ranges or namespace, and to nothing else", () => {
  const urls = {
    address: { url: "http://10.8.0.5:6732" },
    name: { url: "https://signer.example.org", ranges: ["203.0.113.0/28", "198.51.100.7/32"] },
    service: { url: "http://tezsign.vpn.svc:20090", namespace: "vpn" },
  };
  for (const flag of [false, true]) {
    const stack = baker(flag, bakerWith({ signers: urls }));
    expect(policy(stack, "alice-signer-urls").spec).toEqual({
      pod_selector: { match_labels: { baker: "alice", "app.kubernetes.io/component": "baking-pod" } },
      policy_types: ["Egress"],
      egress: [
        { to: [{ ip_block: { cidr: "10.8.0.5/32" } }], ports: [{ port: "6732", protocol: "TCP" }] },
        {
          to: [{ ip_block: { cidr: "203.0.113.0/28" } }, { ip_block: { cidr: "198.51.100.7/32" } }],
          ports: [{ port: "443", protocol: "TCP" }],
        },
        {
          to: [
            {
              namespace_selector: {
                match_expressions: [{ key: "kubernetes.io/metadata.name", operator: "In", values: ["vpn"] }],
              },
            },
          ],
          ports: [{ port: "20090", protocol: "TCP" }],
        },
      ],
    });
    const gone = ["alice-signer", "alice-signer-link-in", "alice-signer-link-use"];
    expect(flows(stack)).toMatchObject(Object.fromEntries(Object.entries(common).filter(([id]) => !gone.includes(id))));
    expect(Object.keys(flows(stack)).filter((id) => gone.includes(id))).toEqual([]);
  }
});
test("a name without ranges opens nothing: a rule without peers would open everything", () => {
  const stack = baker(true, bakerWith({ signers: { name: { url: "http://signer.example.org" } } }));
  expect(flows(stack)).not.toHaveProperty("alice-signer-urls");
});
test("a hot signer answers its own baker and reaches nothing", () => {
  const stack = baker(true, bakerWith({ signers: {}, hot_test_key: true }));
  expect(policy(stack, "alice-signer-hot-use").spec).toMatchObject({
    pod_selector: { match_labels: { baker: "alice", "app.kubernetes.io/component": "hot-signer" } },
    policy_types: ["Ingress"],
  });
  expect(flows(stack)).not.toHaveProperty("alice-signer-link-in");
});
test("a cluster that is not ours may have its API at a public address", () => {
  const block = (stack: Synthesized) =>
    policy(stack, "alice-api").spec.egress?.[0]?.to?.map(({ ip_block }) => ip_block?.cidr);
  expect(block(baker(true))).not.toContain("0.0.0.0/0");
  expect(
    block(baker(true, { cluster: { existing: { context: "kind" } }, project: undefined, zones: ["z1", "z2"] })),
  ).toContain("0.0.0.0/0");
});
test("each policy says in one line what it is for", () => {
  for (const id of ids(baker(true), NetworkPolicyV1))
    expect(policy(baker(true), id).metadata.annotations["tezos-on-gke/purpose"]).toMatch(/^.{20,200}$/);
});
test("the delegate of another baker is no business of these policies", () => {
  const bob = bakerWith({ consensus_keys: [delegates[1]] });
  expect(flows(baker(true, bob))).toEqual(flows(baker(true)));
});
