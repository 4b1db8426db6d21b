/**
 * A Kubernetes cluster with two real kubelets, the project's images and manifests on it, a simulated chain and a
 * signer at home. Octez is the laboratory's doubles; everything else is real. Ends with this process, whatever ends
 * that; what a killed one left is removed at the next start.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { randomBytes } from "node:crypto";
import { parse } from "@cdktf/hcl2json";
import { networks } from "../../contract/networks";
import { defaultTimings } from "../../contract/timings";
import { toYaml, type KubernetesObject } from "../../manifests/kubernetes-objects";
import { ushuaia } from "../../tezos/protocols";
import { type ControlPlane, startControlPlane } from "../../tools/test-assets/control-plane";
import { Chain } from "../chain/chain";
import type { Violation } from "../checker/checker";
import { TraceServer } from "../trace";
import { baker, manifestsFor, namespace, signer, zones } from "./configuration";
import { type Disk, makeDisk, removeDisk, storageObjects } from "./disks";
import { Home, makeSshKey, servePublisher } from "./home";
import { buildImages, type BuiltImages } from "./images";
import { bridge, prefix, tidy } from "./leftovers";
import { Machine } from "./machine";
import { type NetworkPolicy, policyRules, type PolicyPod } from "./policies";
import { auditFlags, ClusterRecord, StoredVersions } from "./record";
import { assets, cgroupName, cgroupRoots, removeCgroup, run, runAside } from "./shell";
import { type PodObject, type PodView, viewOf } from "./view";
import { sleep, until } from "./wait";

const root = resolve(__dirname, "../..");
/** Of the bridge: where the API server is. */
const gateway = "10.250.0.1";
/** An address of the internet, as the network policies see it: chain and publisher are there. */
const outside = "203.0.113.1";
const chainPort = 19732;
export const blockMs = 6000;
const doubleStartMs = 2000;

/** The example's published key, which is worth nothing. */
async function exampleKeys(): Promise<Record<string, string>> {
  const text = readFileSync(join(root, "examples/shadownet/secrets.auto.tfvars.example"), "utf8");
  const parsed = (await parse("secrets.tfvars", text)) as {
    secrets: { hot_keys: Record<string, Record<string, string>> };
  };
  return parsed.secrets.hot_keys[baker] ?? {};
}

export class NodesCluster {
  readonly machines: Machine[] = [];
  /** As the API server told last. */
  pods: PodView[] = [];
  plane!: ControlPlane;
  record!: ClusterRecord;
  home!: Home;
  images!: BuiltImages;
  private policies: NetworkPolicy[] = [];
  private spaces: Record<string, Record<string, string>> = {};
  private readonly applied = new Map<string, string>();
  private readonly disks: Disk[] = [];
  private readonly closers: (() => void | Promise<void>)[] = [];
  private stopped = false;
  private following: Promise<void> = Promise.resolve();
  private wasSolo = false;
  private snapshotBlock = "";

  private constructor(
    readonly folder: string,
    readonly chain: Chain,
    readonly trace: TraceServer,
    private readonly keys: Record<string, string>,
    readonly say: (text: string) => void,
  ) {}

