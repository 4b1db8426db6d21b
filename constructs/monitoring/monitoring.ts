/**
 * Alerts, rules and dashboards through the helm provider. Custom resources stay inside charts, so that no plan needs
 * their definitions. On GKE Google's managed Prometheus collects; `monitoring.kube_prometheus_stack` installs a
 * Prometheus operator of its own instead. On an existing cluster without that nothing is installed: nobody there would
 * understand the objects.
 */
import { resolve } from "node:path";
import { NamespaceV1 } from "@cdktf/provider-kubernetes/lib/namespace-v1";
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { HelmProvider } from "@cdktf/provider-helm/lib/provider";
import { Release } from "@cdktf/provider-helm/lib/release";
import { AssetType, TerraformAsset } from "cdktf";
import { Construct } from "constructs";
import type { ClusterAccess } from "../cluster-access";
import type { Configuration } from "../../configuration/schema";
import { neededSecrets } from "../../configuration/secrets";
import { secretReference, writeOnly, type SecretPath } from "../variables";
import { objectLabels, pin } from "../element";

export interface MonitoringProps {
  readonly configuration: Configuration;
  readonly access: ClusterAccess;
}

const namespace = "monitoring";
/** The secrets of the alert receivers, as files of the Alertmanager. */
const receiversSecret = "tezos-alert-receivers";
const secretPath = (file: string): string => `/etc/alertmanager/secrets/${receiversSecret}/${file}`;
/** Pinned: chart of the Prometheus community. */
const stackChart = {
  repository: "https://prometheus-community.github.io/helm-charts",
  chart: "kube-prometheus-stack",
  version: "75.15.1",
};

/** Namespaces whose pods may read metrics: Google's managed collectors, or our own Prometheus. */
export const monitoringNamespaces = ({ monitoring }: Configuration): string[] =>
  monitoring.kube_prometheus_stack ? [namespace] : ["gmp-system", "gke-gmp-system", namespace];

type Secrets = Record<"slack" | "smtp", Record<string, string>>;
/**
 * Alertmanager's configuration: a receiver that may be empty is legal, an empty URL is not, so only what was configured
 * appears.
 */
function alertmanager({ monitoring }: Configuration, secrets: Secrets): Record<string, unknown> {
  const { slack_channel, emails, email_from, smtp_host, smtp_user } = monitoring;
  const text = {
    title: "{{ .CommonAnnotations.summary }}",
    text: "{{ range .Alerts }}{{ .Annotations.description }} {{ .Annotations.runbook_url }}\n{{ end }}",
  };
  const slack =
    slack_channel === undefined
      ? {}
      : { slack_configs: [{ channel: slack_channel, send_resolved: true, ...text, ...secrets.slack }] };
  const mail =
    emails.length === 0 || smtp_host === undefined
      ? {}
      : { email_configs: emails.map((to) => ({ to, send_resolved: true })) };
  const smtp =
    smtp_host === undefined
      ? {}
      : {
          smtp_smarthost: smtp_host,
          ...(email_from === undefined ? {} : { smtp_from: email_from }),
          ...(smtp_user === undefined ? {} : { smtp_auth_username: smtp_user, ...secrets.smtp }),
        };
  return {
    global: smtp,
    route: {
      receiver: "people",
      group_by: ["baker", "alertname"],
      group_wait: "10s",
      group_interval: "1m",
      repeat_interval: "4h",
      // Those of the operator's stack that fire all the time, for machines.
      routes: [{ matchers: ['alertname =~ "Watchdog|InfoInhibitor"'], receiver: "nobody" }],
    },
    receivers: [{ name: "people", ...slack, ...mail }, { name: "nobody" }],
  };
}

export class Monitoring extends Construct {
  private readonly configuration: Configuration;

  constructor(scope: Construct, id: string, { configuration, access }: MonitoringProps) {
    super(scope, id);
    this.configuration = configuration;
    const { enabled, kube_prometheus_stack: operator } = configuration.monitoring;
    if (!enabled || (configuration.cluster !== undefined && !operator)) return;
    const { exec, ...connection } = access.connection;
    new HelmProvider(this, "helm", {
      kubernetes: { ...connection, ...(Array.isArray(exec) ? { exec: exec[0] } : {}) },
    });
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
    const { monitoring } = this.configuration;
    if (monitoring.slack_channel === undefined && monitoring.emails.length === 0) return;
    const secrets = {
      slack: { api_url: secretReference("slack_webhook_url") },
      smtp: { smtp_auth_password: secretReference("smtp_password") },
    };
    pin(
      new SecretV1(this, "alertmanager", {
        metadata: { name: "alertmanager", namespace: "gmp-public", labels: objectLabels({}) },
        ...writeOnly(
          { "alertmanager.yaml": JSON.stringify(alertmanager(this.configuration, secrets)) },
          ...this.secretPaths(),
        ),
      }),
      "alertmanager",
    );
  }

  /** A Prometheus operator of its own, with the receivers' secrets as files of its Alertmanager. */
  private prometheusStack(): Release {
    const files = {
      slack: { api_url_file: secretPath("slack-url") },
      smtp: { smtp_auth_password_file: secretPath("smtp-password") },
    };
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
            alertmanager: {
              config: alertmanager(this.configuration, files),
              alertmanagerSpec: { secrets: [receiversSecret] },
            },
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
    const { monitoring } = this.configuration;
    const place = pin(
      new NamespaceV1(this, "namespace", { metadata: { name: namespace, labels: objectLabels({}) } }),
      "monitoring",
    );
    return pin(
      new SecretV1(this, "receivers", {
        metadata: { name: receiversSecret, namespace, labels: objectLabels({}) },
        ...writeOnly(
          {
            ...(monitoring.slack_channel === undefined ? {} : { "slack-url": secretReference("slack_webhook_url") }),
            ...(monitoring.smtp_user === undefined ? {} : { "smtp-password": secretReference("smtp_password") }),
          },
          ...this.secretPaths(),
        ),
        dependsOn: [place],
      }),
      "alert_receivers",
    );
  }
}
