/** Rules about the cluster: project, zones, disks, control plane, maintenance. */
import { defaultOctezVersion, octezReleases } from "../../contract/images";
import { didYouMean, show } from "../errors";
import { knownRegions, regionsAsOf, zonesIn } from "../regions";
import { type Finding, given, issue, map, type Rule, text, texts, when } from "./facts";

const project: Rule = ({ values, existing }) =>
  when(
    !existing && !given(values.project),
    ["project"],
    "nothing",
    'the id of a Google Cloud project, or cluster = { existing = { context = "..." } }',
  );

const zonesOnce: Rule = ({ zones }) => {
  const twice = [...new Set(zones.filter((zone, i) => zones.indexOf(zone) !== i))];
  return when(twice.length > 0, ["zones"], `${twice.join(", ")} twice`, "each zone once");
};

const zonesOfRegion: Rule = ({ values, existing, region, zones }) => {
  if (existing || !given(values.zones) || typeof region !== "string") return [];
  // A region that does not exist is one error, and no zone is in it.
  if (values.unlisted_zones !== true && !zonesIn(region)) return [];
  const outside = zones.filter((zone) => !new RegExp(`^${region.replace(/[^a-z0-9-]/g, "")}-[a-z]$`).test(zone));
  return when(
    outside.length > 0,
    ["zones"],
    `${outside.join(", ")}, outside the region ${region}`,
    `zones of ${region}, like ${exampleZones(region)}`,
  );
};

/** A region or zone that Google does not have costs a quarter of an hour until the cluster fails. */
const listedZones: Rule = ({ values, existing, region, zones }) => {
  if (existing || values.unlisted_zones === true || typeof region !== "string") return [];
  const known = zonesIn(region);
  const confirm = `unlisted_zones = true where it exists all the same (the table is of ${regionsAsOf})`;
  if (!known) {
    const near = didYouMean(region, knownRegions);
    return [
      issue(
        ["region"],
        `${show(region)}, which Google does not have`,
        `${near ? `"${near}"` : '"us-central1"'}, or ${confirm}`,
      ),
    ];
  }
  const missing = zones.filter((zone) => zone.startsWith(`${region}-`) && !known.includes(zone));
  return when(
    missing.length > 0,
    ["zones"],
    `${missing.join(", ")}, which Google does not have`,
    `zones among ${known.join(", ")}, or ${confirm}`,
  );
};

const ownNamespace: Rule = ({ values }) => {
  const namespace = text(values.namespace) ?? "";
  return when(
    /^(default|kube-.*|gke-.*|gmp-.*)$/.test(namespace),
    ["namespace"],
    show(namespace),
    'a namespace of its own, like "tezos": this program denies all other traffic in it and guards it against deletion',
  );
};

const pinnedImages: Rule = ({ values }) =>
  Object.entries(map(values.images)).flatMap(([name, image]) =>
    when(
      typeof image === "string" && (image.endsWith(":latest") || !/[:@][^/]+$/.test(image)),
      ["images", name],
      show(image),
      "an image with its digest, like example.org/runtime@sha256:...: pods of one baker must not run different programs",
    ),
  );

/** Our image of the baker has Octez inside and was built for that release as well. */
const otherRelease: Rule = ({ values }) => {
  const version = text(values.octez_version) ?? defaultOctezVersion;
  const built = /:octez-(v[^@]+)/.exec(text(map(values.images).octez) ?? "")?.[1];
  return built === undefined || built === version
    ? []
    : [
        {
          warning: `images.octez is of Octez ${built}, and octez_version is ${version}: the pods go on running ${built}. Run npm run publish-images.`,
        },
      ];
};

const octezRelease: Rule = ({ values }) => {
  const version = text(values.octez_version) ?? defaultOctezVersion;
  if (version in octezReleases) return [];
  const major = (of: string) => Number(/^v(\d+)\./.exec(of)?.[1] ?? NaN);
  if (major(version) < major(defaultOctezVersion) - 2)
    return [
      issue(
        ["octez_version"],
        `${show(version)}, which is no release that bakes today`,
        `a release near "${defaultOctezVersion}", with which this program was tested`,
      ),
    ];
  const known = Object.entries(octezReleases).map(([release, protocols]) => `${release} for ${protocols.join(", ")}`);
  return [
    {
      warning: `octez_version ${version} is none of those with which this program was tested (${known.join("; ")}). Check the protocols that its baker knows, its changes of command lines, nonce files and the data directory, and try it on a test network: docs/runbooks/octez-upgrade.md.`,
    },
  ];
};

const ignoredByExisting = [
  "region",
  "name",
  "labels",
  "machine_type",
  "release_channel",
  "maintenance",
  "control_plane",
];
const ignoredKeys: Rule = ({ values, existing }) => {
  const ignored = existing ? ignoredByExisting.filter((key) => given(values[key])) : [];
  return ignored.length === 0
    ? []
    : [{ warning: `${ignored.join(", ")}: ignored with cluster.existing, whose cluster this program does not make.` }];
};