  static async start(say: (text: string) => void = () => undefined): Promise<NodesCluster> {
    tidy();
    const keys = await exampleKeys();
    const delegate = Object.keys(keys)[0] ?? "";
    const chain = new Chain({
      ...{ seed: randomBytes(4).toString("hex"), chainId: networks.shadownet.chainId, blockMs, delegate },
      ...{ protocol: ushuaia.hash, consensusKey: delegate },
      ...{ blockShare: 0.25, attestationShare: 1, blocksPerCycle: 32, blocksPerCommitment: 4, revelationBlocks: 24 },
      ...{ startLevel: 3_200_001, virtualPeers: 12 },
    });
    const folder = mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`));
    const cluster = new NodesCluster(folder, chain, new TraceServer(), keys, say);
    try {
      await cluster.startAll();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  private async startAll(): Promise<void> {
    const { folder, chain, trace } = this;
    const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
      const start = performance.now();
      const result = await work();
      this.say(`${what}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
      return result;
    };
    run(["ip", "link", "add", bridge, "type", "bridge"]);
    for (const address of [`${gateway}/24`, `${outside}/32`]) run(["ip", "address", "add", address, "dev", bridge]);
    run(["ip", "link", "set", bridge, "up"]);
    this.images = await timed("images", () =>
      buildImages({
        ...{ folder: join(folder, "images"), chain: `${outside}:${chainPort}`, doubleStartMs, say: this.say },
      }),
    );
    chain.start();
    this.snapshotBlock = chain.head.hash;
    const served = await chain.serve(outside, chainPort);
    this.closers.push(
      () => served.close(),
      () => chain.stop(),
    );
    this.closers.push(await servePublisher(outside, () => this.snapshotBlock));
    const socket = join(folder, "trace.sock");
    await trace.listen(socket);
    this.closers.push(() => trace.close());
    await timed("control plane", async () => {
      this.plane = await startControlPlane({
        ...{ with: ["kube-controller-manager", "kube-scheduler"], address: gateway, fsync: false },
        flags: {
          "kube-apiserver": [
            ...auditFlags(folder, namespace),
            "--endpoint-reconciler-type=lease",
            "--kubelet-preferred-address-types=InternalIP",
          ],
        },
      });
    });
    const versions = new StoredVersions(this.plane, namespace);
    this.closers.push(() => versions.stop());
    this.record = new ClusterRecord(join(folder, "audit.log"), baker, Object.keys(this.keys), versions.texts);
    trace.on("line", (line) => this.record.onTrace(line));
    this.home = await Home.start({ folder, baker, signer, keys: this.keys, trace: socket });
    await timed("machines", () => this.startMachines());
    await timed("nodes ready", () => until("both nodes are ready", () => this.nodesReady(2), 120_000));
  }

  private async startMachines(): Promise<void> {
    const of = (i: number) => ({ address: `10.250.0.${11 + i}`, podRange: `10.244.${1 + i}.0/24` });
    writeFileSync(join(this.folder, "dns.json"), "{}");
    for (const [i, zone] of zones.entries()) {
      const folder = join(this.folder, `node-${i}`);
      mkdirSync(folder);
      const neighbours = Object.fromEntries(
        zones.flatMap((_, j) => (j === i ? [] : [[of(j).address, of(j).podRange] as const])),
      );
      const dns = [process.execPath, "--import", require.resolve("tsx"), join(__dirname, "dns.ts"), "169.254.20.10"];
      this.machines.push(
        new Machine({
          ...{ name: `node-${zone.slice(-1)}`, zone, folder, bridge, gateway, ...of(i), neighbours },
          ...{ kubeconfig: this.plane.adminKubeconfig, dns: [...dns, join(this.folder, "dns.json")] },
        }),
      );
    }
    await Promise.all(
      this.machines.map(async (machine) => {
        await machine.powerOn();
        await machine.importImages(this.images.archives);
        machine.startServices();
      }),
    );
  }

  async nodesReady(count: number): Promise<boolean> {
    const { body } = await this.plane.call("GET", "/api/v1/nodes");
    const items = (body as { items: { status: { conditions?: { type: string; status: string }[] } }[] }).items;
    const ready = items.filter(({ status }) =>
      status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True"),
    );
    return ready.length >= count;
  }

  kubectl(...args: string[]): Promise<string> {
    const words = [join(assets, "kubectl"), "--kubeconfig", this.plane.adminKubeconfig, "--namespace", namespace];
    return runAside([...words, ...args], { HOME: this.folder });
  }
  private async applyObjects(name: string, text: string): Promise<void> {
    const file = join(this.folder, name);
    writeFileSync(file, text, { mode: 0o600 });
    await this.kubectl("apply", "--server-side", "--force-conflicts", "-f", file);
  }

  private sshKeys: { user: ReturnType<typeof makeSshKey>; host: ReturnType<typeof makeSshKey> } | undefined;
  private readonly nonceSecret = randomBytes(32).toString("hex");
  /** The objects of `npm run manifests` as they are, with secrets in the place of their placeholders. */
  async manifests(flag: boolean, images: Partial<BuiltImages["names"]> = {}): Promise<KubernetesObject[]> {
    const keys = (this.sshKeys ??= {
      user: makeSshKey(this.folder, "tunnel"),
      host: makeSshKey(this.folder, "host"),
    });
    return manifestsFor(mkdtempSync(join(this.folder, "configuration-")), {
      ...{ flag, delegate: Object.keys(this.keys)[0] ?? "", sshPublicKey: keys.user.publicKey },
      snapshot: { url: `http://${outside}/rolling`, blockHash: this.snapshotBlock },
      images: { ...this.images.names, ...images },
    });
  }
  async applyManifests(flag: boolean, images: Partial<BuiltImages["names"]> = {}): Promise<void> {
    const objects = await this.manifests(flag, images);
    const hostKey = readFileSync(this.sshKeys?.host.file ?? "", "utf8");
    const filled = JSON.parse(
      JSON.stringify(objects)
        .replaceAll("<secrets.signer_link_host_key>", JSON.stringify(hostKey).slice(1, -1))
        .replaceAll("<a random value, 64 hex digits>", this.nonceSecret),
    ) as KubernetesObject[];
    if (!flag) this.wasSolo = true;
    await this.applyObjects("objects.yaml", toYaml(filled));
    // What Terraform destroys because it is gone from the configuration.
    const kept = new Set(filled.filter(({ kind }) => kind === "StatefulSet").map(({ metadata }) => metadata.name));
    const { body } = await this.plane.call("GET", `/apis/apps/v1/namespaces/${namespace}/statefulsets`);
    for (const { metadata } of (body as { items: { metadata: { name: string } }[] }).items)
      if (!kept.has(metadata.name)) await this.kubectl("delete", "statefulset", metadata.name, "--wait=false");
  }

  /** Disks, objects, tunnels; resolves when the objects are there. */
  async deploy(): Promise<void> {
    const names = this.machines.map(({ name }) => name);
    const disks = [
      ...names.map((name) => ({ name: `disk-${name}`, machines: [name] })),
      { name: "disk-solo", machines: names, claim: { namespace, name: `regional-${baker}-solo-0` } },
    ].map(({ name, ...of }) => {
      const disk = makeDisk(this.folder, name, 512);
      this.disks.push(disk);
      return { name, disk, ...of };
    });
    await this.applyObjects("storage.yaml", toYaml(storageObjects(disks) as KubernetesObject[]));
    await this.applyManifests(true);
    this.following = this.follow();
    await this.tellServices();
  }

  /** Names of services for DNS, tunnels from the signer's home. */
  private async tellServices(): Promise<void> {
    const { body } = await this.plane.call("GET", "/api/v1/services");
    const { items } = body as {
      items: {
        metadata: { name: string; namespace: string };
        spec: { type: string; clusterIP: string; ports: { name?: string; port: number; nodePort?: number }[] };
      }[];
    };
    const addresses = items
      .filter(({ spec }) => spec.clusterIP !== "None")
      .map(({ metadata, spec }) => [`${metadata.name}.${metadata.namespace}.svc.cluster.local`, spec.clusterIP]);
    writeFileSync(join(this.folder, "dns.json"), JSON.stringify(Object.fromEntries(addresses)));
    const balancer = items.find(({ spec }) => spec.type === "LoadBalancer");
    const targets = this.machines.map((machine, i) => ({
      ...{ zone: machine.options.zone, host: machine.options.address },
      port: balancer?.spec.ports.find(({ port }) => port === 8443 + i)?.nodePort ?? 0,
    }));
    this.home.connect(targets, this.sshKeys?.user.file ?? "", this.sshKeys?.host.publicKey ?? "");
  }

  /** Keeps the view of pods and the enforced policies up to date. */
  private async follow(): Promise<void> {
    for (let round = 0; !this.stopped; round++) {
      try {
        if (round % 20 === 0) await this.readPolicies();
        const { body } = await this.plane.call("GET", "/api/v1/pods", undefined, { timeoutMs: 2000 });
        this.pods = (body as { items: PodObject[] }).items.map(viewOf);
        this.enforce();
      } catch {
        // Without the API nothing changes.
      }
      await sleep(200);
    }
  }
  private async readPolicies(): Promise<void> {
    const policies = await this.plane.call("GET", "/apis/networking.k8s.io/v1/networkpolicies");
    this.policies = (policies.body as { items: NetworkPolicy[] }).items;
    const spaces = await this.plane.call("GET", "/api/v1/namespaces");
    const { items } = spaces.body as { items: { metadata: { name: string; labels?: Record<string, string> } }[] };
    this.spaces = Object.fromEntries(items.map(({ metadata }) => [metadata.name, metadata.labels ?? {}]));
  }
  private enforce(): void {
    const pods: PolicyPod[] = this.pods.filter(
      ({ address, phase }) => address !== "" && ["Running", "Pending"].includes(phase),
    );
    for (const machine of this.machines) {
      if (!machine.powered) {
        this.applied.delete(machine.name);
        continue;
      }
      const rules = policyRules(machine.name, this.policies, pods, this.spaces);
      if (this.applied.get(machine.name) === rules) continue;
      machine.applyRules(rules);
      this.applied.set(machine.name, rules);
    }
  }

  /** Baking pods and tunnels as the API server tells them; not those that have ended. */
  get ours(): PodView[] {
    return this.pods.filter(({ namespace: of, phase }) => of === namespace && phase !== "Failed");
  }
  get bakingPods(): PodView[] {
    return this.ours.filter(({ name }) => /-(as|solo)-\d+$/.test(name));
  }
  machineOf(pod: string): Machine {
    const node = this.bakingPods.find(({ name }) => name === pod)?.node;
    const machine = this.machines.find(({ name }) => name === node);
    if (!machine) throw new Error(`${pod} is on no machine`);
    return machine;
  }
  /** Pod name of the master, "" where there is none. */
  get holder(): string {
    return this.record.tenures.at(-1)?.holder.split("_")[0] ?? "";
  }
  /** Every process of a container of a pod, as this machine sees them. */
  processes(pod: string, container: string): number[] {
    const id = this.bakingPods.find(({ name }) => name === pod)?.containers.find(({ name }) => name === container)?.id;
    if (!id) throw new Error(`${pod} has no running container ${container}`);
    return readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(id);
        } catch {
          return false;
        }
      })
      .map(Number);
  }
  /** The daemon of a container: its first process that does not only start or reap others. */
  daemon(pod: string, container: string): number | undefined {
    const own = this.processes(pod, container).flatMap((pid) => {
      try {
        const read = (file: string) => readFileSync(`/proc/${pid}/${file}`, "utf8");
        const inside = Number(/^NSpid:.*\s(\d+)$/m.exec(read("status"))?.[1]);
        return ["tini", "sh", "tog-init", "busybox", "sleep"].includes(read("comm").trim()) ? [] : [{ pid, inside }];
      } catch {
        // It has just ended.
        return [];
      }
    });
    return own.sort((a, b) => a.inside - b.inside)[0]?.pid;
  }

  verdict(): Violation[] {
    return this.record.verdict(defaultTimings.floorPassSeconds * 990, !this.wasSolo);
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    await this.following;
    await this.home?.stop();
    for (const machine of this.machines) await machine.powerOff();
    this.record?.stop();
    await this.plane?.stop();
    for (const close of this.closers) await close();
    for (const disk of this.disks) removeDisk(disk);
    if (process.env.TOG_KEEP === undefined) rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
    run(["ip", "link", "delete", bridge]);
    for (const hierarchy of cgroupRoots()) removeCgroup(join(hierarchy, cgroupName));
  }
}
