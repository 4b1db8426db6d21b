/**
 * Reads the synthesized baker stack (cdk.tf.json) as a cluster would see it after the apply: Kubernetes objects, with
 * Terraform's references resolved.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { bakerFileSchema } from "../../contract/baker-file";

type Json = Record<string, unknown>;

export interface HttpGet {
  path: string;
  port: string;
}
export interface ProbeSpec {
  http_get?: HttpGet;
  period_seconds?: number;
  failure_threshold?: number;
  timeout_seconds?: number;
  initial_delay_seconds?: number;
}
export interface ContainerSpec {
  name: string;
  command: string[];
  args: string[];
  env: { name: string; value?: string; value_from?: { field_ref?: { field_path: string } } }[];
  volume_mount: { name: string; mount_path: string; sub_path?: string; read_only?: boolean }[];
  port: { name?: string; container_port: number }[];
  startup_probe?: ProbeSpec;
  liveness_probe?: ProbeSpec;
  readiness_probe?: ProbeSpec;
  lifecycle?: { pre_stop?: { http_get?: HttpGet }[] };
}
export interface VolumeSpec {
  name: string;
  config_map?: { name: string };
  secret?: { secret_name: string; items?: { key: string; path: string }[] };
  empty_dir?: Json;
  projected?: unknown[];
}
export interface PodTemplate {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  serviceAccount: string | undefined;
  graceSeconds: number;
  init: ContainerSpec[];
  containers: ContainerSpec[];
  volumes: VolumeSpec[];
}
export interface WorkloadSpec {
  kind: "StatefulSet" | "Deployment";
  name: string;
  replicas: number;
  minReadySeconds: number;
  claims: string[];
  template: PodTemplate;
}
export interface StackObjects {
  namespace: string;
  workloads: WorkloadSpec[];
  configMaps: { name: string; labels: Record<string, string>; data: Record<string, string> }[];
  secrets: { name: string; data: Record<string, string> }[];
  services: { name: string; selector: Record<string, string>; ports: { port: number; target: number }[] }[];
  roles: {
    name: string;
    rules: { apiGroups: string[]; resources: string[]; resourceNames?: string[]; verbs: string[] }[];
  }[];
  bindings: { name: string; role: string; accounts: string[] }[];
}

const one = (value: unknown): Json => ((Array.isArray(value) ? value[0] : value) ?? {}) as Json;
const list = <T>(value: unknown): T[] =>
  value === undefined || value === null ? [] : Array.isArray(value) ? (value as T[]) : [value as T];
const texts = (value: unknown): Record<string, string> => (value ?? {}) as Record<string, string>;

/**
 * Terraform's templates: `$${` is a literal; the nonce secret's expression becomes random hex; references into
 * `var.secrets` become the given secrets; anything else (an address that only a cloud knows) is empty.
 */
export function resolveTemplate(text: string, secrets: Json): string {
  return text.replace(/\$\$\{|\$\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}/g, (whole, expression: string | undefined) => {
    if (whole === "$${") return "${";
    if (expression?.startsWith("sha256(")) return randomBytes(32).toString("hex");
    if (!expression?.startsWith("var.secrets")) return "";
    const path = [...expression.slice("var.secrets".length).matchAll(/\.(\w+)|\["([^"]+)"\]/g)].map(
      (match) => match[1] ?? match[2] ?? "",
    );
    const value = path.reduce<unknown>((at, key) => (at as Json | undefined)?.[key], secrets);
    return typeof value === "string" ? value : "";
  });
}

function deepResolve<T>(value: T, secrets: Json): T {
  if (typeof value === "string") return resolveTemplate(value, secrets) as T;
  if (Array.isArray(value)) return value.map((entry: unknown) => deepResolve(entry, secrets)) as T;
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(
      Object.entries(value).map(([key, entry]) => [key, deepResolve(entry as unknown, secrets)]),
    ) as T;
  return value;
}

const container = (raw: Json): ContainerSpec => ({
  name: String(raw.name),
  command: list(raw.command),
  args: list(raw.args),
  env: list<Json>(raw.env).map((entry) => ({
    name: String(entry.name),
    value: entry.value === undefined ? undefined : String(entry.value),
    value_from: entry.value_from
      ? { field_ref: one(one(entry.value_from).field_ref) as { field_path: string } }
      : undefined,
  })),
  volume_mount: list(raw.volume_mount),
  port: list(raw.port),
  ...Object.fromEntries(
    (["startup_probe", "liveness_probe", "readiness_probe"] as const)
      .filter((name) => raw[name] !== undefined)
      .map((name) => {
        const probe = one(raw[name]);
        return [name, { ...probe, http_get: probe.http_get === undefined ? undefined : one(probe.http_get) }];
      }),
  ),
  lifecycle: raw.lifecycle
    ? {
        pre_stop: list<Json>(one(raw.lifecycle).pre_stop).map((hook) => ({
          http_get: one(hook.http_get) as unknown as HttpGet,
        })),
      }
    : undefined,
});

