/** The layers of the project: who may import whom. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const root = resolve(__dirname, "..");
const daemons = [
  "elector",
  "sidecar",
  "baker-supervisor",
  "signing-gate",
  "nonce-exposer",
  "nonce-importer",
  "topology-guard",
  "hot-keys",
];
const layer = (path: string): string =>
  (/^(daemons\/[^/]+|lab\/(?:commands|nodes))\//.exec(path)?.[0] ?? `${path.split("/")[0]}/`).replace(/\/$/, "");

const everyDaemon = ["daemons/runtime", ...daemons.map((name) => `daemons/${name}`)];

/**
 * What a layer may import besides itself; a layer that is not listed may import nothing local. Nobody imports scripts,
 * tools or tests.
 */
const allowed: Record<string, string[]> = {
  tezos: [],
  contract: ["tezos"],
  configuration: ["contract", "tezos"],
  manifests: ["contract"],
  "daemons/runtime": ["contract", "tezos"],
  ...Object.fromEntries(daemons.map((name) => [`daemons/${name}`, ["daemons/runtime", "contract", "tezos"]])),
  daemons: ["contract", ...everyDaemon],
  constructs: ["configuration", "contract", "tezos"],
  diagnosis: ["contract", "tezos", "daemons/runtime"],
  cockpit: ["configuration", "contract", "tezos", "daemons/runtime", "diagnosis"],
  lab: ["contract", "tezos", "manifests", "diagnosis", "daemons", ...everyDaemon],
  model: ["contract", "daemons/signing-gate", "daemons/elector"],
  // Commands are entry points: they may use what people run to deploy.
  "lab/nodes": ["lab", "contract", "tezos", "configuration", "manifests", "scripts", "tools"],
  "lab/commands": ["lab", "contract", "tezos", "configuration", "scripts", "tools"],
};

function sources(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? sources(path) : path.endsWith(".ts") ? [path] : [];
  });
}

test("each layer imports only the layers below it", () => {
  const violations = [
    "tezos",
    "contract",
    "configuration",
    "manifests",
    "daemons",
    "constructs",
    "diagnosis",
    "cockpit",
    "lab",
    "model",
  ].flatMap((folder) =>
    sources(join(root, folder)).flatMap((file) => {
      const path = relative(root, file);
      const from = layer(path);
      return [...readFileSync(file, "utf8").matchAll(/(?:from|import|require)\s*\(?\s*"(\.[^"]+)"/g)]
        .map((match) => relative(root, resolve(dirname(file), match[1] ?? "")))
        .filter((target) => layer(`${target}.ts`.replace(/^([^/]+)\.ts$/, "$1/")) !== from)
        .filter((target) => !(allowed[from] ?? []).includes(layer(`${target}.ts`)))
        .map((target) => `${path} imports ${target}`);
    }),
  );
  expect(violations).toEqual([]);
});
