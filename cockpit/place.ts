/**
 * Which cluster and namespace a command is about where its options do not say it: those of the configuration in whose
 * folder it stands.
 */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { ConfigurationError } from "../configuration/errors";
import { cdktfContext } from "../configuration/folder";
import { resolveConfiguration } from "../configuration/load";
import type { Configuration } from "../configuration/schema";
import { automaticFiles } from "../configuration/tfvars";
import { UsageError } from "./cluster";
import type { ClusterOptions } from "./kubeconfig";

const fallbackNamespace = "tezos";

/** As `gcloud container clusters get-credentials` names it. */
const contextOf = ({ cluster, project, region, name }: Configuration): string =>
  cluster?.existing.context ?? `gke_${project}_${region}_${name}`;

async function configurationOf(folder: string): Promise<Configuration | undefined> {
  if (!existsSync(join(folder, "cdktf.json")) || automaticFiles(folder).length === 0) return undefined;
  try {
    return (await resolveConfiguration({ folder, context: cdktfContext(folder) })).configuration;
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    throw new UsageError(
      `--context and --namespace come from the configuration in ${folder}, which has errors: give both, or mend it (\`npm run summary\` lists the errors)`,
    );
  }
}

/**
 * @param folder where the command stands; undefined: no configuration is looked for
 * @param environmentKubeconfig KUBECONFIG, which the kubeconfig of the configuration gives way to
 * @throws UsageError where the configuration is needed and cannot be read
 */
export async function completePlace(
  given: Partial<ClusterOptions>,
  folder: string | undefined,
  environmentKubeconfig: string | undefined,
): Promise<ClusterOptions> {
  const complete = given.context !== undefined && given.namespace !== undefined;
  const configuration = complete || folder === undefined ? undefined : await configurationOf(folder);
  // Of another cluster the configuration says nothing.
  if (!configuration || (given.context !== undefined && given.context !== contextOf(configuration)))
    return { ...given, namespace: given.namespace ?? fallbackNamespace };
  const file = configuration.cluster?.existing.kubeconfig.replace(/^~(?=\/)/, homedir());
  return {
    context: contextOf(configuration),
    namespace: given.namespace ?? configuration.namespace,
    kubeconfig: given.kubeconfig ?? (environmentKubeconfig === undefined ? file : undefined),
  };
}
