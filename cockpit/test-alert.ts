/**
 * `npm run baker -- test-alert`: one alert with a name that nobody mistakes, through the Alertmanager that tells the
 * others, and who should see it when. An Alertmanager that is not ours gets nothing. Whether it arrives is for people
 * to look at. Exit codes: 0 somebody should see it, 1 nobody is told or no Alertmanager of ours took it, 2 usage, 3 the
 * cluster was not reached or refused.
 */
import type { Command } from "commander";
import { parse } from "yaml";
import * as z from "zod/mini";
import { googleMonitoringNamespaces, monitoringNamespace, peopleReceiver } from "../contract/names";
import { ClusterError, type Cluster, type ServicePort } from "./cluster";
import { jsonCommand, type Common } from "./options";
import type { Session } from "./session";
import { hanging } from "./text";

export const testAlertName = "TezosBakerTestAlert";

/** That of our own Prometheus stack, which the operator names so, then Google's. */
const alertmanagers: readonly ServicePort[] = [
  { namespace: monitoringNamespace, service: "alertmanager-operated", port: 9093 },
  ...googleMonitoringNamespaces.map((namespace) => ({ namespace, service: "alertmanager", port: 9093 })),
];
const shown = ({ namespace, service }: ServicePort): string => `${namespace}/${service}`;

const statusSchema = z.object({ config: z.object({ original: z.string() }) });
const alertsSchema = z.array(
  z.object({
    labels: z.record(z.string(), z.string()),
    endsAt: z.iso.datetime({ offset: true }),
    receivers: z.array(z.object({ name: z.string() })),
    status: z.object({ state: z.string() }),
  }),
);
const configurationSchema = z.object({
  route: z.object({ group_wait: z.optional(z.string()), group_interval: z.optional(z.string()) }),
  receivers: z.array(z.looseObject({ name: z.string() })),
});

type Asked = (path: string, body?: unknown) => Promise<string>;
/** @throws ClusterError where the cluster does not carry it, Error where Alertmanager refuses it */
const asking =
  (cluster: Cluster, to: ServicePort): Asked =>
  async (path, body) => {
    const answer = await cluster.askService(to, path, body);
    if (!answer) throw new Error(`the service ${shown(to)} has gone meanwhile: try again`);
    if (answer.status !== 200)
      throw new Error(`Alertmanager (${shown(to)}) refused it (HTTP ${answer.status}): ${answer.text.slice(0, 300)}`);
    return answer.text;
  };
function read<T>(schema: { parse(value: unknown): T }, text: string, who = ""): T {
  try {
    return schema.parse(parse(text));
  } catch {
    throw new Error(who + "is no Alertmanager with the API v2 and a configuration that can be read");
  }
}

const named: Readonly<Record<string, (entry: Record<string, unknown>) => string>> = {
  slack_configs: ({ channel }) => `Slack ${String(channel)}`,
  telegram_configs: ({ chat_id }) => `Telegram chat ${String(chat_id)}`,
  discord_configs: () => "Discord",
  email_configs: ({ to }) => `e-mail ${String(to)}`,
};
/** Whom the receivers with these names tell, in people's words. */
const peopleOf = (receivers: readonly Record<string, unknown>[], names: readonly string[]): string[] =>
  receivers
    .filter(({ name }) => names.includes(String(name)))
    .flatMap((receiver) => Object.entries(receiver))
    .flatMap(([kind, entries]) =>
      kind.endsWith("_configs") && Array.isArray(entries)
        ? (entries as Record<string, unknown>[]).map(
            named[kind] ?? (() => kind.replace(/_configs$/, "").replaceAll("_", " ")),
          )
        : [],
    );

export interface TestAlert {
  /** namespace/service of the Alertmanager. */
  alertmanager: string;
  /** The others that answered before it, each with why it was none of ours. */
  skipped: string[];
  name: string;
  baker: string;
  sentAt: string;
  /** By Alertmanager's clock and its own `resolve_timeout`. */
  endsAt: string;
  /** Whom Alertmanager tells by its own configuration; [] for nobody. */
  receivers: string[];
  /** As Alertmanager writes durations: the first message, and the next one about the same alert of the same baker. */
  within: string;
  again: string;
  /** Somebody silenced it, or another alert holds it back. */
  suppressed: boolean;
}

