/** docs/configuration.md from the schema. */
import { configurationKeys, secretKeys, type KeyInfo } from "../../configuration/keys";
import { snakeCase } from "../../configuration/schema";
import { defaultTimings, timingBounds, type Timings } from "../../contract/timings";
import { type GeneratedDocument } from "../docs";

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

/** A value as HCL. */
function hcl(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(hcl).join(", ")}]`;
  if (typeof value === "object" && value !== null)
    return Object.keys(value).length === 0
      ? "{}"
      : `{ ${Object.entries(value)
          .map(([key, inner]) => `${key} = ${hcl(inner)}`)
          .join(", ")} }`;
  return JSON.stringify(value);
}

/** One row for each key, objects followed by their keys; a free name is written <name>. */
function rows(keys: Readonly<Record<string, KeyInfo>>, prefix: string): string[] {
  return Object.entries(keys).flatMap(([key, info]) => {
    const path = `${prefix}${key}`;
    const value = info.required ? "**required**" : info.default === undefined ? "" : `\`${hcl(info.default)}\``;
    const row = `| \`${path}\` | ${cell(info.type)} | ${cell(value)} | ${cell(info.description)} |`;
    if (info.children) return [row, ...rows(info.children, `${path}.`)];
    return info.values?.children ? [row, ...rows(info.values.children, `${path}.<name>.`)] : [row];
  });
}

const head = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"];

/** What an operator of the predecessor wrote, and where it is now. */
const predecessor: [string, string][] = [
  ["`project`, `region`", "`project`, `region`"],
  ["`node_locations`", "`zones`"],
  ["`kubernetes_namespace`", "`namespace`"],
  ["`kubernetes_name_prefix`", "`name`"],
  ["`tezos_network`", "`network`; `ghostnet` is `shadownet` now"],
  ["`snapshot_url`", "`snapshot.url`, with `snapshot.block_hash`"],
  ["`history_mode`", "`history_mode`"],
  ["`node_storage_size`", "`disk.size_gib`"],
  ["`baking_nodes.<node>.<baker>`", "`bakers.<name>`: every baker has a node of its own"],
  ["`public_baking_key_hash`", "`bakers.<name>.delegate`, or `consensus_keys` where another key signs"],
  ["`public_baking_key`", "not needed: the signer tells it"],
  ["`insecure_private_baking_key`", "`bakers.<name>.hot_test_key = true` and `secrets.hot_keys`; not on mainnet"],
  ["`ledger_authorized_path`", "not needed: the signer host knows it (`npm run signer-host`)"],
  ["`authorized_signers[].ssh_pubkey`", "`bakers.<name>.signers.<name>.ssh_public_key`"],
  [
    "`authorized_signers[].tunnel_endpoint_port`, `signer_port`",
    "`bakers.<name>.signers.<name>.port`; the port at home is the signer host's own business",
  ],
  ["`signer_target_host_key`", "`secrets.signer_link_host_key` or `signer_link.host_key_secret`"],
  ["`monitoring_slack_url`", "`secrets.slack_webhook_url` with `monitoring.slack_channel`"],
  ["`rpc_subnet_whitelist`", "gone on purpose: the RPC listens inside the pod only; `kubectl port-forward` reaches it"],
  ["`experimental_active_standby_mode`", "`experimental_active_standby_mode`"],
  ["the entry point for an existing cluster", '`cluster = { existing = { context = "..." } }`'],
];

export const document: GeneratedDocument = {
  file: "docs/configuration.md",
  render: () => {
    const keys = Object.fromEntries(Object.entries(configurationKeys).filter(([key]) => key !== "timings"));
    return [
      "# Configuration",
      "",
      "Generated from `configuration/schema.ts` by `npm run docs`; a test fails when it is stale.",
      "",
      "Write `terraform.tfvars`, `terraform.tfvars.json` or any `*.auto.tfvars[.json]` in the project's folder. `examples/` has complete ones.",
      "Later ones win: `cdktf.json`'s `context`, `TF_VAR_<key>`, `terraform.tfvars`, `terraform.tfvars.json`, `*.auto.tfvars[.json]` by name, then",
      "`--var` and `--var-file` in their order. A later value replaces an earlier one whole; maps are not merged.",
      "`--var`, `--var-file` and `TF_VAR_` need `npm run synth|diff|deploy|destroy -- ...`: the bare `cdktf` command gives them to Terraform only, and",
      "the plan then fails with instructions instead of ignoring them.",
      "",
      "All errors are reported at once, each with the key's path, what was found and what to write.",
      "",
      "## Keys",
      "",
      ...head,
      ...rows(keys, ""),
      "",
      "## Rules between keys",
      "",
      "- A created cluster has two or three zones, all in `region`; with `experimental_active_standby_mode` an existing cluster has at least two as well.",
      "- A baker has exactly one of `signers`, `hot_test_key` and `cloud_key`. `hot_test_key` is refused on mainnet. `cloud_key` signs with a tz3 address and",
      "  is refused with `experimental_active_standby_mode`.",
      "- A key stands once in all of the configuration, and in one environment only. The delegate's address may stand in its own `consensus_keys` as well, beside another.",
      "- A tz4 key that signs with DAL needs one of `companion_keys`, which are tz4 keys beside a tz4 key. `cloud_key` has one key and cannot be rotated without a pause.",
      "- A signer has `ssh_public_key` and `port`, or a `url`; beside it `ranges` or `namespace` where its host is a name.",
      "- A signer with a tunnel takes as many consecutive ports as there are zones; no two signers share one.",
      "- No private key, webhook or password outside of `secrets`.",
      "",
      "## `secrets`",
      "",
      "A variable of its own, sensitive, which synth neither keeps nor writes: put it into `secrets.auto.tfvars` (git ignores it), or into `TF_VAR_secrets`.",
      "Terraform hands it to the cluster and keeps it neither in a plan nor in its state, which has a revision of each secret: a slow, salted hash.",
      "",
      ...head,
      ...rows(secretKeys, "secrets."),
      "",
      "```hcl",
      "secrets = {",
      '  hot_keys             = { alice = { "tz1..." = "unencrypted:edsk..." } }',
      '  authentication_keys  = { alice = "unencrypted:edsk..." }',
      "  signer_link_host_key = <<EOT",
      "-----BEGIN OPENSSH PRIVATE KEY-----",
      "...",
      "-----END OPENSSH PRIVATE KEY-----",
      "EOT",
      "}",
      "```",
      "",
      "## `timings`",
      "",
      "Keys of `timings`. Change them together or not at all: the bounds and the rules between them are checked at synth and when a daemon starts.",
      "",
      "| key | default | least | most |",
      "| --- | --- | --- | --- |",
      ...Object.entries(defaultTimings).map(([key, value]) => {
        const { least, most } = timingBounds(key as keyof Timings);
        return `| \`timings.${snakeCase(key)}\` | \`${value}\` | \`${least}\` | \`${most}\` |`;
      }),
      "",
      "## Coming from the predecessor",
      "",
      "| there | here |",
      "| --- | --- |",
      ...predecessor.map(([there, here]) => `| ${there} | ${here} |`),
      "",
    ].join("\n");
  },
};
