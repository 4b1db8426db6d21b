/**
 * Rules between keys. They work on the values as written, before the schema has accepted them, so that everything is
 * reported at once: each rule looks at what has the right type and stays silent about the rest.
 */
import { decodeAddress } from "../tezos/addresses";
import { signerServiceName } from "../contract/names";
import { networks, type NetworkName } from "../contract/networks";
import { tunnelPort } from "../contract/signer-link";
import { pathText, secretKind, show, type ConfigurationIssue } from "./errors";

type Values = Readonly<Record<string, unknown>>;
const isMap = (value: unknown): value is Values => typeof value === "object" && value !== null && !Array.isArray(value);
const map = (value: unknown): Values => (isMap(value) ? value : {});
const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
const given = (value: unknown): boolean => value !== undefined && value !== null;

export interface Findings {
  issues: ConfigurationIssue[];
  warnings: string[];
}

/** @param values merged top-level keys as written, without `secrets`; null means not written */
export function crossFieldFindings(values: Values): Findings {
  const issues: ConfigurationIssue[] = [];
  const warnings: string[] = [];
  const issue = (path: readonly string[], found: string, write: string): void =>
    void issues.push({ path, found, write });

  const flag = values.experimental_active_standby_mode === true;
  const existing = isMap(map(values.cluster).existing);
  const region = values.region ?? "us-central1";
  const network = text(values.network);
  const zones = given(values.zones)
    ? texts(values.zones)
    : existing
      ? []
      : [`${text(region) ?? "us-central1"}-b`, `${text(region) ?? "us-central1"}-c`];
  const bakers = Object.entries(map(values.bakers)).map(([name, baker]) => ({
    name,
    baker: map(baker),
    path: ["bakers", name],
  }));

  project();
  zoneRules();
  diskRules();
  controlPlane();
  snapshot();
  maintenance();
  monitoring();
  if (isMap(values.bakers) && bakers.length === 0)
    issue(["bakers"], "{}", 'at least one baker: bakers = { alice = { delegate = "tz1..." } }');
  for (const { name, baker, path } of bakers) {
    signingWay(baker, path);
    companion(baker, path);
    signerNames(name, baker, path);
    dal(baker, path);
  }
  keysOnce();
  portsOnce();
  secretsInside([], values);
  if (
    bakers.some(({ baker }) => Object.keys(map(baker.signers)).length > 0) &&
    !given(map(values.signer_link).host_public_key)
  )
    warnings.push(
      "signer_link.host_public_key is not set: the outputs cannot tell signer hosts which host key to trust. Write the public half of the link's host key.",
    );
  for (const { name, baker } of bakers)
    if (Object.keys(map(baker.signers)).length > 0 && !given(baker.authentication_key))
      warnings.push(
        `bakers.${name}.authentication_key is not set: the signer host that scripts/signer-host sets up refuses whoever does not authenticate. Write the hash of a key made for this, the key itself into secrets.authentication_keys.`,
      );
  if (!given(values.state))
    warnings.push('Terraform state is a local file. For anything that lasts write state = { bucket = "..." }.');
  return { issues, warnings };

  function project(): void {
    if (!existing && !given(values.project))
      issue(
        ["project"],
        "nothing",
        'the id of a Google Cloud project, or cluster = { existing = { context = "..." } }',
      );
  }

  function zoneRules(): void {
    if (given(values.zones) && !Array.isArray(values.zones)) return;
    const example = `zones = ["${text(region) ?? "us-central1"}-b", "${text(region) ?? "us-central1"}-c"]`;
    const twice = [...new Set(zones.filter((zone, i) => zones.indexOf(zone) !== i))];
    if (twice.length > 0) issue(["zones"], `${twice.join(", ")} twice`, "each zone once");
    if (!existing && given(values.zones) && typeof region === "string") {
      const outside = zones.filter((zone) => !new RegExp(`^${region.replace(/[^a-z0-9-]/g, "")}-[a-z]$`).test(zone));
      if (outside.length > 0)
        issue(["zones"], `${outside.join(", ")}, outside the region ${region}`, `zones of ${region}, like ${example}`);
    }
    const distinct = new Set(zones).size;
    if (distinct < 2 && flag)
      issue(
        ["zones"],
        show(values.zones ?? zones),
        `at least two zones: experimental_active_standby_mode runs one node in each, like ${example}`,
      );
    else if (distinct < 2 && !existing)
      issue(["zones"], show(zones), `two zones: a regional disk lies in two, like ${example}`);
  }

  function diskRules(): void {
    const type = text(map(values.disk).type);
    if (type !== "hyperdisk-balanced" || existing) return;
    const machine = text(values.machine_type) ?? "e2-highmem-4";
    if (/^(e2|n2|n2d|n1|t2d|t2a)-/.test(machine))
      issue(
        ["disk", "type"],
        `"${type}" with machine_type "${machine}"`,
        '"pd-ssd", or a machine type with Hyperdisk, like "n4-highmem-4" or "c3-highmem-4"',
      );
    if (!flag)
      issue(
        ["disk", "type"],
        `"${type}" without experimental_active_standby_mode`,
        '"pd-ssd" or "pd-balanced": Hyperdisk Balanced has no regional disks',
      );
  }

  function controlPlane(): void {
    const { endpoint = "dns", authorized_networks } = map(values.control_plane);
    const ranges = Object.entries(map(authorized_networks));
    for (const [name, range] of ranges)
      if (typeof range === "string" && range.endsWith("/0"))
        issue(
          ["control_plane", "authorized_networks", name],
          show(range),
          'the ranges that you come from, never everybody, like "203.0.113.7/32"',
        );
    if (endpoint === "ip" && ranges.length === 0)
      issue(
        ["control_plane", "authorized_networks"],
        'none with endpoint = "ip"',
        'who may reach it: authorized_networks = { office = "203.0.113.7/32" }',
      );
    if (endpoint === "dns" && ranges.length > 0)
      issue(
        ["control_plane", "authorized_networks"],
        'networks with endpoint = "dns", which would be ignored',
        'endpoint = "ip", or leave them out',
      );
  }

  function snapshot(): void {
    const { url, block_hash } = map(values.snapshot);
    if (given(block_hash) && !given(url))
      issue(
        ["snapshot", "url"],
        "nothing beside block_hash",
        "the URL of the snapshot that ends with this block, or leave block_hash out",
      );
    if (given(url) && !given(block_hash))
      warnings.push(
        "snapshot.block_hash is not set: nothing but the server vouches for the snapshot. Write the hash of its block from another source.",
      );
  }

  function maintenance(): void {
    const { start, end, exclusions } = map(values.maintenance);
    const windows: [string[], unknown, unknown][] = [
      [["maintenance"], start, end],
      ...Object.entries(map(exclusions)).map(([name, exclusion]): [string[], unknown, unknown] => [
        ["maintenance", "exclusions", name],
        map(exclusion).start,
        map(exclusion).end,
      ]),
    ];
    for (const [path, from, to] of windows)
      if (
        typeof from === "string" &&
        typeof to === "string" &&
        !(Date.parse(from) < Date.parse(to)) &&
        !Number.isNaN(Date.parse(from))
      )
        issue([...path, "end"], `"${to}", not after start = "${from}"`, "a later time");
  }

  function monitoring(): void {
    const { emails, smtp_host, email_from } = map(values.monitoring);
    if (texts(emails).length === 0) return;
    if (!given(smtp_host))
      issue(["monitoring", "smtp_host"], "nothing beside emails", 'the mail server, like "smtp.example.org:587"');
    if (!given(email_from))
      issue(["monitoring", "email_from"], "nothing beside emails", 'the sender, like "bakery@example.org"');
  }

  function signingWay(baker: Values, path: string[]): void {
    const signers = Object.keys(map(baker.signers)).length > 0;
    const ways = [
      signers && "signers",
      given(baker.hot_test_key) && baker.hot_test_key !== false && "hot_test_key",
      given(baker.cloud_key) && "cloud_key",
    ].filter((way) => way !== false);
    if (ways.length !== 1)
      issue(
        path,
        ways.length === 0 ? "nobody who signs" : ways.join(" and "),
        'exactly one of: signers = { ... }, hot_test_key = true, cloud_key = "..."',
      );
    if (given(baker.authentication_key) && !signers)
      issue(
        [...path, "authentication_key"],
        "a key without signers, which would be ignored",
        "signers, or leave it out",
      );
    const test = networks[network as NetworkName]?.test;
    if (baker.hot_test_key === true && test === false)
      issue(
        [...path, "hot_test_key"],
        `true on ${network}${flag ? " with experimental_active_standby_mode" : ""}`,
        "signers with your Ledger or key server; a key inside the cluster is for test networks",
      );
    if (!given(baker.cloud_key)) return;
    if (flag)
      issue(
        [...path, "cloud_key"],
        "a cloud-hosted key with experimental_active_standby_mode",
        "signers = { ... }, or experimental_active_standby_mode = false",
      );
    const key = text(baker.consensus_key) ?? text(baker.delegate);
    if (key !== undefined && decodeAddress(key) && !key.startsWith("tz3"))
      issue(
        [...path, given(baker.consensus_key) ? "consensus_key" : "delegate"],
        `${show(key)} with cloud_key`,
        "a tz3 address: Google's KMS signs with P-256 only",
      );
  }

  function companion(baker: Values, path: string[]): void {
    const key = text(baker.consensus_key) ?? text(baker.delegate);
    const attestsDal = map(baker.dal).enabled !== false;
    if (given(baker.companion_key)) {
      if (
        typeof baker.companion_key === "string" &&
        decodeAddress(baker.companion_key) &&
        !baker.companion_key.startsWith("tz4")
      )
        issue([...path, "companion_key"], show(baker.companion_key), "a tz4 address");
      if (key !== undefined && decodeAddress(key) && !key.startsWith("tz4"))
        issue(
          [...path, "companion_key"],
          `a companion key beside ${show(key)}`,
          "a tz4 consensus_key, or leave companion_key out",
        );
    } else if (key?.startsWith("tz4") && decodeAddress(key) && attestsDal)
      issue(
        [...path, "companion_key"],
        `nothing beside ${show(key)} with DAL`,
        "the companion key registered for the delegate (tz4), or dal = { enabled = false }",
      );
  }

  function signerNames(name: string, baker: Values, path: string[]): void {
    const names = Object.keys(map(baker.signers)).flatMap((signer) => [
      { signer, service: signerServiceName(name, signer) },
      ...zones.map((zone) => ({ signer, service: signerServiceName(name, signer, zone) })),
    ]);
    for (const { signer, service } of names.filter(({ service }) => service.length > 63).slice(0, 1))
      issue(
        [...path, "signers", signer],
        `the service name "${service}" with ${service.length} characters`,
        "shorter names of baker and signer: a service name has at most 63",
      );
    for (const { signer, service } of names.filter(
      ({ service }, i) => names.findIndex((other) => other.service === service) !== i,
    ))
      issue([...path, "signers", signer], `the service name "${service}" twice`, "another name of the signer");
  }

  function dal(baker: Values, path: string[]): void {
    const addresses = map(baker.dal).public_addresses;
    const members = flag ? zones.length : 1;
    if (Array.isArray(addresses) && addresses.length > 0 && addresses.length !== members)
      issue(
        [...path, "dal", "public_addresses"],
        `${addresses.length} addresses for ${members} ${members === 1 ? "pod" : "pods"}`,
        "one for each pod, by ordinal",
      );
  }

  function keysOnce(): void {
    const seen = new Map<string, string>();
    for (const { baker, path } of bakers)
      for (const field of ["delegate", "consensus_key", "companion_key", "authentication_key"]) {
        const key = text(baker[field]);
        if (key === undefined || !decodeAddress(key)) continue;
        const first = seen.get(key);
        const here = pathText([...path, field]);
        if (first === undefined) seen.set(key, here);
        else if (first === pathText([...path, "delegate"]) && field === "consensus_key")
          issue(
            [...path, field],
            `${show(key)}, which is the delegate`,
            "another key, or leave consensus_key out: the delegate's key signs then",
          );
        else
          issue(
            [...path, field],
            `${show(key)}, already used by ${first}`,
            "another key: one key used twice signs twice, and that is slashed",
          );
      }
  }

  function portsOnce(): void {
    const taken = new Map<number, string>();
    const tunnels = Math.max(1, zones.length);
    for (const { baker, path } of bakers)
      for (const [signer, settings] of Object.entries(map(baker.signers))) {
        const port = map(settings).port;
        if (typeof port !== "number") continue;
        const here = [...path, "signers", signer];
        const mine = Array.from({ length: tunnels }, (_, zone) => tunnelPort(port, zone));
        const clash = mine.find((number) => taken.has(number));
        if (clash !== undefined) {
          let free = port;
          while (
            Array.from({ length: tunnels }, (_, zone) => tunnelPort(free, zone)).some((number) => taken.has(number))
          )
            free++;
          issue(
            [...here, "port"],
            `${port}: its tunnels use ${mine.join(", ")}, and ${clash} belongs to ${taken.get(clash)}`,
            `a port whose next ${tunnels} are free, for instance ${free}`,
          );
        }
        for (const number of mine) taken.set(number, pathText(here));
      }
  }

  function secretsInside(path: readonly string[], value: unknown): void {
    const kind = path.length > 0 ? secretKind(path[0] === "bakers" ? (path.at(-1) ?? "") : "", value) : undefined;
    if (kind !== undefined) {
      issue(
        path,
        `${kind} (not shown)`,
        "nothing here: it belongs into the variable `secrets`, in a file of its own (secrets.auto.tfvars). Synth writes all other values into its output",
      );
      return;
    }
    if (Array.isArray(value)) value.forEach((item, i) => secretsInside([...path, String(i)], item));
    else if (isMap(value)) for (const [key, item] of Object.entries(value)) secretsInside([...path, key], item);
  }
}
