/**
 * Everything that can be done to a laboratory, by name: from the page, the command line and scenario files. A fault
 * that lasts hands back its end. Targets: a pod's name, or `active` and `standby`; a zone's name, or `active-zone`.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { bakingContainers, containers, openPorts } from "../../contract/containers";
import { electorPaths } from "../../contract/leadership";
import { annotations, leaderLeaseName, watermarkName, watermarkDataKey } from "../../contract/names";
import { directions, type Direction } from "../cluster/member";
import type { Lab } from "../lab";

export const faultArgumentsSchema = z
  .strictObject({
    pod: z.string(),
    zone: z.string(),
    container: z.string(),
    direction: z.string(),
    /** Milliseconds, of whatever is slow or stepped, at 6 s blocks. */
    ms: z.number(),
    mode: z.enum(["silent", "refuse"]),
    signer: z.string(),
    /** Of API requests that fail, 0..1. */
    share: z.number().min(0).max(1),
  })
  .partial();
export type FaultArguments = z.output<typeof faultArgumentsSchema>;
export interface Fault {
  title: string;
  /** What the arguments mean; also the form on the page. */
  arguments: (keyof FaultArguments)[];
  /** Ends a fault that lasts. */
  run(
    lab: Lab,
    args: FaultArguments,
  ): Promise<void | (() => void | Promise<void>)> | void | (() => void | Promise<void>);
}

/** `active`, `standby` or a name. @throws Error where nobody bakes */
export function podOf(lab: Lab, target = "active"): string {
  if (target !== "active" && target !== "standby") return target;
  const active = lab.activePod() ?? lab.lease?.holder.split("_")[0];
  if (!active) throw new Error("no pod is the master now");
  return target === "active" ? active : lab.otherPod(active);
}
const zoneOf = (lab: Lab, target = "active-zone"): string =>
  target === "active-zone" ? lab.cluster.member(podOf(lab)).zone : target;
const clientFolder = (lab: Lab, pod: string) => join(lab.cluster.member(pod).claimFolders[0] ?? "", "client");
const watermark = (lab: Lab) => watermarkName(lab.synthesis.bakers[0]?.delegate ?? "");
const directionsOf = (text = "all"): readonly Direction[] =>
  text === "all" ? directions : directions.filter((direction) => text.split(",").includes(direction));

/** The operator's wish: an annotation of the leader lease. */
export async function preferHolder(lab: Lab, pod: string): Promise<void> {
  const { api, namespace } = lab.cluster;
  const lease = await api.read("leases", namespace, leaderLeaseName(lab.baker));
  if (!lease) throw new Error("there is no leader lease: the flag is off");
  lease.metadata.annotations = { ...lease.metadata.annotations, [annotations.preferredHolder]: pod };
  await api.apply("leases", namespace, lease as unknown as Record<string, unknown>);
}

/** What a network policy lets a stranger reach, whatever method and path it tries. */
function askForHandovers(lab: Lab): () => void {
  const rows = Object.values(bakingContainers);
  const open = openPorts(rows, "monitoring");
  const ask = () => {
    for (const { pod } of lab.cluster.bakingMembers())
      for (const port of open)
        for (const method of ["GET", "POST"])
          fetch(`http://${pod.options.address}:${port}${electorPaths.handedOver}`, {
            method,
            signal: AbortSignal.timeout(1000),
          }).catch(() => undefined);
  };
  ask();
  const timer = setInterval(ask, lab.scaled(2000));
  return () => clearInterval(timer);
}

