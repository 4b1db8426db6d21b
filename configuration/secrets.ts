/** Which secrets a configuration needs, and which of them were not given. Values are looked at, never kept. */
import { scryptSync } from "node:crypto";
import type { ConfigurationIssue } from "./errors";
import { hostKeyIssues } from "./host-key";
import { tunnelsOf } from "./rules/signer-rules";
import { bakingKeys, type Configuration } from "./schema";

export interface NeededSecret {
  readonly path: readonly [string, ...string[]];
  /** What it is, for a person. */
  readonly text: string;
}

/** Secrets without which the configuration cannot work. */
export function neededSecrets({ bakers: all, signer_link, monitoring }: Configuration): NeededSecret[] {
  const bakers = Object.entries(all);
  const needed: (NeededSecret | false)[] = [
    ...bakers.flatMap(([name, settings]) =>
      (settings.hot_test_key ? bakingKeys(settings) : []).map((address): NeededSecret => ({
        path: ["hot_keys", name, address],
        text: "the private key of a baker with hot_test_key, like unencrypted:edsk...",
      })),
    ),
    ...bakers.map(
      ([name, { authentication_key }]): NeededSecret | false =>
        authentication_key !== undefined && {
          path: ["authentication_keys", name],
          text: "the private key of authentication_key, like unencrypted:edsk...",
        },
    ),
    bakers.some(([, settings]) => tunnelsOf(settings).length > 0) &&
      signer_link.host_key_secret === undefined && {
        path: ["signer_link_host_key"],
        text: "the OpenSSH private key that signer hosts trust (ssh-keygen -t ed25519).",
      },
    monitoring.slack_channel !== undefined && {
      path: ["slack_webhook_url"],
      text: "the incoming webhook of monitoring.slack_channel.",
    },
    monitoring.telegram_chat_id !== undefined && {
      path: ["telegram_bot_token"],
      text: "the token of the bot that writes to monitoring.telegram_chat_id, like 123456789:AA..., as @BotFather tells it.",
    },
    monitoring.discord && {
      path: ["discord_webhook_url"],
      text: "the webhook of the Discord channel, like https://discord.com/api/webhooks/..., which monitoring.discord needs.",
    },
    monitoring.emails.length > 0 &&
      monitoring.smtp_user !== undefined && {
        path: ["smtp_password"],
        text: "the password of monitoring.smtp_user.",
      },
  ];
  return needed.filter((one) => one !== false);
}

/** The text at a path of `secrets` as written; undefined where none is. */
function textAt(secrets: unknown, path: readonly string[]): string | undefined {
  const value = path.reduce<unknown>(
    (inner, key) =>
      typeof inner === "object" && inner !== null && Object.hasOwn(inner, key)
        ? (inner as Record<string, unknown>)[key]
        : undefined,
    secrets,
  );
  return typeof value === "string" && value.length > 0 ? value : undefined;
}

/**
 * A number from 1 to 2^40 for each secret that was given: Terraform writes a secret again where its number has changed.
 * The numbers are in the state, so they are made slowly, and salted with the place of the secret: whoever reads the
 * state can try some hundred passwords a second, and a key of 256 bits not at all.
 * @param secrets the variable `secrets` as written
 */
export function secretRevisions(configuration: Configuration, secrets: unknown): Record<string, number> {
  return Object.fromEntries(
    neededSecrets(configuration).flatMap(({ path }) => {
      const text = textAt(secrets, path);
      if (text === undefined) return [];
      const place = path.join(".");
      const salt = `${configuration.name} ${configuration.namespace} ${place}`;
      return [[place, 1 + scryptSync(text, salt, 5, { N: 4096 }).readUIntBE(0, 5)]];
    }),
  );
}

/** @param secrets the variable `secrets` as written */
export function missingSecrets(configuration: Configuration, secrets: unknown): ConfigurationIssue[] {
  return neededSecrets(configuration)
    .filter(({ path }) => textAt(secrets, path) === undefined)
    .map(({ path, text }) => ({
      path: ["secrets", ...path],
      found: "nothing",
      write: `${text} It belongs into secrets.auto.tfvars, whose form the examples show`,
    }));
}

