/** What every container of a baking pod has in common: identity, security, resources, mounts and probes. */
import type {
  StatefulSetV1SpecTemplateSpecContainer,
  StatefulSetV1SpecTemplateSpecContainerEnv,
  StatefulSetV1SpecTemplateSpecContainerLivenessProbe,
  StatefulSetV1SpecTemplateSpecContainerResources,
  StatefulSetV1SpecTemplateSpecContainerVolumeMount,
} from "@cdktf/provider-kubernetes/lib/stateful-set-v1";
import { type BakingContainer, bakingContainers, type ContainerRow } from "../../contract/containers";
import { type EnvName, mounts } from "../../contract/env";
import { runAs } from "../../contract/images";
import { electorPaths } from "../../contract/leadership";
import { labels } from "../../contract/names";
import { ports } from "../../contract/ports";

type Mount = StatefulSetV1SpecTemplateSpecContainerVolumeMount;
export type PodContainer = StatefulSetV1SpecTemplateSpecContainer & { readonly volumeMount: readonly Mount[] };
export type Probe = StatefulSetV1SpecTemplateSpecContainerLivenessProbe;

/** Name of the node's disk until `mountClaim` gives it the one of the claim. */
const disk = "data";
/** A folder of the node's disk, at the same path in each container that sees it. */
const folder = <T extends string>(mountPath: T) => ({
  name: disk,
  mountPath,
  subPath: mountPath.slice(mounts.data.length + 1),
  readOnly: false,
});

/**
 * The volumes of a baking pod by name; a container mounts only what it names. The disk is never mounted as a whole: the
 * containers that talk to the internet must not see the client folder, where the key lies with which the baker
 * authenticates itself to its signers.
 */
export const volumes: Readonly<Record<VolumeName, Mount>> = {
  node: folder(mounts.nodeDir),
  client: folder(mounts.clientDir),
  clientReadOnly: { ...folder(mounts.clientDir), readOnly: true },
  state: folder(mounts.stateDir),
  dal: folder(mounts.dalDir),
  snapshot: folder(mounts.snapshotDir),
  config: { name: "config", mountPath: mounts.configDir, readOnly: true },
  /** Token, CA and namespace of the service account: only where the Kubernetes API is called. */
  kube: { name: "kube", mountPath: mounts.kubeDir, readOnly: true },
  /** What the nonce containers share with the other members. */
  secrets: { name: "secrets", mountPath: mounts.secretsDir, readOnly: true },
  /** The key with which the baker authenticates itself to its signers: only import-keys sees it. */
  authentication: { name: "authentication", mountPath: mounts.secretsDir, readOnly: true },
  tmp: { name: "tmp", mountPath: mounts.tmp, readOnly: false },
};
export type VolumeName =
  | ("node" | "client" | "clientReadOnly" | "state" | "dal" | "snapshot")
  | ("config" | "kube" | "secrets" | "authentication" | "tmp");

const field = (name: EnvName, fieldPath: string): StatefulSetV1SpecTemplateSpecContainerEnv => ({
  name,
  valueFrom: { fieldRef: { fieldPath } },
});
const value = (name: EnvName, text: string): StatefulSetV1SpecTemplateSpecContainerEnv => ({ name, value: text });

/** The whole environment of the contract, the same in every container: every command line may use any of it. */
export const podEnv = (): StatefulSetV1SpecTemplateSpecContainerEnv[] => [
  field("TOG_POD_NAME", "metadata.name"),
  field("TOG_POD_UID", "metadata.uid"),
  field("TOG_POD_ADDRESS", "status.podIP"),
  value("TOG_LOCAL_ADDRESS", "127.0.0.1"),
  field("TOG_NAMESPACE", "metadata.namespace"),
  field("TOG_ZONE", `metadata.labels['${labels.zone}']`),
  value("TOG_KUBE_URL", "https://$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)"),
  value("TOG_KUBE_DIR", mounts.kubeDir),
  value("TOG_NODE_DIR", mounts.nodeDir),
  value("TOG_CLIENT_DIR", mounts.clientDir),
  value("TOG_STATE_DIR", mounts.stateDir),
  value("TOG_SECRETS_DIR", mounts.secretsDir),
  value("TOG_CONFIG_FILE", mounts.configFile),
];

