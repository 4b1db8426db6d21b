/** The configuration's keys as Terraform variables of a stack. */
import { TerraformVariable, type TerraformStack } from "cdktf";
import { Construct } from "constructs";
import { configurationKeys, secretKeys, terraformType } from "../configuration/keys";
import { type Configuration } from "../configuration/schema";

/**
 * Declares every key of the configuration, and `secrets`, as a variable of the stack. Call it once in a stack's
 * constructor. Each default is the value that synth used; a validation fails the plan where Terraform is given another
 * one, because it would be ignored.
 * @param options.secrets true where the stack uses them: a plan without a secret that the configuration needs then
 * fails with instructions
 */
export function declareVariables(
  stack: TerraformStack,
  configuration: Configuration,
  options: { readonly secrets?: boolean } = {},
): void {
  const scope = new Construct(stack, "variables");
  const given = configuration.given ?? {};
  for (const [key, info] of Object.entries(configurationKeys)) {
    const type = terraformType(key);
    const value =
      given[key] ?? (type === "any" ? null : ((configuration as Readonly<Record<string, unknown>>)[key] ?? null));
    const variable = new TerraformVariable(scope, key, {
      type,
      description: info.description,
      nullable: value === null || type === "any",
      validation: [
        { condition: `\${${pin(key, type, value)}}`, errorMessage: pinMessage(key) },
        ...(key === "bakers" && configuration.example !== undefined ? [onlyAnExample(configuration.example)] : []),
      ],
    });
    variable.overrideLogicalId(key);
    // As an override, because cdktf would write a default's keys in snake case (protocol-activation ->
    // protocol_activation) and fails on null.
    variable.addOverride("default", value);
  }
  new TerraformVariable(scope, "secrets", {
    type: secretsType,
    description: "Everything that is secret. Put it into secrets.auto.tfvars; synth never writes it anywhere.",
    default: {},
    nullable: false,
    sensitive: true,
    validation: options.secrets
      ? neededSecrets(configuration).map(({ path, text }) => ({
          condition: `\${try(length(${reference(path)}) > 0, false)}`,
          errorMessage: `secrets.${path.join(".")} is missing: ${text} Write it into secrets.auto.tfvars; docs/configuration.md shows the form.`,
        }))
      : [],
  }).overrideLogicalId("secrets");
}

/**
 * A reference to a secret for use in a resource, for instance `secretReference("hot_keys", "alice", "tz1...")`. Needs
 * `declareVariables`.
 */
export const secretReference = (...path: readonly [string, ...string[]]): string => `\${${reference(path)}}`;

/** Secrets without which the configuration cannot work. */
export function neededSecrets(configuration: Configuration): { path: readonly [string, ...string[]]; text: string }[] {
  const bakers = Object.entries(configuration.bakers);
  return [
    ...bakers
      .filter(([, baker]) => baker.hot_test_key)
      .flatMap(([name, baker]) =>
        [
          baker.consensus_key ?? baker.delegate,
          ...(baker.companion_key === undefined ? [] : [baker.companion_key]),
        ].map((address) => ({
          path: ["hot_keys", name, address] as const,
          text: "the private key of a baker with hot_test_key, like unencrypted:edsk...",
        })),
      ),
    ...bakers
      .filter(([, baker]) => baker.authentication_key !== undefined)
      .map(([name]) => ({
        path: ["authentication_keys", name] as const,
        text: "the private key of authentication_key, like unencrypted:edsk...",
      })),
    ...(bakers.some(([, baker]) => Object.keys(baker.signers).length > 0) &&
    configuration.signer_link.host_key_secret === undefined
      ? [
          {
            path: ["signer_link_host_key"] as const,
            text: "the OpenSSH private key that signer hosts trust (ssh-keygen -t ed25519).",
          },
        ]
      : []),
    ...(configuration.monitoring.slack_channel === undefined
      ? []
      : [{ path: ["slack_webhook_url"] as const, text: "the incoming webhook of monitoring.slack_channel." }]),
    ...(configuration.monitoring.emails.length === 0 || configuration.monitoring.smtp_user === undefined
      ? []
      : [{ path: ["smtp_password"] as const, text: "the password of monitoring.smtp_user." }]),
  ];
}

const reference = ([first, ...rest]: readonly [string, ...string[]]): string =>
  `var.secrets.${first}${rest.map((key) => `["${key}"]`).join("")}`;

/** Types of `secrets`: objects of texts, of maps of texts, of maps of maps of texts. */
const secretsType = `object({${Object.entries(secretKeys)
  .map(
    ([key, info]) =>
      `${key} = optional(${info.type === "text" ? "string" : info.values?.values ? "map(map(string))" : "map(string)"})`,
  )
  .join(", ")}})`;

/** Compared as JSON, because a map of Terraform's type `any` equals no literal of another type. */
function pin(key: string, type: string, value: unknown): string {
  if (value === null) return `var.${key} == null`;
  if (type === "any") return `jsonencode(var.${key}) == jsonencode(jsondecode(${literal(JSON.stringify(value))}))`;
  return `var.${key} == ${typeof value === "string" ? literal(value) : String(value)}`;
}

/** A text in HCL's quotes. */
const literal = (text: string): string => JSON.stringify(text).replaceAll("${", "$${").replaceAll("%{", "%%{");

/** Fails every plan: nobody wants to deploy an example by accident. */
const onlyAnExample = (example: string) => ({
  condition: '${var.bakers == "yours"}',
  errorMessage: `There is no terraform.tfvars: this is the example ${example}, for looking only. Copy examples/${example}/terraform.tfvars to the project's folder and write your own project and bakers.`,
});

const pinMessage = (key: string): string =>
  `${key}: Terraform was given another value than synth, where it would be ignored. Write it into terraform.tfvars, or use "npm run diff|deploy -- --var ${key}=..." (the cdktf command does not hand --var, --var-file and TF_VAR_${key} on to synth).`;
