/**
 * Alerts, rules and dashboards through the helm provider. Custom resources stay inside charts, so that no plan needs
 * their definitions. On GKE Google's managed Prometheus collects; `monitoring.kube_prometheus_stack` installs a
 * Prometheus operator of its own instead. On an existing cluster without that nothing is installed: nobody there would
 * understand the objects.
 */
import { resolve } from "node:path";
import { NamespaceV1 } from "@cdktf/provider-kubernetes/lib/namespace-v1";
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { Release } from "@cdktf/provider-helm/lib/release";
import { AssetType, TerraformAsset } from "cdktf";
import { Construct } from "constructs";
import type { ClusterAccess } from "../cluster-access";
import type { Configuration } from "../../configuration/schema";
import { neededSecrets } from "../../configuration/secrets";
import { googleMonitoringNamespaces, monitoringNamespace as namespace, peopleReceiver } from "../../contract/names";
import { secretReference, type SecretPath, writeOnlyFile } from "../variables";
import { objectLabels, pin } from "../element";
import { needHelm } from "../helm-provider";

export interface MonitoringProps {
  readonly configuration: Configuration;
  readonly access: ClusterAccess;
}

/** Alertmanager's whole configuration, because the receivers' secrets are in it. */
const receiversSecret = "tezos-alert-receivers";
const configurationFile = "alertmanager.yaml";
/** Pinned: chart of the Prometheus community. */
const stackChart = {
  repository: "https://prometheus-community.github.io/helm-charts",
  chart: "kube-prometheus-stack",
  version: "75.15.1",
};

/** Namespaces whose pods may read metrics: Google's managed collectors, or our own Prometheus. */
export const monitoringNamespaces = ({ monitoring }: Configuration): string[] =>
  monitoring.kube_prometheus_stack ? [namespace] : [...googleMonitoringNamespaces, namespace];

/** One `telegram_configs` has no title, and no colour that would tell the end of an alert from its begin. */
const telegramText =
  '{{ if eq .Status "resolved" }}Over: {{ end }}{{ .CommonLabels.alertname }} {{ .CommonLabels.baker }}\n';

/** The receivers that were configured, as Alertmanager names them. */
function people({ monitoring }: Configuration): Record<string, object[]> {
  const { slack_channel: channel, telegram_chat_id: chat_id, discord, emails, smtp_host } = monitoring;
  const title = "{{ .CommonAnnotations.summary }}";
  const text = "{{ range .Alerts }}{{ .Annotations.description }} {{ .Annotations.runbook_url }}\n{{ end }}";
  const always = { send_resolved: true };
  return {
    ...(channel !== undefined && {
      slack_configs: [{ channel, ...always, title, text, api_url: secretReference("slack_webhook_url") }],
    }),
    ...(chat_id !== undefined && {
      telegram_configs: [
        { chat_id, ...always, message: telegramText + text, bot_token: secretReference("telegram_bot_token") },
      ],
    }),
    ...(discord && {
      discord_configs: [{ ...always, title, message: text, webhook_url: secretReference("discord_webhook_url") }],
    }),
    ...(emails.length > 0 && smtp_host !== undefined && { email_configs: emails.map((to) => ({ to, ...always })) }),
  };
}

/**
 * Alertmanager's configuration: a receiver that may be empty is legal, an empty URL is not, so only what was configured
 * appears. Google's Alertmanager is 0.27 or newer, that of the pinned chart 0.28: both know all of it.
 */
function alertmanager(configuration: Configuration): Record<string, unknown> {
  const { email_from, smtp_host, smtp_user } = configuration.monitoring;
  const smtp =
    smtp_host === undefined
      ? {}
      : {
          smtp_smarthost: smtp_host,
          ...(email_from === undefined ? {} : { smtp_from: email_from }),
          ...(smtp_user !== undefined &&
            configuration.monitoring.emails.length > 0 && {
              smtp_auth_username: smtp_user,
              smtp_auth_password: secretReference("smtp_password"),
            }),
        };
  return {
    global: smtp,
    route: {
      receiver: peopleReceiver,
      group_by: ["baker", "alertname"],
      group_wait: "10s",
      group_interval: "1m",
      repeat_interval: "4h",
      // Those of the operator's stack that fire all the time, for machines.
      routes: [{ matchers: ['alertname =~ "Watchdog|InfoInhibitor"'], receiver: "nobody" }],
    },
    receivers: [{ name: peopleReceiver, ...people(configuration) }, { name: "nobody" }],
  };
}

