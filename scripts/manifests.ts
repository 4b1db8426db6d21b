/**
 * `npm run manifests [-- --var KEY=VALUE --var-file FILE]`: prints the Kubernetes objects of the stack `baker` as YAML,
 * for people without Terraform, for scanners and for tests. What could not be translated exactly is said on stderr.
 */
import "../configuration/node";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigurationError } from "../configuration/errors";
import { type Handed } from "../configuration/tfvars";
import { synthesize } from "../main";
import { type KubernetesObject, type Notes, toManifests, toYaml } from "../manifests/kubernetes-objects";
import { handedOf, parseRequest } from "./cdktf";

/** Synthesizes the folder's configuration and gives its objects. */
export async function manifestsOf(folder: string, handed: Handed, notes: Notes): Promise<KubernetesObject[]> {
  const outdir = mkdtempSync(join(tmpdir(), "tezos-on-gke-"));
  try {
    const { configuration, warnings } = await synthesize({ folder, outdir, handed });
    if (configuration.example !== undefined)
      notes(`there is no terraform.tfvars here; these are the objects of the example ${configuration.example}`);
    warnings.forEach(notes);
    return toManifests(
      JSON.parse(readFileSync(join(outdir, "stacks/baker/cdk.tf.json"), "utf8")) as Parameters<typeof toManifests>[0],
      notes,
    );
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}

if (require.main === module)
  manifestsOf(process.cwd(), handedOf(parseRequest(["synth", ...process.argv.slice(2)]), process.env), (note) =>
    console.error(`note: ${note}`),
  ).then(
    (manifests) => process.stdout.write(toYaml(manifests)),
    (error: unknown) => {
      console.error(error instanceof ConfigurationError || error instanceof Error ? error.message : error);
      process.exitCode = 1;
    },
  );
