/** Programs of this machine, run as root; and why a cluster of real kubelets cannot run here. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { controlPlaneFolder, defaultCache } from "../../tools/test-assets";
import { missingForControlPlane } from "../../tools/test-assets/control-plane";

export const assets = process.env.KUBEBUILDER_ASSETS ?? controlPlaneFolder(defaultCache());
/** What is compiled or downloaded by `npm run test:assets -- --only nodes`. */
const ownPrograms = ["kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr", "kubectl"];
/** Program -> Debian's package. */
const packaged: Record<string, string> = {
  runc: "runc",
  buildah: "buildah",
  tini: "tini",
  busybox: "busybox",
  nft: "nftables",
  conntrack: "conntrack",
  ip: "iproute2",
  losetup: "util-linux",
  unshare: "util-linux",
  nsenter: "util-linux",
  setpriv: "util-linux",
  "mkfs.ext4": "e2fsprogs",
  ssh: "openssh-client",
  sshd: "openssh-server",
  jq: "jq",
  curl: "curl",
};
export const cniFolders = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
const path = `${assets}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
export const environment: NodeJS.ProcessEnv = { PATH: path, HOME: "/root", LANG: "C" };

export const which = (program: string): string | undefined =>
  path
    .split(":")
    .map((folder) => join(folder, program))
    .find((file) => existsSync(file));

/** Waits for the end. @returns standard output @throws Error with the program's own words */
export function run(command: readonly string[], input?: string, env: NodeJS.ProcessEnv = {}): string {
  const [program = "", ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    ...{ input, encoding: "utf8", env: { ...environment, ...env }, maxBuffer: 2 ** 28, cwd: "/" },
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command.slice(0, 8).join(" ")} ended with ${status}: ${stderr.slice(-2000)}`);
  return stdout;
}
/** The same without blocking: other work of this process goes on. */
export function runAside(command: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = "/"): Promise<string> {
  const [program = "", ...args] = command;
  return new Promise((done, fail) => {
    const child = spawn(program, args, { env: { ...environment, ...env }, cwd, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
    child.stderr.on("data", (data: Buffer) => (stderr = (stderr + data.toString()).slice(-4000)));
    child.once("error", fail);
    child.once("close", (code) =>
      code === 0 ? done(stdout) : fail(new Error(`${command.slice(0, 8).join(" ")} ended with ${code}: ${stderr}`)),
    );
  });
}
/** Ends together with this process, even after a SIGKILL. */
export const tied = (command: readonly string[]): [string, string[]] => [
  which("setpriv") ?? "setpriv",
  ["--pdeathsig", "KILL", "--", ...command],
];
/** As `killAll` of one child and its end. */
export async function kill(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  await gone;
}

export const cgroups = "/sys/fs/cgroup";
/** The hierarchies of version 1, or the one of version 2. */
export const cgroupRoots = (): string[] =>
  existsSync(join(cgroups, "cgroup.controllers"))
    ? [cgroups]
    : readFileSync("/proc/mounts", "utf8")
        .split("\n")
        .map((line) => line.split(" "))
        .filter(([, target, type]) => type?.startsWith("cgroup") && target?.startsWith(`${cgroups}/`))
        .map(([, target]) => target ?? "");

/** Where the machines' cgroups are, below each hierarchy. */
export const cgroupName = "tog-nodes";
/** With those below it. Only their last process frees them. */
export function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(folder, entry.name));
  try {
    rmdirSync(folder);
  } catch {
    // A process of it is just ending; an empty cgroup does no harm.
  }
}

/** Why no cluster of real kubelets can run here, or undefined. */
export function missingForNodes(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64")
    return `needs Linux on x64; this is ${process.platform} on ${process.arch}`;
  if (process.getuid?.() !== 0) return "needs root (namespaces, mounts, loop devices)";
  const plane = missingForControlPlane(["kube-controller-manager", "kube-scheduler"]);
  if (plane !== undefined) return plane;
  const own = ownPrograms.filter((name) => !existsSync(join(assets, name)));
  if (own.length > 0) return `${assets} lacks ${own.join(", ")}: npm run test:assets -- --only ${own.join(",")}`;
  const lacking = Object.entries(packaged).filter(([name]) => which(name) === undefined);
  if (lacking.length > 0) {
    const packages = [...new Set(lacking.map(([, name]) => name))].join(" ");
    return `not installed: ${lacking.map(([name]) => name).join(", ")} (apt-get install ${packages})`;
  }
  if (!cniFolders.some((folder) => existsSync(join(folder, "ptp"))))
    return `no CNI plugins in ${cniFolders.join(", ")} (apt-get install containernetworking-plugins)`;
  const tries: [string, string[]][] = [
    ["namespaces", ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "true"]],
    [
      "nftables",
      ["unshare", "--net", "nft", "add table ip try; add chain ip try c { type nat hook prerouting priority 0; }"],
    ],
    ["loop devices", ["losetup", "--find"]],
  ];
  for (const [what, [program = "", ...args]] of tries) {
    const { status, stderr } = spawnSync(program, args, { encoding: "utf8", env: environment });
    if (status !== 0) return `the kernel gives no ${what} here: ${stderr.trim().slice(0, 200)}`;
  }
  return cgroupRoots().length === 0 ? "no control groups are mounted" : undefined;
}

// For .ci/run: the reason, or nothing.
if (require.main === module) console.log(missingForNodes() ?? "");
