/**
 * What is done to a cluster of nodes, in this order. Each is told in docs/failover.md beside the laboratory's
 * scenario for the same event.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { labels } from "../../contract/names";
import type { NodesCluster } from "./cluster";
import { baker, namespace } from "./configuration";
import { retag } from "./images";
import type { Event } from "./measure";
import { exceedMemory } from "./memory";
import { environment, runAside } from "./shell";
import { sleep, until } from "./wait";

const root = resolve(__dirname, "../..");

const podOf = (cluster: NodesCluster, name: string) => cluster.bakingPods.find((pod) => pod.name === name);
/** Resolves when every container of the pod is another one than now, and ready. @returns the wait in seconds */
function renewed(cluster: NodesCluster, name: string, only?: string): () => Promise<number> {
  const ids = () =>
    new Map(podOf(cluster, name)?.containers.map((one) => [one.name, one.ready ? one.id : ""] as const) ?? []);
  const before = ids();
  const began = performance.now();
  return async () => {
    const fresh = () => {
      const now = ids();
      const names = only === undefined ? [...before.keys()] : [only];
      return now.size > 0 && names.every((key) => (now.get(key) ?? "") !== "" && now.get(key) !== before.get(key));
    };
    await until(`${only ?? "every container"} of ${name} is a new one and ready`, fresh, 240_000);
    return Math.round((performance.now() - began) / 100) / 10;
  };
}
/** Folder of a volume of a pod, on its machine. */
const volumeOf = (cluster: NodesCluster, pod: string, kind: string): string =>
  `/var/lib/kubelet/pods/${podOf(cluster, pod)?.uid ?? ""}/volumes/kubernetes.io~${kind}`;

const deletion = (atSeconds: number): Event => ({
  name: `delete-${atSeconds}`,
  scenario: "drain",
  event: "the leader's pod is deleted",
  kind: "planned",
  atSeconds,
  async act(cluster, holder) {
    await cluster.kubectl("delete", "pod", holder, "--wait=false");
  },
});

const drain: Event = {
  name: "drain",
  scenario: "drain",
  event: "the leader's node is drained",
  kind: "planned",
  atSeconds: 1,
  async act(cluster, holder) {
    const options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force"];
    const first = cluster.machineOf(holder).name;
    const second = cluster.machines.find(({ name }) => name !== first)?.name ?? "";
    const drained = cluster.kubectl("drain", first, ...options);
    return async () => {
      await drained;
      const words = await cluster.kubectl("drain", second, ...options, "--timeout=4s").then(
        () => "**a second drain was not refused**",
        (error: Error) =>
          error.message.includes("disruption budget") ? "a second drain is refused by the budget" : error.message,
      );
      await cluster.kubectl("uncordon", first, second);
      return words;
    };
  },
};

const switchover = (atSeconds: number): Event => ({
  name: "switchover",
  scenario: "planned-switchover",
  event: "the operator hands over with the cockpit",
  kind: "planned",
  atSeconds,
  async act(cluster) {
    const command = [
      process.execPath,
      "--import",
      require.resolve("tsx"),
      join(root, "cockpit/baker.ts"),
      "switchover",
    ];
    const where = ["--kubeconfig", cluster.plane.adminKubeconfig, "--namespace", namespace, "--baker", baker, "--yes"];
    await runAside([...command, ...where], environment, cluster.folder);
  },
});

const rolling = { runtime: "", baker: "" };
const rollingUpdate: Event = {
  name: "rolling-update",
  scenario: "rolling-update",
  event: "a new image reaches both pods, one after the other",
  kind: "planned",
  async prepare(cluster) {
    const { names } = cluster.images;
    for (const name of ["runtime", "baker"] as const) {
      const image = await retag(join(cluster.folder, "images"), names[name], `next-${name}`);
      for (const machine of cluster.machines) await machine.importImages([image.archive]);
      rolling[name] = image.name;
    }
  },
  async act(cluster) {
    const waits = cluster.bakingPods.map(({ name }) => renewed(cluster, name));
    await cluster.applyManifests(true, rolling);
    return async () => {
      const seconds = await Promise.all(waits.map((wait) => wait()));
      return `both pods are new after ${Math.max(...seconds)} s`;
    };
  },
};

