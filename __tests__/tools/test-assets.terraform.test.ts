/**
 * Terraform takes its providers from the mirror that `npm run test:assets` fills, in both layouts, and the real ones
 * load where they could be had.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  assets,
  defaultCache,
  readManifest,
  terraformConfig,
  terraformConfigText,
  versions,
} from "../../tools/test-assets";

const terraform = spawnSync("terraform", ["version"], { stdio: "ignore" }).status === 0;
const providers = ["kubernetes", "helm", "google"] as const;
const had = terraformConfig(defaultCache());
if (!terraform) console.warn("skipped: terraform is not on PATH");
else if (!existsSync(had))
  console.warn(`skipped with the real providers: ${had} is not there (npm run test:assets names why)`);

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "tog-mirror-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const run = (config: string, ...args: string[]): string =>
  execFileSync("terraform", [`-chdir=${folder}`, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 2 ** 28,
    env: { ...process.env, TF_CLI_CONFIG_FILE: config, CHECKPOINT_DISABLE: "1" },
  });
const declare = (names: readonly (typeof providers)[number][]): void => {
  const required = names.map((name) => [name, { source: `hashicorp/${name}`, version: versions[`provider-${name}`] }]);
  writeFileSync(
    join(folder, "main.tf.json"),
    JSON.stringify({ terraform: { required_providers: Object.fromEntries(required) } }),
  );
};

(terraform ? test : test.skip)(
  "terraform init finds every provider in the mirror, unpacked or as the vendor's archive",
  () => {
    const made = join(folder, "program");
    writeFileSync(made, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    for (const [index, name] of providers.entries()) {
      const asset = assets().find((one) => one.name === `provider-${name}`);
      const packed = asset?.sources.find((source) => source.file !== undefined)?.file;
      const file = join(folder, (index % 2 === 0 ? asset?.file : packed) ?? "");
      mkdirSync(dirname(file), { recursive: true });
      if (index % 2 === 0) execFileSync("cp", [made, file]);
      else {
        const program = `terraform-provider-${name}_v${versions[`provider-${name}`]}`;
        execFileSync("cp", [made, join(folder, program)]);
        execFileSync("python3", ["-m", "zipfile", "-c", file, program], { cwd: folder });
      }
    }
    writeFileSync(terraformConfig(folder), terraformConfigText(folder));
    declare(providers);
    const said = run(terraformConfig(folder), "init", "-no-color", "-input=false");
    for (const name of providers)
      expect(said).toContain(`Installed hashicorp/${name} v${versions[`provider-${name}`]}`);
  },
);

describe.each(providers)("the real provider %s", (name) => {
  const there = terraform && existsSync(had) && readManifest(defaultCache())[`provider-${name}`] !== undefined;
  (there ? test : test.skip)("loads and tells its schema", () => {
    declare([name]);
    run(had, "init", "-no-color", "-input=false");
    const answer = JSON.parse(run(had, "providers", "schema", "-json")) as {
      provider_schemas: Record<string, { resource_schemas?: object }>;
    };
    const schema = answer.provider_schemas[`registry.terraform.io/hashicorp/${name}`];
    expect(Object.keys(schema?.resource_schemas ?? {}).length).toBeGreaterThan(0);
  });
});
