/** The containers of our own image. */
import { type BakingContainer, bakingContainers, type ContainerRow } from "../../contract/containers";
import { daemonCommand, togCommand } from "../../contract/images";
import { ports } from "../../contract/ports";
import {
  container,
  type ContainerProps,
  daemonResources,
  httpProbe,
  type PodContainer,
  resources,
  type VolumeName,
} from "./container";

/** Own liveness only: that of the process, never of the API or of another container. */
const alive = (port: number, path = "/live") =>
  httpProbe(port, path, { periodSeconds: 10, failureThreshold: 3, timeoutSeconds: 3 });
/**
 * Elector and gate: a pod in which one of them hangs cannot follow as master, so it is not ready. images/tog-init ends
 * a daemon that hangs within 8 s; the kubelet does only where that has failed.
 */
const aliveNow = (port: number) => ({
  // A busy node may need its time for a start.
  startup: httpProbe(port, "/live", { periodSeconds: 1, failureThreshold: 60, timeoutSeconds: 2 }),
  liveness: httpProbe(port, "/live", { periodSeconds: 2, failureThreshold: 8, timeoutSeconds: 2 }),
  // Not /ready: the gate of a standby is shut.
  readiness: httpProbe(port, "/live", { periodSeconds: 2, failureThreshold: 2, timeoutSeconds: 2 }),
});
/** A container that runs our program; one that is to run for ever is started again where it ends. */
const daemon = (row: DaemonRow, props: Omit<ContainerProps, "row" | "command" | "args">): PodContainer => {
  const { runs, daemon: name }: ContainerRow = bakingContainers[row];
  return container({ ...props, row, command: runs === "init" ? togCommand : daemonCommand, args: [name ?? ""] });
};
type DaemonRow = {
  [C in BakingContainer]: (typeof bakingContainers)[C] extends { daemon: string } ? C : never;
}[BakingContainer];

export interface DaemonProps {
  readonly image: string;
}

/** Init: waits until no pod of the other topology exists. Only it may take hours; it needs no disk. */
export const topologyGuard = ({ image }: DaemonProps): PodContainer =>
  daemon("topologyGuard", {
    image,
    volumes: ["config", "kube"],
    resources: daemonResources,
  });

export interface SidecarProps extends DaemonProps {
  /** Outlives SIGTERM until the pod has handed over: the elector chooses the moment by what the sidecar tells. */
  readonly waitForHandover: boolean;
}
/** Its /live and /ready speak for the node; its own liveness is that it answers at all. */
export const sidecar = ({ image, waitForHandover }: SidecarProps): PodContainer =>
  daemon("sidecar", {
    image,
    volumes: ["config"],
    resources: daemonResources,
    liveness: alive(ports.sidecar, "/status"),
    waitForHandover,
  });

export interface BakerContainerProps extends DaemonProps {
  /** Where its supervisor writes to the API itself (it must mark the watermarks where no gate does). */
  readonly callsApi: boolean;
}
/** No preStop: its supervisor decides when the daemons stop. */
export const baker = ({ image, callsApi }: BakerContainerProps): PodContainer => {
  const api: VolumeName[] = callsApi ? ["kube"] : [];
  return daemon("baker", {
    image,
    volumes: ["node", "client", "config", ...api],
    resources: resources({ cpu: "250m", memory: "1Gi" }, { cpu: "2", memory: "6Gi" }),
    liveness: alive(ports.supervisor),
    // A pod whose baker does not start, or crashes again and again, could not follow as master.
    readiness: httpProbe(ports.supervisor, "/ready", { periodSeconds: 5, failureThreshold: 2, timeoutSeconds: 2 }),
  });
};

export const elector = ({ image }: DaemonProps): PodContainer =>
  daemon("elector", {
    image,
    volumes: ["config", "kube"],
    resources: daemonResources,
    ...aliveNow(ports.elector),
    waitForHandover: true,
  });

export const signingGate = ({ image }: DaemonProps): PodContainer =>
  daemon("signingGate", {
    image,
    volumes: ["state", "config", "kube"],
    resources: resources({ cpu: "50m", memory: "64Mi" }, { cpu: "1", memory: "192Mi" }),
    ...aliveNow(ports.gateHealth),
    waitForHandover: true,
  });

export const nonceExposer = ({ image }: DaemonProps): PodContainer =>
  daemon("nonceExposer", {
    image,
    volumes: ["clientReadOnly", "config", "secrets"],
    resources: daemonResources,
    liveness: alive(ports.nonceExposer),
    waitForHandover: true,
  });

export const nonceImporter = ({ image }: DaemonProps): PodContainer =>
  daemon("nonceImporter", {
    image,
    volumes: ["client", "state", "config", "secrets"],
    resources: daemonResources,
    liveness: alive(ports.nonceImporter),
  });