type Tree = Readonly<Record<string, unknown>>;
const tree = (value: unknown): Tree =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Tree) : {};

/**
 * The host key of the signer link, where the configuration has no other. Told without its text.
 * @param link `signer_link` as written
 */
export function hostKeyForm(link: unknown, secrets: unknown): ConfigurationIssue[] {
  const { host_key_secret, host_public_key } = tree(link);
  if (typeof host_key_secret === "string") return [];
  return hostKeyIssues(textAt(secrets, ["signer_link_host_key"]), host_public_key);
}

/** Keys that nobody can use unattended, told without their text. */
export function secretForms(secrets: unknown): ConfigurationIssue[] {
  const { hot_keys, authentication_keys } = tree(secrets);
  const keys: [string[], unknown][] = [
    ...Object.entries(tree(hot_keys)).flatMap(([baker, all]) =>
      Object.entries(tree(all)).map(([address, key]): [string[], unknown] => [
        ["secrets", "hot_keys", baker, address],
        key,
      ]),
    ),
    ...Object.entries(tree(authentication_keys)).map(([baker, key]): [string[], unknown] => [
      ["secrets", "authentication_keys", baker],
      key,
    ]),
  ];
  return keys
    .filter(([, key]) => typeof key === "string" && key !== "" && !key.startsWith("unencrypted:"))
    .map(([path, key]) => ({
      path,
      found: /^(encrypted:)?(edesk|spesk|p2esk|BLesk)/.test(String(key))
        ? "an encrypted key (not shown), for which somebody would have to type the password at each start"
        : "a key in another form (not shown)",
      write: "unencrypted:edsk... (or spsk, p2sk, BLsk)",
    }));
}

/** How the secrets of the alerts' receivers look, and the key of `monitoring` without which nobody uses them. */
const receiverForms = {
  slack_webhook_url: { beside: "slack_channel", value: 'the channel, like "#bakery"', form: undefined },
  telegram_bot_token: {
    ...{ beside: "telegram_chat_id", value: "the number of the chat, like -1001234567890" },
    form: { pattern: /^\d+:[\w-]{30,}$/, write: "123456789:AA..., as @BotFather tells it" },
  },
  discord_webhook_url: {
    ...{ beside: "discord", value: "true" },
    form: {
      pattern: /^https:\/\/[\w.-]*\bdiscord(app)?\.com\/api\/webhooks\/\d+\/[\w-]+$/,
      write: "https://discord.com/api/webhooks/NUMBER/TOKEN, as the channel's settings show it",
    },
  },
} as const;

/**
 * Secrets of receivers that are of another form, or that nobody would use. Told without their text.
 * @param monitoring as written
 */
export function receiverSecrets(monitoring: unknown, secrets: unknown): ConfigurationIssue[] {
  return Object.entries(receiverForms).flatMap(([name, { beside, value, form }]) => {
    const text = textAt(secrets, [name]);
    if (text === undefined) return [];
    const used = tree(monitoring)[beside];
    return [
      ...(form === undefined || form.pattern.test(text)
        ? []
        : [{ path: ["secrets", name], found: "a text of another form (not shown)", write: form.write }]),
      ...(used === undefined || used === null || used === false
        ? [
            {
              path: ["monitoring", beside],
              found: `nothing beside secrets.${name}, which nobody would use`,
              write: `${value}; or leave the secret out`,
            },
          ]
        : []),
    ];
  });
}

/** Secrets of bakers that the configuration does not have. */
export function strayBakers({ bakers }: Configuration, secrets: unknown): string[] {
  return (["hot_keys", "authentication_keys"] as const).flatMap((kind) => {
    const stray = Object.keys(tree(tree(secrets)[kind])).filter((baker) => !Object.hasOwn(bakers, baker));
    return stray.length === 0
      ? []
      : [`secrets.${kind} has ${stray.length === 1 ? "a baker" : `${stray.length} bakers`} that bakers does not have.`];
  });
}
