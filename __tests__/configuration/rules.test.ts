/**
 * Every error that an operator can make in a tfvars file: where, what was found, what to write; and never a secret in
 * the text.
 */
import { defaultOctezVersion } from "../../contract/images";
import { crossFieldFindings } from "../../configuration/rules";
import { ConfigurationError, distance, didYouMean, redact, show } from "../../configuration/errors";
import { parseConfiguration } from "../../configuration/load";

const tz1 = "tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5";
const another = "tz1V42VD9TVnYSZst4q1R2zcEeeo5qWzh3Zv";
const third = "tz1fomsgav8DApz9EgJiqeVguMkvPsKQdPXh";
const tz3 = "tz3bosVA4w3HA9Ps8rtmmYMwNmumiLh2KR8S";
const tz4 = "tz4T5ke56J3aKoFW6dTdLuuQtQF1vN65CUoh";
const tz4b = "tz492iUYkJQb3rNdB2cMcexvFAQWC5BjnqGw";
const secretKey = "edsk2gbxRomx4Yci1xseFsNKJYuZW8hTmgsj8eardFMfVRTDzVSiht";
const ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICZM5QzPy/6s37GbqUCnA6KP6jQxJ/wSVPXrgW5AOqfG home1";
const kms = "projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1";
const telegramToken = `123456789:${"A".repeat(35)}`;
const discordWebhook = `https://discord.com/api/webhooks/123456789012345678/${"b".repeat(68)}`;
const hot = { delegate: tz1, hot_test_key: true };
const signers = { home1: { ssh_public_key: ssh, port: 8443 } };

type Values = Record<string, unknown>;
const base: Values = {
  project: "my-tezos-project",
  network: "shadownet",
  bakers: { alice: hot },
  signer_link: { source_ranges: ["203.0.113.7/32"] },
};
const ssh2 = ssh.replace("AAAAICZM", "AAAAICZN");
const withBaker = (baker: Values, rest: Values = {}): Values => ({ ...base, ...rest, bakers: { alice: baker } });

/** `path: found -> write` of every error. */
function errors(values: Values): string[] {
  try {
    parseConfiguration(values);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.issues.map(({ path, found, write }) => `${path.join(".")}: ${found} -> ${write}`);
  }
}

test("a small configuration is accepted and gets every default", () => {
  const configuration = parseConfiguration(base);
  expect(configuration).toMatchObject({
    region: "us-central1",
    zones: ["us-central1-b", "us-central1-c"],
    machine_type: "e2-highmem-4",
    head_max_age_seconds: 240,
    deletion_protection: true,
    experimental_active_standby_mode: false,
  });
  expect(configuration.timings.leaseSeconds).toBe(6);
  expect(configuration.given).toEqual(base);
});

