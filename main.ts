/**
 * The program: configuration -> two stacks -> cdktf.out/stacks/{platform,baker}/cdk.tf.json. Also without the cdktf
 * command: `node --import tsx main.ts`.
 */
import "./configuration/node";
import "./constructs/without-source-maps";
import { App } from "cdktf";
import { BakerStack } from "./constructs/baker-stack";
import { cdktfProcess, refuseIgnoredOptions } from "./configuration/cdktf-options";
import { ConfigurationError } from "./configuration/errors";
import { cdktfContext, exampleFolder } from "./configuration/folder";
import { requireSecrets, resolveConfiguration, type Resolved } from "./configuration/load";
import { type Configuration } from "./configuration/schema";
import { readHanded, type Handed } from "./configuration/tfvars";
import { requireTerraform, TerraformError } from "./configuration/terraform-version";
import { withoutCreationTraces } from "./constructs/element";
import { takeOver } from "./constructs/imports";
import { PlatformStack } from "./constructs/platform-stack";

/** Builds the stacks of a configuration into an app; `platform` only where the cluster is ours. */
export function addStacks(app: App, configuration: Configuration): void {
  const baker = () =>
    new BakerStack(app, "baker", {
      configuration,
      experimentalActiveStandbyMode: configuration.experimental_active_standby_mode,
    });
  if (configuration.cluster) {
    takeOver([baker()], configuration);
    return;
  }
  const platform = new PlatformStack(app, "platform", { configuration });
  const inside = baker();
  inside.addDependency(platform);
  takeOver([platform, inside], configuration);
}

/**
 * Resolves the configuration of a folder (with the shadownet example where there is none) and writes the stacks below
 * `outdir`.
 */
export async function synthesize(options: {
  folder: string;
  outdir?: string;
  handed?: Handed;
  /** Of the cdktf command above. */
  argv?: readonly string[];
  /** Fails where a secret is missing. @default false: references to them are all that synth writes */
  secretsNeeded?: boolean;
}): Promise<Resolved> {
  const context = cdktfContext(options.folder);
  const resolve = { folder: options.folder, context, exampleFolder, handed: options.handed };
  const resolved = await resolveConfiguration(resolve);
  const complete = options.argv ? await refuseIgnoredOptions(options.argv, resolved, resolve) : resolved;
  if (options.secretsNeeded) requireSecrets(complete);
  const app = new App({ outdir: options.outdir, context });
  const secretRevisions = options.handed?.secretRevisions ?? complete.secretRevisions();
  addStacks(app, { ...resolved.configuration, secretRevisions });
  withoutCreationTraces(() => {
    app.synth();
  });
  return resolved;
}

/** Prints what a person has to know about a resolved configuration to stderr. */
export function printNotices({ warnings, configuration: { example } }: Resolved): void {
  if (example !== undefined)
    console.error(
      `notice: there is no terraform.tfvars here; this is the example ${example}. Copy examples/${example}/terraform.tfvars to begin.`,
    );
  for (const warning of warnings) console.error(`warning: ${warning}`);
}

/** Commands of cdktf that run Terraform. */
const usesTerraform = new Set(["diff", "plan", "deploy", "apply", "destroy"]);
/** Commands of cdktf that make nothing. */
const makesNothing = new Set(["destroy", "output"]);

async function main(): Promise<void> {
  try {
    // `npm run ...` has looked for the secrets itself and hands on everything else.
    const handed = readHanded(process.env);
    const cdktf = handed ? undefined : cdktfProcess(process.ppid);
    const resolved = await synthesize({
      folder: process.cwd(),
      handed: handed ?? { environment: cdktf?.secrets ? { secrets: cdktf.secrets } : {}, options: [] },
      argv: cdktf?.argv,
      // Where the system does not show TF_VAR_secrets, only secrets in files have revisions.
      secretsNeeded: cdktf !== undefined && !makesNothing.has(cdktf.argv[0] ?? ""),
      outdir: process.env.CDKTF_OUTDIR,
    });
    if (usesTerraform.has(cdktf?.argv[0] ?? "")) requireTerraform(resolved.configuration);
    printNotices(resolved);
  } catch (error) {
    console.error(error instanceof ConfigurationError || error instanceof TerraformError ? error.message : error);
    process.exitCode = 1;
  }
}

if (require.main === module) void main();
