/** What tests run as processes, each as one file that is made anew only when a source changed. */
import { build } from "esbuild";
import { resolve } from "node:path";
import { cached, sourceHash } from "../../lab/bundle";
import { daemonBundle } from "../../lab/programs";
import { buildDaemons } from "../../scripts/build";

let daemons: Promise<string> | undefined;

/** Absolute path of the daemons' bundle. */
export const bundlePath = (): Promise<string> => (daemons ??= daemonBundle(buildDaemons));

/**
 * Absolute path of a command of cockpit/, bundled: to load the cluster's client library file by file takes longer than
 * what is tested.
 */
export const commandPath = (name: "baker"): Promise<string> =>
  cached(
    `${name}-${sourceHash(["contract", "tezos", "configuration", "daemons", "diagnosis", "cockpit"])}.cjs`,
    async (outfile) => {
      const entryPoints = [resolve(__dirname, `../../cockpit/${name}.ts`)];
      await build({
        entryPoints,
        external: ["@cdktf/hcl2json"],
        outfile,
        bundle: true,
        platform: "node",
        target: "node20",
        format: "cjs",
        logLevel: "warning",
      });
    },
  );
