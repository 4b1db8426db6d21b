/** Rules about one baker: who signs, with which key, under which names. */
import { decodeAddress } from "../../tezos/addresses";
import { signatoryVersion } from "../../contract/images";
import { signerServiceName } from "../../contract/names";
import { networks, type NetworkName } from "../../contract/networks";
import { show } from "../errors";
import { type BakerFacts, type BakerRule, given, listed, map, text, when } from "./facts";
import { signerRules, signersOf, signerWarnings, tunnelsOf } from "./signer-rules";

/** A key's address if it is one, of the curves that begin with these three letters. */
const isAddress = (value: unknown): value is string => typeof value === "string" && decodeAddress(value) !== undefined;
/** The keys that sign blocks and votes, each with the path at which it is written. */
function consensusKeys(facts: BakerFacts): { key: string; at: readonly string[] }[] {
  const { baker, path } = facts;
  const keys = listed(facts, "consensus_keys");
  const all = keys.length > 0 ? keys : [{ key: baker.delegate, at: [...path, "delegate"] }];
  return all.flatMap(({ key, at }) => (isAddress(key) ? [{ key, at }] : []));
}

const oneWayToSign: BakerRule = ({ baker, path }) => {
  const ways = [
    signersOf(baker).length > 0 && "signers",
    given(baker.hot_test_key) && baker.hot_test_key !== false && "hot_test_key",
    given(baker.cloud_key) && "cloud_key",
  ].filter((way) => way !== false);
  return when(
    ways.length !== 1,
    path,
    ways.length === 0 ? "nobody who signs" : ways.join(" and "),
    'exactly one of: signers = { ... }, hot_test_key = true, cloud_key = "..."',
  );
};

const authenticationNeedsSigners: BakerRule = ({ baker, path }) =>
  when(
    given(baker.authentication_key) && signersOf(baker).length === 0,
    [...path, "authentication_key"],
    "a key without signers, which would be ignored",
    "signers, or leave it out",
  );

const hotKeysOnTestNetworks: BakerRule = ({ baker, path }, { values, flag }) => {
  const network = text(values.network);
  return when(
    baker.hot_test_key === true && networks[network as NetworkName]?.test === false,
    [...path, "hot_test_key"],
    `true on ${network}${flag ? " with experimental_active_standby_mode" : ""}`,
    "signers with your Ledger or key server; a key inside the cluster is for test networks",
  );
};

const cloudKey: BakerRule = (facts, { flag }) => {
  const { baker, path } = facts;
  if (!given(baker.cloud_key)) return [];
  const keys = consensusKeys(facts);
  return [
    ...when(
      flag,
      [...path, "cloud_key"],
      "a cloud-hosted key with experimental_active_standby_mode",
      "signers = { ... }, or experimental_active_standby_mode = false",
    ),
    ...keys.flatMap(({ key, at }) =>
      when(
        !key.startsWith("tz3"),
        at,
        `${show(key)} with cloud_key`,
        "a tz3 address: Google's KMS signs with P-256 only",
      ),
    ),
    ...when(
      keys.length > 1,
      [...path, "consensus_keys"],
      `${keys.length} keys with cloud_key`,
      "one key: a key version of KMS has one address. Rotate with signers = { ... }",
    ),
  ];
};

/** octez-signer draws a fresh nonce for each signature on P-256, so a block that is signed twice is punishable (S7). */
const deterministicSigners: BakerRule = (facts) => {
  const { baker, path } = facts;
  const { key } = consensusKeys(facts).find((entry) => entry.key.startsWith("tz3")) ?? {};
  if (key === undefined) return [];
  return signersOf(baker).flatMap(([name, signer]) =>
    when(
      signer.deterministic === true,
      [...path, "signers", name, "deterministic"],
      `true with ${show(key)}`,
      "false: signatures of tz3 keys differ each time",
    ),
  );
};