/** The daemon alone, or with it what started it. */
type Part = "daemon" | "container";
const strike = (cluster: NodesCluster, pod: string, container: string, part: Part, signal: NodeJS.Signals): void => {
  const daemon = cluster.daemon(pod, container);
  // Not 0 nor a negative number by any mistake: those are groups of processes.
  if (daemon === undefined) throw new Error(`${container} of ${pod} does not run`);
  const pids = part === "container" ? cluster.processes(pod, container) : [daemon];
  for (const pid of pids)
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended with the one before.
    }
};
const killed = (container: string, part: Part, scenario?: string): Event => ({
  name: `kill-${container}${part === "daemon" ? "" : "-container"}`,
  ...(scenario ? { scenario } : {}),
  event: `${container} of the leader dies${part === "daemon" ? "" : " with its whole container"} (SIGKILL)`,
  kind: "loss",
  moves: false,
  async act(cluster, holder) {
    const wait = renewed(cluster, holder, container);
    strike(cluster, holder, container, part, "SIGKILL");
    if (part === "container") return async () => `a new container was ready after ${await wait()} s`;
  },
});
const stopped = (container: string): Event => ({
  name: `stop-${container}`,
  event: `${container} of the leader hangs (SIGSTOP)`,
  kind: "loss",
  moves: false,
  async act(cluster, holder) {
    const before = cluster.daemon(holder, container);
    strike(cluster, holder, container, "daemon", "SIGSTOP");
    const began = performance.now();
    return async () => {
      // That of octez-node has 150 s to answer again, and then the pod's time to end.
      await until("the hung process is gone", () => cluster.daemon(holder, container) !== before, 400_000);
      return `the hung process was ended after ${Math.round((performance.now() - began) / 100) / 10} s`;
    };
  },
});

const powerCut: Event = {
  name: "power-cut",
  scenario: "node-loss",
  event: "the leader's machine loses its power",
  kind: "loss",
  async act(cluster, holder) {
    const machine = cluster.machineOf(holder);
    const wait = renewed(cluster, holder);
    await machine.powerOff();
    return async () => {
      await machine.powerOn();
      machine.startServices();
      return `with its power back at once, its pod is ready ${await wait()} s after the cut`;
    };
  },
};
const linkCut: Event = {
  name: "link-cut",
  scenario: "split-brain",
  event: "the leader's machine loses its network for 25 s",
  kind: "loss",
  async act(cluster, holder) {
    const machine = cluster.machineOf(holder);
    machine.link(false);
    const began = performance.now();
    return async () => {
      await sleep(25_000 - (performance.now() - began));
      machine.link(true);
    };
  },
};
const kubeletStopped: Event = {
  name: "force-delete",
  scenario: "twin-pod",
  event: "the kubelet of the leader's machine is dead until the node is NotReady; then its pod is deleted with --force",
  kind: "loss",
  async prepare(cluster, holder) {
    const machine = cluster.machineOf(holder);
    machine.stopProgram("kubelet");
    await until("the node is NotReady", async () => !(await cluster.nodesReady(2)), 120_000);
    if (cluster.holder !== holder)
      throw new Error(`${cluster.holder} holds although only the kubelet of ${holder} died`);
  },
  async act(cluster, holder) {
    const machine = cluster.machineOf(holder);
    const wait = renewed(cluster, holder);
    await cluster.kubectl("delete", "pod", holder, "--force", "--grace-period=0");
    return async () => {
      // The twin that nobody manages goes on running meanwhile.
      await sleep(12_000);
      machine.startKubelet();
      return `baking went on without the kubelet; the orphan ran on beside the new leader; a new pod was ready after ${await wait()} s`;
    };
  },
};
const apiOutage: Event = {
  name: "api-outage",
  scenario: "api-outage",
  event: "the API server is dead for 20 s",
  kind: "other",
  async act(cluster) {
    await cluster.plane.signal("kube-apiserver", "SIGKILL");
    await sleep(20_000);
    await cluster.plane.start("kube-apiserver");
  },
};
const bothPods: Event = {
  name: "both-pods",
  event: "both pods are deleted at once",
  kind: "loss",
  async act(cluster) {
    await cluster.kubectl("delete", "pod", "--selector", `${labels.topology}=active-standby`, "--wait=false");
  },
};
const shimKilled: Event = {
  name: "shim",
  event: "containerd's shim of the leader is killed",
  kind: "loss",
  async act(cluster, holder) {
    const [pid] = cluster.processes(holder, "elector").filter((process) => parentName(process) === "containerd-shim");
    if (pid === undefined) throw new Error(`the elector of ${holder} has no shim`);
    const wait = renewed(cluster, holder);
    process.kill(parent(pid), "SIGKILL");
    return async () => `its pod is ready again after ${await wait()} s`;
  },
};
const containerdRestarted: Event = {
  name: "containerd",
  event: "containerd of the leader's machine dies and is started again after 10 s",
  kind: "loss",
  moves: false,
  async act(cluster, holder) {
    const machine = cluster.machineOf(holder);
    machine.stopProgram("containerd");
    await sleep(10_000);
    await machine.startContainerd();
  },
};
const fullDisk: Event = {
  name: "full-disk",
  scenario: "full-disk-master",
  event: "the leader's disk is full, and its gate dies (SIGKILL)",
  kind: "loss",
  async act(cluster, holder) {
    const machine = cluster.machineOf(holder);
    const file = `${volumeOf(cluster, holder, "local-volume")}/disk-${machine.name}/filler`;
    machine.exec(["sh", "-c", `cat /dev/zero >${file} || test -s ${file}`]);
    strike(cluster, holder, "signing-gate", "daemon", "SIGKILL");
    return async () => void machine.exec(["rm", file]);
  },
};
const parent = (pid: number): number =>
  Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