/** The restricted pod security standard, and a read-only root besides; shared with the signer pods. */
export const containerSecurity = {
  allowPrivilegeEscalation: false,
  privileged: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  runAsUser: String(runAs),
  runAsGroup: String(runAs),
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
};
export const podSecurity = {
  runAsNonRoot: true,
  runAsUser: String(runAs),
  runAsGroup: String(runAs),
  fsGroup: String(runAs),
  fsGroupChangePolicy: "OnRootMismatch",
  seccompProfile: { type: "RuntimeDefault" },
};

/** CPU in cores or "250m", memory with its unit; requests first, then limits. */
export const resources = (
  requests: { cpu: string; memory: string },
  limits: { cpu: string; memory: string },
): StatefulSetV1SpecTemplateSpecContainerResources => ({ requests, limits });
/** One Node.js process of ours: <= 60 MB resident, bursts of CPU at a handover. */
export const daemonResources = resources({ cpu: "25m", memory: "64Mi" }, { cpu: "500m", memory: "192Mi" });

export const httpProbe = (
  port: number,
  path: string,
  timing: { periodSeconds: number; failureThreshold: number; timeoutSeconds: number },
): Probe => ({ httpGet: { port: String(port), path }, ...timing });

/** Waits until this pod has handed over; the call itself starts the handover (SIGTERM comes only after it). */
export const waitForHandover = {
  preStop: [{ httpGet: { port: String(ports.preStop), path: electorPaths.handedOver } }],
};

export interface ContainerProps {
  /** Its row in the table, which has its name and ports. */
  readonly row: BakingContainer;
  readonly image: string;
  readonly command: readonly string[];
  /** @default none */
  readonly args?: readonly string[];
  readonly volumes: readonly VolumeName[];
  readonly resources: StatefulSetV1SpecTemplateSpecContainerResources;
  readonly env?: readonly StatefulSetV1SpecTemplateSpecContainerEnv[];
  readonly liveness?: Probe;
  readonly readiness?: Probe;
  readonly startup?: Probe;
  /** @default false */
  readonly waitForHandover?: boolean;
}

export function container(props: ContainerProps): PodContainer {
  const { name, listens }: ContainerRow = bakingContainers[props.row];
  // One emptyDir for all: each container sees its own sub-folder of it only.
  const mount = (one: Mount): Mount => (one.name === "tmp" ? { ...one, subPath: name } : one);
  return {
    name,
    image: props.image,
    // Never Always: a restart must not depend on a registry.
    imagePullPolicy: "IfNotPresent",
    command: [...props.command],
    args: [...(props.args ?? [])],
    env: [...podEnv(), { name: "HOME", value: mounts.tmp }, ...(props.env ?? [])],
    port: Object.values(listens).flatMap((listener) =>
      listener.name === undefined ? [] : [{ name: listener.name, containerPort: listener.port, protocol: "TCP" }],
    ),
    volumeMount: [...props.volumes, "tmp" as const].map((name) => mount(volumes[name])),
    resources: props.resources,
    securityContext: containerSecurity,
    terminationMessagePolicy: "FallbackToLogsOnError",
    ...(props.liveness ? { livenessProbe: props.liveness } : {}),
    ...(props.readiness ? { readinessProbe: props.readiness } : {}),
    ...(props.startup ? { startupProbe: props.startup } : {}),
    ...(props.waitForHandover ? { lifecycle: waitForHandover } : {}),
  };
}

/** The container with its disk mounted from the volume claim template of this name. */
export const mountClaim = (from: PodContainer, claimName: string): StatefulSetV1SpecTemplateSpecContainer => ({
  ...from,
  volumeMount: from.volumeMount.map((mount) => (mount.name === disk ? { ...mount, name: claimName } : mount)),
});
