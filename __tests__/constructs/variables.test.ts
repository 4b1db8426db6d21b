/**
 * The configuration as Terraform variables: in both stacks, with what was written as default, pinned, and secrets only
 * by reference.
 */
import { readFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App, TerraformStack } from "cdktf";
import { variableNames } from "../../configuration/keys";
import { parseConfiguration } from "../../configuration/load";
import { type Configuration } from "../../configuration/schema";
import { missingSecrets, neededSecrets, secretRevisions } from "../../configuration/secrets";
import { declareVariables, secretReference, writeOnly } from "../../constructs/variables";

const delegate = "tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5";
const values = {
  project: "my-tezos-project",
  network: "shadownet",
  bakers: { alice: { delegate, hot_test_key: true } },
  maintenance: {
    exclusions: { "protocol-activation": { start: "2026-12-01T00:00:00Z", end: "2026-12-04T00:00:00Z" } },
  },
};
const folder = mkdtempSync(join(tmpdir(), "tog-variables-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Variable {
  type: string;
  default?: unknown;
  nullable?: boolean;
  sensitive?: boolean;
  ephemeral?: boolean;
  validation?: { condition: string; error_message: string }[];
}
let runs = 0;
function variablesOf(configuration: Configuration): Record<string, Variable | undefined> {
  const app = new App({ outdir: join(folder, String(runs++)) });
  declareVariables(new TerraformStack(app, "stack"), configuration);
  app.synth();
  const text = readFileSync(join(app.outdir, "stacks/stack/cdk.tf.json"), "utf8");
  return (JSON.parse(text) as { variable: Record<string, Variable> }).variable;
}

test("every key that a tfvars file may have is declared, so that Terraform neither warns nor refuses", () => {
  expect(Object.keys(variablesOf(parseConfiguration(values))).sort()).toEqual([...variableNames].sort());
});

test("the default of a variable is what was written, letter by letter, and the validation pins it", () => {
  const variables = variablesOf(parseConfiguration(values));
  expect(variables.maintenance).toMatchObject({ type: "any", default: values.maintenance });
  expect(variables.maintenance?.validation?.[0]?.condition).toContain(
    "jsonencode(var.maintenance) == jsonencode(jsondecode(",
  );
  expect(variables.maintenance?.validation?.[0]?.condition).toContain("protocol-activation");
  expect(variables.region).toMatchObject({ type: "string", default: "us-central1", nullable: false });
  expect(variables.experimental_active_standby_mode).toMatchObject({ type: "bool", default: false, nullable: false });
  expect(variables.experimental_active_standby_mode?.validation).toEqual([
    {
      condition: "${var.experimental_active_standby_mode == false}",
      error_message: expect.stringMatching(
        /would be ignored\. Write it into terraform\.tfvars, or use "npm run diff\|deploy -- --var/,
      ) as string,
    },
  ]);
  expect(variables.state?.validation?.[0]?.condition).toBe("${var.state == null}");
});

test("secrets are sensitive and ephemeral, have no default and are only referred to; no validation quotes them", () => {
  const { secrets } = variablesOf(parseConfiguration(values));
  expect(secrets).toMatchObject({ sensitive: true, ephemeral: true, default: {} });
  expect(secrets?.validation ?? []).toEqual([]);
  expect(secretReference("hot_keys", "alice", delegate)).toBe(`\${var.secrets.hot_keys["alice"]["${delegate}"]}`);
  expect(writeOnly({ text: "no secret" })).toEqual({ data: { text: "no secret" } });
  expect(writeOnly({}, ["hot_keys", "alice", delegate]).lifecycle?.precondition).toEqual([
    {
      condition: `\${try(length(var.secrets.hot_keys["alice"]["${delegate}"]) > 0, false)}`,
      errorMessage: expect.stringContaining(`secrets.hot_keys.alice.${delegate} is missing`) as string,
    },
  ]);
});

test("the revision of a secret changes with it alone, and is another one in another place", () => {
  const other = "tz1SE6WhcvDQmPcidqXQtBrcirUUjC8Rync2";
  const { bakers, ...rest } = values;
  const of = (alice: string, bob: string, more: object = {}) =>
    secretRevisions(
      parseConfiguration({
        ...{ ...rest, ...more },
        bakers: { ...bakers, bob: { delegate: other, hot_test_key: true } },
      }),
      { hot_keys: { alice: { [delegate]: alice }, bob: { [other]: bob } } },
    );
  const [mine, his] = [`hot_keys.alice.${delegate}`, `hot_keys.bob.${other}`];
  const before = of("unencrypted:x", "unencrypted:x");
  expect(Object.keys(before)).toEqual([mine, his]);
  expect(before[mine]).not.toBe(before[his]);
  expect(of("unencrypted:x", "unencrypted:x")).toEqual(before);
  const after = of("unencrypted:y", "unencrypted:x");
  expect([after[mine] === before[mine], after[his]]).toEqual([false, before[his]]);
  expect(of("unencrypted:x", "unencrypted:x", { namespace: "elsewhere" })[mine]).not.toBe(before[mine]);
  for (const revision of Object.values(before)) expect(Number.isSafeInteger(revision) && revision >= 1).toBe(true);
  // One that was not given has none, and Terraform takes 1 for it.
  expect(of("", "unencrypted:x")).toEqual({ [his]: before[his] });
});

test("a needed secret is missing where it is not given, empty, or no text", () => {
  const missing = (secrets: unknown) =>
    missingSecrets(parseConfiguration(values), secrets).map(({ path }) => path.join("."));
  const needed = [`secrets.hot_keys.alice.${delegate}`];
  for (const secrets of [
    undefined,
    null,
    {},
    "x",
    { hot_keys: { alice: { [delegate]: "" } } },
    { hot_keys: { bob: {} } },
  ])
    expect(missing(secrets)).toEqual(needed);
  expect(missing({ hot_keys: { alice: { [delegate]: "unencrypted:x" } } })).toEqual([]);
});

test("the secrets that a configuration needs are found from what it says", () => {
  const ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICZM5QzPy/6s37GbqUCnA6KP6jQxJ/wSVPXrgW5AOqfG home1";
  const remote = {
    delegate,
    authentication_key: "tz1SE6WhcvDQmPcidqXQtBrcirUUjC8Rync2",
    signers: { home1: { ssh_public_key: ssh, port: 8443 } },
  };
  const link = { source_ranges: ["203.0.113.7/32"] };
  const needed = (more: object) =>
    neededSecrets(parseConfiguration({ ...values, bakers: { alice: remote }, signer_link: link, ...more })).map(
      ({ path }) => path.join("."),
    );
  expect(needed({})).toEqual(["authentication_keys.alice", "signer_link_host_key"]);
  expect(
    needed({ signer_link: { ...link, host_key_secret: "ours" }, monitoring: { slack_channel: "#bakery" } }),
  ).toEqual(["authentication_keys.alice", "slack_webhook_url"]);
  expect(needed({ monitoring: { telegram_chat_id: -100, discord: true } }).slice(2)).toEqual([
    "telegram_bot_token",
    "discord_webhook_url",
  ]);
});

test("the example that is shown where nothing was written cannot be planned", () => {
  const validation = variablesOf({ ...parseConfiguration(values), example: "shadownet" }).bakers?.validation ?? [];
  expect(validation.map(({ condition }) => condition)).toContain('${var.bakers == "yours"}');
});
