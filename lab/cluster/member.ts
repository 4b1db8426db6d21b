/** A pod with what the machine and the network do for it. */
import { renameSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { labels } from "../../contract/names";
import { secondsTime } from "../../daemons/runtime/kube";
import type { Json } from "../kube-api/objects";
import type { Link } from "./link";
import type { Pod } from "./pod";
import type { WorkloadSpec } from "./stack";

/** What a pod reaches, each over its own links. */
export const directions = ["api", "chain", "signer", "peer"] as const;
export type Direction = (typeof directions)[number];

export interface Member {
  pod: Pod;
  workload: WorkloadSpec;
  ordinal: number;
  zone: string;
  /** Removed from the API while its processes run on. */
  orphan: boolean;
  links: { direction: Direction; link: Link; key: string; to: string }[];
  settings: { clockMs: number; namesSilent?: boolean; disk?: { folders: string[]; full: boolean; delayMs: number } };
  settingsFile: string;
  linkAddress: string;
  claimFolders: string[];
}
/** What the preload of the pod's processes follows. */
export function writeSettings(member: Member): void {
  const routes = Object.fromEntries(
    member.links.map(({ key, link }) => [key, `${link.address.host}:${link.address.port}`]),
  );
  // The API is reached by address in a cluster.
  const hosts = member.links.filter(({ direction }) => direction === "signer" || direction === "peer");
  const names = hosts.map(({ key }) => key.split(":")[0] ?? "").filter((host) => isIP(host) === 0);
  const temporary = `${member.settingsFile}.new`;
  writeFileSync(temporary, JSON.stringify({ routes, names, ...member.settings }));
  renameSync(temporary, member.settingsFile);
}

/** As the API shows it. */
export function podObject({ pod, zone, workload }: Member, namespace: string): Json {
  return {
    ...{ apiVersion: "v1", kind: "Pod" },
    metadata: {
      ...{ name: pod.name, namespace, uid: pod.uid },
      labels: { ...workload.template.labels, [labels.zone]: zone },
      ...(pod.phase === "Terminating" ? { deletionTimestamp: secondsTime(Date.now()) } : {}),
    },
    spec: { nodeName: `node-${zone}` },
    status: {
      phase: pod.phase === "Terminating" ? "Running" : pod.phase,
      podIP: pod.options.address,
      conditions: [{ type: "Ready", status: pod.ready ? "True" : "False" }],
      ...(pod.init === undefined
        ? {}
        : { initContainerStatuses: [{ name: pod.init, ready: false, restartCount: 0, state: { running: {} } }] }),
      containerStatuses: pod.containers.map((container) => ({
        ...{ name: container.spec.name, ready: container.ready, restartCount: container.restarts },
        state: container.state === "running" ? { running: {} } : { waiting: { reason: container.state } },
        lastState: container.lastTerminated === undefined ? {} : { terminated: container.lastTerminated },
      })),
    },
  };
}