const parentName = (pid: number): string => readFileSync(`/proc/${parent(pid)}/comm`, "utf8").trim();

const eviction: Event = {
  name: "eviction",
  event: "an emptyDir of the leader grows over its limit: the kubelet evicts the pod",
  kind: "loss",
  async act(cluster, holder) {
    const machine = cluster.machineOf(holder);
    const file = `${volumeOf(cluster, holder, "empty-dir")}/tmp/filler`;
    machine.exec(["sh", "-c", `head -c 300000000 /dev/zero >${file}`]);
  },
};
const outOfMemory = (container: string, room?: number): Event => ({
  name: `oom-${container}`,
  event: `${container} of the leader exceeds its memory limit (OOM kill)`,
  kind: "loss",
  moves: false,
  act: (cluster, holder) => exceedMemory(cluster, holder, container, room),
});
/** A kubelet that starts anew remembers no token of a service account: every pod of its machine gets another one. */
const tokenRotation: Event = {
  name: "token",
  event: "the leader's pod gets another token of its service account (its kubelet is started again)",
  kind: "planned",
  moves: false,
  async act(cluster, holder) {
    const { record } = cluster;
    const writers = { elector: "leases", "signing-gate": "configmaps" } as const;
    const tokens = () => Object.values(writers).map((kind) => record.tokenOf(holder, kind));
    const [before, refused] = [tokens(), record.unauthorized];
    if (before.includes(undefined)) throw new Error(`no token of ${holder} was seen`);
    const machine = cluster.machineOf(holder);
    machine.stopProgram("kubelet");
    machine.startKubelet();
    const began = performance.now();
    return async () => {
      const changed = () => tokens().every((token, i) => token !== undefined && token !== before[i]);
      await until("elector and gate write with another token", changed, 200_000);
      const seconds = Math.round((performance.now() - began) / 1000);
      return `elector and gate wrote with it within ${seconds} s; ${record.unauthorized - refused} requests were answered 401`;
    };
  },
};
const flag = (on: boolean): Event => ({
  name: on ? "flag-on" : "flag-off",
  scenario: on ? "flag-on" : "flag-off",
  event: `the configuration's flag is switched ${on ? "on" : "off"}`,
  kind: "other",
  moves: false,
  async act(cluster) {
    const began = performance.now();
    await cluster.applyManifests(on);
    const name = new RegExp(on ? "-as-" : "-solo-");
    const fresh = () => cluster.bakingPods.filter((pod) => name.test(pod.name));
    const nodeRuns = () =>
      fresh().some(({ containers }) => containers.some(({ name: of, ready }) => of === "octez-node" && ready));
    return async () => {
      await until("a new octez-node is ready", nodeRuns, 240_000);
      const seconds = Math.round((performance.now() - began) / 100) / 10;
      const gone = () => cluster.bakingPods.length > 0 && cluster.bakingPods.length === fresh().length;
      await until("the pods of the other kind are gone", gone, 240_000);
      return `the first octez-node of the other kind was ready after ${seconds} s`;
    };
  },
});

