/**
 * The configuration of both stacks: every key of terraform.tfvars, in snake_case as Terraform shows it.
 * docs/configuration.md is generated from the descriptions here. Rules between keys are in rules.ts; both report
 * together.
 */
import { z } from "zod";
import { decodeAddress } from "../tezos/addresses";
import { defaultOctezVersion } from "../contract/images";
import { bakerNamePattern } from "../contract/names";
import { networkNames } from "../contract/networks";
import { timingsSchema, type Timings } from "../contract/timings";
import { regionsAsOf } from "./regions";

/** A string of a form: `write` says what to write instead, with an example. */
const text = (pattern: RegExp, write: string) => z.string().regex(pattern, { error: write });
const address = z.string().refine((value) => decodeAddress(value) !== undefined, {
  error: ({ input }) =>
    typeof input === "string" && input.startsWith("tz5")
      ? "a tz1, tz2, tz3 or tz4 address: the votes of tz5 keys (ML-DSA) are not understood yet"
      : "a tz1, tz2, tz3 or tz4 address with a valid checksum",
});
const dnsLabel = (write: string) => text(/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/, write);
const octet = "(25[0-5]|2[0-4]\\d|1?\\d?\\d)";
export const cidrPattern = new RegExp(`^(${octet}\\.){3}${octet}/(3[0-2]|[12]?\\d)$`);
const cidr = text(cidrPattern, 'an IPv4 range, like "203.0.113.7/32"');
const peer = text(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'HOST:PORT, like "sentry-1.example.org:9732"');
const timeInUtc = 'a time in UTC that exists, like "2026-01-05T08:00:00Z"';
/** A date like 30 February moves to another one when it is read. */
const instant = text(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/, timeInUtc).refine(
  (value) => new Date(value).getTime() > 0 && new Date(value).toISOString().replace(".000Z", "Z") === value,
  { error: timeInUtc },
);
/** Also the alphabet of a signer's name: it becomes part of service names. */
export const signerNamePattern = /^[a-z][a-z0-9-]{0,18}[a-z0-9]$/;

export const signerConfigurationSchema = z
  .strictObject({
    ssh_public_key: text(
      /^ssh-ed25519 [A-Za-z0-9+/]{68}(={0,2})( \S.*)?$/,
      'an Ed25519 public key, like "ssh-ed25519 AAAA... home1"',
    )
      .optional()
      .describe("Public key with which the signer host opens its tunnels. Ed25519. With `port`, or else `url`."),
    port: z
      .number()
      .int()
      .min(1024)
      .max(65000)
      .optional()
      .describe(
        "First external TCP port of this signer's tunnels; zone number n uses port + n. Unique over all signers of all bakers.",
      ),
    protocol: z
      .enum(["http", "tcp"])
      .optional()
      .describe(
        'What is spoken through the tunnel: octez-signer\'s HTTP protocol, or with "tcp" its TCP protocol, with which a Russignol answers itself. http where it is left out; a `url` says it by its scheme.',
      ),
    url: z
      .string()
      .optional()
      .describe(
        "Instead of a tunnel: where a signer answers that is reached some other way (a VPN, another cluster), over http or https, without user and query; tcp://HOST:PORT where it speaks octez-signer's TCP protocol, as Russignol does. The baking pods may then reach exactly its host and port.",
      ),
    ranges: z
      .array(cidr)
      .optional()
      .describe("IPv4 ranges in which the host of `url` lies, where that is a name; at most 65,536 addresses each."),
    namespace: dnsLabel('a Kubernetes namespace, like "vpn"')
      .optional()
      .describe(
        "Namespace whose pods answer for the host of `url`, where that is a service of this cluster. Instead of `ranges`; its ports are the pods' own.",
      ),
    deterministic: z
      .boolean()
      .default(false)
      .describe(
        "True where the same bytes always give the same signature: repeating a block request is then harmless. octez-signer does so for tz1, tz2 and tz4, Signatory's file vault for tz1 and tz4 only; refused for tz3. Leave it out where you do not know.",
      ),
  })
  .readonly();