interface Found {
  to: ServicePort;
  configuration: z.infer<typeof configurationSchema>;
  skipped: string[];
}
/** Its configuration where it is ours, or why it is not. */
function configurationOf(answer: { status: number; text: string }): Found["configuration"] | string {
  if (answer.status !== 200) return `answers HTTP ${answer.status}, which no Alertmanager does`;
  try {
    const configuration = read(configurationSchema, read(statusSchema, answer.text).config.original);
    const ours = configuration.receivers.some(({ name }) => name === peopleReceiver);
    return ours ? configuration : `has another configuration than ours, without the receiver "${peopleReceiver}"`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * The first Alertmanager that has our configuration. @throws Error where there is none, ClusterError where nobody may
 * ask, or where one does not run that may be ours
 */
async function findAlertmanager(cluster: Cluster): Promise<Found> {
  let refused: ClusterError | undefined;
  const skipped: string[] = [];
  for (const to of alertmanagers) {
    try {
      const answer = await cluster.askService(to, "/api/v2/status");
      if (!answer) continue;
      const configuration = configurationOf(answer);
      if (typeof configuration !== "string") return { to, configuration, skipped };
      skipped.push(`${shown(to)} ${configuration}`);
    } catch (error) {
      if (!(error instanceof ClusterError) || error.kind === "unreachable") throw error;
      const needed = error.kind === "forbidden" ? " (needed: get and create of services/proxy there)" : "";
      refused ??= new ClusterError(error.kind, `${shown(to)}: ${error.message}${needed}`);
      skipped.push(`${shown(to)} was not asked: ${error.message}`);
    }
  }
  if (refused) throw refused;
  const others = skipped.length === 0 ? "" : `; ${skipped.join("; ")}`;
  throw new Error(
    `this cluster has no Alertmanager of ours (services ${alertmanagers.map(shown).join(", ")}${others}): ` +
      "say in `monitoring` whom to tell, then npm run deploy (docs/monitoring.md)",
  );
}

const toSeconds = (at: Date): string => `${at.toISOString().slice(0, 19)}Z`;

/** Sends it, and asks Alertmanager what becomes of it. Without times of ours, so that no clock has to agree. */
async function send(cluster: Cluster, baker: string, nowMs: number): Promise<TestAlert> {
  const { to, configuration, skipped } = await findAlertmanager(cluster);
  const { route, receivers } = configuration;
  const ask = asking(cluster, to);
  const sentAt = toSeconds(new Date(nowMs));
  // `sent` makes each of them another alert: a second one is told, too.
  const labels = { alertname: testAlertName, baker, severity: "warning", sent: sentAt };
  const annotations = {
    summary: `Test alert of ${baker}: nothing is wrong`,
    description: `Somebody ran \`npm run baker -- test-alert\` at ${sentAt} to see whether alerts arrive.`,
  };
  await ask("/api/v2/alerts", [{ labels, annotations }]);
  const filter = encodeURIComponent(`alertname="${testAlertName}"`);
  const known = read(alertsSchema, await ask(`/api/v2/alerts?filter=${filter}`), `${shown(to)} `);
  const mine = known.find((alert) => alert.labels.baker === baker && alert.labels.sent === sentAt);
  if (!mine)
    throw new Error(
      `Alertmanager (${shown(to)}) took the alert and does not show it: are there several that do not know of each other?`,
    );
  const names = mine.receivers.map(({ name }) => name);
  return {
    ...{
      alertmanager: shown(to),
      skipped,
      name: testAlertName,
      baker,
      sentAt,
      endsAt: toSeconds(new Date(mine.endsAt)),
    },
    receivers: peopleOf(receivers, names),
    ...{ within: route.group_wait ?? "30s", again: route.group_interval ?? "5m" },
    suppressed: mine.status.state === "suppressed",
  };
}

function render({ alertmanager, name, baker, sentAt, endsAt, receivers, suppressed, ...told }: TestAlert): string {
  const sent = [
    ...told.skipped.map((one) => hanging("", `Skipped: ${one}.`)),
    hanging("", `${name} of ${baker} was sent to the Alertmanager ${alertmanager} at ${sentAt}.`),
  ].join("\n");
  const nobody = (why: string): string => `${sent}\n${hanging("", `Nobody is told: ${why}`)}`;
  if (receivers.length === 0)
    return nobody(
      "its configuration names nobody for it. Say in `monitoring` whom to tell, then npm run deploy (docs/monitoring.md).",
    );
  if (suppressed) return nobody("a silence or another alert holds it back. Alertmanager's own page shows which.");
  const [namespace] = alertmanager.split("/");
  return [
    sent,
    `These should see it within ${told.within} (${told.again} if another test was sent just before):`,
    ...receivers.map((receiver) => `  ${receiver}`),
    hanging("", `It ends by itself at ${endsAt}, which they are told, too.`),
    "If nothing arrives, Alertmanager's log says why:",
    `  kubectl -n ${namespace} logs -l app.kubernetes.io/name=alertmanager -c alertmanager --since=5m`,
  ].join("\n");
}

export function addTestAlert(program: Command, session: Session): void {
  jsonCommand(
    program,
    "test-alert",
    "sends one alert that says it is a test through Alertmanager, and names who should see it",
  ).action(async (common: Common) => {
    const { cluster, baker } = await session.connected(common);
    const alert = await send(cluster, baker, session.time.now());
    session.print(common.json, alert, () => render(alert));
    session.exitCode = alert.receivers.length > 0 && !alert.suppressed ? 0 : 1;
  });
}