export const faults: Record<string, Fault> = {
  switchover: {
    title: "Planned switchover to the other member",
    arguments: ["pod"],
    run: (lab, { pod = "standby" }) => preferHolder(lab, podOf(lab, pod)),
  },
  "kill-container": {
    title: "Kill a container",
    arguments: ["pod", "container"],
    run: (lab, { pod, container = "baker" }) => lab.cluster.member(podOf(lab, pod)).pod.killContainer(container),
  },
  "kill-daemon": {
    title: "Kill octez-baker under its supervisor",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const name = podOf(lab, pod);
      for (const { pid } of lab.trace.running("octez-baker").filter((interval) => interval.pod === name))
        process.kill(pid, "SIGKILL");
    },
  },
  "hang-daemon": {
    title: "octez-baker hangs (SIGSTOP); its supervisor lives",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const name = podOf(lab, pod);
      const hung = lab.trace.running("octez-baker").filter((interval) => interval.pod === name);
      for (const { pid } of hung) process.kill(pid, "SIGSTOP");
      return () => {
        const living = lab.trace.running("octez-baker").filter(({ pid }) => hung.some((one) => one.pid === pid));
        for (const { pid } of living) process.kill(pid, "SIGCONT");
      };
    },
  },
  "hang-dal-node": {
    title: "A pod's DAL node hangs (SIGSTOP)",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const hung = lab.cluster.member(podOf(lab, pod)).pod;
      hung.pause(true, containers.dalNode);
      return () => hung.pause(false, containers.dalNode);
    },
  },
  "stop-dal-node": {
    title: "A pod's DAL node does not follow the chain",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const name = podOf(lab, pod);
      lab.simulation.dal.hold(name, lab.chain.head.level - 2);
      return () => lab.simulation.dal.hold(name, undefined);
    },
  },
  "hostile-caller": {
    title: "A pod of the monitoring namespaces asks every open port for a handover, again and again",
    arguments: [],
    run: (lab) => askForHandovers(lab),
  },
  "dns-silent": {
    title: "The cluster's DNS does not answer a pod",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const name = podOf(lab, pod);
      lab.cluster.silenceNames(name, true);
      return () => lab.cluster.silenceNames(name, false);
    },
  },
  "kill-pod": { title: "Kill a pod", arguments: ["pod"], run: (lab, { pod }) => lab.cluster.killPod(podOf(lab, pod)) },
  "delete-pod": {
    title: "Delete a pod (drain)",
    arguments: ["pod"],
    run: (lab, { pod }) => void lab.cluster.member(podOf(lab, pod)).pod.delete(),
  },
  "lose-node": {
    title: "Lose a pod's machine",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const name = podOf(lab, pod);
      lab.cluster.loseNode(name);
      return () => lab.cluster.restoreNode(name);
    },
  },
  "lose-zone": {
    title: "Lose a zone",
    arguments: ["zone"],
    run: (lab, { zone }) => {
      const lost = zoneOf(lab, zone);
      lab.cluster.loseZone(lost);
      return () => lab.cluster.restoreZone(lost);
    },
  },
  pause: {
    title: "Freeze a pod (SIGSTOP), as a paused machine",
    arguments: ["pod", "container"],
    run: (lab, { pod, container }) => {
      const paused = lab.cluster.member(podOf(lab, pod)).pod;
      paused.pause(true, container);
      return () => paused.pause(false, container);
    },
  },
  cut: {
    title: "Cut a pod from API, chain, signer or peer",
    arguments: ["pod", "direction", "mode"],
    run: (lab, { pod, direction, mode = "silent" }) => {
      const name = podOf(lab, pod);
      for (const one of directionsOf(direction))
        lab.cluster.network.cut(name, one, mode === "refuse" ? "refuse" : "silent");
      return () => directionsOf(direction).forEach((one) => lab.cluster.network.cut(name, one, "open"));
    },
  },
  slow: {
    title: "Slow the way from a pod to API, chain, signer or peer",
    arguments: ["pod", "direction", "ms"],
    run: (lab, { pod, direction, ms = 300 }) => {
      const name = podOf(lab, pod);
      for (const one of directionsOf(direction))
        lab.cluster.network.slow(lab.cluster.member(name), one, lab.scaled(ms));
      return () => directionsOf(direction).forEach((one) => lab.cluster.network.slow(lab.cluster.member(name), one, 0));
    },
  },
  "slow-disk": {
    title: "Slow disk of a pod",
    arguments: ["pod", "ms"],
    run: (lab, { pod, ms = 500 }) => {
      const name = podOf(lab, pod);
      lab.cluster.disk(name, { full: false, delayMs: lab.scaled(ms) });
      return () => lab.cluster.disk(name, undefined);
    },
  },
  "full-disk": {
    title: "Full disk of a pod",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const name = podOf(lab, pod);
      lab.cluster.disk(name, { full: true, delayMs: 0 });
      return () => lab.cluster.disk(name, undefined);
    },
  },
  "api-outage": {
    title: "API unreachable for everybody",
    arguments: ["mode"],
    run: (lab, { mode = "silent" }) => {
      const handle = lab.cluster.api.addFault({ effect: mode === "refuse" ? { kind: "cut" } : { kind: "hang" } });
      return () => handle.remove();
    },
  },
  "api-slow": {
    title: "API answers late",
    arguments: ["ms"],
    run: (lab, { ms = 400 }) => {
      const handle = lab.cluster.api.addFault({ effect: { kind: "latency", ms: lab.scaled(ms) } });
      return () => handle.remove();
    },
  },
  "api-errors": {
    title: "API fails with 500 at random",
    arguments: ["share"],
    run: (lab, { share = 0.3 }) => {
      const handle = lab.cluster.api.addFault({ probability: share, effect: { kind: "status", code: 500 } });
      return () => handle.remove();
    },
  },
  "signer-hang": {
    title: "A signer hangs (SIGSTOP)",
    arguments: ["signer"],
    run: (lab, { signer = "home1" }) => {
      const home = lab.home(signer);
      if (home) {
        home.pause(true);
        return () => home.pause(false);
      }
      const pod = [...lab.cluster.members].find((member) => member.workload.kind === "Deployment")?.pod;
      pod?.pause(true);
      return () => pod?.pause(false);
    },
  },
  "signer-locked": {
    title: "A signer refuses every signature, as with a locked Ledger",
    arguments: ["signer"],
    run: (lab, { signer = "home1" }) => {
      lab.signerFaults(signer, { refuse: 500 });
      return () => lab.signerFaults(signer, undefined);
    },
  },
  "signer-down": {
    title: "A signer outside of the cluster ends: nothing listens there",
    arguments: ["signer"],
    run: (lab, { signer = "home1" }) => lab.signerDown(signer),
  },
  "tunnel-cut": {
    title: "Cut the signer's tunnel of a zone",
    arguments: ["zone", "signer", "mode"],
    run: (lab, { zone, signer, mode = "silent" }) => {
      const cut = lab.cluster.network.tunnels.filter(
        (tunnel) =>
          (zone === "all" || tunnel.zone === zoneOf(lab, zone)) && (signer === undefined || tunnel.signer === signer),
      );
      for (const tunnel of cut) tunnel.link.mode = mode === "refuse" ? "refuse" : "silent";
      return () => cut.forEach((tunnel) => (tunnel.link.mode = "open"));
    },
  },
  "chain-halt": {
    title: "The chain halts",
    arguments: [],
    run: (lab) => {
      lab.simulation.halt();
      return () => lab.simulation.resume();
    },
  },
  fork: {
    title: "The next block is seen by one member only and loses",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const name = podOf(lab, pod);
      lab.simulation.fork((peer) => peer === name);
    },
  },
  "slow-peers": {
    title: "Blocks reach a node late",
    arguments: ["pod", "ms"],
    run: (lab, { pod, ms = 2500 }) => {
      const name = podOf(lab, pod);
      lab.simulation.slow(name, lab.scaled(ms));
      return () => lab.simulation.slow(name, 0);
    },
  },
  "stale-head": {
    title: "A node stops following the chain",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const name = podOf(lab, pod);
      lab.cluster.network.cut(name, "chain", "silent");
      return () => lab.cluster.network.cut(name, "chain", "open");
    },
  },
  "both-stale": {
    title: "No node follows the chain",
    arguments: [],
    run: (lab) => {
      const names = lab.cluster.bakingMembers().map((member) => member.pod.name);
      for (const name of names) lab.cluster.network.cut(name, "chain", "silent");
      return () => names.forEach((name) => lab.cluster.network.cut(name, "chain", "open"));
    },
  },
  "clock-step": {
    title: "Step a pod's wall clock",
    arguments: ["pod", "ms"],
    run: (lab, { pod, ms = 3_600_000 }) => {
      const name = podOf(lab, pod);
      lab.cluster.stepClock(name, ms);
      return () => lab.cluster.stepClock(name, 0);
    },
  },
  twin: {
    title: "Force-delete a pod whose machine nobody reaches: a twin is made",
    arguments: ["pod"],
    run: async (lab, { pod }) => {
      await lab.cluster.twin(podOf(lab, pod));
    },
  },
  "rolling-update": {
    title: "Rolling update of the StatefulSet",
    arguments: [],
    run: (lab) => {
      const set = lab.cluster.bakingMembers()[0]?.workload.name ?? "";
      lab.rolling = lab.cluster.rollingUpdate(set, lab.signal);
    },
  },
  "corrupt-nonces": {
    title: "Cut a pod's nonce file in the middle",
    arguments: ["pod"],
    run: (lab, { pod }) => {
      const folder = clientFolder(lab, podOf(lab, pod));
      for (const file of readdirSync(folder).filter((name) => name.endsWith("_stateful_nonces"))) {
        const path = join(folder, file);
        const text = readFileSync(path, "utf8");
        writeFileSync(path, text.slice(0, Math.floor(text.length / 2)));
      }
    },
  },
  "delete-watermark": {
    title: "Delete the watermark",
    arguments: [],
    run: async (lab) => {
      const { api, namespace } = lab.cluster;
      const name = watermark(lab);
      const before = await api.read("configmaps", namespace, name);
      await api.remove("configmaps", namespace, name);
      // Terraform's next apply makes it again, empty.
      return async () =>
        void (await api.apply("configmaps", namespace, {
          ...{
            apiVersion: "v1",
            kind: "ConfigMap",
            metadata: { name, namespace, labels: before?.metadata.labels ?? {} },
          },
        }));
    },
  },
  "rewind-watermark": {
    title: "Restore the watermark from an old backup",
    arguments: [],
    run: async (lab) => {
      const { api, namespace } = lab.cluster;
      const object = (await api.read("configmaps", namespace, watermark(lab))) as unknown as {
        data?: Record<string, string>;
        metadata: { labels?: Record<string, string> };
      };
      const record = JSON.parse(object.data?.[watermarkDataKey] ?? "null") as {
        floor: number;
        marks: Record<string, { level: number } | null>;
      } | null;
      if (!record) return;
      for (const mark of Object.values(record.marks)) if (mark) mark.level -= 3;
      record.floor -= 3;
      await api.apply("configmaps", namespace, {
        ...{
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name: watermark(lab), namespace, labels: object.metadata.labels ?? {} },
        },
        data: { [watermarkDataKey]: JSON.stringify(record) },
      });
    },
  },
  "register-next-keys": {
    title: "The delegate registers its next keys; the chain activates them three cycles later",
    arguments: [],
    run: (lab) => lab.registerNextKeys(),
  },
  "flag-on": {
    title: "Switch experimental_active_standby_mode on",
    arguments: [],
    run: (lab) => lab.switchFlag(true),
  },
  "flag-off": {
    title: "Switch experimental_active_standby_mode off",
    arguments: [],
    run: (lab) => lab.switchFlag(false),
  },
};
export type FaultName = keyof typeof faults;

/** Does it and says so. @returns what ends it, if it lasts */
export async function inject(
  lab: Lab,
  name: string,
  args: FaultArguments = {},
): Promise<(() => Promise<void>) | undefined> {
  const fault = faults[name];
  if (!fault) throw new Error(`a fault is one of ${Object.keys(faults).join(", ")}; got "${name}"`);
  const shown = Object.entries(args)
    .map(([key, value]) => `${key} ${value}`)
    .join(", ");
  const target =
    args.pod !== undefined || fault.arguments.includes("pod")
      ? tryPod(lab, args.pod ?? (name === "switchover" ? "standby" : "active"))
      : "";
  lab.note("warn", target, "fault", name, [fault.title, shown].filter((part) => part !== "").join(": "));
  const end = await fault.run(lab, args);
  if (!end) return undefined;
  let ended = false;
  return async () => {
    if (ended) return;
    ended = true;
    lab.note("info", target, "fault", `${name}-ended`, fault.title);
    await end();
  };
}
function tryPod(lab: Lab, target: string): string {
  try {
    return podOf(lab, target);
  } catch {
    return "";
  }
}