export const bakerConfigurationSchema = z
  .strictObject({
    delegate: address.describe("Address of the delegate: whose rights and rewards this baker is for."),
    consensus_keys: z
      .array(address)
      .default([])
      .describe(
        "Consensus keys that sign for the delegate: the present one and, before a rotation, the next one beside it; the chain decides which of them is active. Empty: the delegate's own key signs. While that one is the present key, the list has the delegate's address, too.",
      ),
    companion_keys: z
      .array(address)
      .default([])
      .describe(
        "Companion keys (tz4) of the delegate, present and next: a tz4 key that attests the DAL needs one beside it.",
      ),
    authentication_key: address
      .optional()
      .describe(
        "Address of the key with which the baker authenticates itself to its signers; the key itself is in `secrets.authentication_keys`.",
      ),
    signers: z
      .record(
        text(signerNamePattern, "a name of 2 to 20 of a-z, 0-9, - (first a letter, last no -)"),
        signerConfigurationSchema,
      )
      .default({})
      .describe("Remote signers, in order of preference by name: signer name -> its tunnel, or its URL."),
    hot_test_key: z
      .boolean()
      .default(false)
      .describe("A signer in the cluster holds the key, which stands in `secrets.hot_keys`. Test networks only."),
    cloud_key: text(
      /^projects\/[^/]+\/locations\/[^/]+\/keyRings\/[^/]+\/cryptoKeys\/[^/]+\/cryptoKeyVersions\/\d+$/,
      '"projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1"',
    )
      .optional()
      .describe(
        "Google Cloud KMS key version that signs (P-256, so a tz3 address), through Signatory, which is no longer developed. Not with experimental_active_standby_mode.",
      ),
    dal: z
      .strictObject({
        enabled: z.boolean().default(true).describe("Run a DAL node beside the baker."),
        public: z
          .boolean()
          .default(true)
          .describe("Give each pod's DAL node a load balancer, so that others reach its port 11732."),
        public_addresses: z
          .array(peer)
          .default([])
          .describe(
            "HOST:PORT of each pod's DAL node by ordinal, where something else than this program makes it reachable.",
          ),
      })
      .readonly()
      .prefault({})
      .describe("Data availability layer."),
    accuser: z.boolean().default(false).describe("Run octez-accuser in the baking pod."),
    liquidity_baking_vote: z
      .enum(["pass", "on", "off"])
      .default("pass")
      .describe("Vote on the liquidity baking subsidy in each block."),
    private_peers: z
      .array(peer)
      .default([])
      .describe("Sentries, HOST:PORT. With any, the node runs in private mode and talks to these only."),
    extra_baker_args: z
      .array(z.string())
      .default([])
      .describe("Further arguments of `octez-baker run`, for people who know why."),
  })
  .readonly();

/** Addresses of all keys that sign blocks and votes of a baker: consensus keys first, companion keys behind them. */
export const bakingKeys = (
  baker: Pick<BakerConfiguration, "delegate" | "consensus_keys" | "companion_keys">,
): string[] => [
  ...(baker.consensus_keys.length > 0 ? baker.consensus_keys : [baker.delegate]),
  ...baker.companion_keys,
];

/** Snake case of a contract's camelCase name: leaseSeconds -> lease_seconds. */
export const snakeCase = (name: string): string => name.replace(/([A-Z])/g, "_$1").toLowerCase();

const timingsConfigurationSchema = z
  .strictObject(
    Object.fromEntries(Object.entries(timingsSchema.shape).map(([name, schema]) => [snakeCase(name), schema])),
  )
  .transform((value, context): Timings => {
    const camel = Object.fromEntries(Object.keys(timingsSchema.shape).map((name) => [name, value[snakeCase(name)]]));
    const parsed = timingsSchema.safeParse(camel);
    if (parsed.success) return parsed.data;
    for (const issue of parsed.error.issues)
      context.addIssue({
        code: "custom",
        path: issue.path.map((key) => snakeCase(String(key))),
        message: issue.message.replace(/\b[a-z]+(?:[A-Z][a-z]+)+\b/g, snakeCase),
      });
    return z.NEVER;
  });

