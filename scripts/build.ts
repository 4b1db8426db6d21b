/**
 * `npm run build`: bundles the daemons into dist/tog.cjs, the one file that the images carry and that the laboratory
 * runs.
 */
import "../configuration/node";
import { build, type Plugin } from "esbuild";
import { resolve } from "node:path";

const root = resolve(__dirname, "..");

/**
 * What the libraries load at start and the daemons never use: half of the start time. Using one of these fails at once.
 */
const unused: Plugin = {
  name: "unused",
  setup({ onLoad }) {
    const stub = (contents: string) => () => ({ contents, loader: "js" as const });
    onLoad(
      { filter: /[/\\]prom-client[/\\]lib[/\\](cluster|pushgateway|defaultMetrics|summary)\.js$/ },
      stub("module.exports = undefined;"),
    );
  },
};

/** Bundles daemons/main.ts to `outfile`; koffi (native) stays external. */
export async function buildDaemons(outfile = resolve(root, "dist/tog.cjs")): Promise<string> {
  await build({
    entryPoints: [resolve(root, "daemons/main.ts")],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
    external: ["koffi"],
    // import() of koffi becomes require(): an ESM import resolves to a file of the package that the images do not
    // carry.
    supported: { "dynamic-import": false },
    legalComments: "none",
    logLevel: "warning",
    minifyWhitespace: true,
    minifySyntax: true,
    plugins: [unused],
    banner: { js: "#!/usr/bin/env node" },
  });
  return outfile;
}

if (require.main === module) void buildDaemons().then((file) => console.log(file));
