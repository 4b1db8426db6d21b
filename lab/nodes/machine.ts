/**
 * One machine with a real kubelet: namespaces of its own (mounts, processes, network, host name, IPC), containerd,
 * runc, kube-proxy, a veth at the bridge. A power cut is the end of process 1 of its namespace, with which
 * everything in it ends; its folder is its disk, and outlives that.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { labels } from "../../contract/names";
import { pauseImage } from "./images";
import { until } from "./wait";
import {
  cgroupName,
  cgroupRoots,
  cniFolders,
  environment,
  kill,
  removeCgroup,
  run,
  runAside,
  tied,
  which,
} from "./shell";

/** Kubernetes' node-local DNS; the network policies name it. */
export const dnsAddress = "169.254.20.10";

export interface MachineOptions {
  name: string;
  zone: string;
  folder: string;
  bridge: string;
  /** Address of the bridge: gateway of the machine. */
  gateway: string;
  address: string;
  /** Of its pods, for instance 10.244.1.0/24. */
  podRange: string;
  /** Ranges of the other machines' pods, by address. */
  neighbours: Record<string, string>;
  kubeconfig: string;
  /** Command of the DNS server. */
  dns: readonly string[];
}

const socket = "unix:///run/containerd/containerd.sock";
/** `/var/lib` and `/run` are new at each start, as after a boot, but for what is bound from the machine's folder. */
const boot = `set -e
mount --make-rshared /
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/kubelet /var/lib/containerd /var/lib/cni /run/containerd
for name in kubelet containerd cni; do mount --bind "$1/$name" /var/lib/$name; done
mount --bind "$1/log" /var/log
mount --make-rshared /
hostname "$2"
: >"$1/booted"
exec tini -s -- sleep infinity`;