export const configurationSchema = z
  .strictObject({
    project: text(
      /^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$/,
      'the id of a Google Cloud project, like "my-baker-1234"',
    )
      .optional()
      .describe("Google Cloud project id. Required unless `cluster.existing` is given."),
    region: text(/^[a-z]+-[a-z]+[0-9]+$/, 'a Google Cloud region, like "us-central1"')
      .default("us-central1")
      .describe("Google Cloud region of everything."),
    zones: z
      .array(text(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'a zone, like "us-central1-b"'))
      .max(3)
      .optional()
      .describe(
        "Two or three zones of the region; one baking node each. Default: zones b and c of the region. For `cluster.existing` the values of the nodes' label topology.kubernetes.io/zone, by default none.",
      ),
    unlisted_zones: z
      .boolean()
      .default(false)
      .describe(
        `True where region or zones are right although this program's table (${regionsAsOf}) does not have them.`,
      ),
    name: text(/^[a-z][a-z0-9-]{0,16}[a-z0-9]$/, '2 to 18 of a-z, 0-9, -, like "tezos"')
      .default("tezos")
      .describe("Prefix of the names of all Google Cloud resources; tells two environments of one project apart."),
    labels: z
      .record(
        text(/^[a-z][a-z0-9_-]{0,62}$/, "a label's key has up to 63 of a-z, 0-9, _, - and begins with a letter"),
        text(/^[a-z0-9_-]{0,63}$/, "a label's value has up to 63 of a-z, 0-9, _, -"),
      )
      .default({})
      .describe("Labels of all Google Cloud resources."),
    network: z
      .enum(networkNames as [string, ...string[]])
      .transform((name) => name as (typeof networkNames)[number])
      .describe("Tezos network."),
    octez_version: text(/^v\d+\.\d+(-rc\d+)?$/, `an Octez release, like "${defaultOctezVersion}"`)
      .default(defaultOctezVersion)
      .describe("Octez release."),
    history_mode: text(
      /^((rolling|full)(:\d+)?|archive)$/,
      '"rolling", "full" or "archive"; "rolling:N" and "full:N" keep N cycles more',
    )
      .default("rolling")
      .describe("History mode of the nodes."),
    snapshot: z
      .strictObject({
        url: z
          .url({ protocol: /^https?$/, error: "an http or https URL" })
          .optional()
          .describe("Snapshot to import into an empty disk. Default: the network's newest one."),
        block_hash: text(/^B[1-9A-HJ-NP-Za-km-z]{50}$/, 'a block hash, like "BL..." with 51 characters')
          .optional()
          .describe(
            "Hash of the snapshot's block. Without it the snapshot is checked against its own metadata only, and its URL must be https.",
          ),
      })
      .readonly()
      .prefault({})
      .describe("Where an empty disk is filled from."),
    disk: z
      .strictObject({
        type: z
          .enum(["pd-ssd", "pd-balanced", "hyperdisk-balanced"])
          .default("pd-ssd")
          .describe("Disk type. Hyperdisk needs a machine type that has it, and experimental_active_standby_mode."),
        size_gib: z
          .number()
          .int()
          .min(20)
          .max(65536)
          .default(100)
          .describe("Size of each node's disk. A later change is ignored for existing disks: see the resize runbook."),
      })
      .readonly()
      .prefault({})
      .describe("Disks of the nodes."),
    machine_type: text(/^[a-z][a-z0-9]*-[a-z0-9-]+$/, 'a machine type, like "e2-highmem-4"')
      .default("e2-highmem-4")
      .describe("Machine type of the baking nodes. A baker with DAL wants 4 cores and 16 GiB."),
    namespace: dnsLabel('a Kubernetes namespace, like "tezos"').default("tezos").describe("Kubernetes namespace."),
    cluster: z
      .strictObject({
        existing: z
          .strictObject({
            context: z
              .string()
              .min(1, { error: "the name of a kubeconfig context" })
              .describe("Context of the kubeconfig."),
            kubeconfig: z
              .string()
              .min(1, { error: "the path of a kubeconfig file" })
              .default("~/.kube/config")
              .describe("Path of the kubeconfig."),
            storage_class: z
              .string()
              .min(1, { error: "the name of a StorageClass" })
              .optional()
              .describe("StorageClass of the nodes' disks. Without it, classes of Google's disks are made."),
          })
          .readonly()
          .describe("Use this cluster; only the stack `baker` is deployed then."),
      })
      .readonly()
      .optional()
      .describe("Without it the stack `platform` creates a cluster."),
    control_plane: z
      .strictObject({
        endpoint: z
          .enum(["dns", "ip"])
          .default("dns")
          .describe("`dns`: Google's IAM-gated DNS endpoint. `ip`: an address, for authorized networks only."),
        authorized_networks: z
          .record(z.string().min(1), cidr)
          .default({})
          .describe("Name -> IPv4 range that may reach the `ip` endpoint. Never 0.0.0.0/0."),
      })
      .readonly()
      .prefault({})
      .describe("How the cluster's API is reached."),
    release_channel: z.enum(["STABLE", "REGULAR", "EXTENDED"]).default("STABLE").describe("GKE release channel."),
    maintenance: z
      .strictObject({
        start: instant.default("2026-01-05T08:00:00Z").describe("Begin of the first window."),
        end: instant.default("2026-01-05T14:00:00Z").describe("End of the first window."),
        recurrence: text(
          /^FREQ=(DAILY|WEEKLY)(;[A-Z]+=[A-Z0-9,]+)*$/,
          'an RFC 5545 rule, like "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH"',
        )
          .default("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH")
          .describe("When it recurs. GKE wants at least 48 hours in 32 days, in pieces of at least 4 hours."),
        exclusions: z
          .record(
            z.string().min(1),
            z.strictObject({ start: instant.describe("Begin."), end: instant.describe("End.") }).readonly(),
          )
          .default({})
          .describe("Name -> time without minor or node upgrades, for instance around a protocol's activation."),
      })
      .readonly()
      .prefault({})
      .describe("When Google may upgrade the cluster."),
    bakers: z
      .record(
        text(bakerNamePattern, "a name of 2 to 30 of a-z, 0-9, - (first a letter, last no -)"),
        bakerConfigurationSchema,
      )
      .describe(
        "Baker name -> what it bakes for and who signs. Never a secret: synth writes these values into its output.",
      ),
    experimental_active_standby_mode: z
      .boolean()
      .default(false)
      .describe("One baking node per zone, of which exactly one bakes, instead of one node on a regional disk."),
    head_max_age_seconds: z
      .number()
      .int()
      .positive()
      .default(240)
      .describe("A node is ready while its head is at most this old."),
    timings: timingsConfigurationSchema
      .prefault({})
      .describe("Timings of election, handover, gate and nonces. The defaults are proven together."),
    signer_link: z
      .strictObject({
        address: z
          .string()
          .min(1, { error: "an IP address or a host name" })
          .optional()
          .describe("Address of the link on an existing cluster. Otherwise the stack `platform` reserves one."),
        source_ranges: z
          .array(cidr)
          .default([])
          .describe(
            'IPv4 ranges from which signer hosts come. Required with `signers`; ["0.0.0.0/0"] where anybody may try.',
          ),
        host_public_key: text(
          /^ssh-ed25519 [A-Za-z0-9+/]{68}(={0,2})( \S.*)?$/,
          'an Ed25519 public key, like "ssh-ed25519 AAAA... host"',
        )
          .optional()
          .describe("Public half of the link's SSH host key, for the outputs and known_hosts."),
        host_key_secret: dnsLabel("the name of a Secret in the namespace")
          .optional()
          .describe(
            "Existing Kubernetes Secret with the key `ssh_host_ed25519_key`, instead of `secrets.signer_link_host_key`.",
          ),
      })
      .readonly()
      .prefault({})
      .describe("The way from the signers at home to the cluster."),
    monitoring: z
      .strictObject({
        enabled: z.boolean().default(true).describe("Alerts, rules and dashboards."),
        kube_prometheus_stack: z
          .boolean()
          .default(false)
          .describe("Install a Prometheus of its own instead of using Google's managed one."),
        slack_channel: text(/^#?[a-z0-9._-]+$/, 'a channel, like "#bakery"')
          .optional()
          .describe("Slack channel of the alerts; the webhook URL is in `secrets.slack_webhook_url`."),
        telegram_chat_id: z
          .int({ error: "the number of a chat, like -1001234567890" })
          .refine((id) => id !== 0, { error: "the number of a chat, like -1001234567890; 0 is none" })
          .optional()
          .describe(
            "Number of the Telegram chat of the alerts, negative for a group; the bot's token is in `secrets.telegram_bot_token`.",
          ),
        discord: z
          .boolean()
          .default(false)
          .describe("Tell Discord of the alerts, in the channel to which `secrets.discord_webhook_url` belongs."),
        emails: z
          .array(z.email({ error: "an e-mail address" }))
          .default([])
          .describe("E-mail addresses of the alerts."),
        email_from: z.email({ error: "an e-mail address" }).optional().describe("Sender of the alerts."),
        smtp_host: peer
          .optional()
          .describe("HOST:PORT of the mail server; the password is in `secrets.smtp_password`."),
        smtp_user: z.string().min(1).optional().describe("User at the mail server."),
        runbooks_url: text(
          /^\S*[^\s/]$/,
          "an address without a slash at its end, like https://github.com/me/bakery/blob/main/docs/runbooks",
        )
          .default("docs/runbooks")
          .describe("Where the runbooks are to be read: the alerts link to their pages there."),
      })
      .readonly()
      .prefault({})
      .describe("Monitoring and whom it tells."),
    images: z
      .strictObject({
        runtime: z.string().min(1).optional().describe("Our daemons."),
        baker: z.string().min(1).optional().describe("Octez with our supervisor."),
        signer_link: z.string().min(1).optional().describe("The tunnel's sshd."),
        octez: z
          .string()
          .min(1)
          .optional()
          .describe(
            "Octez as published. Default: docker.io/tezos/tezos-bare of octez_version; publish-images adds the digest that cosign verified.",
          ),
        signatory: z.string().min(1).optional().describe("Signatory, for `cloud_key`."),
      })
      .readonly()
      .prefault({})
      .describe("Images with their digests, written to images.auto.tfvars.json by `npm run publish-images`."),
    state: z
      .strictObject({
        bucket: text(/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/, "the name of a Google Cloud Storage bucket").describe(
          "Bucket: versioned, uniform access, no public access.",
        ),
        prefix: text(/^[A-Za-z0-9][A-Za-z0-9/_-]*$/, 'a prefix, like "shadownet"')
          .default("tezos-on-gke")
          .describe("One prefix per environment."),
        encryption_key: text(
          /^projects\/[^/\s]+\/locations\/[^/\s]+\/keyRings\/[^/\s]+\/cryptoKeys\/[^/\s]+$/,
          "the name of a key of Cloud KMS, like projects/P/locations/L/keyRings/R/cryptoKeys/K",
        )
          .optional()
          .describe("Key of Cloud KMS with which OpenTofu encrypts state and plans. Terraform cannot do this."),
      })
      .readonly()
      .optional()
      .describe("Where Terraform keeps its state. Without it: a local file, with a warning."),
    imports: z
      .record(
        text(/^[a-z0-9_]+\.[A-Za-z0-9_-]+$/, 'an address, like "google_container_cluster.cluster"'),
        text(/^\S+$/, "the id by which the provider imports it"),
      )
      .readonly()
      .default({})
      .describe(
        "Address -> id of what exists already and is taken over instead of made anew: see the runbook taking-over.",
      ),
    deletion_protection: z
      .boolean()
      .default(true)
      .describe("Guards cluster, disks and watermarks. Set false and deploy before `npm run destroy`."),
  })
  .transform((value) => ({
    ...value,
    zones: value.zones ?? (value.cluster ? [] : [`${value.region}-b`, `${value.region}-c`]),
  }))
  .readonly();

/**
 * The other variable. Its values never pass synth: the stacks declare it as sensitive and refer to it.
 * Only its shape is checked here.
 */
export const secretsSchema = z
  .strictObject({
    hot_keys: z
      .record(z.string(), z.record(address, z.string()))
      .optional()
      .describe('Baker -> address -> "unencrypted:edsk..." of bakers with `hot_test_key`.'),
    authentication_keys: z
      .record(z.string(), z.string())
      .optional()
      .describe('Baker -> "unencrypted:edsk..." of bakers with `authentication_key`.'),
    signer_link_host_key: z
      .string()
      .optional()
      .describe("OpenSSH Ed25519 private key, the host key of the signer link. Keep it: signer hosts trust it."),
    slack_webhook_url: z.string().optional().describe("Slack's incoming webhook."),
    telegram_bot_token: z.string().optional().describe("Token of the Telegram bot, as @BotFather tells it."),
    discord_webhook_url: z.string().optional().describe("Webhook of the Discord channel."),
    smtp_password: z.string().optional().describe("Password at the mail server."),
  })
  .readonly();

/**
 * What the constructs get: validated, with all defaults filled in, keys in snake_case, `timings` as contract/timings.ts
 * has them. No secrets.
 */
export type Configuration = z.output<typeof configurationSchema> & {
  /**
   * The values as the operator wrote them, without defaults and without `secrets`: what `declareVariables` pins.
   * Absent: nothing was written.
   */
  readonly given?: Readonly<Record<string, unknown>>;
  /** Name of the example, where the operator wrote nothing: good for looking, and its plan fails. */
  readonly example?: string;
  /** Path of each secret that was given, joined by dots -> a number that changes with it and does not tell it. */
  readonly secretRevisions?: Readonly<Record<string, number>>;
};
export type BakerConfiguration = z.output<typeof bakerConfigurationSchema>;
export type SignerConfiguration = z.output<typeof signerConfigurationSchema>;
export type Secrets = z.output<typeof secretsSchema>;
