/**
 * Translates Terraform's JSON of the stack `baker` into the Kubernetes objects that Terraform would apply. A table says
 * how each key of the Kubernetes provider becomes a key of the API; a key that the table does not know is an error.
 * Values that only Terraform knows are handled in two ways: a secret becomes a placeholder (`<secrets...>`), an address
 * of the stack `platform` is left out. Both are reported as notes.
 */
import { stringify } from "yaml";

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };

/**
 * Turns a value of the synthesized JSON into the API's; undefined leaves the key out. `where` is its path, for errors.
 */
type Field = (value: Json, where: string, notes: Notes) => Json | undefined;
/** Provider's key -> how to convert it, with the API's name where that is not the plain camel case. */
type Shape = Readonly<Record<string, Field | readonly [name: string, field: Field]>>;
export type Notes = (note: string) => void;

const fail = (where: string, rule: string, value: Json): never => {
  throw new Error(`${where}: ${rule}, got ${JSON.stringify(value)?.slice(0, 120)}`);
};
const camelCase = (name: string): string => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
/** A Terraform expression in a text: "${" that is not escaped as "$${". */
const hasReference = (text: string): boolean => /(^|[^$])(\$\$)*\$\{|(^|[^%])(%%)*%\{/.test(text);
const unescape = (text: string): string => text.replaceAll("$${", "${").replaceAll("%%{", "%{");

/** `${try(EXPRESSION, "...")}`: without Terraform the expression fails, so the fallback is its value. */
const fallback = /\$\{try\([^{}]*, "([^"\\]*)"\)\}/g;

const text: Field = (value, where, notes) => {
  if (typeof value !== "string") return fail(where, "wants a text", value);
  const known = value.replace(fallback, (expression, otherwise: string) => {
    notes(`${where}: "${otherwise}" instead of ${expression}, which only Terraform knows`);
    return otherwise;
  });
  return hasReference(known) ? fail(where, "wants a value that is known without Terraform", known) : unescape(known);
};
const flag: Field = (value, where) => (typeof value === "boolean" ? value : fail(where, "wants true or false", value));
const whole: Field = (value, where) =>
  /^-?\d+$/.test(String(value)) ? Number(value) : fail(where, "wants a whole number", value);
const octal: Field = (value, where) =>
  /^0[0-7]{3}$/.test(String(value)) ? parseInt(String(value), 8) : fail(where, "wants a mode like 0444", value);
/** A port or a percentage: numbers come as texts. */
const wholeOrText: Field = (value, where, notes) =>
  /^\d+$/.test(String(value)) ? Number(value) : text(value, where, notes);
const list =
  (item: Field): Field =>
  (value, where, notes) => {
    const items = Array.isArray(value) ? value : [value];
    const converted = items
      .map((inner, i) => item(inner, `${where}[${i}]`, notes))
      .filter((inner) => inner !== undefined);
    return converted.length > 0 ? converted : undefined;
  };
const texts = list(text);
const map =
  (item: Field): Field =>
  (value, where, notes) => {
    if (!isObject(value)) return fail(where, "wants a map", value);
    const entries = Object.entries(value).map(
      ([key, inner]) => [key, item(inner, `${where}["${key}"]`, notes)] as const,
    );
    return Object.fromEntries(entries.filter((entry): entry is [string, Json] => entry[1] !== undefined));
  };
const labels = map(text);
/** A block: an object, or a list of one. An empty block is an empty object. */
const object =
  (shape: Shape): Field =>
  (value, where, notes) => {
    const only = Array.isArray(value) && value.length <= 1 ? value[0] : value;
    if (only === undefined) return undefined;
    if (!isObject(only)) return fail(where, "wants one block", only);
    const result: JsonObject = {};
    for (const [key, inner] of Object.entries(only)) {
      const entry = shape[key];
      if (entry === undefined)
        throw new Error(`${where}.${key}: manifests/kubernetes-objects.ts does not know this key; add it to its table`);
      const [name, field] = typeof entry === "function" ? [camelCase(key), entry] : entry;
      const converted = inner === null ? undefined : field(inner, `${where}.${key}`, notes);
      if (converted !== undefined) result[name] = converted;
    }
    return result;
  };
const objects = (shape: Shape): Field => list(object(shape));
/** What only Terraform does: nothing for the API. */
const terraformOnly: Field = () => undefined;
const secret: Field = (value, where, notes) => {
  if (typeof value !== "string") return fail(where, "wants a text", value);
  if (!hasReference(value)) return unescape(value);
  const path = /var\.(secrets[^}\s,)]*)/.exec(value)?.[1]?.replace(/\["([^"]+)"\]/g, ".$1");
  notes(`${where} is a secret: replace its placeholder`);
  return `<${path ?? "a random value, 64 hex digits"}>`;
};
const fromPlatform: Field = (value, where, notes) => {
  if (typeof value !== "string" || !hasReference(value)) return text(value, where, notes);
  notes(`${where} is left out: only Terraform knows ${value}`);
  return undefined;
};