/**
 * Blocks come every six seconds: after a block, between it and the quorum, in the quiet, too late for a successor to
 * run before the next one, and just before that.
 */
const phases = [0.1, 0.6, 1.5, 3, 4.5, 5.6];

/** Every container of a baking pod, and the laboratory's scenario for its end. */
const scenarioOf: Record<string, string | undefined> = {
  elector: "elector-kill",
  "signing-gate": "gate-kill",
  baker: "baker-container",
  "octez-node": "node-crash",
  sidecar: undefined,
  "nonce-exposer": undefined,
  "nonce-importer": undefined,
};
/** Twice in a row: a kubelet lets a container wait that ends for the second time within ten minutes. */
const twice = (one: Event): Event[] => [one, { ...one, name: `${one.name}-again`, event: `${one.event}, again` }];
/** Each container of the leader is killed twice, and hangs twice. */
const containerCases: readonly Event[] = [
  ...Object.entries(scenarioOf).flatMap(([name, scenario]) => [
    ...twice(killed(name, "daemon", scenario)),
    ...twice(stopped(name)),
  ]),
  killed("elector", "container"),
  killed("signing-gate", "container"),
];

export const cases: readonly Event[] = [
  ...phases.map(deletion),
  drain,
  switchover(2),
  rollingUpdate,
  ...containerCases,
  powerCut,
  linkCut,
  apiOutage,
  bothPods,
  shimKilled,
  containerdRestarted,
  fullDisk,
  outOfMemory("signing-gate"),
  // Its limit is gigabytes.
  outOfMemory("baker", 16),
  tokenRotation,
  kubeletStopped,
  flag(false),
  flag(true),
  eviction,
];
/**
 * Planned handovers only, `rounds` at each phase of a block: every other one by the cockpit, the rest by the deletion
 * of the leader's pod. Of the cockpit the phase is when its command is started, which takes a second or two.
 */
export const plannedCases = (rounds: number): readonly Event[] =>
  Array.from({ length: rounds }, (_, round) =>
    phases.map((at, i) => {
      const [kind, one] = (round + i) % 2 === 0 ? ["delete", deletion(at)] : ["switchover", switchover(at)];
      return { ...one, name: `${kind}-${at}-${round + 1}` };
    }),
  ).flat();
/** For every change: some minutes. */
export const shortForm: readonly string[] = ["delete-0.1", "switchover", "kill-elector", "power-cut"];
/** Of each container what ends it and what hangs it, both twice; about 15 minutes. */
export const containersForm: readonly string[] = containerCases.map(({ name }) => name);
/** What a run of 15 minutes leaves out. */
const inOtherForms = [...phases.slice(1).map((at) => deletion(at).name), "eviction", ...containersForm];
const strikes = ["kill-elector", "kill-signing-gate", "kill-baker", "kill-octez-node", "stop-signing-gate"];
export const usualForm: readonly string[] = cases
  .map(({ name }) => name)
  .filter((name) => !inOtherForms.includes(name) || strikes.includes(name));