const cases: [string, Values, RegExp[]][] = [
  [
    "a tz3 key whose signer is said to be deterministic",
    withBaker({ delegate: tz3, signers: { home1: { ...signers.home1, deterministic: true } } }),
    [
      /^bakers\.alice\.signers\.home1\.deterministic: true with "tz3.*" -> false: signatures of tz3 keys differ each time$/,
    ],
  ],
  [
    "a tz5 key",
    withBaker({ delegate: "tz5Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5", hot_test_key: true }),
    [/^bakers\.alice\.delegate: .* -> a tz1, .* the votes of tz5 keys \(ML-DSA\) are not understood yet$/],
  ],
  ["a wrong type", { ...base, disk: { size_gib: "100" } }, [/^disk\.size_gib: "100" -> a number without quotes$/]],
  [
    "a text where true or false belongs",
    { ...base, experimental_active_standby_mode: "true" },
    [/mode: "true" -> true or false, without quotes$/],
  ],
  [
    "an unknown key",
    { ...base, regoin: "x" },
    [/^regoin: a key that does not exist here; did you mean region\? -> region$/],
  ],
  [
    "an unknown key of a baker",
    withBaker({ ...hot, delegat: tz1 }),
    [/^bakers\.alice\.delegat: .* did you mean delegate\?/],
  ],
  [
    "a key of a section outside of it",
    { ...base, lease_seconds: 6 },
    [/^lease_seconds: a key that does not exist here -> timings = \{ lease_seconds = \.\.\. \}$/],
  ],
  [
    "a key of the predecessor",
    { ...base, baking_nodes: {} },
    [/^baking_nodes: a key that does not exist here -> one of .*bakers/],
  ],
  [
    "two bakers with one key",
    { ...base, bakers: { alice: hot, bob: hot } },
    [/^bakers\.bob\.delegate: .*already used by bakers\.alice\.delegate -> another key/],
  ],
  [
    "one key for two purposes",
    withBaker({ delegate: tz1, consensus_keys: [another], authentication_key: another, signers }),
    [/^bakers\.alice\.authentication_key: .*already used by bakers\.alice\.consensus_keys\[0\]/],
  ],
  [
    "a consensus key that is the delegate",
    withBaker({ ...hot, consensus_keys: [tz1] }),
    [/^bakers\.alice\.consensus_keys\.0: .*which is the delegate -> .*leave consensus_keys out/],
  ],
  [
    "the same consensus key twice",
    withBaker({ ...hot, consensus_keys: [another, third, another] }),
    [/^bakers\.alice\.consensus_keys\.2: .*already used by bakers\.alice\.consensus_keys\[0\] -> another key/],
  ],
  [
    "the delegate twice in a rotation",
    withBaker({ ...hot, consensus_keys: [tz1, another, tz1] }),
    [/^bakers\.alice\.consensus_keys\.2: .*already used by bakers\.alice\.consensus_keys\[0\] -> another key/],
  ],
  [
    "one key as consensus and companion key",
    withBaker({ ...hot, consensus_keys: [tz4], companion_keys: [tz4] }),
    [/^bakers\.alice\.companion_keys\.0: .*already used by bakers\.alice\.consensus_keys\[0\]/],
  ],
  [
    "a key by its former name",
    withBaker({ ...hot, consensus_key: another }),
    [/^bakers\.alice\.consensus_key: a key that does not exist here; did you mean consensus_keys\?/],
  ],
  [
    "a key that is no list",
    withBaker({ ...hot, consensus_keys: another }),
    [/^bakers\.alice\.consensus_keys: "tz1.* -> a list: \["tz1/],
  ],
  [
    "two keys of one KMS key version",
    withBaker({ delegate: tz1, consensus_keys: [tz3, another], cloud_key: kms }),
    [/consensus_keys\.1: "tz1.* with cloud_key -> a tz3 address/, /consensus_keys: 2 keys with cloud_key -> one key/],
  ],
  [
    "a next key of P-256 whose signer is said to be deterministic",
    withBaker({
      delegate: tz1,
      consensus_keys: [another, tz3],
      signers: { home1: { ...signers.home1, deterministic: true } },
    }),
    [/^bakers\.alice\.signers\.home1\.deterministic: true with "tz3/],
  ],
  [
    "duplicate ports",
    {
      ...base,
      bakers: {
        alice: { delegate: tz1, signers: { home1: { ssh_public_key: ssh, port: 8443 } } },
        bob: { delegate: another, signers: { home2: { ssh_public_key: ssh2, port: 8444 } } },
      },
    },
    [
      /^bakers\.bob\.signers\.home2\.port: 8444: its tunnels use 8444, 8445, and 8444 belongs to bakers\.alice\.signers\.home1 -> .* 8445$/,
    ],
  ],
  [
    "fewer than two zones with the flag",
    { ...base, zones: ["us-central1-b"], experimental_active_standby_mode: true },
    [/^zones: \["us-central1-b"\] -> at least two zones/],
  ],
  [
    "fewer than two zones with the flag on an existing cluster",
    { ...base, cluster: { existing: { context: "kind" } }, experimental_active_standby_mode: true },
    [/^zones: \[\] -> at least two zones/],
  ],
  [
    "one zone for a regional disk",
    { ...base, zones: ["us-central1-b"] },
    [/^zones: .* -> two zones: a regional disk lies in two/],
  ],
  [
    "one zone twice",
    { ...base, zones: ["us-central1-b", "us-central1-b"] },
    [/^zones: us-central1-b twice/, /^zones: .*two zones/],
  ],
  [
    "zones outside the region",
    { ...base, zones: ["us-central1-b", "europe-west1-b"] },
    [/^zones: europe-west1-b, outside the region us-central1 -> zones of us-central1/],
  ],
  [
    "four zones",
    { ...base, zones: ["us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f"] },
    [/^zones: .* -> at most 3 items/],
  ],
  [
    "a key that is no address",
    withBaker({ ...hot, delegate: `${tz1.slice(0, -1)}6` }),
    [/^bakers\.alice\.delegate: "tz1.*" -> a tz1, tz2, tz3 or tz4 address/],
  ],
  [
    "a contract's address",
    withBaker({ ...hot, delegate: "KT1PWx2mnDueood7fEmfbBDKx1D9BAnnXitn" }),
    [/^bakers\.alice\.delegate: .*address/],
  ],
  [
    "an unsupported network",
    { ...base, network: "ghostnet" },
    [/^network: "ghostnet" -> one of "mainnet", "shadownet"$/],
  ],
  [
    "a cloud-hosted key with the flag",
    withBaker({ delegate: tz3, cloud_key: kms }, { experimental_active_standby_mode: true }),
    [/^bakers\.alice\.cloud_key: a cloud-hosted key with experimental_active_standby_mode -> signers/],
  ],
  [
    "a cloud-hosted key that is no tz3",
    withBaker({ delegate: tz1, cloud_key: kms }),
    [/^bakers\.alice\.delegate: .* with cloud_key -> a tz3 address/],
  ],
  [
    "a hot key on mainnet with the flag",
    { ...base, network: "mainnet", experimental_active_standby_mode: true },
    [/^bakers\.alice\.hot_test_key: true on mainnet with experimental_active_standby_mode -> signers/],
  ],
  [
    "a hot key on mainnet",
    { ...base, network: "mainnet" },
    [/^bakers\.alice\.hot_test_key: true on mainnet -> signers/],
  ],
  [
    "a secret inside bakers",
    withBaker({ ...hot, delegate: secretKey }),
    [/^bakers\.alice\.delegate: a private Tezos key \(not shown\) -> .*`secrets`/],
  ],
  [
    "a secret under a key of its own",
    withBaker({ ...hot, private_key: "x" }),
    [/^bakers\.alice\.private_key: a value whose name says that it is secret/],
  ],
  [
    "a private key in PEM form",
    withBaker({ ...hot, extra_baker_args: ["-----BEGIN OPENSSH PRIVATE KEY-----\nabc"] }),
    [/^bakers\.alice\.extra_baker_args\.0: a private key in PEM form/],
  ],
  [
    "a webhook outside of secrets",
    { ...base, labels: { hook: "https://hooks.slack.com/services/T/B/x" } },
    [/^labels\.hook: a Slack webhook URL/],
  ],
  ["nobody who signs", withBaker({ delegate: tz1 }), [/^bakers\.alice: nobody who signs -> exactly one of/]],
  ["two ways to sign", withBaker({ ...hot, signers }), [/^bakers\.alice: signers and hot_test_key -> exactly one of/]],
  ["no bakers", { ...base, bakers: {} }, [/^bakers: \{\} -> at least one baker/]],
  ["no project", { ...base, project: null }, [/^project: nothing -> the id of a Google Cloud project/]],
  ["nothing at all", {}, [/^network: nothing/, /^bakers: nothing -> a map/, /^project: nothing/]],
  [
    "a baker's name that is no DNS label",
    { ...base, bakers: { Alice: hot } },
    [/^bakers\.Alice: the name "Alice" -> a name of 2 to 30/],
  ],
  [
    "a tz4 key with DAL and no companion",
    withBaker({ ...hot, consensus_keys: [tz4] }),
    [/^bakers\.alice\.companion_keys: nothing beside "tz4.* -> .*\["tz4\.\.\."\]/],
  ],
  [
    "a tz4 key with DAL and an empty list of companions",
    withBaker({ ...hot, consensus_keys: [tz4], companion_keys: [] }),
    [/^bakers\.alice\.companion_keys: nothing beside "tz4/],
  ],
  [
    "a next tz4 key with DAL and no companion",
    withBaker({ ...hot, consensus_keys: [tz1, tz4] }),
    [/^bakers\.alice\.companion_keys: nothing beside "tz4/],
  ],
  [
    "a companion key beside a tz1 key",
    withBaker({ ...hot, companion_keys: [tz4] }),
    [/^bakers\.alice\.companion_keys: a companion key beside "tz1.* -> a tz4 key in consensus_keys/],
  ],
  [
    "a companion key that is no tz4",
    withBaker({ ...hot, consensus_keys: [tz4], companion_keys: [third] }),
    [/^bakers\.alice\.companion_keys\.0: "tz1.* -> a tz4 address/],
  ],
  [
    "an authentication key without signers",
    withBaker({ ...hot, authentication_key: another }),
    [/authentication_key: a key without signers, which would be ignored/],
  ],
  [
    "Hyperdisk on a machine without it",
    { ...base, disk: { type: "hyperdisk-balanced" }, experimental_active_standby_mode: true },
    [/^disk\.type: .*e2-highmem-4/],
  ],
  [
    "Hyperdisk as a regional disk",
    { ...base, disk: { type: "hyperdisk-balanced" }, machine_type: "c3-highmem-4" },
    [/^disk\.type: .*no regional disks/],
  ],
  [
    "an open control plane",
    { ...base, control_plane: { endpoint: "ip", authorized_networks: { all: "0.0.0.0/0" } } },
    [/^control_plane\.authorized_networks\.all: "0\.0\.0\.0\/0" -> .*never everybody/],
  ],
  [
    "an address endpoint for nobody",
    { ...base, control_plane: { endpoint: "ip" } },
    [/authorized_networks: none with endpoint = "ip"/],
  ],
  [
    "authorized networks that would be ignored",
    { ...base, control_plane: { authorized_networks: { office: "203.0.113.7/32" } } },
    [/which would be ignored -> endpoint = "ip"/],
  ],
  [
    "a block hash without its snapshot",
    { ...base, snapshot: { block_hash: `BL${"1".repeat(49)}` } },
    [/^snapshot\.url: nothing beside block_hash/],
  ],
  [
    "a snapshot that is no URL",
    { ...base, snapshot: { url: "mainnet.rolling" } },
    [/^snapshot\.url: "mainnet\.rolling" -> an http or https URL/],
  ],
  [
    "timings that contradict each other",
    { ...base, timings: { lease_seconds: 5 } },
    [/^timings\.lease_seconds: 5 -> lease_seconds \(5\) must exceed renew_deadline_seconds/],
  ],
  ...[600, 1_000_000, 0.1].map((seconds): [string, Values, RegExp[]] => [
    `a head that counts as fresh for ${seconds} s`,
    { ...base, timings: { head_fresh_seconds: seconds } },
    [/^timings\.head_fresh_seconds: \S+ -> a number of at (most 60|least 5)$/],
  ]),
  [
    "a pod that ends before it has handed over",
    { ...base, timings: { pre_stop_seconds: 12 } },
    [/^timings\.pre_stop_seconds: 12 -> pre_stop_seconds \(12\) must exceed termination_wait_seconds/],
  ],
  [
    "a fractional lease",
    { ...base, timings: { lease_seconds: 6.5 } },
    [/^timings\.lease_seconds: 6\.5 -> a whole number/],
  ],
  [
    "a maintenance window that ends before it begins",
    { ...base, maintenance: { start: "2026-01-05T08:00:00Z", end: "2026-01-05T07:00:00Z" } },
    [/^maintenance\.end/],
  ],
  [
    "e-mail alerts without a mail server",
    { ...base, monitoring: { emails: ["a@example.org"] } },
    [/^monitoring\.smtp_host/, /^monitoring\.email_from/],
  ],
  [
    "a Telegram chat by its name",
    { ...base, monitoring: { telegram_chat_id: "@bakery" } },
    [/^monitoring\.telegram_chat_id: "@bakery" -> a number without quotes$/],
  ],
  [
    "a Telegram chat that is none",
    { ...base, monitoring: { telegram_chat_id: 0 } },
    [/^monitoring\.telegram_chat_id: 0 -> the number of a chat/],
  ],
  [
    "a Telegram bot without a chat",
    { ...base, secrets: { telegram_bot_token: telegramToken } },
    [/^monitoring\.telegram_chat_id: nothing beside secrets\.telegram_bot_token, .* -> the number of the chat/],
  ],
  [
    "a Discord webhook that nobody uses",
    { ...base, monitoring: { discord: false }, secrets: { discord_webhook_url: discordWebhook } },
    [/^monitoring\.discord: nothing beside secrets\.discord_webhook_url, .* -> true; or leave the secret out$/],
  ],
  [
    "a Slack webhook without a channel",
    { ...base, secrets: { slack_webhook_url: "https://hooks.slack.com/services/x" } },
    [/^monitoring\.slack_channel: nothing beside secrets\.slack_webhook_url/],
  ],
  [
    "a bot's token and a webhook of other forms",
    {
      ...{ ...base, monitoring: { telegram_chat_id: -100, discord: true } },
      secrets: { telegram_bot_token: "@bakery_bot", discord_webhook_url: `${discordWebhook}/slack` },
    },
    [
      /^secrets\.telegram_bot_token: a text of another form \(not shown\) -> 123456789:AA/,
      /^secrets\.discord_webhook_url: a text of another form \(not shown\) -> https:\/\/discord\.com/,
    ],
  ],
  [
    "a bot's token in the wrong place",
    { ...base, labels: { bot: telegramToken } },
    [/^labels\.bot: a Telegram bot's token/],
  ],
  [
    "a Discord webhook in the wrong place",
    { ...base, labels: { hook: discordWebhook } },
    [/^labels\.hook: a Discord webhook URL/],
  ],
  [
    "a list of addresses that does not fit the pods",
    withBaker({ ...hot, dal: { public_addresses: ["a:1", "b:2"] } }),
    [/public_addresses: 2 addresses for 1 pod/],
  ],
  [
    "a region that does not exist",
    { ...base, region: "us-central9", zones: ["us-central1-b", "us-central1-c"] },
    [/^region: "us-central9", which Google does not have -> "us-\w+", or unlisted_zones = true/],
  ],
  [
    "a zone that does not exist",
    { ...base, zones: ["us-central1-b", "us-central1-x"] },
    [/^zones: us-central1-x, which Google does not have -> zones among us-central1-a, /],
  ],
  ...["default", "kube-system"].map((namespace): [string, Values, RegExp[]] => [
    `the namespace ${namespace}`,
    { ...base, namespace },
    [/^namespace: "[\w-]+" -> a namespace of its own/],
  ]),
  [
    "one SSH key for two signers",
    withBaker({ delegate: tz1, signers: { home1: signers.home1, home2: { ssh_public_key: ssh, port: 8500 } } }),
    [/^bakers\.alice\.signers\.home2\.ssh_public_key: the key of bakers\.alice\.signers\.home1/],
  ],
  ...(
    [
      ["no way at all", {}, /^bakers\.alice\.signers\.home1: no way to it -> ssh_public_key and port .* url = /],
      [
        "half a tunnel",
        { ssh_public_key: ssh },
        /^bakers\.alice\.signers\.home1\.port: nothing -> port, which a tunnel/,
      ],
      [
        "both ways",
        { ...signers.home1, url: "http://10.8.0.5:6732" },
        /\.port: port beside url -> either .* or url with/,
      ],
      [
        "ranges of a tunnel",
        { ...signers.home1, ranges: ["10.8.0.0/24"] },
        /\.ranges: ranges without url, which would/,
      ],
      [
        "a protocol beside a URL, which has one",
        { url: "http://10.8.0.5:6732", protocol: "tcp" },
        /\.protocol: protocol beside url -> either .* or url with/,
      ],
      [
        "tcp with a key",
        { url: "tcp://10.8.0.5:7732/tz4R6oqYMfRxvjD7AkQiRKuttsBiMiDJ3vRP" },
        /\.url: "tcp:.*" -> host and port alone, like "tcp:/,
      ],
      ["a password", { url: "http://me:hunter2@10.8.0.5" }, /\.url: a URL with a user or a password \(not shown\) -> /],
      ["the pod itself", { url: "http://localhost:6732" }, /\.url: "http:.*" -> an address that other machines reach/],
      [
        "a name alone",
        { url: "http://tezsign.lan" },
        /\.ranges: nothing beside a name, .* -> one of: ranges = .*namespace/,
      ],
      [
        "two ways of a name",
        { url: "http://a.vpn.svc", ranges: ["10.8.0.0/24"], namespace: "vpn" },
        /\.namespace: ranges and namespace -> one of/,
      ],
      ["no ranges", { url: "http://a.lan", ranges: [] }, /\.ranges: \[\] -> at least one range$/],
      [
        "everybody",
        { url: "http://a.lan", ranges: ["10.0.0.0/15"] },
        /\.ranges: "10.*" -> the signer's own ranges, of at/,
      ],
      [
        "metadata",
        { url: "http://a.lan", ranges: ["169.254.169.254/32"] },
        /\.ranges: "169.*" -> .* no loopback or link/,
      ],
      [
        "ranges of an address",
        { url: "http://10.8.0.5", ranges: ["10.8.0.0/24"] },
        /\.ranges: ranges beside an address -> nothing: an address opens exactly itself$/,
      ],
    ] as const
  ).map(([name, home1, pattern]): [string, Values, RegExp[]] => [
    `a signer with ${name}`,
    withBaker({ delegate: tz1, signers: { home1 } }),
    name === "both ways" ? [pattern, /\.ssh_public_key: ssh_public_key beside url/] : [pattern],
  ]),
  [
    "one signer under two names",
    withBaker({ delegate: tz1, signers: { b1: { url: "http://10.8.0.5/x" }, b2: { url: "http://10.8.0.5:80/x/" } } }),
    [/^bakers\.alice\.signers\.b2\.url: 10\.8\.0\.5:80\/x, which is b1 -> each signer once/],
  ],
  ["a floating image", { ...base, images: { octez: "docker.io/tezos/tezos:latest" } }, [/^images\.octez: .*:latest"/]],
  ["an image without a tag", { ...base, images: { octez: "docker.io/tezos/tezos" } }, [/^images\.octez: /]],
  [
    "an Octez release of long ago",
    { ...base, octez_version: "v2.51" },
    [/^octez_version: "v2\.51", which is no release that bakes today -> a release near "v\d+/],
  ],
  [
    "signers whom everybody may reach by silence",
    withBaker({ delegate: tz1, signers }, { signer_link: {} }),
    [/^signer_link\.source_ranges: nothing beside signers -> where .* \["0\.0\.0\.0\/0"\] where anybody may try/],
  ],
  [
    "a snapshot over http without its block",
    { ...base, snapshot: { url: "http://example.org/rolling" } },
    [/^snapshot\.block_hash: nothing beside a URL over http/],
  ],
  [
    "30 February",
    { ...base, maintenance: { exclusions: { x: { start: "2026-02-30T08:00:00Z", end: "2026-03-30T08:00:00Z" } } } },
    [/^maintenance\.exclusions\.x\.start: "2026-02-30T08:00:00Z" -> a time in UTC that exists/],
  ],
  [
    "a list as one text",
    { ...base, zones: "us-central1-b, us-central1-c" },
    [/^zones: .* -> a list: \["us-central1-b", "us-central1-c"\]$/],
  ],
  ["a list of bakers", { ...base, bakers: [{ name: "alice" }] }, [/^bakers: a list, or a block .* bakers = \{ NAME/]],
  [
    "a text without quotes",
    { ...base, network: "${shadownet}" },
    [/^network: shadownet without quotes -> .*"shadownet"$/],
  ],
  [
    "yes",
    { ...base, experimental_active_standby_mode: "${yes}" },
    [/^experimental_active_standby_mode: yes without quotes -> true$/],
  ],
  ...["edesk1xyz", "encrypted:edesk1xyz"].map((key): [string, Values, RegExp[]] => [
    `an encrypted key (${key.slice(0, 5)})`,
    { ...base, secrets: { hot_keys: { alice: { [tz1]: key } } } },
    [/^secrets\.hot_keys\.alice\.tz1\w+: an encrypted key \(not shown\)/],
  ]),
  ["an expression", { ...base, project: "${var.x}" }, [/^project: an expression, .* -> a value/]],
  [
    "secrets of another shape",
    { ...base, secrets: { hot_keys: secretKey } },
    [/^secrets\.hot_keys: something else \(not shown\) -> a map/],
  ],
  [
    "an unknown secret",
    { ...base, secrets: { slack_webhook: "https://hooks.slack.com/services/x" } },
    [/^secrets\.slack_webhook: .*did you mean slack_webhook_url\?/],
  ],
];

test("what may be right all the same is a warning, or has a word of confirmation", () => {
  expect(errors({ ...base, region: "us-central9", unlisted_zones: true })).toEqual([]);
  const warnings = (values: Values) => crossFieldFindings(values).warnings.join("\n");
  expect(warnings({ ...base, octez_version: "v99.0" })).toMatch(
    /octez_version v99\.0 is none of those .* \(v25\.1 for Ushuaia \(025\)\)\. Check the protocols/,
  );
  expect(warnings({ ...base, octez_version: defaultOctezVersion })).not.toContain("octez_version");
  const octez = (version: string) => ({
    octez: `docker.io/tezos/tezos-bare:octez-${version}@sha256:${"0".repeat(64)}`,
  });
  expect(warnings({ ...base, images: octez("v25.0") })).toContain(
    "images.octez is of Octez v25.0, and octez_version is",
  );
  expect(warnings({ ...base, images: octez(defaultOctezVersion) })).not.toContain("images.octez");
  expect(warnings({ ...base, cluster: { existing: { context: "c" } }, machine_type: "n2-standard-4" })).toMatch(
    /machine_type: ignored with cluster\.existing/,
  );
  expect(warnings(withBaker({ delegate: tz1, signers }, { signer_link: { source_ranges: ["0.0.0.0/0"] } }))).toContain(
    "lets everybody reach",
  );
});

test.each(cases)("%s is refused with the path, what was found and what to write", (_name, values, patterns) => {
  const found = errors(values);
  expect(found).toHaveLength(patterns.length);
  patterns.forEach((pattern) => expect(found).toContainEqual(expect.stringMatching(pattern)));
  expect(found.join("\n")).not.toContain(secretKey);
});

test("all errors of a configuration are reported at once", () => {
  const found = errors({
    network: "ghostnet",
    regoin: "x",
    zones: ["europe-west1-b"],
    experimental_active_standby_mode: true,
    bakers: {
      alice: { delegate: "tz1x", signers: { home1: { ssh_public_key: "rsa", port: 80 } } },
      bob: { delegate: tz1 },
    },
  });
  for (const path of [
    "network",
    "regoin",
    "project",
    "zones",
    "bakers.alice.delegate",
    "bakers.alice.signers.home1.port",
    "bakers.bob",
  ])
    expect(found.filter((line) => line.startsWith(`${path}:`)).length).toBeGreaterThan(0);
});

test("a service name of more than 63 characters is refused, because Kubernetes would", () => {
  const found = errors({
    ...base,
    region: "northamerica-northeast1",
    bakers: { ["a".repeat(30)]: { delegate: tz1, signers: { "a-rather-long-name-1": signers.home1 } } },
  });
  expect(found).toEqual([
    expect.stringMatching(
      /service name "a{30}-signer-a-rather-long-name-1-northamerica-northeast1-b" with \d+ characters/,
    ),
  ]);
});

test("the right configurations next to the refused ones are accepted", () => {
  for (const values of [
    withBaker({ delegate: tz3, cloud_key: kms }),
    withBaker({ ...hot, consensus_keys: [tz4], companion_keys: [tz4b] }),
    withBaker({ ...hot, consensus_keys: [tz4], dal: { enabled: false } }),
    withBaker({ ...hot, consensus_keys: [another, third] }),
    withBaker({ ...hot, consensus_keys: [tz1, tz4], companion_keys: [tz4b] }),
    withBaker({ ...hot, consensus_keys: [], companion_keys: [] }),
    withBaker(
      { delegate: tz1, consensus_keys: [another], authentication_key: third, signers },
      { network: "mainnet", experimental_active_standby_mode: true },
    ),
    // No tunnel, so nobody comes through the signer link.
    withBaker({ delegate: tz1, signers: { home1: { url: "http://10.8.0.5:6732" } } }, { signer_link: {} }),
    withBaker({
      delegate: tz1,
      signers: {
        b1: { url: "http://10.8.0.5/alice" },
        b2: { url: "http://10.8.0.5" },
        b3: { url: "http://10.8.0.5/b" },
      },
    }),
    withBaker({ delegate: tz1, signers: { ...signers, vpn: { url: "https://a.vpn.svc", namespace: "vpn" } } }),
    { ...base, cluster: { existing: { context: "kind" } }, project: null },
    { ...base, control_plane: { endpoint: "ip", authorized_networks: { office: "203.0.113.7/32" } } },
    { ...base, secrets: { hot_keys: { alice: { [tz1]: `unencrypted:${secretKey}` } } } },
  ])
    expect(errors(values)).toEqual([]);
});

test("what works but will surprise is a warning: remote signers without a host key to trust, or with nothing to show", () => {
  const named = (values: object) =>
    crossFieldFindings(values as Record<string, unknown>).warnings.map((text) => text.split(" ")[0]);
  expect(named(withBaker({ delegate: tz1, signers }))).toEqual([
    "signer_link.host_public_key",
    "bakers.alice.authentication_key",
    "Terraform",
  ]);
  const whole = { signer_link: { host_public_key: "ssh-ed25519 AAAA" }, state: { bucket: "b" } };
  expect(named(withBaker({ delegate: tz1, authentication_key: another, signers }, whole))).toEqual([]);
  expect(named(withBaker(hot, { state: { bucket: "b" } }))).toEqual([]);
});

test("http over the internet is a warning; http in a VPN, and https, are not; a URL needs nothing of the signer link", () => {
  const warnings = (signer: object) =>
    crossFieldFindings(withBaker({ delegate: tz1, signers: { a1: signer } }, { state: { bucket: "b" } })).warnings;
  expect(warnings({ url: "http://203.0.113.9:6732" })).toEqual([expect.stringMatching(/a1\.url is http to a public/)]);
  expect(warnings({ url: "http://a.example", ranges: ["10.8.0.0/24", "203.0.113.0/24"] })).toHaveLength(1);
  for (const signer of [
    { url: "https://203.0.113.9" },
    { url: "http://100.64.3.4" },
    { url: "http://a.lan", ranges: ["10.8.0.0/24"] },
    { url: "http://a.vpn.svc", namespace: "vpn" },
  ])
    expect(warnings(signer)).toEqual([]);
});

test("without the flag several keys and several signers are a warning: octez-baker asks the first signer alone", () => {
  const two = { a1: { url: "http://10.8.0.5" }, b2: { url: "http://10.8.0.6" } };
  const warnings = (baker: object, flag = false) =>
    crossFieldFindings(
      withBaker({ delegate: tz1, ...baker }, { state: { bucket: "b" }, experimental_active_standby_mode: flag }),
    ).warnings;
  const rotation = { consensus_keys: [tz1, tz4], companion_keys: [tz4b] };
  expect(warnings({ ...rotation, signers: two })).toEqual([
    expect.stringMatching(
      /^bakers\.alice\.signers: .* asks a1 alone, which must hold all 3 keys .*; b2 is never asked/,
    ),
  ]);
  expect(warnings({ ...rotation, signers: two }, true)).toEqual([]);
  expect(warnings({ ...rotation, signers: { a1: two.a1 } })).toEqual([]);
  expect(warnings({ signers: two })).toEqual([]);
});

test("a key in Google's KMS comes with a warning about what signs with it", () => {
  expect(crossFieldFindings(withBaker({ delegate: tz3, cloud_key: kms }, { state: { bucket: "b" } })).warnings).toEqual(
    [expect.stringMatching(/^bakers\.alice\.cloud_key signs through Signatory v1\.4\.0, its last release/)],
  );
});

test("secrets never become part of the configuration", () => {
  const configuration = parseConfiguration({
    ...{ ...base, monitoring: { slack_channel: "#bakery" } },
    secrets: { hot_keys: { alice: { [tz1]: `unencrypted:${secretKey}` } }, slack_webhook_url: "https://x" },
  });
  expect(JSON.stringify(configuration)).not.toContain(secretKey);
  expect(configuration).not.toHaveProperty("secrets");
  expect(configuration.given).not.toHaveProperty("secrets");
});

test("error texts hide secrets at any depth and are short", () => {
  expect(show({ a: [`unencrypted:${secretKey}`], password: "hunter2" })).toBe(
    '{"a":["(secret, not shown)"],"password":"(secret, not shown)"}',
  );
  expect(show("x".repeat(1000)).length).toBeLessThanOrEqual(80);
  for (const secret of [secretKey, telegramToken, discordWebhook])
    expect(redact(`near ${secret} .`)).toBe("near (secret, not shown) .");
});

test("the nearest name is found over case, swaps and typing errors, and nothing is guessed from afar", () => {
  const known = ["region", "zones", "experimental_active_standby_mode"];
  expect(didYouMean("regoin", known)).toBe("region");
  expect(didYouMean("experimentalActiveStandbyMode", known)).toBe("experimental_active_standby_mode");
  expect(didYouMean("experimental-active-standby", known)).toBe("experimental_active_standby_mode");
  expect(didYouMean("colour", known)).toBeUndefined();
  expect(distance("regoin", "region")).toBe(1);
});