const metadata = object({ name: text, namespace: text, generate_name: text, labels, annotations: labels });
const selector = object({
  match_labels: labels,
  match_expressions: objects({ key: text, operator: text, values: texts }),
});
const keyToPath = objects({ key: text, path: text, mode: octal });
const configMapSource: Shape = { name: text, items: keyToPath, optional: flag };
const seccomp = object({ type: text, localhost_profile: text });
const quantities = map(wholeOrText);
const resources = object({ limits: map(text), requests: map(text) });
const httpGet = object({
  path: text,
  port: wholeOrText,
  host: text,
  scheme: text,
  http_header: ["httpHeaders", objects({ name: text, value: text })],
});
const handler: Shape = {
  http_get: httpGet,
  tcp_socket: object({ port: wholeOrText, host: text }),
  exec: object({ command: texts }),
};
const probe = object({
  ...handler,
  grpc: object({ port: whole, service: text }),
  initial_delay_seconds: whole,
  period_seconds: whole,
  timeout_seconds: whole,
  success_threshold: whole,
  failure_threshold: whole,
});
const fieldRef = object({ api_version: text, field_path: text });
const container = objects({
  name: text,
  image: text,
  image_pull_policy: text,
  command: texts,
  args: texts,
  working_dir: ["workingDir", text],
  env: objects({
    name: text,
    value: text,
    value_from: object({
      field_ref: fieldRef,
      secret_key_ref: object({ name: text, key: text, optional: flag }),
      config_map_key_ref: object({ name: text, key: text, optional: flag }),
      resource_field_ref: object({ container_name: text, resource: text, divisor: text }),
    }),
  }),
  port: ["ports", objects({ name: text, container_port: whole, protocol: text })],
  liveness_probe: probe,
  readiness_probe: probe,
  startup_probe: probe,
  lifecycle: object({ pre_stop: object(handler), post_start: object(handler) }),
  resources,
  security_context: object({
    allow_privilege_escalation: flag,
    capabilities: object({ add: texts, drop: texts }),
    privileged: flag,
    read_only_root_filesystem: flag,
    run_as_group: whole,
    run_as_non_root: flag,
    run_as_user: whole,
    seccomp_profile: seccomp,
  }),
  termination_message_path: text,
  termination_message_policy: text,
  volume_mount: ["volumeMounts", objects({ name: text, mount_path: text, read_only: flag, sub_path: text })],
});
const volume = objects({
  name: text,
  config_map: object({ ...configMapSource, default_mode: octal }),
  secret: object({ secret_name: text, items: keyToPath, optional: flag, default_mode: octal }),
  empty_dir: object({ medium: text, size_limit: text }),
  persistent_volume_claim: object({ claim_name: text, read_only: flag }),
  projected: object({
    default_mode: octal,
    sources: objects({
      config_map: object(configMapSource),
      secret: object(configMapSource),
      downward_api: ["downwardAPI", object({ items: objects({ path: text, mode: octal, field_ref: fieldRef }) })],
      service_account_token: object({ audience: text, expiration_seconds: whole, path: text }),
    }),
  }),
});
const podSpec = object({
  automount_service_account_token: flag,
  container: ["containers", container],
  dns_policy: text,
  enable_service_links: flag,
  host_network: flag,
  init_container: ["initContainers", container],
  node_selector: labels,
  priority_class_name: text,
  restart_policy: text,
  security_context: object({
    fs_group: whole,
    fs_group_change_policy: text,
    run_as_group: whole,
    run_as_non_root: flag,
    run_as_user: whole,
    seccomp_profile: seccomp,
    supplemental_groups: list(whole),
  }),
  service_account_name: text,
  share_process_namespace: flag,
  termination_grace_period_seconds: whole,
  toleration: [
    "tolerations",
    objects({ key: text, operator: text, value: text, effect: text, toleration_seconds: whole }),
  ],
  topology_spread_constraint: [
    "topologySpreadConstraints",
    objects({
      label_selector: selector,
      max_skew: whole,
      min_domains: whole,
      topology_key: text,
      when_unsatisfiable: text,
    }),
  ],
  affinity: object({
    pod_anti_affinity: object({
      required_during_scheduling_ignored_during_execution: objects({
        label_selector: selector,
        topology_key: text,
        namespaces: texts,
      }),
      preferred_during_scheduling_ignored_during_execution: objects({
        weight: whole,
        pod_affinity_term: object({ label_selector: selector, topology_key: text, namespaces: texts }),
      }),
    }),
  }),
  volume: ["volumes", volume],
});
const podTemplate = object({ metadata, spec: podSpec });
const claimSpec = object({
  access_modes: texts,
  resources: object({ limits: quantities, requests: map(text) }),
  storage_class_name: text,
  volume_mode: text,
  volume_name: text,
});
const peers = objects({
  ip_block: object({ cidr: text, except: texts }),
  namespace_selector: selector,
  pod_selector: selector,
});
const policyPorts = objects({ port: wholeOrText, end_port: whole, protocol: text });