const containerdConfig = (folder: string): string => `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "${pauseImage}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = [${cniFolders.map((path) => `"${path}"`).join(", ")}]
  conf_dir = "${folder}/net.d"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "${which("runc")}"
  SystemdCgroup = false
`;
const network = (range: string): object => ({
  cniVersion: "1.0.0",
  name: "pods",
  plugins: [
    {
      type: "ptp",
      ipMasq: false,
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: range }]],
        routes: [{ dst: "0.0.0.0/0" }],
        dataDir: "/var/lib/cni",
      },
    },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
});
const kubeletConfig = (name: string, folder: string): object => ({
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
  authorization: { mode: "AlwaysAllow" },
  clusterDomain: "cluster.local",
  clusterDNS: [dnsAddress],
  resolvConf: join(folder, "resolv.conf"),
  containerRuntimeEndpoint: socket,
  cgroupDriver: "cgroupfs",
  cgroupRoot: `/${cgroupName}/${name}`,
  enforceNodeAllocatable: ["none"],
  failSwapOn: false,
  failCgroupV1: false,
  featureGates: { KubeletInUserNamespace: true },
  evictionHard: { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
  imageGCHighThresholdPercent: 100,
  imageGCLowThresholdPercent: 99,
});
const proxyConfig = (kubeconfig: string, name: string): object => ({
  apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
  kind: "KubeProxyConfiguration",
  mode: "nftables",
  clusterCIDR: "10.244.0.0/16",
  hostnameOverride: name,
  clientConnection: { kubeconfig },
  conntrack: { maxPerCore: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
});

/** The machines go before everything else that this machine does: theirs are processors of their own. */
function makeCgroups(root: string, name: string): void {
  mkdirSync(join(root, cgroupName, name), { recursive: true });
  for (const folder of [join(root, cgroupName), join(root, cgroupName, name)])
    for (const [file, most] of [
      ["cpu.shares", "262144"],
      ["cpu.weight", "10000"],
    ] as const)
      if (existsSync(join(folder, file))) writeFileSync(join(folder, file), most);
}

export class Machine {
  private boot: ChildProcess | undefined;
  /** Process 1 of the machine, as this machine here sees it; undefined without power. */
  private init: number | undefined;
  private readonly programs = new Map<string, ChildProcess>();
  readonly veth: string;

  constructor(readonly options: MachineOptions) {
    this.veth = `${options.bridge}-${options.name.slice(-4)}`.slice(0, 15);
    const { folder } = options;
    for (const name of ["kubelet", "containerd", "cni", "log", "net.d"])
      mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, "resolv.conf"), "nameserver 127.0.0.1\n");
    writeFileSync(join(folder, "containerd.toml"), containerdConfig(folder));
    writeFileSync(join(folder, "net.d/10-pods.conflist"), JSON.stringify(network(options.podRange)));
    writeFileSync(join(folder, "kubelet.yaml"), stringify(kubeletConfig(options.name, folder)));
    writeFileSync(join(folder, "proxy.yaml"), stringify(proxyConfig(options.kubeconfig, options.name)));
  }
  get name(): string {
    return this.options.name;
  }
  get powered(): boolean {
    return this.init !== undefined;
  }

  /** A command line inside of the machine. */
  private inside(command: readonly string[], only = ["-m", "-p", "-n", "-u", "-i"]): string[] {
    if (this.init === undefined) throw new Error(`${this.name} has no power`);
    return ["nsenter", "-t", String(this.init), ...only, ...(only.includes("-m") ? ["--wd=/"] : []), "--", ...command];
  }
  exec(command: readonly string[], input?: string): string {
    return run(this.inside(command), input);
  }
  execAside(command: readonly string[]): Promise<string> {
    return runAside(this.inside(command));
  }

  /** Makes the namespaces and the network, then starts containerd. */
  async powerOn(): Promise<void> {
    const { folder, name } = this.options;
    for (const root of cgroupRoots()) makeCgroups(root, name);
    const booted = join(folder, "booted");
    if (existsSync(booted)) run(["rm", booted]);
    const [program, args] = tied([
      ...["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc"],
      ...["--propagation", "private", "sh", "-c", boot, "boot", folder, name],
    ]);
    this.boot = spawn(program, args, {
      env: environment,
      stdio: ["ignore", "ignore", createLog(folder, "boot")],
      cwd: "/",
    });
    await until(`${name} boots`, () => existsSync(booted), 10_000);
    const { pid } = this.boot;
    this.init = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim());
    this.connect();
    await this.startContainerd();
  }
  async startContainerd(): Promise<void> {
    this.launch("containerd", ["containerd", "--config", join(this.options.folder, "containerd.toml")]);
    await until(`containerd of ${this.name} answers`, () => this.answers(["ctr", "version"]), 60_000);
  }
  private answers(command: string[]): Promise<boolean> {
    return this.execAside(command).then(
      () => true,
      () => false,
    );
  }
  private connect(): void {
    const { bridge, gateway, address, neighbours, podRange } = this.options;
    const ip = (...words: string[]) => run(["ip", ...words]);
    // A machine keeps its card: another hardware address would be unknown to its neighbours for a while.
    const card = `02:00:${address
      .split(".")
      .map((part) => Number(part).toString(16).padStart(2, "0"))
      .join(":")}`;
    const peer = ["peer", "name", "eth0", "address", card, "netns", String(this.init)];
    ip("link", "add", this.veth, "type", "veth", ...peer);
    ip("link", "set", this.veth, "master", bridge, "up");
    const commands = [
      "ip link set lo up",
      `ip address add ${dnsAddress}/32 dev lo`,
      `ip address add ${address}/24 dev eth0`,
      "ip link set eth0 up",
      `ip route add default via ${gateway}`,
      ...Object.entries(neighbours).map(([neighbour, range]) => `ip route add ${range} via ${neighbour}`),
      "echo 1 >/proc/sys/net/ipv4/ip_forward",
    ];
    this.exec(["sh", "-ec", commands.join("\n")]);
    ip("route", "replace", podRange, "via", address);
  }

  /** A program of the machine, which ends with it. */
  private launch(name: string, command: readonly string[]): void {
    const [program, args] = tied(this.inside(command));
    const log = createLog(this.options.folder, name);
    this.programs.set(name, spawn(program, args, { env: environment, stdio: ["ignore", log, log], cwd: "/" }));
  }
  startKubelet(): void {
    const { folder, kubeconfig, name, zone, address } = this.options;
    this.launch("kubelet", [
      ...["kubelet", `--kubeconfig=${kubeconfig}`, `--config=${join(folder, "kubelet.yaml")}`],
      ...[`--hostname-override=${name}`, `--node-ip=${address}`, `--node-labels=${labels.zone}=${zone}`],
    ]);
  }
  startServices(): void {
    this.startKubelet();
    this.launch("kube-proxy", ["kube-proxy", `--config=${join(this.options.folder, "proxy.yaml")}`]);
    this.launch("dns", this.options.dns);
  }
  /** nsenter is not the program: with a process namespace it has a child. */
  stopProgram(name: string): void {
    const pid = this.programs.get(name)?.pid ?? 0;
    for (const child of readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" "))
      process.kill(Number(child), "SIGKILL");
  }
  async importImages(archives: readonly string[]): Promise<void> {
    for (const archive of archives)
      await this.execAside(["ctr", "--namespace", "k8s.io", "images", "import", "--local", archive]);
  }
  /** In place of the rules before. */
  applyRules(rules: string): void {
    run(this.inside(["nft", "-f", "-"], ["-n"]), rules);
  }

  /** As an unplugged cable: nothing arrives and nobody is told. */
  link(up: boolean): void {
    run(["ip", "link", "set", this.veth, up ? "up" : "down"]);
  }
  /** Everything that runs on it ends at once. Its disk stays as it is. */
  async powerOff(): Promise<void> {
    if (this.init === undefined) return;
    process.kill(this.init, "SIGKILL");
    this.init = undefined;
    await kill(this.boot);
    for (const child of this.programs.values()) await kill(child);
    this.programs.clear();
    // A machine that starts again has none; those of dead pods would cost the kubelet a minute.
    const own = cgroupRoots().map((root) => join(root, cgroupName, this.name));
    await until("its cgroups are gone", () => own.every((folder) => (removeCgroup(folder), !existsSync(folder))), 5000);
  }
  /** Its last lines, for a test that fails. */
  log(name: string, lines = 30): string {
    const file = join(this.options.folder, `${name}.log`);
    return existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(-lines).join("\n") : "";
  }
}

function createLog(folder: string, name: string): number {
  return openSync(join(folder, `${name}.log`), "a");
}
