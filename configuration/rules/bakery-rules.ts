/** Rules about all bakers together: keys and ports are used once, secrets are elsewhere. */
import { decodeAddress } from "../../tezos/addresses";
import { tunnelPort } from "../../contract/signer-link";
import { pathText, secretKind, show } from "../errors";
import { type BakerFacts, type Finding, given, isMap, issue, listed, map, type Rule, texts, when } from "./facts";
import { signersOf, tunnelsOf } from "./signer-rules";

const someBaker: Rule = ({ values, bakers }) =>
  when(
    isMap(values.bakers) && bakers.length === 0,
    ["bakers"],
    "{}",
    'at least one baker: bakers = { alice = { delegate = "tz1..." } }',
  );

/** Every address of a baker that names a key, with its place. */
const addressesOf = (facts: BakerFacts): { key: string; at: readonly string[] }[] => {
  const single = (field: string) => [{ key: facts.baker[field], at: [...facts.path, field] }];
  const all = [
    ...single("delegate"),
    ...listed(facts, "consensus_keys"),
    ...listed(facts, "companion_keys"),
    ...single("authentication_key"),
  ];
  return all.flatMap(({ key, at }) => (typeof key === "string" && decodeAddress(key) ? [{ key, at }] : []));
};

const keysOnce: Rule = ({ bakers }) => {
  const seen = new Map<string, string>();
  return bakers.flatMap((facts) => {
    const { baker, path } = facts;
    const own = pathText([...path, "delegate"]);
    return addressesOf(facts).flatMap(({ key, at }): Finding[] => {
      const first = seen.get(key);
      const consensusKey = at.includes("consensus_keys");
      // The delegate's own key is one of the list while another one takes over from it, or it from another.
      if (first === undefined || (first === own && consensusKey && texts(baker.consensus_keys).length > 1)) {
        seen.set(key, pathText(at));
        return [];
      }
      return first === own && consensusKey
        ? [
            issue(
              at,
              `${show(key)}, which is the delegate`,
              "another key, or leave consensus_keys out: the delegate's key signs then",
            ),
          ]
        : [
            issue(
              at,
              `${show(key)}, already used by ${first}`,
              "another key: one key used twice signs twice, and that is slashed",
            ),
          ];
    });
  });
};

const portsOnce: Rule = ({ bakers, zones }) => {
  const taken = new Map<number, string>();
  const tunnels = Math.max(1, zones.length);
  const portsFrom = (first: number) => Array.from({ length: tunnels }, (_, zone) => tunnelPort(first, zone));
  const findings: Finding[] = [];
  for (const { baker, path } of bakers)
    for (const [signer, { port }] of signersOf(baker)) {
      if (typeof port !== "number") continue;
      const here = [...path, "signers", signer];
      const mine = portsFrom(port);
      const clash = mine.find((number) => taken.has(number));
      if (clash !== undefined) {
        let free = port;
        while (portsFrom(free).some((number) => taken.has(number))) free++;
        findings.push(
          issue(
            [...here, "port"],
            `${port}: its tunnels use ${mine.join(", ")}, and ${clash} belongs to ${taken.get(clash)}`,
            `a port whose next ${tunnels} are free, for instance ${free}`,
          ),
        );
      }
      for (const number of mine) taken.set(number, pathText(here));
    }
  return findings;
};

const sshKeysOnce: Rule = ({ bakers }) => {
  const seen = new Map<string, string>();
  return bakers.flatMap(({ baker, path }) =>
    signersOf(baker).flatMap(([signer, { ssh_public_key: key }]) => {
      if (typeof key !== "string") return [];
      const here = [...path, "signers", signer, "ssh_public_key"];
      const material = key.split(" ")[1] ?? key;
      const first = seen.get(material);
      seen.set(material, first ?? pathText(here));
      return when(
        first !== undefined,
        here,
        `the key of ${first}`,
        "a key of its own: whoever holds one signer's key must not take the other's place",
      );
    }),
  );
};

const sourceRanges: Rule = ({ values, bakers }) => {
  const { source_ranges } = map(values.signer_link);
  const ranges = texts(source_ranges);
  if (!bakers.some(({ baker }) => tunnelsOf(baker).length > 0)) return [];
  if (ranges.includes("0.0.0.0/0"))
    return [{ warning: "signer_link.source_ranges lets everybody reach the signer link's sshd." }];
  return when(
    ranges.length === 0 && (!given(source_ranges) || Array.isArray(source_ranges)),
    ["signer_link", "source_ranges"],
    "nothing beside signers",
    'where the signer hosts come from, like ["203.0.113.7/32"]; ["0.0.0.0/0"] where anybody may try',
  );
};

const secretsElsewhere: Rule = ({ values }) => secretsInside([], values);

function secretsInside(path: readonly string[], value: unknown): Finding[] {
  const kind = path.length > 0 ? secretKind(path[0] === "bakers" ? (path.at(-1) ?? "") : "", value) : undefined;
  if (kind !== undefined)
    return [
      issue(
        path,
        `${kind} (not shown)`,
        "nothing here: it belongs into the variable `secrets`, in a file of its own (secrets.auto.tfvars). Synth writes all other values into its output",
      ),
    ];
  if (Array.isArray(value)) return value.flatMap((item, i) => secretsInside([...path, String(i)], item));
  return isMap(value) ? Object.entries(value).flatMap(([key, item]) => secretsInside([...path, key], item)) : [];
}

const hostPublicKey: Rule = ({ values, bakers }) =>
  bakers.some(({ baker }) => tunnelsOf(baker).length > 0) && !given(map(values.signer_link).host_public_key)
    ? [
        {
          warning:
            "signer_link.host_public_key is not set: the outputs cannot tell signer hosts which host key to trust. Write the public half of the link's host key.",
        },
      ]
    : [];

export const firstBakeryRules: readonly Rule[] = [someBaker];
export const bakeryRules: readonly Rule[] = [
  keysOnce,
  portsOnce,
  sshKeysOnce,
  sourceRanges,
  secretsElsewhere,
  hostPublicKey,
];