const companionKeys: BakerRule = (facts) => {
  const { baker, path } = facts;
  const keys = consensusKeys(facts);
  const bls = keys.find(({ key }) => key.startsWith("tz4"))?.key;
  const companions = listed(facts, "companion_keys");
  const here = [...path, "companion_keys"];
  if (companions.length === 0)
    return when(
      bls !== undefined && map(baker.dal).enabled !== false,
      here,
      `nothing beside ${show(bls)} with DAL`,
      'the companion key registered for the delegate, like ["tz4..."], or dal = { enabled = false }',
    );
  return [
    ...companions.flatMap(({ key, at }) =>
      when(
        isAddress(key) && !key.startsWith("tz4"),
        at,
        show(key),
        "a tz4 address: Octez takes no other companion key",
      ),
    ),
    ...when(
      keys.length > 0 && bls === undefined,
      here,
      `a companion key beside ${keys.map(({ key }) => show(key)).join(" and ")}`,
      "a tz4 key in consensus_keys, or leave companion_keys out: keys of other curves attest the DAL by themselves",
    ),
  ];
};

const signerNames: BakerRule = ({ name, baker, path }, { zones }) => {
  const names = tunnelsOf(baker).flatMap(([signer]) =>
    [undefined, ...zones].map((zone) => ({ signer, service: signerServiceName(name, signer, zone) })),
  );
  const tooLong = names.filter(({ service }) => service.length > 63).slice(0, 1);
  const twice = names.filter(({ service }, i) => names.findIndex((other) => other.service === service) !== i);
  return [
    ...tooLong.flatMap(({ signer, service }) =>
      when(
        true,
        [...path, "signers", signer],
        `the service name "${service}" with ${service.length} characters`,
        "shorter names of baker and signer: a service name has at most 63",
      ),
    ),
    ...twice.flatMap(({ signer, service }) =>
      when(true, [...path, "signers", signer], `the service name "${service}" twice`, "another name of the signer"),
    ),
  ];
};

const dalAddresses: BakerRule = ({ baker, path }, { flag, zones }) => {
  const addresses = map(baker.dal).public_addresses;
  const members = flag ? zones.length : 1;
  if (!Array.isArray(addresses) || addresses.length === 0) return [];
  return when(
    addresses.length !== members,
    [...path, "dal", "public_addresses"],
    `${addresses.length} addresses for ${members} ${members === 1 ? "pod" : "pods"}`,
    "one for each pod, by ordinal",
  );
};

const unauthenticated: BakerRule = ({ name, baker }) =>
  tunnelsOf(baker).length > 0 && !given(baker.authentication_key)
    ? [
        {
          warning: `bakers.${name}.authentication_key is not set: the signer host that scripts/signer-host sets up refuses whoever does not authenticate. Write the hash of a key made for this, the key itself into secrets.authentication_keys.`,
        },
      ]
    : [];

const unmaintained: BakerRule = ({ name, baker }) =>
  given(baker.cloud_key)
    ? [
        {
          warning: `bakers.${name}.cloud_key signs through Signatory ${signatoryVersion}, its last release (March 2026), whose own tests end with the protocol before Ushuaia. Nobody may follow the next protocol: plan for a signer of your own behind the tunnel or a url (docs/signer-link.md).`,
        },
      ]
    : [];

/** Without a gate nobody chooses a signer by its keys: octez-baker's one signer is the first. */
const oneSignerForAllKeys: BakerRule = (facts, { flag }) => {
  const { name, baker } = facts;
  const keys = consensusKeys(facts).length + listed(facts, "companion_keys").length;
  const [first, ...others] = signersOf(baker).map(([signer]) => signer);
  if (flag || first === undefined || others.length === 0 || keys < 2) return [];
  return [
    {
      warning: `bakers.${name}.signers: without experimental_active_standby_mode octez-baker asks ${first} alone, which must hold all ${keys} keys of consensus_keys and companion_keys; ${others.join(" and ")} ${others.length === 1 ? "is" : "are"} never asked. Where another one holds a key, set experimental_active_standby_mode = true, or have one octez-signer hold them all (docs/runbooks/key-rotation.md).`,
    },
  ];
};

export const bakerRules: readonly BakerRule[] = [
  oneWayToSign,
  authenticationNeedsSigners,
  hotKeysOnTestNetworks,
  cloudKey,
  deterministicSigners,
  companionKeys,
  ...signerRules,
  signerNames,
  dalAddresses,
];
/** Warnings, after the errors of all bakers. */
export const bakerWarnings: readonly BakerRule[] = [
  unauthenticated,
  unmaintained,
  oneSignerForAllKeys,
  ...signerWarnings,
];