interface Resource {
  apiVersion: string;
  kind: string;
  shape: Shape;
}

/** Every type of the kubernetes provider that the stack uses. */
export const resourceTable: Readonly<Record<string, Resource>> = {
  kubernetes_namespace_v1: {
    apiVersion: "v1",
    kind: "Namespace",
    shape: { metadata, wait_for_default_service_account: terraformOnly },
  },
  kubernetes_service_account_v1: {
    apiVersion: "v1",
    kind: "ServiceAccount",
    shape: {
      metadata,
      automount_service_account_token: flag,
      image_pull_secret: ["imagePullSecrets", objects({ name: text })],
      secret: ["secrets", objects({ name: text })],
    },
  },
  kubernetes_config_map_v1: {
    apiVersion: "v1",
    kind: "ConfigMap",
    shape: { metadata, data: labels, binary_data: labels, immutable: flag },
  },
  kubernetes_secret_v1: {
    apiVersion: "v1",
    kind: "Secret",
    shape: {
      metadata,
      type: text,
      data: ["stringData", map(secret)],
      data_wo: ["stringData", map(secret)],
      data_wo_revision: terraformOnly,
      immutable: flag,
      wait_for_service_account_token: terraformOnly,
    },
  },
  kubernetes_role_v1: {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    shape: {
      metadata,
      rule: ["rules", objects({ api_groups: texts, resources: texts, resource_names: texts, verbs: texts })],
    },
  },
  kubernetes_role_binding_v1: {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    shape: {
      metadata,
      role_ref: object({ api_group: text, kind: text, name: text }),
      subject: ["subjects", objects({ api_group: text, kind: text, name: text, namespace: text })],
    },
  },
  kubernetes_service_v1: {
    apiVersion: "v1",
    kind: "Service",
    shape: {
      metadata,
      spec: object({
        cluster_ip: ["clusterIP", text],
        external_traffic_policy: text,
        internal_traffic_policy: text,
        health_check_node_port: whole,
        load_balancer_class: text,
        load_balancer_ip: ["loadBalancerIP", fromPlatform],
        load_balancer_source_ranges: texts,
        port: [
          "ports",
          objects({ name: text, port: whole, protocol: text, target_port: wholeOrText, app_protocol: text }),
        ],
        publish_not_ready_addresses: flag,
        selector: labels,
        session_affinity: text,
        type: text,
      }),
      wait_for_load_balancer: terraformOnly,
    },
  },
  kubernetes_network_policy_v1: {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    shape: {
      metadata,
      spec: object({
        pod_selector: selector,
        policy_types: texts,
        ingress: objects({ from: peers, ports: policyPorts }),
        egress: objects({ to: peers, ports: policyPorts }),
      }),
    },
  },
  kubernetes_pod_disruption_budget_v1: {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    shape: { metadata, spec: object({ max_unavailable: wholeOrText, min_available: wholeOrText, selector }) },
  },
  kubernetes_storage_class_v1: {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    shape: {
      metadata,
      allow_volume_expansion: flag,
      allowed_topologies: [
        "allowedTopologies",
        objects({ match_label_expressions: objects({ key: text, values: texts }) }),
      ],
      mount_options: texts,
      parameters: labels,
      reclaim_policy: text,
      storage_provisioner: ["provisioner", text],
      volume_binding_mode: text,
    },
  },
  kubernetes_priority_class_v1: {
    apiVersion: "scheduling.k8s.io/v1",
    kind: "PriorityClass",
    shape: { metadata, value: whole, description: text, global_default: flag, preemption_policy: text },
  },
  kubernetes_deployment_v1: {
    apiVersion: "apps/v1",
    kind: "Deployment",
    shape: {
      metadata,
      spec: object({
        min_ready_seconds: whole,
        progress_deadline_seconds: whole,
        replicas: whole,
        revision_history_limit: whole,
        selector,
        strategy: object({
          type: text,
          rolling_update: object({ max_surge: wholeOrText, max_unavailable: wholeOrText }),
        }),
        template: podTemplate,
      }),
      wait_for_rollout: terraformOnly,
    },
  },
  kubernetes_stateful_set_v1: {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    shape: {
      metadata,
      spec: object({
        min_ready_seconds: whole,
        persistent_volume_claim_retention_policy: object({ when_deleted: text, when_scaled: text }),
        pod_management_policy: text,
        replicas: whole,
        revision_history_limit: whole,
        selector,
        service_name: text,
        template: podTemplate,
        update_strategy: object({
          type: text,
          rolling_update: object({ partition: whole, max_unavailable: wholeOrText }),
        }),
        volume_claim_template: ["volumeClaimTemplates", objects({ metadata, spec: claimSpec })],
      }),
      wait_for_rollout: terraformOnly,
    },
  },
};