function workload(kind: WorkloadSpec["kind"], raw: Json): WorkloadSpec {
  const spec = one(raw.spec);
  const template = one(spec.template);
  const metadata = one(template.metadata);
  const pod = one(template.spec);
  return {
    kind,
    name: String(one(raw.metadata).name),
    replicas: Number(spec.replicas ?? 1),
    minReadySeconds: Number(spec.min_ready_seconds ?? 0),
    claims: list<Json>(spec.volume_claim_template).map((claim) => String(one(claim.metadata).name)),
    template: {
      labels: texts(metadata.labels),
      annotations: texts(metadata.annotations),
      serviceAccount: pod.service_account_name as string | undefined,
      graceSeconds: Number(pod.termination_grace_period_seconds ?? 30),
      init: list<Json>(pod.init_container).map(container),
      containers: list<Json>(pod.container).map(container),
      volumes: list<Json>(pod.volume).map((volume) => ({
        ...(volume as unknown as VolumeSpec),
        config_map: volume.config_map ? (one(volume.config_map) as { name: string }) : undefined,
        secret: volume.secret ? (one(volume.secret) as { secret_name: string }) : undefined,
      })),
    },
  };
}

/** @param secrets the variable `secrets` */
export function readStack(path: string, secrets: Json): StackObjects {
  const resources = deepResolve(
    (JSON.parse(readFileSync(path, "utf8")) as { resource: Record<string, Record<string, Json>> }).resource,
    secrets,
  );
  const all = (type: string): Json[] => Object.values(resources[type] ?? {});
  const meta = (raw: Json) => one(raw.metadata);
  return {
    namespace: String(meta(all("kubernetes_namespace_v1")[0] ?? {}).name ?? "default"),
    workloads: [
      ...all("kubernetes_stateful_set_v1").map((raw) => workload("StatefulSet", raw)),
      ...all("kubernetes_deployment_v1").map((raw) => workload("Deployment", raw)),
    ],
    configMaps: all("kubernetes_config_map_v1").map((raw) => ({
      ...{ name: String(meta(raw).name), labels: texts(meta(raw).labels), data: texts(raw.data) },
    })),
    secrets: all("kubernetes_secret_v1").map((raw) => ({ name: String(meta(raw).name), data: texts(raw.data_wo) })),
    services: all("kubernetes_service_v1")
      .filter((raw) => one(raw.spec).type !== "LoadBalancer")
      .map((raw) => ({
        name: String(meta(raw).name),
        selector: texts(one(raw.spec).selector),
        ports: list<Json>(one(raw.spec).port).map((port) => ({
          port: Number(port.port),
          target: Number(port.target_port ?? port.port),
        })),
      })),
    roles: all("kubernetes_role_v1").map((raw) => ({
      name: String(meta(raw).name),
      rules: list<Json>(raw.rule).map((rule) => ({
        ...{
          apiGroups: list<string>(rule.api_groups),
          resources: list<string>(rule.resources),
          verbs: list<string>(rule.verbs),
        },
        ...(rule.resource_names === undefined ? {} : { resourceNames: list<string>(rule.resource_names) }),
      })),
    })),
    bindings: all("kubernetes_role_binding_v1").map((raw) => ({
      ...{ name: String(meta(raw).name), role: String(one(raw.role_ref).name) },
      accounts: list<Json>(raw.subject).map((subject) => String(subject.name)),
    })),
  };
}

/** Where the pods of a baker reach its signers that are no services of the stack. */
export function signersByUrl(
  { configMaps, services }: Pick<StackObjects, "configMaps" | "services">,
  baker: string,
): { signer: string; host: string; port: number }[] {
  const files = configMaps.flatMap(
    ({ data }) => bakerFileSchema.safeParse(JSON.parse(data["baker.json"] ?? "{}")).data ?? [],
  );
  const signers = files.find((file) => file.baker === baker)?.signers ?? [];
  return signers
    .flatMap(({ name: signer, endpoints }) => endpoints.map(({ url }) => ({ signer, url: new URL(url) })))
    .filter(({ url }) => !services.some(({ name }) => name === url.hostname))
    .map(({ signer, url }) => ({ signer, host: url.hostname, port: Number(url.port) }));
}
