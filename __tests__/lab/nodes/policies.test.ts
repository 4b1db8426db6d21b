/** NetworkPolicy objects as rules of one node. */
import { answerTo } from "../../../lab/nodes/dns";
import { type NetworkPolicy, policyRules, type PolicyPod, selects } from "../../../lab/nodes/policies";

const baker = { app: "baker" };
const pods: PolicyPod[] = [
  { namespace: "bakery", labels: baker, address: "10.244.1.2", node: "a" },
  { namespace: "bakery", labels: baker, address: "10.244.2.2", node: "b" },
  { namespace: "bakery", labels: { app: "tunnel" }, address: "10.244.1.3", node: "a" },
  { namespace: "kube-system", labels: {}, address: "10.244.2.9", node: "b" },
];
const namespaces = { bakery: { name: "bakery" }, "kube-system": { name: "kube-system" } };
const policy = (name: string, spec: NetworkPolicy["spec"]): NetworkPolicy => ({
  metadata: { name, namespace: "bakery" },
  spec,
});
const deny = policy("deny", { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
const chain = (rules: string, name: string): string[] =>
  new RegExp(`chain ${name} \\{\\n([^}]*(?:\\{[^}]*\\}[^}]*)*?)\\n  \\}`)
    .exec(rules)?.[1]
    ?.split("\n")
    .map((line) => line.trim()) ?? [];

test("a pod that no policy selects is open, one that a policy selects is shut but for what is allowed", () => {
  expect(policyRules("a", [], pods, namespaces)).not.toContain("drop");
  const rules = policyRules("a", [deny], pods, namespaces);
  for (const name of ["in_10_244_1_2", "out_10_244_1_2", "in_10_244_1_3"])
    expect(chain(rules, name)).toEqual(["counter drop"]);
  expect(rules).not.toContain("10_244_2_9");
});

test("peers are pods of the policy's namespace, namespaces, or blocks with exceptions", () => {
  const rules = policyRules(
    "a",
    [
      deny,
      policy("out", {
        podSelector: { matchLabels: baker },
        policyTypes: ["Egress"],
        egress: [
          { to: [{ podSelector: { matchLabels: { app: "tunnel" } } }], ports: [{ port: 6732 }] },
          {
            to: [
              { namespaceSelector: { matchExpressions: [{ key: "name", operator: "In", values: ["kube-system"] }] } },
            ],
            ports: [{ port: 53, protocol: "UDP" }],
          },
          { to: [{ ipBlock: { cidr: "0.0.0.0/0", except: ["10.0.0.0/8"] } }], ports: [{ port: 1024, endPort: 65535 }] },
        ],
      }),
      policy("in", {
        podSelector: { matchLabels: baker },
        policyTypes: ["Ingress"],
        ingress: [{ from: [{ podSelector: { matchLabels: baker } }], ports: [{ port: 4247 }] }],
      }),
    ],
    pods,
    namespaces,
  );
  expect(chain(rules, "out_10_244_1_2")).toEqual([
    'ip daddr { 10.244.1.3 } tcp dport { 6732 } return comment "out"',
    'ip daddr { 10.244.2.9 } udp dport { 53 } return comment "out"',
    'ip daddr 0.0.0.0/0 ip daddr != { 10.0.0.0/8 } tcp dport { 1024-65535 } return comment "out"',
    "counter drop",
  ]);
  expect(chain(rules, "in_10_244_1_2")).toEqual([
    'ip saddr { 10.244.1.2, 10.244.2.2 } tcp dport { 4247 } return comment "in"',
    "counter drop",
  ]);
});

test("a peer that is nobody allows nothing, and no ports are all ports", () => {
  const rules = policyRules(
    "a",
    [
      policy("in", {
        podSelector: { matchLabels: baker },
        ingress: [
          { from: [{ podSelector: { matchLabels: { app: "ghost" } } }] },
          { from: [{ ipBlock: { cidr: "1.2.3.0/24" } }] },
        ],
      }),
    ],
    pods,
    namespaces,
  );
  expect(chain(rules, "in_10_244_1_2")).toEqual(['ip saddr 1.2.3.0/24 return comment "in"', "counter drop"]);
  expect(rules).not.toContain("out_10_244_1_2");
});

test("selectors with expressions", () => {
  const of = (operator: "In" | "NotIn" | "Exists" | "DoesNotExist") =>
    selects({ matchExpressions: [{ key: "app", operator, values: ["baker"] }] }, baker);
  expect([of("In"), of("NotIn"), of("Exists"), of("DoesNotExist")]).toEqual([true, false, true, false]);
});

test("the names of services are answered, all others do not exist", () => {
  const question = (name: string) =>
    Buffer.concat([
      Buffer.from([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
      ...name.split(".").map((word) => Buffer.from([word.length, ...Buffer.from(word)])),
      Buffer.from([0, 0, 1, 0, 1]),
    ]);
  const known = answerTo(question("Signer.bakery"), { "signer.bakery": "10.96.3.4" });
  expect(known?.readUInt16BE(6)).toBe(1);
  expect([...(known?.subarray(-4) ?? [])]).toEqual([10, 96, 3, 4]);
  const unknown = answerTo(question("other"), {});
  expect([unknown?.readUInt16BE(6), (unknown?.[3] ?? 0) & 15]).toEqual([0, 3]);
  expect(answerTo(Buffer.alloc(3), {})).toBeUndefined();
});
