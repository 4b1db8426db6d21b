/**
 * Terraform with the real providers out of a mirror: TOG_PROVIDER_MIRROR, a TF_CLI_CONFIG_FILE of yours, or what `npm
 * run test:assets` made.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { assets, defaultCache, readManifest, terraformConfig } from "../test-assets";

export const providerNames = ["kubernetes", "helm", "google"] as const;
export type ProviderName = (typeof providerNames)[number];

export interface RealProviders {
  /** For Terraform: where its providers are, and a token with which Google's plans without reaching Google. */
  environment: Record<string, string>;
  /** Those that are there; all of them where that cannot be seen from here. */
  has: readonly ProviderName[];
}

/** @returns undefined where there is no mirror */
export function realProviders(env: NodeJS.ProcessEnv = process.env): RealProviders | undefined {
  const google = { GOOGLE_OAUTH_ACCESS_TOKEN: "a-dummy-for-verification" };
  const cache = defaultCache(env);
  if (env.TOG_PROVIDER_MIRROR) {
    const mirror = resolve(env.TOG_PROVIDER_MIRROR);
    const folder = resolve(__dirname, "../../.cache");
    const file = join(folder, "mirror.tfrc");
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      file,
      `provider_installation {\n  filesystem_mirror {\n    path = ${JSON.stringify(mirror)}\n  }\n}\n`,
    );
    const has = providerNames.filter((name) => {
      const asset = assets().find((one) => one.name === `provider-${name}`);
      const places = [asset?.file, ...(asset?.sources ?? []).map(({ file }) => file)].map((path) =>
        path?.replace(/^mirror\//, ""),
      );
      return places.some((path) => path && (existsSync(join(mirror, path)) || existsSync(join(mirror, `${path}_x5`))));
    });
    return { environment: { ...google, TF_CLI_CONFIG_FILE: file }, has };
  }
  const own = env.TF_CLI_CONFIG_FILE;
  if (own && existsSync(own) && statSync(own).isFile() && readFileSync(own, "utf8").includes("provider_installation"))
    return { environment: { ...google, TF_CLI_CONFIG_FILE: own }, has: providerNames };
  const had = readManifest(cache);
  const has = providerNames.filter((name) => had[`provider-${name}`] !== undefined);
  return has.length > 0 && existsSync(terraformConfig(cache))
    ? { environment: { ...google, TF_CLI_CONFIG_FILE: terraformConfig(cache) }, has }
    : undefined;
}

/** Why Terraform cannot run with these providers here, or undefined. */
export function missingForTerraform(wanted: readonly ProviderName[], providers = realProviders()): string | undefined {
  if (
    spawnSync("terraform", ["version"], { stdio: "ignore", env: { ...process.env, CHECKPOINT_DISABLE: "1" } })
      .status !== 0
  )
    return "no terraform on PATH";
  const missing = wanted.filter((name) => !providers?.has.includes(name));
  return missing.length === 0
    ? undefined
    : `no mirror has the real provider${missing.length > 1 ? "s" : ""} ${missing.join(", ")}: npm run test:assets -- --only ${missing.map((name) => `provider-${name}`).join(",")}`;
}