export class Monitoring extends Construct {
  private readonly configuration: Configuration;

  constructor(scope: Construct, id: string, { configuration, access }: MonitoringProps) {
    super(scope, id);
    this.configuration = configuration;
    const { enabled, kube_prometheus_stack: operator } = configuration.monitoring;
    if (!enabled || (configuration.cluster !== undefined && !operator)) return;
    needHelm(this, access);
    const chart = new TerraformAsset(this, "chart", { path: resolve(__dirname, "chart"), type: AssetType.DIRECTORY });
    const dependsOn = operator ? [this.prometheusStack()] : this.managedAlertmanager();
    pin(
      new Release(this, "release", {
        name: "tezos-baker-monitoring",
        namespace: configuration.namespace,
        chart: `./${chart.path}`,
        values: [
          JSON.stringify({
            collector: operator ? "operator" : "google",
            bakersNamespace: configuration.namespace,
            runbooksUrl: configuration.monitoring.runbooks_url,
          }),
        ],
        atomic: true,
        ...(dependsOn && { dependsOn }),
      }),
      "monitoring",
    );
  }

  /** Google's managed Alertmanager reads its configuration from this Secret. */
  private managedAlertmanager(): undefined {
    if (Object.keys(people(this.configuration)).length > 0)
      pin(this.configurationSecret("alertmanager", "alertmanager", "gmp-public"), "alertmanager");
  }

  /** A Prometheus operator of its own. */
  private prometheusStack(): Release {
    const selectAll = {
      podMonitorSelectorNilUsesHelmValues: false,
      serviceMonitorSelectorNilUsesHelmValues: false,
      ruleSelectorNilUsesHelmValues: false,
    };
    return pin(
      new Release(this, "stack", {
        name: "monitoring",
        namespace,
        ...stackChart,
        values: [
          JSON.stringify({
            prometheus: { prometheusSpec: selectAll },
            // The operator refuses files of secrets that it does not know, such as Discord's: the whole configuration
            // is in the Secret.
            alertmanager: { alertmanagerSpec: { useExistingSecret: true, configSecret: receiversSecret } },
            // Empty: the chart draws a password, and keeps it in its Secret, instead of the one that everybody knows.
            grafana: { adminPassword: "", sidecar: { dashboards: { searchNamespace: "ALL" } } },
          }),
        ],
        atomic: true,
        dependsOn: [this.receivers()],
      }),
      "kube_prometheus_stack",
    );
  }

  private secretPaths(): SecretPath[] {
    return neededSecrets(this.configuration).flatMap(({ path }) =>
      path.length === 1 && path[0] !== "signer_link_host_key" ? [path] : [],
    );
  }

  private receivers(): SecretV1 {
    const place = pin(
      new NamespaceV1(this, "namespace", { metadata: { name: namespace, labels: objectLabels({}) } }),
      "monitoring",
    );
    return pin(this.configurationSecret("receivers", receiversSecret, namespace, [place]), "alert_receivers");
  }

  private configurationSecret(id: string, name: string, into: string, dependsOn?: NamespaceV1[]): SecretV1 {
    // A secret may have quotes in it.
    const text = JSON.stringify(alertmanager(this.configuration)).replace(/"\$\{([\w.]+)\}"/g, "${jsonencode($1)}");
    return new SecretV1(this, id, {
      metadata: { name, namespace: into, labels: objectLabels({}) },
      ...writeOnlyFile(configurationFile, text, ...this.secretPaths()),
      ...(dependsOn && { dependsOn }),
    });
  }
}
