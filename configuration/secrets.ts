/** Which secrets a configuration needs, and which of them were not given. Values are looked at, never kept. */
import type { ConfigurationIssue } from "./errors";
import type { Configuration } from "./schema";

export interface NeededSecret {
  readonly path: readonly [string, ...string[]];
  /** What it is, for a person. */
  readonly text: string;
}

/** Secrets without which the configuration cannot work. */
export function neededSecrets({ bakers: all, signer_link, monitoring }: Configuration): NeededSecret[] {
  const bakers = Object.entries(all);
  const needed: (NeededSecret | false)[] = [
    ...bakers.flatMap(([name, { hot_test_key, delegate, consensus_key, companion_key }]) =>
      (hot_test_key ? [consensus_key ?? delegate, companion_key] : []).map(
        (address): NeededSecret | false =>
          address !== undefined && {
            path: ["hot_keys", name, address],
            text: "the private key of a baker with hot_test_key, like unencrypted:edsk...",
          },
      ),
    ),
    ...bakers.map(
      ([name, { authentication_key }]): NeededSecret | false =>
        authentication_key !== undefined && {
          path: ["authentication_keys", name],
          text: "the private key of authentication_key, like unencrypted:edsk...",
        },
    ),
    bakers.some(([, { signers }]) => Object.keys(signers).length > 0) &&
      signer_link.host_key_secret === undefined && {
        path: ["signer_link_host_key"],
        text: "the OpenSSH private key that signer hosts trust (ssh-keygen -t ed25519).",
      },
    monitoring.slack_channel !== undefined && {
      path: ["slack_webhook_url"],
      text: "the incoming webhook of monitoring.slack_channel.",
    },
    monitoring.emails.length > 0 &&
      monitoring.smtp_user !== undefined && {
        path: ["smtp_password"],
        text: "the password of monitoring.smtp_user.",
      },
  ];
  return needed.filter((one) => one !== false);
}

/** @param secrets the variable `secrets` as written */
export function missingSecrets(configuration: Configuration, secrets: unknown): ConfigurationIssue[] {
  const isThere = (path: readonly string[]): boolean => {
    const value = path.reduce<unknown>(
      (inner, key) =>
        typeof inner === "object" && inner !== null && Object.hasOwn(inner, key)
          ? (inner as Record<string, unknown>)[key]
          : undefined,
      secrets,
    );
    return typeof value === "string" && value.length > 0;
  };
  return neededSecrets(configuration)
    .filter(({ path }) => !isThere(path))
    .map(({ path, text }) => ({
      path: ["secrets", ...path],
      found: "nothing",
      write: `${text} It belongs into secrets.auto.tfvars, whose form the examples show`,
    }));
}
