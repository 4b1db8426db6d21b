/** The configuration's keys as Terraform variables of a stack. */
import { createHash } from "node:crypto";
import { TerraformLocal, Token, type TerraformResourceLifecycle, TerraformVariable, type TerraformStack } from "cdktf";
import { Construct } from "constructs";
import { configurationKeys, secretKeys, terraformType } from "../configuration/keys";
import { type Configuration } from "../configuration/schema";

/**
 * Declares every key of the configuration, and `secrets`, as a variable of the stack. Call it once in a stack's
 * constructor. Each default is the value that synth used; a validation fails the plan where Terraform is given another
 * one, because it would be ignored.
 */
export function declareVariables(stack: TerraformStack, configuration: Configuration): void {
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
  const secrets = new TerraformVariable(scope, "secrets", {
    type: secretsType,
    description: "Everything that is secret. Put it into secrets.auto.tfvars; neither synth nor Terraform keeps it.",
    default: {},
    nullable: false,
    sensitive: true,
  });
  secrets.overrideLogicalId("secrets");
  // Its values reach write-only attributes, and neither a plan file nor the state.
  secrets.addOverride("ephemeral", true);
  new TerraformLocal(scope, revisions, configuration.secretRevisions ?? {}).overrideLogicalId(revisions);
}
const revisions = "secret_revisions";

/** Path of a secret in the variable `secrets`, for instance ["hot_keys", "alice", "tz1..."]. */
export type SecretPath = readonly [string, ...string[]];

/**
 * The part of a Kubernetes Secret that Terraform hands to the cluster and keeps nowhere. It is written again where the
 * revision of one of its secrets has changed. Its plan fails with one sentence where a secret is missing. Not a
 * validation of the variable, for which Terraform would print the text of the whole value.
 * @param data keys and texts with `secretReference`s in them
 */
export const writeOnly = (data: Record<string, string>, ...paths: readonly SecretPath[]) => written(data, paths);

/**
 * One file of which only parts are secret: written again where any of its text has changed.
 * @param text without tokens of cdktf
 */
export const writeOnlyFile = (name: string, text: string, ...paths: readonly SecretPath[]) =>
  // 48 bits: with the secrets' revisions it stays a number that Terraform takes exactly.
  written({ [name]: text }, paths, [createHash("sha256").update(text).digest().readUIntBE(0, 6).toString()]);

const written = (data: Record<string, string>, paths: readonly SecretPath[], revision: readonly string[] = []) =>
  // Without a secret in it there is nothing to hide, and no revision that could change.
  paths.length === 0
    ? { data }
    : {
        dataWo: data,
        dataWoRevision: Token.asNumber(
          `\${${[...revision, ...paths.map((path) => `try(local.${revisions}["${path.join(".")}"], 1)`)].join(" + ")}}`,
        ),
        lifecycle: secretsPresent(...paths),
      };

/**
 * A reference to a secret for use in a resource, for instance `secretReference("hot_keys", "alice", "tz1...")`. Needs
 * `declareVariables`.
 */
export const secretReference = (...path: SecretPath): string => `\${${reference(path)}}`;

const secretsPresent = (...paths: readonly SecretPath[]): TerraformResourceLifecycle => ({
  precondition: paths.map((path) => ({
    condition: `\${try(length(${reference(path)}) > 0, false)}`,
    errorMessage: `secrets.${path.join(".")} is missing. Write it into secrets.auto.tfvars; docs/configuration.md shows the form.`,
  })),
});

const reference = ([first, ...rest]: SecretPath): string =>
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