const twoZones: Rule = ({ values, flag, existing, region, zones }) => {
  if ((given(values.zones) && !Array.isArray(values.zones)) || new Set(zones).size >= 2) return [];
  const example = exampleZones(region);
  if (flag)
    return [
      issue(
        ["zones"],
        show(values.zones ?? zones),
        `at least two zones: experimental_active_standby_mode runs one node in each, like ${example}`,
      ),
    ];
  return when(!existing, ["zones"], show(zones), `two zones: a regional disk lies in two, like ${example}`);
};

const exampleZones = (region: unknown): string => {
  const name = text(region) ?? "us-central1";
  return `zones = ["${name}-b", "${name}-c"]`;
};

const hyperdisk: Rule = ({ values, flag, existing }) => {
  const type = text(map(values.disk).type);
  if (type !== "hyperdisk-balanced" || existing) return [];
  const machine = text(values.machine_type) ?? "e2-highmem-4";
  return [
    ...when(
      /^(e2|n2|n2d|n1|t2d|t2a)-/.test(machine),
      ["disk", "type"],
      `"${type}" with machine_type "${machine}"`,
      '"pd-ssd", or a machine type with Hyperdisk, like "n4-highmem-4" or "c3-highmem-4"',
    ),
    ...when(
      !flag,
      ["disk", "type"],
      `"${type}" without experimental_active_standby_mode`,
      '"pd-ssd" or "pd-balanced": Hyperdisk Balanced has no regional disks',
    ),
  ];
};

const authorizedNetworks: Rule = ({ values }) => {
  const { endpoint = "dns", authorized_networks } = map(values.control_plane);
  const path = ["control_plane", "authorized_networks"];
  const ranges = Object.entries(map(authorized_networks));
  return [
    ...ranges.flatMap(([name, range]) =>
      when(
        typeof range === "string" && range.endsWith("/0"),
        [...path, name],
        show(range),
        'the ranges that you come from, never everybody, like "203.0.113.7/32"',
      ),
    ),
    ...when(
      endpoint === "ip" && ranges.length === 0,
      path,
      'none with endpoint = "ip"',
      'who may reach it: authorized_networks = { office = "203.0.113.7/32" }',
    ),
    ...when(
      endpoint === "dns" && ranges.length > 0,
      path,
      'networks with endpoint = "dns", which would be ignored',
      'endpoint = "ip", or leave them out',
    ),
  ];
};

const windows: Rule = ({ values }) => {
  const { start, end, exclusions } = map(values.maintenance);
  const all: [string[], unknown, unknown][] = [
    [["maintenance"], start, end],
    ...Object.entries(map(exclusions)).map(([name, exclusion]): [string[], unknown, unknown] => [
      ["maintenance", "exclusions", name],
      map(exclusion).start,
      map(exclusion).end,
    ]),
  ];
  return all.flatMap(([path, from, to]): Finding[] =>
    typeof from === "string" && typeof to === "string"
      ? when(
          !(Date.parse(from) < Date.parse(to)) && !Number.isNaN(Date.parse(from)),
          [...path, "end"],
          `"${to}", not after start = "${from}"`,
          "a later time",
        )
      : [],
  );
};

const mail: Rule = ({ values }) => {
  const { emails, smtp_host, email_from } = map(values.monitoring);
  if (texts(emails).length === 0) return [];
  const beside = "nothing beside emails";
  return [
    ...when(!given(smtp_host), ["monitoring", "smtp_host"], beside, 'the mail server, like "smtp.example.org:587"'),
    ...when(!given(email_from), ["monitoring", "email_from"], beside, 'the sender, like "bakery@example.org"'),
  ];
};

const snapshot: Rule = ({ values }) => {
  const { url, block_hash } = map(values.snapshot);
  return [
    ...when(
      given(block_hash) && !given(url),
      ["snapshot", "url"],
      "nothing beside block_hash",
      "the URL of the snapshot that ends with this block, or leave block_hash out",
    ),
    ...when(
      typeof url === "string" && url.startsWith("http:") && !given(block_hash),
      ["snapshot", "block_hash"],
      "nothing beside a URL over http, which anybody on the way can change",
      "the hash of the snapshot's block from another source, or a URL over https",
    ),
    ...(typeof url === "string" && url.startsWith("https:") && !given(block_hash)
      ? [
          {
            warning:
              "snapshot.block_hash is not set: nothing but the server vouches for the snapshot. Write the hash of its block from another source.",
          },
        ]
      : []),
  ];
};

const localState: Rule = ({ values }) =>
  given(values.state)
    ? []
    : [{ warning: 'Terraform state is a local file. For anything that lasts write state = { bucket = "..." }.' }];

export const clusterRules: readonly Rule[] = [
  project,
  zonesOnce,
  zonesOfRegion,
  listedZones,
  twoZones,
  hyperdisk,
  authorizedNetworks,
  snapshot,
  windows,
  mail,
  ownNamespace,
  pinnedImages,
  octezRelease,
  otherRelease,
];
/** After all others: it concerns everybody. */
export const lastRules: readonly Rule[] = [ignoredKeys, localState];