const metaArguments: Shape = {
  "//": terraformOnly,
  lifecycle: terraformOnly,
  depends_on: terraformOnly,
  provider: terraformOnly,
  timeouts: terraformOnly,
};

export interface KubernetesObject extends JsonObject {
  apiVersion: string;
  kind: string;
  metadata: JsonObject;
}

/** Of releases of the chart constructs/charts/objects, which are given their objects; of other charts nothing. */
function releasedObjects(releases: Record<string, unknown>, notes: Notes): KubernetesObject[] {
  return Object.entries(releases).flatMap(([id, release]) => {
    const { values: [values = "{}"] = [] } = release as { values?: string[] };
    const { objects: given } = JSON.parse(values) as { objects?: KubernetesObject[] };
    if (!given) notes(`helm_release.${id} left out: what its chart installs only Helm knows`);
    return given ?? [];
  });
}

/**
 * The Kubernetes objects of a synthesized stack, in the order in which they can be created.
 * @param stack the parsed cdk.tf.json
 * @throws Error for a resource type or a key that the table does not know
 */
export function toManifests(
  stack: { resource?: Record<string, Record<string, unknown>> },
  notes: Notes = () => undefined,
): KubernetesObject[] {
  const types = Object.keys(resourceTable);
  return Object.entries(stack.resource ?? {})
    .flatMap(([type, instances]) => {
      if (type === "helm_release")
        return releasedObjects(instances, notes).map((released) => ({
          order: Object.values(resourceTable).findIndex(({ kind }) => kind === released.kind),
          object: released,
        }));
      if (!type.startsWith("kubernetes_")) {
        notes(`${Object.keys(instances).length} ${type} left out: no Kubernetes object`);
        return [];
      }
      const resource = resourceTable[type];
      if (!resource)
        throw new Error(`manifests/kubernetes-objects.ts does not know the resource type ${type}; add it to its table`);
      return Object.entries(instances).map(([id, instance]) => {
        const body = object({ ...resource.shape, ...metaArguments })(
          instance as Json,
          `${type}.${id}`,
          notes,
        ) as JsonObject;
        return {
          order: types.indexOf(type),
          object: { apiVersion: resource.apiVersion, kind: resource.kind, ...body } as KubernetesObject,
        };
      });
    })
    .sort((a, b) => a.order - b.order)
    .map(({ object: manifest }) => manifest);
}

/** One YAML stream. */
export const toYaml = (manifests: readonly KubernetesObject[]): string =>
  manifests.map((manifest) => `---\n${stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false })}`).join("");
